//! Expressions outside queries, types by name, watermarks, tables, parameters.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use expect_test::{Expect, expect};
use sql::{ExplainFormat, Statement};
use types::ObjectId;

use super::{columns, parse_query, planner, show_error};
use crate::{TableChanges, data_type, explain_graph, plan_table, type_name, watermark_delay};

fn schema() -> Arc<Schema> {
    let fields = columns("k b,small i,name t,ts s");
    Arc::new(Schema::new(
        fields.iter().map(|c| arrow::datatypes::Field::new(&c.name, c.data_type.clone(), true)).collect::<Vec<_>>(),
    ))
}

/// `expression` bound over `k bigint, small int, name text, ts timestamp`, assigned to `target` if given.
fn check_expr(expression: &str, target: Option<DataType>, expected: Expect) {
    let expr = sql::parse_expression(expression).expect("parses");
    let bound = match target {
        Some(target) => planner().bind_assignment(&expr, &schema(), Some("t"), &target),
        None => planner().bind_expr(&expr, &schema(), Some("t")),
    };
    let shown = match bound {
        Ok(bound) => format!("{} | {:?}\n", type_name(&bound.data_type), bound.scalar.columns()),
        Err(error) => show_error(&error),
    };
    expected.assert_eq(&shown);
}

#[test]
fn expressions_bind_over_columns() {
    check_expr(
        "k + 1",
        None,
        expect![[r#"
        bigint | [0]
    "#]],
    );
    check_expr(
        "t.small * 2",
        None,
        expect![[r#"
        integer | [1]
    "#]],
    );
    check_expr(
        "5",
        Some(DataType::Int64),
        expect![[r#"
            bigint | []
        "#]],
    );
    check_expr(
        "ts + INTERVAL '1 hour' > '2024-01-01'",
        None,
        expect![[r#"
        boolean | [3]
    "#]],
    );
    check_expr(
        "'2024-01-01 00:00:00'",
        Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        expect![[r#"
        timestamp without time zone | []
    "#]],
    );
}

#[test]
fn expressions_that_need_a_query_are_refused() {
    check_expr(
        "(SELECT 1)",
        None,
        expect![[r#"
        ERROR 0A000: subqueries, aggregates and window functions are not supported in this expression
        HINT: Compute the value in a query first.
    "#]],
    );
    check_expr(
        "count(*)",
        None,
        expect![[r#"
        ERROR 0A000: subqueries, aggregates and window functions are not supported in this expression
        HINT: Compute the value in a query first.
    "#]],
    );
    check_expr(
        "nope",
        None,
        expect![[r#"
        ERROR 42703: column "nope" does not exist
    "#]],
    );
    check_expr(
        "ts",
        Some(DataType::Boolean),
        expect![[r#"
        ERROR 42804: expression is of type timestamp without time zone but boolean is expected
        HINT: You will need to rewrite or cast the expression.
    "#]],
    );
}

#[test]
fn type_names() {
    let columns = "CREATE TABLE t (a smallint, b int, c bigint, d real, e double precision, f numeric, g numeric(12,2), \
                   h numeric(5), i varchar(10), j text, k char(3), l boolean, m bytea, n date, o time, p timestamp, \
                   q timestamptz, r interval, s uuid, t json, u jsonb, v int[], w timestamp(3), x decimal(50,4))";
    let mut statements = sql::parse(columns).expect("parses");
    let Some(Statement::CreateTable(create)) = statements.pop().map(|s| s.statement) else { panic!("a table") };
    let names: Vec<String> = create
        .columns
        .iter()
        .map(|c| match data_type(&c.data_type) {
            Ok(found) => format!("{} {}", c.name, type_name(&found)),
            Err(error) => show_error(&error),
        })
        .collect();
    expect!["a smallint, b integer, c bigint, d real, e double precision, f numeric(38,10), g numeric(12,2), h numeric(5,0), i text, j text, k text, l boolean, m bytea, n date, o time without time zone, p timestamp without time zone, q timestamp with time zone, r interval, s text, t text, u text, v integer[], w timestamp without time zone, x numeric(50,4)"].assert_eq(&names.join(", "));
}

fn check_watermark(text: &str, expected: Expect) {
    let create = format!("CREATE SOURCE s (k bigint, ts timestamp, WATERMARK FOR {text}) WITH (connector = 'nexmark')");
    let mut statements = sql::parse(&create).expect("parses");
    let Some(Statement::CreateSource(create)) = statements.pop().map(|s| s.statement) else { panic!("a source") };
    let shown = match watermark_delay(&create.watermark.expect("given"), &schema()) {
        Ok((column, delay_us)) => format!("column {column}, {delay_us} us\n"),
        Err(error) => show_error(&error),
    };
    expected.assert_eq(&shown);
}

#[test]
fn watermarks() {
    check_watermark(
        "ts AS ts - INTERVAL '4 seconds'",
        expect![[r#"
        column 3, 4000000 us
    "#]],
    );
    check_watermark(
        "ts AS ts",
        expect![[r#"
        column 3, 0 us
    "#]],
    );
    check_watermark(
        "ts AS ts + INTERVAL '4 seconds'",
        expect![[r#"
        ERROR 0A000: this form of watermark is not supported
        HINT: Write WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.
    "#]],
    );
    check_watermark(
        "ts AS k - INTERVAL '4 seconds'",
        expect![[r#"
        ERROR 0A000: this form of watermark is not supported
        HINT: Write WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.
    "#]],
    );
    check_watermark(
        "k AS k - INTERVAL '4 seconds'",
        expect![[r#"
        ERROR 42804: watermark column "k" is of type bigint
        HINT: A watermark needs a column of type timestamp.
    "#]],
    );
}

#[test]
fn tables_are_kept_by_key_or_whole() {
    let show = |key: &[usize], changes: TableChanges| {
        let graph = plan_table(ObjectId(16_500), "t", &columns("k b,v b"), key, changes);
        explain_graph(&graph, ExplainFormat::Text, true).join("\n") + "\n"
    };
    expect![[r#"
        materialize by [k] (retracting; key [k]; keeps the rows of the relation)
          | operator 1: k bigint, v bigint
          exchange by [k]
            input t [k, v] (retracting; key [k])
              | operator 0: k bigint, v bigint
    "#]]
    .assert_eq(&show(&[0], TableChanges::Updatable));
    expect![[r#"
        materialize whole rows (append-only; keeps the rows of the relation)
          | operator 1: k bigint, v bigint
          exchange by [k, v]
            input t [k, v] (append-only)
              | operator 0: k bigint, v bigint
    "#]]
    .assert_eq(&show(&[], TableChanges::AppendOnly));
    expect![[r#"
        materialize by [k] (retracting; key [k]; keeps the rows of the relation)
          | operator 3: k bigint, v bigint
          project [k, v] (retracting; key [k])
            | operator 2: k bigint, v bigint
            top 1 per [k] by hw_partition desc, hw_position desc (retracting; key [k]; keeps the rows that are shown)
              | operator 1: k bigint, v bigint, hw_partition text, hw_position bigint
              exchange by [k]
                input t [k, v, hw_partition, hw_position] (append-only)
                  | operator 0: k bigint, v bigint, hw_partition text, hw_position bigint
    "#]]
    .assert_eq(&show(&[0], TableChanges::Upsert));
}

#[test]
fn parameters_get_types_from_their_place() {
    let planned =
        planner().plan_query(&parse_query("SELECT $2::int, price FROM bid WHERE price > $1 AND channel = $3"));
    let types: Vec<String> = planned.expect("plans").parameter_types.iter().map(type_name).collect();
    expect!["bigint, integer, text"].assert_eq(&types.join(", "));
    let query = parse_query("SELECT $1");
    let planned = planner().plan_query_with_parameters(&query, &[Some(DataType::Int64)]).expect("plans");
    assert_eq!(planned.parameter_types, [DataType::Int64]);
    assert_eq!(planner().plan_query(&query).expect("plans").parameter_types, [DataType::Utf8]);
}
