//! Expressions over a delta, with failing rows told apart from the rest.
//!
//! The fast path evaluates the batch at once. If that fails, halves are tried down to single rows; a row counts as
//! failing only if it fails alone. So what AND, OR and CASE guard never depends on the other rows of the batch.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::Schema;
use types::{DeltaBatch, ErrorDelta, ToSqlState, values_text};

use super::CompiledExpr;
use crate::KernelError;

/// The values of the rows that did not fail.
#[derive(Debug)]
pub struct Evaluated {
    /// One array per expression, one value per surviving row.
    pub columns: Vec<ArrayRef>,
    /// Rows of the input that survive, ascending; `None`: all.
    pub kept: Option<UInt32Array>,
    /// One per failing row, with that row's diff.
    pub errors: Vec<ErrorDelta>,
}

/// Values of one expression where failing rows are NULL, and the failures.
struct Isolated {
    values: ArrayRef,
    failures: Vec<(usize, KernelError)>,
}

/// What becomes of a row on which an expression fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// It becomes an error that names it; the view can't be read.
    #[default]
    Fail,
    /// It becomes an error that names it; errors are rows of a view of their own.
    DeadLetter,
    /// It stays, and the failing expression is NULL.
    Null,
}

/// Evaluates `exprs` over `batch`. A row on which any expression fails is left out and becomes an error (that of the
/// first such expression), unless `on_error` says otherwise. `input` has the names of the columns.
///
/// Errors: everything that is not `KernelError::Evaluation`; `TooLarge` if the values of half the rows may fit.
pub fn evaluate_delta(
    exprs: &[CompiledExpr],
    batch: &DeltaBatch,
    input: &Schema,
    on_error: OnError,
) -> Result<Evaluated, KernelError> {
    let mut columns = Vec::with_capacity(exprs.len());
    let mut failures: BTreeMap<usize, KernelError> = BTreeMap::new();
    for expr in exprs {
        match expr.evaluate(batch.rows()) {
            Ok(values) => columns.push(values),
            Err(KernelError::Evaluation { .. } | KernelError::TooLarge) => {
                let isolated = isolate(expr, batch.rows())?;
                columns.push(isolated.values);
                for (row, error) in isolated.failures {
                    failures.entry(row).or_insert(error);
                }
            }
            Err(other) => return Err(other),
        }
    }
    if on_error == OnError::Null || failures.is_empty() {
        return Ok(Evaluated { columns, kept: None, errors: vec![] });
    }
    let kept: UInt32Array =
        (0..batch.num_rows()).filter(|row| !failures.contains_key(row)).map(|row| row as u32).collect();
    let columns = columns.iter().map(|column| take(column, &kept, None).expect("kept rows lie inside the batch"));
    let columns = columns.collect();
    let errors = failures.into_iter().map(|(row, error)| error_delta(error, batch, row, input)).collect();
    Ok(Evaluated { columns, kept: Some(kept), errors })
}

fn error_delta(error: KernelError, batch: &DeltaBatch, row: usize, input: &Schema) -> ErrorDelta {
    let fields = input.fields().iter().map(AsRef::as_ref);
    let named = values_text(fields, batch.rows().columns(), row);
    ErrorDelta { row: Some(named), ..ErrorDelta::new(error.sql_state(), error.to_string(), batch.diff(row)) }
}

fn isolate(expr: &CompiledExpr, rows: &RecordBatch) -> Result<Isolated, KernelError> {
    let mut pieces = vec![];
    let mut failures = vec![];
    halve(expr, rows, 0, rows.num_rows(), &mut pieces, &mut failures)?;
    let pieces: Vec<&dyn arrow::array::Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
    let values = concat(&pieces).map_err(|error| KernelError::from_arrow(&error))?;
    Ok(Isolated { values, failures })
}

fn halve(
    expr: &CompiledExpr,
    rows: &RecordBatch,
    start: usize,
    len: usize,
    pieces: &mut Vec<ArrayRef>,
    failures: &mut Vec<(usize, KernelError)>,
) -> Result<(), KernelError> {
    match expr.evaluate(&rows.slice(start, len)) {
        Ok(values) => pieces.push(values),
        Err(error @ (KernelError::Evaluation { .. } | KernelError::TooLarge)) if len == 1 => {
            pieces.push(new_null_array(&expr.data_type(), 1));
            failures.push((start, error));
        }
        Err(KernelError::Evaluation { .. } | KernelError::TooLarge) => {
            let middle = len / 2;
            halve(expr, rows, start, middle, pieces, failures)?;
            halve(expr, rows, start + middle, len - middle, pieces, failures)?;
        }
        Err(other) => return Err(other),
    }
    Ok(())
}
