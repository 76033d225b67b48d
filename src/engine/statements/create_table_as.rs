//! CREATE TABLE … AS: a table with the columns of a query and its rows at one epoch. Unlike a view it does not follow.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use catalog::{ColumnEntry, TableBody};
use sql::{CreateTable, ast};
use types::{DeltaBatch, SqlError, SqlState};

use super::building::{self, Order};
use super::create_source::arrow_schema;
use super::create_table::{Table, watermark};
use super::{query, write};
use crate::api::Response;
use crate::session::Session;

/// `name`: schema and name of the table.
pub(super) async fn execute(
    session: &mut Session,
    create: &CreateTable,
    query: &ast::Query,
    (schema, name): (String, String),
    text: &str,
) -> Result<Response, SqlError> {
    if !create.columns.is_empty() || create.format.is_some() {
        return Err(SqlError::unsupported(
            "column definitions and FORMAT before AS are not supported",
            "The query gives the columns: name them there with AS, cast them to the types you need.",
        ));
    }
    let context = session.context();
    let shared = context.shared.clone();
    shared.check_memory()?;
    let planned = query::plan(&context, query, &[])?;
    if !planned.parameter_types.is_empty() {
        return Err(SqlError::new(SqlState::UndefinedParameter, "there is no parameter $1"));
    }
    let columns = columns(&planned.schema)?;
    // Refuses options nobody knows; a table that is filled once has no watermark.
    watermark(create, &planned.schema)?;
    let schema_ref = arrow_schema(&columns);
    let reading = session.reading(&planned);
    let batches = query::collect(&context, planned, &[], reading).await?;
    let named = |batch: &RecordBatch| RecordBatch::try_new(schema_ref.clone(), batch.columns().to_vec());
    let batches = batches.iter().map(named).collect::<Result<Vec<_>, _>>();
    let rows = write::concat(&schema_ref, &batches.map_err(|e| SqlError::internal(e.to_string()))?)?;
    let count = rows.num_rows();
    let append_only = create.append_only;
    let body = TableBody { append_only, ..TableBody::default() };
    let table = Table { id: shared.allocate_id(), schema, name, append_only };
    let object = table.object(columns, body, text);
    let order = Order { rows: Some(DeltaBatch::inserts(rows)), ..Order::of(object) };
    building::execute(session, &shared, order, "CREATE TABLE").await?;
    super::tag(format!("SELECT {count}"))
}

fn columns(schema: &SchemaRef) -> Result<Vec<ColumnEntry>, SqlError> {
    let mut columns: Vec<ColumnEntry> = vec![];
    for field in schema.fields() {
        if columns.iter().any(|c| c.name == *field.name()) {
            let message = format!("column \"{}\" specified more than once", field.name());
            return Err(SqlError::new(SqlState::DuplicateColumn, message));
        }
        columns.push(ColumnEntry {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            not_null: false,
            default: None,
            generated: None,
            comment: None,
        });
    }
    if columns.is_empty() {
        return Err(SqlError::new(SqlState::InvalidTableDefinition, "the query of CREATE TABLE AS has no columns"));
    }
    Ok(columns)
}
