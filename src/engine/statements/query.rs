//! SELECT and its like: plan, choose the epoch, run on the query threads, stream.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::StreamExt;
use plan::PlannedQuery;
use sql::ast;
use types::{SqlError, ToSqlState};

use super::Context;
use crate::api::{Column, Described, Response, RowStream};
use crate::reads::{self, Reading};
use crate::session::Session;

pub(crate) fn plan(
    context: &Context,
    query: &ast::Query,
    parameters: &[Option<DataType>],
) -> Result<PlannedQuery, SqlError> {
    context.planner().plan_query_with_parameters(query, parameters).map_err(|e| e.to_sql_error())
}

pub(crate) fn describe(
    context: &Context,
    query: &ast::Query,
    parameters: &[Option<DataType>],
) -> Result<Described, SqlError> {
    let planned = plan(context, query, parameters)?;
    let columns = Some(Column::of_schema(&planned.schema));
    Ok(Described { parameters: planned.parameter_types, columns })
}

pub(crate) async fn execute(
    session: &mut Session,
    query: &ast::Query,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    let context = session.context();
    let hints: Vec<Option<DataType>> = parameters.iter().map(|p| Some(p.data_type().clone())).collect();
    let planned = plan(&context, query, &hints)?;
    let columns = Column::of_schema(&planned.schema);
    let reading = session.reading(&planned);
    let stream = reads::run(context.shared.clone(), planned, parameters.to_vec(), reading).await?;
    Ok(Response::Rows { columns, stream, tag: "SELECT" })
}

/// All rows of a query that another statement needs.
pub(crate) async fn collect(
    context: &Context,
    planned: PlannedQuery,
    parameters: &[ArrayRef],
    reading: Reading,
) -> Result<Vec<RecordBatch>, SqlError> {
    let mut stream: RowStream = reads::run(context.shared.clone(), planned, parameters.to_vec(), reading).await?;
    let mut batches = vec![];
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

/// The same columns (`range` of each batch) under the names of `schema`.
pub(crate) fn with_schema(
    batches: Vec<RecordBatch>,
    schema: &SchemaRef,
    range: Range<usize>,
) -> Result<Vec<RecordBatch>, SqlError> {
    let rename = |batch: RecordBatch| {
        RecordBatch::try_new(Arc::clone(schema), batch.columns()[range.clone()].to_vec())
            .map_err(|e| SqlError::internal(e.to_string()))
    };
    batches.into_iter().map(rename).collect()
}

/// The same columns, any of which may hold NULL.
pub(crate) fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
