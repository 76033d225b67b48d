//! Plan tests: SQL in, EXPLAIN out. `check_*` are the only callers of the API.

mod aggregates;
mod close;
mod errors;
mod expressions;
mod joins;
mod match_recognize;
mod nexmark;
mod queries;
mod top_n;
mod windows;

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use catalog::{Catalog, CatalogChange, CatalogObject, ColumnEntry, ObjectBody, SourceBody, TableBody, WatermarkEntry};
use expect_test::Expect;
use sql::{ExplainFormat, Statement, ast};
use types::{ObjectId, ToSqlState};

use crate::{PlanError, PlanSession, PlannedQuery, PlannedView, Planner, ViewPlanOptions, explain_view};

pub(crate) const VIEW: ObjectId = ObjectId(17_000);

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn column(name: &str, data_type: DataType) -> ColumnEntry {
    ColumnEntry { name: name.into(), data_type, not_null: false, default: None, generated: None, comment: None }
}

/// `name type, …`: b = bigint, t = text, s = timestamp.
fn columns(text: &str) -> Vec<ColumnEntry> {
    let typed = |word: &str| match word {
        "b" => DataType::Int64,
        "i" => DataType::Int32,
        "t" => DataType::Utf8,
        "s" => timestamp(),
        "f" => DataType::Float64,
        "n" => DataType::Decimal128(20, 2),
        other => panic!("type {other}"),
    };
    let column_of = |part: &str| {
        let (name, kind) = part.trim().split_once(' ').expect("name type");
        column(name, typed(kind))
    };
    text.split(',').map(column_of).collect()
}

fn object(id: u32, name: &str, columns: Vec<ColumnEntry>, body: ObjectBody) -> CatalogChange {
    CatalogChange::Put(CatalogObject {
        id: ObjectId(id),
        schema: "public".into(),
        name: name.into(),
        columns,
        body,
        depends_on: vec![],
        sql: String::new(),
        comment: None,
        created_us: 0,
        building: None,
    })
}

fn source(watermark: Option<(usize, i64)>) -> ObjectBody {
    let watermark = watermark.map(|(column, allowed_lateness_us)| WatermarkEntry {
        column,
        delay_us: 4_000_000,
        allowed_lateness_us,
        idle_timeout_us: 60_000_000,
        max_future_us: 3_600_000_000,
        follow_clock: false,
    });
    ObjectBody::Source(SourceBody {
        options: vec![],
        format: "PLAIN".into(),
        encode: "JSON".into(),
        format_options: vec![],
        watermark,
        generated: vec![],
        bounded: false,
        keeps: Default::default(),
    })
}

fn table(primary_key: Vec<usize>) -> ObjectBody {
    ObjectBody::Table(TableBody {
        primary_key,
        append_only: false,
        watermark: None,
        late_rows: None,
        source: None,
        plan: serde_json::Value::Null,
    })
}

const BID: &str = "auction b,bidder b,price b,channel t,url t,dateTime s,extra t";
const AUCTION: &str =
    "id b,itemName t,description t,initialBid b,reserve b,dateTime s,expires s,seller b,category b,extra t";
const PERSON: &str = "id b,name t,emailAddress t,creditCard t,city t,state t,dateTime s,extra t";

pub(crate) fn catalog() -> Arc<Catalog> {
    let mut catalog = Catalog::new();
    for (id, suffix) in [(16_384, ""), (16_394, "_ooo")] {
        catalog.apply(object(id, &format!("bid{suffix}"), columns(BID), source(Some((5, 0)))));
        catalog.apply(object(id + 1, &format!("auction{suffix}"), columns(AUCTION), source(Some((5, 0)))));
        catalog.apply(object(id + 2, &format!("person{suffix}"), columns(PERSON), source(Some((6, 0)))));
    }
    catalog.apply(object(16_400, "plain", columns("k b,v b,ts s"), source(None)));
    catalog.apply(object(16_401, "lenient", columns("k b,v b,ts s"), source(Some((2, 10_000_000)))));
    catalog.apply(object(16_402, "account", columns("id b,owner t,balance n,small i,ratio f"), table(vec![0])));
    catalog.apply(object(16_403, "log", columns("k b,v b"), table(vec![])));
    let query = "SELECT channel, price FROM bid WHERE price > 100".to_string();
    let view = ObjectBody::View { query, temporary: false, names: vec![] };
    catalog.apply(object(16_404, "costly", columns("channel t,amount b"), view));
    Arc::new(catalog)
}

pub(crate) fn planner() -> Planner {
    Planner::new(catalog(), PlanSession::default())
}

pub(crate) fn parse_query(text: &str) -> Box<ast::Query> {
    let mut statements = sql::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    match statements.pop().map(|parsed| parsed.statement) {
        Some(Statement::Query(query)) => query,
        other => panic!("not a query: {other:?}"),
    }
}

pub(crate) fn query(text: &str) -> Result<PlannedQuery, PlanError> {
    planner().plan_query(&parse_query(text))
}

pub(crate) fn view(text: &str, options: ViewPlanOptions) -> Result<PlannedView, PlanError> {
    planner().plan_view(VIEW, &parse_query(text), &[], options)
}

fn show_view(view: Result<PlannedView, PlanError>) -> String {
    match view {
        Ok(view) => {
            let mut lines = explain_view(&view, ExplainFormat::Text, false);
            lines.extend(view.notices.iter().map(|notice| format!("NOTICE: {notice}")));
            lines.join("\n") + "\n"
        }
        Err(error) => show_error(&error),
    }
}

pub(crate) fn show_error(error: &PlanError) -> String {
    let error = error.to_sql_error();
    let mut text = format!("ERROR {}: {}\n", error.state, error.message);
    for (name, part) in [("DETAIL", &error.detail), ("HINT", &error.hint)] {
        if let Some(part) = part {
            text.push_str(&format!("{name}: {part}\n"));
        }
    }
    text
}

/// EXPLAIN of a view, and its notices.
pub(crate) fn check_view(text: &str, expected: Expect) {
    expected.assert_eq(&show_view(view(text, ViewPlanOptions::default())));
}

/// The same with EMIT ON WINDOW CLOSE.
pub(crate) fn check_closed(text: &str, expected: Expect) {
    let options = ViewPlanOptions { emit_on_window_close: true, ..ViewPlanOptions::default() };
    expected.assert_eq(&show_view(view(text, options)));
}

/// Columns of an ad-hoc query, or its error.
pub(crate) fn check_query(text: &str, expected: Expect) {
    let shown = match query(text) {
        Ok(planned) => {
            let one = |f: &Arc<arrow::datatypes::Field>| format!("{} {}", f.name(), crate::type_name(f.data_type()));
            let columns: Vec<String> = planned.schema.fields().iter().map(one).collect();
            format!("{}\n", columns.join(", "))
        }
        Err(error) => show_error(&error),
    };
    expected.assert_eq(&shown);
}
