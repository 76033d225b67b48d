//! SHOW and DESCRIBE: small tables about the catalog and the session.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use catalog::ObjectBody;
use futures::StreamExt;
use sql::{Show, ast};
use types::{SqlError, SqlState};

use super::names;
use crate::api::{Column, Described, Response};
use crate::session::Session;
use crate::system;

/// Rows of text under these column names.
fn answer(columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Result<Response, SqlError> {
    let fields: Vec<Field> = columns.iter().map(|c| Field::new(*c, DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays: Vec<ArrayRef> = (0..columns.len())
        .map(|i| Arc::new(rows.iter().map(|row| row[i].as_deref()).collect::<StringArray>()) as ArrayRef)
        .collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|e| SqlError::internal(e.to_string()))?;
    let stream = futures::stream::once(async move { Ok(batch) }).boxed();
    Ok(Response::Rows { columns: Column::of_schema(&schema), stream, tag: "SHOW" })
}

const COLUMNS: &[&str] = &["Name", "Type", "Nullable", "Description"];

fn headings(show: &Show) -> Vec<String> {
    let fixed: &[&str] = match show {
        Show::Parameter(Some(name)) => return vec![name.clone()],
        Show::Parameter(None) => &["name", "setting", "description"],
        Show::Sources | Show::Tables | Show::Views | Show::MaterializedViews => &["Schema", "Name"],
        Show::Schemas => &["Name"],
        Show::Databases => &["Name"],
        Show::Jobs => &["Id", "Statement", "Rows"],
        Show::Watermarks => &["Source", "Watermark", "Ended"],
        Show::Columns(_) => COLUMNS,
        Show::Create(_) => &["Name", "Create"],
    };
    fixed.iter().map(|s| s.to_string()).collect()
}

pub(crate) fn describe(show: &Show) -> Result<Described, SqlError> {
    let column = |name: String| Column { name, data_type: DataType::Utf8, wire_type: None, origin: None };
    Ok(Described { parameters: vec![], columns: Some(headings(show).into_iter().map(column).collect()) })
}

pub(crate) fn describe_columns() -> Described {
    let column =
        |name: &&str| Column { name: name.to_string(), data_type: DataType::Utf8, wire_type: None, origin: None };
    Described { parameters: vec![], columns: Some(COLUMNS.iter().map(column).collect()) }
}

pub(crate) fn execute(session: &mut Session, show: &Show) -> Result<Response, SqlError> {
    let headings = headings(show);
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let catalog = session.engine.shared.catalog().seen_from(&session.temporary_schema());
    let listed = |wanted: fn(&ObjectBody) -> bool| {
        let objects = catalog.objects.values().filter(move |o| wanted(&o.body));
        objects.map(|o| vec![Some(o.schema.clone()), Some(o.name.clone())]).collect::<Vec<_>>()
    };
    let rows = match show {
        Show::Parameter(Some(name)) => {
            let value = session.parameters.get(name).ok_or_else(|| {
                SqlError::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
            })?;
            vec![vec![Some(value)]]
        }
        Show::Parameter(None) => {
            let all = session.parameters.all();
            all.map(|(name, value)| vec![Some(name.clone()), Some(value.clone()), None]).collect()
        }
        Show::Sources => listed(|body| matches!(body, ObjectBody::Source(_))),
        Show::Tables => listed(|body| matches!(body, ObjectBody::Table(_))),
        Show::Views => listed(|body| matches!(body, ObjectBody::View { .. })),
        Show::MaterializedViews => listed(|body| matches!(body, ObjectBody::MaterializedView(_))),
        Show::Schemas => {
            let system = ["hw_catalog", "information_schema", "pg_catalog"].map(str::to_string);
            catalog.schemas.iter().cloned().chain(system).map(|name| vec![Some(name)]).collect()
        }
        Show::Databases => vec![vec![Some(session.database.clone())]],
        Show::Jobs => {
            let jobs = session.engine.shared.jobs.read();
            jobs.into_iter()
                .map(|job| vec![Some(job.id.to_string()), Some(job.description), Some(job.rows.to_string())])
                .collect()
        }
        Show::Watermarks => {
            let sources = session.engine.shared.lock_sources();
            let row = |source: &Arc<crate::relation::SourceRuntime>| {
                let reading = source.stats.read();
                let watermark = reading.watermark.map(system::watermark_text);
                vec![Some(source.name.clone()), watermark, Some(reading.ended.to_string())]
            };
            sources.values().map(row).collect()
        }
        Show::Columns(name) => column_rows(session, name)?,
        Show::Create(name) => {
            let (schema, name) = names::split(name)?;
            let object = session.context().resolve(&catalog, schema.as_deref(), &name)?.clone();
            vec![vec![Some(object.qualified_name()), Some(object.sql.clone())]]
        }
    };
    answer(&headings, rows)
}

pub(crate) fn describe_relation(session: &mut Session, name: &ast::ObjectName) -> Result<Response, SqlError> {
    let rows = column_rows(session, name)?;
    answer(COLUMNS, rows)
}

fn column_rows(session: &Session, name: &ast::ObjectName) -> Result<Vec<Vec<Option<String>>>, SqlError> {
    let (schema, name) = names::split(name)?;
    let catalog = session.engine.shared.catalog();
    let object = session.context().resolve(&catalog, schema.as_deref(), &name)?;
    let row = |column: &catalog::ColumnEntry| {
        let nullable = if column.not_null { "not null" } else { "" };
        vec![
            Some(column.name.clone()),
            Some(plan::type_name(&column.data_type)),
            Some(nullable.to_string()),
            column.comment.clone(),
        ]
    };
    Ok(object.columns.iter().map(row).collect())
}
