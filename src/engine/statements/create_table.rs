//! CREATE TABLE: rows given by INSERT, by a query (AS), or by a connector, kept by a dataflow of their own.
//!
//! Without a key a table with a connector is append-only, and INSERT may add rows beside. With a key the connector's rows
//! replace each other (`plan::TableChanges::Upsert`), which no other writer may get into.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use catalog::{CatalogObject, ColumnEntry, GeneratedEntry, ObjectBody, SourceBody, TableBody, WatermarkEntry};
use connectors::{ConfiguredSource, SourceOptions};
use plan::TableChanges;
use sql::CreateTable;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::building::{self, Order};
use super::create_source::{already_exists, arrow_schema, bind_columns, complete_body, source_body, validate};
use super::{Context, create_table_as, keeping_tables, names, tag};
use crate::api::Response;
use crate::recovery;
use crate::session::Session;
use crate::time::now_us;

/// Event times further ahead than this are refused, unless the table says otherwise.
const MAX_FUTURE_US: i64 = 3_600_000_000;

pub(crate) async fn execute(session: &mut Session, create: &CreateTable, text: &str) -> Result<Response, SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    let ddl = shared.ddl.lock().await;
    let catalog = shared.catalog();
    let (schema, name) = names::split(&create.name)?;
    let schema = names::schema_or_default(&catalog, schema, &context.session.search_path)?;
    if catalog.find(Some(&schema), &name).is_some() {
        return already_exists(session, &name, create.if_not_exists, "CREATE TABLE");
    }
    if let Some(query) = &create.query {
        drop(ddl);
        return create_table_as::execute(session, create, query, (schema, name), text).await;
    }
    let table = Table { id: shared.allocate_id(), schema, name, append_only: create.append_only };
    let (columns, generated) = bind_columns(&context, &create.columns)?;
    check_defaults(&context, create)?;
    if create.options.iter().any(|(name, _)| name.eq_ignore_ascii_case("connector")) {
        let (object, configured) = with_connector(table, create, columns, generated, text)?;
        refuse_keeping(&configured.options)?;
        // The lock is not held for as long as the file system likes; `building` looks at the name again.
        drop(ddl);
        validate(&shared, &configured).await?;
        let order = Order { source: Some(configured), ..Order::of(object) };
        return building::execute(session, &shared, order, "CREATE TABLE").await;
    }
    if create.format.is_some() {
        return Err(SqlError::new(SqlState::InvalidParameterValue, "option \"connector\" is required")
            .with_hint("FORMAT and ENCODE describe what a connector reads."));
    }
    let mut object = plain(table, create, columns, text)?;
    let mut tables = keeping_tables::of_table(session, &mut object, &create.options)?;
    tables.push(object);
    let worker = shared.clone();
    let done = tokio::task::spawn_blocking(move || keeping_tables::create(&worker, tables, None));
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("CREATE TABLE")
}

/// A table that is still being filled may be read from the start again after a crash: what it leaves out would be kept twice.
fn refuse_keeping(options: &SourceOptions) -> Result<(), SqlError> {
    let asked = [("late_rows", &options.late_rows), ("dead_letter", &options.dead_letter)];
    match asked.into_iter().find(|(_, table)| table.is_some()) {
        Some((name, _)) => Err(SqlError::unsupported(
            format!("option \"{name}\" of a table with a connector is not supported"),
            "Give it to a source and let a materialized view read that, or see hw_catalog.late_rows and source_errors.",
        )),
        None => Ok(()),
    }
}

/// What a table is called and whether its rows stay.
pub(super) struct Table {
    pub id: ObjectId,
    pub schema: String,
    pub name: String,
    pub append_only: bool,
}

impl Table {
    /// The catalog's entry, with the graph that keeps the rows.
    pub fn object(self, columns: Vec<ColumnEntry>, mut body: TableBody, text: &str) -> CatalogObject {
        let upsert = body.source.is_some() && !body.primary_key.is_empty();
        let changes = match (upsert, body.append_only) {
            (true, _) => TableChanges::Upsert,
            (false, true) => TableChanges::AppendOnly,
            (false, false) => TableChanges::Updatable,
        };
        let graph = plan::plan_table(self.id, &self.name, &columns, &body.primary_key, changes);
        body.plan = serde_json::to_value(&graph).expect("a graph has a JSON form");
        CatalogObject {
            id: self.id,
            schema: self.schema,
            name: self.name,
            columns,
            body: ObjectBody::Table(body),
            depends_on: vec![],
            sql: text.to_string(),
            comment: None,
            created_us: now_us(),
            building: None,
        }
    }

    fn check_watermark(&self) -> Result<(), SqlError> {
        if self.append_only {
            return Ok(());
        }
        let name = &self.name;
        Err(SqlError::new(SqlState::InvalidTableDefinition, "a watermark needs an append-only table")
            .with_detail(format!("Rows of \"{name}\" can be updated and deleted, so no event time is ever final."))
            .with_hint("Add APPEND ONLY after the column list, or leave the WATERMARK out."))
    }
}

fn plain(
    table: Table,
    create: &CreateTable,
    mut columns: Vec<ColumnEntry>,
    text: &str,
) -> Result<CatalogObject, SqlError> {
    let primary_key = primary_key(create, &mut columns)?;
    let watermark = watermark(create, &arrow_schema(&columns))?;
    if watermark.is_some() {
        table.check_watermark()?;
    }
    let append_only = table.append_only;
    let body = TableBody { primary_key, append_only, watermark, ..TableBody::default() };
    Ok(table.object(columns, body, text))
}

/// A table with a connector, and the connector.
fn with_connector(
    mut table: Table,
    create: &CreateTable,
    mut columns: Vec<ColumnEntry>,
    generated: Vec<GeneratedEntry>,
    text: &str,
) -> Result<(CatalogObject, ConfiguredSource), SqlError> {
    if columns.len() == generated.len() {
        let message = format!("table \"{}\" has no columns to read", table.name);
        return Err(SqlError::new(SqlState::InvalidTableDefinition, message)
            .with_hint("List the columns to read: CREATE TABLE name (column type, ...)."));
    }
    let primary_key = primary_key(create, &mut columns)?;
    if table.append_only && !primary_key.is_empty() {
        return Err(SqlError::unsupported(
            "a table with a connector and a primary key cannot be append-only",
            "A row with a key that is present replaces it: leave APPEND ONLY or the PRIMARY KEY out.",
        ));
    }
    table.append_only = primary_key.is_empty();
    if create.watermark.is_some() {
        table.check_watermark()?;
    }
    let of_the_table = |name: &str| ["appendonly", "append_only"].contains(&name.to_ascii_lowercase().as_str());
    let options: Vec<_> = create.options.iter().filter(|(name, _)| !of_the_table(name)).cloned().collect();
    let schema = arrow_schema(&columns);
    let body = source_body(&options, create.format.as_ref(), create.watermark.as_ref(), &schema)?;
    let body = SourceBody { generated, ..body };
    let append_only = table.append_only;
    let table_body = |source: SourceBody| TableBody {
        primary_key: primary_key.clone(),
        append_only,
        watermark: source.watermark.clone(),
        source: Some(source),
        ..TableBody::default()
    };
    let mut object = table.object(columns, table_body(body.clone()), text);
    let configured = recovery::configure(&object, &body)?;
    let completed = table_body(complete_body(body, &configured));
    if let ObjectBody::Table(body) = &mut object.body {
        *body = TableBody { plan: std::mem::take(&mut body.plan), ..completed };
    }
    Ok((object, configured))
}

/// Key columns; they become NOT NULL.
fn primary_key(create: &CreateTable, columns: &mut [ColumnEntry]) -> Result<Vec<usize>, SqlError> {
    let mut primary_key: Vec<usize> = vec![];
    let inline = create.columns.iter().filter(|c| c.primary_key).map(|c| &c.name);
    for key in inline.chain(&create.primary_key) {
        let key = names::fold(key);
        let position = columns.iter().position(|c| c.name == key).ok_or_else(|| {
            SqlError::new(SqlState::UndefinedColumn, format!("column \"{key}\" named in key does not exist"))
        })?;
        if !primary_key.contains(&position) {
            primary_key.push(position);
        }
        columns[position].not_null = true;
    }
    Ok(primary_key)
}

fn check_defaults(context: &Context, create: &CreateTable) -> Result<(), SqlError> {
    for column in &create.columns {
        let Some(default) = &column.default else { continue };
        let target = plan::data_type(&column.data_type).map_err(|e| e.to_sql_error())?;
        let none = Arc::new(Schema::empty());
        context.planner().bind_assignment(default, &none, None, &target).map_err(|e| e.to_sql_error())?;
    }
    Ok(())
}

/// The options of a table without a connector, and its watermark.
pub(super) fn watermark(create: &CreateTable, schema: &SchemaRef) -> Result<Option<WatermarkEntry>, SqlError> {
    let mut allowed_lateness_us = 0;
    for (name, value) in &create.options {
        match name.as_str() {
            "allowed_lateness" => {
                allowed_lateness_us = connectors::parse_duration_us(value).ok_or_else(|| {
                    SqlError::new(
                        SqlState::InvalidParameterValue,
                        format!("invalid value \"{value}\" for option \"{name}\""),
                    )
                    .with_detail(format!("Option \"{name}\" takes a duration."))
                    .with_hint("Write it as '5 s' or '1 hour'.")
                })?;
            }
            // Read by `keeping_tables`.
            "late_rows" | "appendonly" | "append_only" => {}
            _ => {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("unknown option \"{name}\" of a table"),
                )
                .with_detail("Known options: allowed_lateness, late_rows.")
                .with_hint("Correct the name, or remove the option."));
            }
        }
    }
    let Some(definition) = &create.watermark else { return Ok(None) };
    let (column, delay_us) = plan::watermark_delay(definition, schema).map_err(|e| e.to_sql_error())?;
    let idle_timeout_us = i64::MAX;
    Ok(Some(WatermarkEntry {
        column,
        delay_us,
        allowed_lateness_us,
        idle_timeout_us,
        max_future_us: MAX_FUTURE_US,
        follow_clock: false,
    }))
}
