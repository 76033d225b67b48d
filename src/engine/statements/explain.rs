//! EXPLAIN of queries and of CREATE MATERIALIZED VIEW: plans without running them.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use sql::{ExplainOptions, Statement, SubscribeTarget};
use types::{SqlError, ToSqlState};

use super::{create_materialized_view, query};
use crate::api::{Column, Described, Response};
use crate::reads;
use crate::session::Session;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

pub(crate) fn described() -> Described {
    Described { parameters: vec![], columns: Some(Column::of_schema(&schema())) }
}

pub(crate) async fn execute(
    session: &mut Session,
    options: ExplainOptions,
    statement: &Statement,
) -> Result<Response, SqlError> {
    let context = session.context();
    if options.analyze {
        return Err(SqlError::unsupported(
            "EXPLAIN ANALYZE is not supported",
            "hw_catalog.operators has live figures.",
        ));
    }
    let lines = match statement {
        Statement::Query(select) => {
            let planned = query::plan(&context, select, &[])?;
            if options.verbose {
                reads::explain_physical(&context.shared, planned).await?
            } else {
                plan::explain_query(&planned, options.format, options.verbose).map_err(|e| e.to_sql_error())?
            }
        }
        Statement::CreateMaterializedView(create) => {
            let planned = create_materialized_view::plan(&context, create, context.shared.allocate_id())?;
            planned.notices.iter().for_each(|notice| session.notice(notice));
            plan::explain_view(&planned, options.format, options.verbose)
        }
        Statement::Subscribe(subscribe) => {
            let select = match &subscribe.target {
                SubscribeTarget::Query(select) => select.as_ref().clone(),
                SubscribeTarget::Relation(name) => sql::select_from(name, None),
            };
            let planner = context.planner();
            let planned = planner
                .plan_view(context.shared.allocate_id(), &select, &[], Default::default())
                .map_err(|e| e.to_sql_error())?;
            plan::explain_view(&planned, options.format, options.verbose)
        }
        _ => {
            return Err(SqlError::unsupported(
                "EXPLAIN of this statement is not supported",
                "Queries, CREATE MATERIALIZED VIEW and SUBSCRIBE can be explained.",
            ));
        }
    };
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(lines))])
        .map_err(|e| SqlError::internal(e.to_string()))?;
    let stream = futures::stream::once(async move { Ok(batch) }).boxed();
    Ok(Response::Rows { columns: Column::of_schema(&schema()), stream, tag: "EXPLAIN" })
}
