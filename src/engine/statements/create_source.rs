//! CREATE SOURCE: checks connector, options, columns and the outside world, then remembers. Nothing is read yet:
//! reading starts with the first view (design: read once, shared by all views).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::{CatalogChange, CatalogObject, ColumnEntry, GeneratedEntry, ObjectBody, SourceBody, WatermarkEntry};
use sql::{ColumnDefinition, CreateSource, FormatClause, WatermarkDefinition, ast};
use types::{SqlError, SqlState, ToSqlState};

use super::{Context, keeping_tables, names, tag};
use crate::api::Response;
use crate::engine::Shared;
use crate::recovery;
use crate::session::Session;
use crate::time::now_us;

pub(crate) async fn execute(session: &mut Session, create: &CreateSource, text: &str) -> Result<Response, SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    let catalog = shared.catalog();
    let (schema, name) = names::split(&create.name)?;
    let schema = names::schema_or_default(&catalog, schema, &context.session.search_path)?;
    if catalog.find(Some(&schema), &name).is_some() {
        return already_exists(session, &name, create.if_not_exists, "CREATE SOURCE");
    }
    let (columns, generated) = bind_columns(&context, &create.columns)?;
    if columns.len() == generated.len() {
        return Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            format!("source \"{name}\" has no columns to read"),
        )
        .with_hint("List the columns to read: CREATE SOURCE name (column type, ...)."));
    }
    if let Some(column) = columns.iter().find(|c| c.default.is_some()) {
        return Err(SqlError::unsupported(
            format!("column \"{}\" of a source cannot have a default", column.name),
            "What the input does not give is NULL: use coalesce in a generated column or in a view.",
        ));
    }
    let schema_ref = arrow_schema(&columns);
    let mut body = source_body(&create.options, create.format.as_ref(), create.watermark.as_ref(), &schema_ref)?;
    body.generated = generated;
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
        building: None,
    };
    let configured = recovery::configure(&object, &body)?;
    // Before the lock: it may take as long as the file system likes.
    validate(&shared, &configured).await?;
    let _ddl = shared.ddl.lock().await;
    names::schema_or_default(&shared.catalog(), Some(object.schema.clone()), &context.session.search_path)?;
    if shared.catalog().find(Some(&object.schema), &object.name).is_some() {
        return already_exists(session, &object.name, create.if_not_exists, "CREATE SOURCE");
    }
    let mut body = complete_body(body, &configured);
    let time_column = body.watermark.as_ref().map(|w| w.column);
    let keeping = keeping_tables::of_source(session, &object, &configured.options, time_column)?;
    body.keeps = keeping.tables;
    object.depends_on = keeping.tables.ids();
    object.body = ObjectBody::Source(body.clone());
    let worker = shared.clone();
    let done = tokio::task::spawn_blocking(move || {
        keeping_tables::create(&worker, keeping.created, Some(CatalogChange::Put(object.clone())))?;
        recovery::register_source(&worker, &object, configured, &body, None, Default::default())
    });
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("CREATE SOURCE")
}

/// Looks at the outside world: missing files, unreadable directories.
pub(crate) async fn validate(shared: &Shared, configured: &connectors::ConfiguredSource) -> Result<(), SqlError> {
    let checked = configured.config.clone();
    shared.outside.run(move || checked.validate().map_err(|e| e.to_sql_error())).await
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

/// Column definitions → catalog entries, and the bound form of those that are generated.
pub(crate) fn bind_columns(
    context: &Context,
    columns: &[ColumnDefinition],
) -> Result<(Vec<ColumnEntry>, Vec<GeneratedEntry>), SqlError> {
    let mut bound: Vec<ColumnEntry> = vec![];
    for column in columns {
        let name = names::fold(&column.name);
        if bound.iter().any(|c| c.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DuplicateColumn, message));
        }
        if column.generated.is_some() && column.default.is_some() {
            let message = format!("both default and generation expression specified for column \"{name}\"");
            return Err(SqlError::new(SqlState::SyntaxError, message));
        }
        bound.push(ColumnEntry {
            data_type: declared_type(column)?.unwrap_or(DataType::Null),
            not_null: column.not_null || column.primary_key,
            default: column.default.as_ref().map(|e| e.to_string()),
            generated: column.generated.as_ref().map(|e| e.to_string()),
            comment: None,
            name,
        });
    }
    let generated = bind_generated(context, columns, &mut bound)?;
    Ok((bound, generated))
}

/// `None`: Flink's `name AS expr`, which takes the expression's type.
fn declared_type(column: &ColumnDefinition) -> Result<Option<DataType>, SqlError> {
    if column.data_type == ast::DataType::Unspecified {
        return Ok(None);
    }
    plan::data_type(&column.data_type).map(Some).map_err(|e| e.to_sql_error())
}

fn bind_generated(
    context: &Context,
    columns: &[ColumnDefinition],
    bound: &mut [ColumnEntry],
) -> Result<Vec<GeneratedEntry>, SqlError> {
    let schema = arrow_schema(bound);
    let generated: Vec<usize> = (0..columns.len()).filter(|c| columns[*c].generated.is_some()).collect();
    let mut entries = vec![];
    for column in &generated {
        let definition = &columns[*column];
        let expr = definition.generated.as_ref().expect("listed");
        let target = declared_type(definition)?;
        let made = context.planner().bind_generated(expr, &schema, &generated, target.as_ref());
        let made = made.map_err(|e| e.to_sql_error())?;
        bound[*column].data_type = made.data_type;
        let expr = serde_json::to_value(&made.expr).expect("an expression has a JSON form");
        entries.push(GeneratedEntry { column: *column, reads: made.reads, expr });
    }
    Ok(entries)
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
        generated: vec![],
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
