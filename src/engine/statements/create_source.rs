//! CREATE SOURCE: checks connector, options, columns and the outside world, then remembers. Nothing is read yet:
//! reading starts with the first view (design: read once, shared by all views).

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use catalog::{CatalogChange, CatalogObject, ColumnEntry, ObjectBody, SourceBody, WatermarkEntry};
use sql::{ColumnDefinition, CreateSource, FormatClause, WatermarkDefinition};
use types::{SqlError, SqlState, ToSqlState};

use super::{Context, keeping_tables, names, tag};
use crate::api::Response;
use crate::recovery;
use crate::session::Session;
use crate::time::now_us;

pub(crate) async fn execute(session: &mut Session, create: &CreateSource, text: &str) -> Result<Response, SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    let _ddl = shared.ddl.lock().await;
    let catalog = shared.catalog();
    let (schema, name) = names::split(&create.name)?;
    let schema = names::schema_or_default(&catalog, schema, &context.session.search_path)?;
    if catalog.find(Some(&schema), &name).is_some() {
        return already_exists(session, &name, create.if_not_exists, "CREATE SOURCE");
    }
    let columns = bind_columns(&context, &create.columns)?;
    if columns.is_empty() {
        return Err(SqlError::new(SqlState::InvalidTableDefinition, format!("source \"{name}\" has no columns"))
            .with_hint("List the columns to read: CREATE SOURCE name (column type, ...)."));
    }
    if let Some(generated) = columns.iter().find(|c| c.generated.is_some() || c.default.is_some()) {
        return Err(SqlError::unsupported(
            format!("column \"{}\" of a source cannot be computed", generated.name),
            "Compute it in a view on the source.",
        ));
    }
    let schema_ref = arrow_schema(&columns);
    let body = source_body(&create.options, create.format.as_ref(), create.watermark.as_ref(), &schema_ref)?;
    let mut object = CatalogObject {
        id: shared.allocate_id(),
        schema,
        name,
        columns,
        body: ObjectBody::Source(body.clone()),
        depends_on: vec![],
        sql: text.to_string(),
        comment: None,
        created_us: now_us(),
    };
    let configured = recovery::configure(&object, &body)?;
    let checked = configured.config.clone();
    let validated = tokio::task::spawn_blocking(move || checked.validate()).await;
    validated.map_err(|e| SqlError::internal(e.to_string()))?.map_err(|e| e.to_sql_error())?;
    let mut body = complete_body(body, &configured);
    let time_column = body.watermark.as_ref().map(|w| w.column);
    let keeping = keeping_tables::of_source(session, &object, &configured.options, time_column)?;
    body.keeps = keeping.tables;
    object.depends_on = keeping.tables.ids();
    object.body = ObjectBody::Source(body.clone());
    let worker = shared.clone();
    let done = tokio::task::spawn_blocking(move || {
        keeping_tables::create(&worker, keeping.created, Some(CatalogChange::Put(object.clone())))?;
        recovery::register_source(&worker, &object, configured, &body, None)
    });
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("CREATE SOURCE")
}

/// What IF NOT EXISTS makes of a name that is taken.
pub(crate) fn already_exists(
    session: &Session,
    name: &str,
    if_not_exists: bool,
    command: &str,
) -> Result<Response, SqlError> {
    if !if_not_exists {
        return Err(SqlError::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
    }
    session.notice(format!("relation \"{name}\" already exists, skipping"));
    tag(command)
}

/// Column definitions → catalog entries.
pub(crate) fn bind_columns(_context: &Context, columns: &[ColumnDefinition]) -> Result<Vec<ColumnEntry>, SqlError> {
    let mut bound: Vec<ColumnEntry> = vec![];
    for column in columns {
        let name = names::fold(&column.name);
        if bound.iter().any(|c| c.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DuplicateColumn, message));
        }
        bound.push(ColumnEntry {
            data_type: plan::data_type(&column.data_type).map_err(|e| e.to_sql_error())?,
            not_null: column.not_null || column.primary_key,
            default: column.default.as_ref().map(|e| e.to_string()),
            generated: column.generated.as_ref().map(|e| e.to_string()),
            comment: None,
            name,
        });
    }
    Ok(bound)
}

pub(crate) fn arrow_schema(columns: &[ColumnEntry]) -> SchemaRef {
    let fields: Vec<Field> = columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// The persisted form of the clauses, before the connector has checked them.
pub(crate) fn source_body(
    options: &[(String, String)],
    format: Option<&FormatClause>,
    watermark: Option<&WatermarkDefinition>,
    schema: &SchemaRef,
) -> Result<SourceBody, SqlError> {
    let format = format.cloned().unwrap_or_default();
    let watermark = watermark
        .map(|definition| plan::watermark_delay(definition, schema).map_err(|e| e.to_sql_error()))
        .transpose()?
        .map(|(column, delay_us)| WatermarkEntry {
            column,
            delay_us,
            allowed_lateness_us: 0,
            idle_timeout_us: 0,
            max_future_us: 0,
            follow_clock: false,
        });
    Ok(SourceBody {
        options: options.to_vec(),
        format: format.format,
        encode: format.encode,
        format_options: format.options,
        watermark,
        bounded: false,
        keeps: Default::default(),
    })
}

/// What the connector has resolved: options that make replay exact, event-time options, boundedness.
pub(crate) fn complete_body(mut body: SourceBody, configured: &connectors::ConfiguredSource) -> SourceBody {
    body.options = configured.resolved_options.clone();
    body.bounded = configured.config.bounded();
    if let Some(watermark) = &mut body.watermark {
        watermark.allowed_lateness_us = configured.options.allowed_lateness_us;
        watermark.idle_timeout_us = configured.options.idle_timeout_us;
        watermark.max_future_us = configured.options.max_future_us;
        watermark.follow_clock = configured.options.idle_advance == connectors::IdleAdvance::WallClock;
    }
    body
}
