//! CREATE TABLE: rows given by INSERT (or by a connector), kept by a dataflow of their own.

use catalog::{CatalogObject, ObjectBody, TableBody, WatermarkEntry};
use sql::CreateTable;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::create_source::{already_exists, arrow_schema, bind_columns};
use super::{Context, keeping_tables, names, tag};
use crate::api::Response;
use crate::session::Session;
use crate::time::now_us;

/// Event times further ahead than this are refused, unless the table says otherwise.
const MAX_FUTURE_US: i64 = 3_600_000_000;

pub(crate) async fn execute(session: &mut Session, create: &CreateTable, text: &str) -> Result<Response, SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    if create.query.is_some() {
        return Err(SqlError::unsupported(
            "CREATE TABLE AS is not supported",
            "Create the table, then INSERT INTO … SELECT; or create a materialized view.",
        ));
    }
    if create.options.iter().any(|(name, _)| name == "connector") {
        return Err(SqlError::unsupported(
            "a table with a connector is not supported",
            "Create a source and a materialized view SELECT * FROM it: its rows are stored.",
        ));
    }
    let _ddl = shared.ddl.lock().await;
    let catalog = shared.catalog();
    let (schema, name) = names::split(&create.name)?;
    let schema = names::schema_or_default(&catalog, schema, &context.session.search_path)?;
    if catalog.find(Some(&schema), &name).is_some() {
        return already_exists(session, &name, create.if_not_exists, "CREATE TABLE");
    }
    let mut object = bind(&context, create, shared.allocate_id(), schema, name, text)?;
    let mut tables = keeping_tables::of_table(session, &mut object, &create.options)?;
    tables.push(object);
    let worker = shared.clone();
    let done = tokio::task::spawn_blocking(move || keeping_tables::create(&worker, tables, None));
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("CREATE TABLE")
}

fn bind(
    context: &Context,
    create: &CreateTable,
    id: ObjectId,
    schema: String,
    name: String,
    text: &str,
) -> Result<CatalogObject, SqlError> {
    let mut columns = bind_columns(context, &create.columns)?;
    let schema_ref = arrow_schema(&columns);
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
    let watermark = watermark(create, &schema_ref)?;
    if watermark.is_some() && !create.append_only {
        return Err(SqlError::new(SqlState::InvalidTableDefinition, "a watermark needs an append-only table")
            .with_detail(format!("Rows of \"{name}\" can be updated and deleted, so no event time is ever final."))
            .with_hint("Add APPEND ONLY after the column list, or leave the WATERMARK out."));
    }
    for column in &create.columns {
        let planner = context.planner();
        let target = plan::data_type(&column.data_type).map_err(|e| e.to_sql_error())?;
        if let Some(default) = &column.default {
            let none = std::sync::Arc::new(arrow::datatypes::Schema::empty());
            planner.bind_assignment(default, &none, None, &target).map_err(|e| e.to_sql_error())?;
        }
        if let Some(generated) = &column.generated {
            planner.bind_assignment(generated, &schema_ref, None, &target).map_err(|e| e.to_sql_error())?;
        }
    }
    let graph = plan::plan_table(id, &name, &columns, &primary_key, create.append_only);
    let plan = serde_json::to_value(&graph).expect("a graph has a JSON form");
    let append_only = create.append_only;
    let body = TableBody { primary_key, append_only, watermark, late_rows: None, source: None, plan };
    Ok(CatalogObject {
        id,
        schema,
        name,
        columns,
        body: ObjectBody::Table(body),
        depends_on: vec![],
        sql: text.to_string(),
        comment: None,
        created_us: now_us(),
    })
}

fn watermark(create: &CreateTable, schema: &arrow::datatypes::SchemaRef) -> Result<Option<WatermarkEntry>, SqlError> {
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
