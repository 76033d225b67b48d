//! Instants on their way to a client, in the time zone of its session.
//!
//! Inside, a `timestamptz` is an instant whose Arrow type says UTC. Only here does its type get the session's zone, and
//! the front end writes it as the type says. Values don't change.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use futures::{StreamExt, TryStreamExt};
use types::SqlError;

use crate::api::{Column, Response, RowStream};

/// The response with its instants in `zone`.
pub(crate) fn shown_in(response: Response, zone: &str) -> Response {
    if zone == kernels::functions::UTC {
        return response;
    }
    match response {
        Response::Rows { columns, stream, tag } if has_instants(&columns) => {
            Response::Rows { columns, stream: relabelled(stream, zone), tag }
        }
        Response::CopyOut { columns, stream } if has_instants(&columns) => {
            Response::CopyOut { columns, stream: relabelled(stream, zone) }
        }
        other => other,
    }
}

fn has_instants(columns: &[Column]) -> bool {
    columns.iter().any(|column| in_zone(&column.data_type, "").is_some())
}

fn relabelled(stream: RowStream, zone: &str) -> RowStream {
    let zone = zone.to_string();
    stream.and_then(move |batch| futures::future::ready(relabel(&batch, &zone))).boxed()
}

fn relabel(batch: &RecordBatch, zone: &str) -> Result<RecordBatch, SqlError> {
    let internal = |error: arrow::error::ArrowError| SqlError::internal(error.to_string());
    let mut fields = vec![];
    let mut columns = vec![];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match in_zone(column.data_type(), zone) {
            Some(shown) => {
                columns.push(cast(column, &shown).map_err(internal)?);
                fields.push(Arc::new(field.as_ref().clone().with_data_type(shown)));
            }
            None => {
                columns.push(column.clone());
                fields.push(field.clone());
            }
        }
    }
    // Without columns there is nothing to show, and the batch is returned as it is.
    match columns.is_empty() {
        true => Ok(batch.clone()),
        false => RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal),
    }
}

/// The type with its zone replaced; `None` if it holds no instants.
fn in_zone(data_type: &DataType, zone: &str) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(unit, Some(_)) => Some(DataType::Timestamp(*unit, Some(zone.into()))),
        DataType::List(item) => {
            let shown = in_zone(item.data_type(), zone)?;
            Some(DataType::List(Arc::new(Field::new(item.name(), shown, item.is_nullable()))))
        }
        _ => None,
    }
}
