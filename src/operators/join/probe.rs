//! Probing: pairs of delta rows and stored rows with equal keys, in bounded portions; the pairs as joined rows; the
//! residual condition on them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use kernels::{CompiledExpr, KernelError};
use types::{DeltaBatch, ErrorDelta, ToSqlState, values_text};

use super::side::{Probing, Side};
use crate::OperatorError;

/// Matching (delta row, stored id), with the product of their weights.
#[derive(Default)]
pub(super) struct Pairs {
    pub rows: Vec<u32>,
    pub ids: Vec<u32>,
    pub diffs: Vec<i64>,
    /// The waiting segment that `ids` are rows of; `None`: ids of indexed rows.
    pub segment: Option<usize>,
}

/// Where a probing stands: the next pair to look at. First the index, then one waiting segment after the other.
#[derive(Default, Clone, Copy)]
pub(super) struct Cursor {
    segment: Option<usize>,
    /// Probing row; in a segment, stored row.
    pub row: usize,
    /// Next row of the current key's chain; `None`: the key is still to be looked up.
    pub id: Option<u32>,
}

impl Pairs {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut flags = keep.iter();
        self.rows.retain(|_| *flags.next().expect("one flag per pair"));
        let mut flags = keep.iter();
        self.ids.retain(|_| *flags.next().expect("one flag per pair"));
        let mut flags = keep.iter();
        self.diffs.retain(|_| *flags.next().expect("one flag per pair"));
    }
}

/// The next pairs, at most about `limit` of them; empty when all rows have been probed.
pub(super) fn next_pairs(
    probing: &Probing,
    stored: &Side,
    cursor: &mut Cursor,
    limit: usize,
) -> Result<Pairs, OperatorError> {
    loop {
        let mut pairs = match cursor.segment {
            None => indexed_pairs(probing, stored, cursor, limit),
            Some(index) => stored.waiting.segment(index).next_pairs(probing, &stored.keys, cursor, limit)?,
        };
        pairs.segment = cursor.segment;
        let next = cursor.segment.map_or(0, |index| index + 1);
        if !pairs.is_empty() || next >= stored.waiting.len() {
            return Ok(pairs);
        }
        *cursor = Cursor { segment: Some(next), ..Cursor::default() };
    }
}

fn indexed_pairs(probing: &Probing, stored: &Side, cursor: &mut Cursor, limit: usize) -> Pairs {
    let mut pairs = Pairs::default();
    let cells = stored.key_cells(probing);
    while cursor.row < probing.batch.num_rows() && pairs.len() < limit {
        let row = cursor.row;
        let diff = probing.batch.diff(row);
        let mut next = cursor.id.or_else(|| stored.first_of(&cells, probing.hashes[row], row));
        while let Some(id) = next {
            if pairs.len() == limit {
                break;
            }
            pairs.rows.push(row as u32);
            pairs.ids.push(id);
            pairs.diffs.push(diff * stored.rows.weight(id));
            next = stored.next(id);
        }
        cursor.id = next;
        if next.is_none() {
            cursor.row += 1;
        }
    }
    pairs
}

/// The pairs as rows of left columns, then right columns. `delta_is_left`: which side probed.
pub(super) fn joined(
    schema: &SchemaRef,
    probing: &Probing,
    stored: &Side,
    pairs: &Pairs,
    delta_is_left: bool,
) -> Result<RecordBatch, OperatorError> {
    let rows = UInt32Array::from(pairs.rows.clone());
    let delta = probing.batch.rows().columns().iter().map(|c| take(c, &rows, None));
    let delta: Vec<ArrayRef> = delta.collect::<Result<_, _>>()?;
    let stored = stored.rows_of(pairs);
    let (left, right) = if delta_is_left { (&delta[..], stored.columns()) } else { (stored.columns(), &delta[..]) };
    batch(schema, left.iter().chain(right).cloned().collect(), pairs.len())
}

/// A batch of `schema` whose row count is known even without columns.
pub(super) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, OperatorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The residual condition of a join.
pub(super) struct Residual {
    expr: CompiledExpr,
    /// Left columns, then right columns.
    pub schema: SchemaRef,
}

impl Residual {
    pub fn new(expr: &kernels::ScalarExpr, schema: SchemaRef) -> Result<Self, OperatorError> {
        Ok(Residual { expr: CompiledExpr::compile(expr, &schema)?, schema })
    }

    /// Keeps the pairs whose joined row satisfies the condition. A pair on which it fails is no match and goes to
    /// `errors` with its diff.
    pub fn filter(
        &self,
        pairs: &mut Pairs,
        rows: RecordBatch,
        errors: &mut Vec<ErrorDelta>,
    ) -> Result<RecordBatch, OperatorError> {
        let mut keep = Vec::with_capacity(rows.num_rows());
        self.evaluate(&rows, pairs, &mut keep, errors)?;
        if keep.iter().all(|k| *k) {
            return Ok(rows);
        }
        pairs.retain(&keep);
        Ok(arrow::compute::filter_record_batch(&rows, &BooleanArray::from(keep))?)
    }

    /// Appends a flag per row of `rows`, the pairs from `keep.len()` on. Where evaluation fails, halves are tried
    /// until the failing pairs stand alone.
    fn evaluate(
        &self,
        rows: &RecordBatch,
        pairs: &Pairs,
        keep: &mut Vec<bool>,
        errors: &mut Vec<ErrorDelta>,
    ) -> Result<(), OperatorError> {
        match self.expr.evaluate(rows) {
            Ok(values) => {
                let values =
                    values.as_boolean_opt().ok_or_else(|| OperatorError::internal("a condition is boolean"))?;
                keep.extend((0..values.len()).map(|row| values.is_valid(row) && values.value(row)));
                Ok(())
            }
            Err(error @ (KernelError::Evaluation { .. } | KernelError::TooLarge)) if rows.num_rows() == 1 => {
                let diff = pairs.diffs[keep.len()];
                let row = values_text(self.schema.fields().iter().map(AsRef::as_ref), rows.columns(), 0);
                errors
                    .push(ErrorDelta { row: Some(row), ..ErrorDelta::new(error.sql_state(), error.to_string(), diff) });
                keep.push(false);
                Ok(())
            }
            Err(KernelError::Evaluation { .. } | KernelError::TooLarge) => {
                let half = rows.num_rows() / 2;
                self.evaluate(&rows.slice(0, half), pairs, keep, errors)?;
                self.evaluate(&rows.slice(half, rows.num_rows() - half), pairs, keep, errors)
            }
            Err(other) => Err(other.into()),
        }
    }
}

/// Rows with diffs; plain insertions where all are +1.
pub(super) fn delta(rows: RecordBatch, diffs: Vec<i64>) -> DeltaBatch {
    if diffs.iter().all(|d| *d == 1) {
        return DeltaBatch::inserts(rows);
    }
    DeltaBatch::new(rows, diffs)
}

/// Left columns, then right columns.
pub(super) fn joined_schema(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = left.fields().iter().chain(right.fields()).cloned().collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}
