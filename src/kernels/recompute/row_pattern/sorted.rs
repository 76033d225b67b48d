//! The rows of all partitions in their order, and what each row gives by itself.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{DataType, Int64Type};
use std::sync::Arc;

use super::compile::{CompiledMatch, RowValue};
use crate::KernelError;

#[derive(Debug)]
pub(super) struct Sorted {
    pub rows: RecordBatch,
    /// By `CompiledMatch::row_exprs`; `None` if it fails for some row: then it is evaluated where it is needed.
    pub values: Vec<Option<ArrayRef>>,
    /// What WITHIN measures.
    pub times: Option<Int64Array>,
}

/// A row as navigation and aggregates see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenRow<'a> {
    /// Its index in [`Sorted::rows`].
    pub row: usize,
    pub label: Option<&'a str>,
    pub match_number: u64,
}

impl Sorted {
    pub fn new(
        compiled: &CompiledMatch,
        rows: &RecordBatch,
        partitions: &[Range<usize>],
    ) -> Result<Sorted, KernelError> {
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        compiled.order.sort_partitions(rows, partitions, &mut order)?;
        let rows = take_record_batch(rows, &UInt32Array::from(order)).map_err(|e| KernelError::from_arrow(&e))?;
        let mut values = vec![];
        for expr in &compiled.row_exprs {
            values.push(match expr.evaluate(&rows) {
                Ok(values) => Some(values),
                Err(KernelError::Evaluation { .. }) => None,
                Err(other) => return Err(other),
            });
        }
        let times = compiled.limit.map(|limit| times(rows.column(limit.column))).transpose()?;
        Ok(Sorted { rows, values, times })
    }

    /// `value` at each of `targets`, NULL where there is none.
    pub fn at(
        &self,
        compiled: &CompiledMatch,
        value: &RowValue,
        targets: &[Option<SeenRow<'_>>],
    ) -> Result<ArrayRef, KernelError> {
        let known = value.by_itself.and_then(|index| self.values[index].as_ref());
        if let Some(values) = known {
            let indices: UInt32Array = targets.iter().map(|seen| seen.map(|seen| seen.row as u32)).collect();
            return take(values, &indices, None).map_err(|error| KernelError::from_arrow(&error));
        }
        let present: Vec<SeenRow<'_>> = targets.iter().flatten().copied().collect();
        let values = value.expr.evaluate(&self.seen(compiled, &present)?)?;
        let mut next = 0..present.len() as u32;
        let indices: UInt32Array = targets.iter().map(|seen| seen.and_then(|_| next.next())).collect();
        take(&values, &indices, None).map_err(|error| KernelError::from_arrow(&error))
    }

    /// Rows of `CompiledMatch::row_schema`.
    pub fn seen(&self, compiled: &CompiledMatch, rows: &[SeenRow<'_>]) -> Result<RecordBatch, KernelError> {
        let indices: UInt32Array = rows.iter().map(|seen| Some(seen.row as u32)).collect();
        let mut columns = super::super::take_all(self.rows.columns(), &indices)?;
        let labels: StringArray = rows.iter().map(|seen| seen.label).collect();
        let numbers: Int64Array = rows.iter().map(|seen| Some(seen.match_number as i64)).collect();
        columns.push(Arc::new(labels));
        columns.push(Arc::new(numbers));
        RecordBatch::try_new(compiled.row_schema.clone(), columns)
            .map_err(|error| KernelError::internal(format!("rows of a match: {error}")))
    }
}

/// In the column's own unit: microseconds, days, or what integers count.
fn times(column: &ArrayRef) -> Result<Int64Array, KernelError> {
    let arrow = |error| KernelError::from_arrow(&error);
    let column = match column.data_type() {
        DataType::Date32 => cast(column, &DataType::Int32).map_err(arrow)?,
        _ => column.clone(),
    };
    let column = cast(&column, &DataType::Int64).map_err(arrow)?;
    debug_assert_eq!(column.len(), column.as_primitive::<Int64Type>().len());
    Ok(column.as_primitive::<Int64Type>().clone())
}
