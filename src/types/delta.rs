//! Change: everything that flows is a `DeltaBatch`, a Z-set in Arrow form.
//! Batch boundaries and order inside an epoch mean nothing; equal rows may be summed.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use crate::limits::{BATCH_ROWS_MAX, SEGMENT_ROWS_MIN};
use crate::{SqlState, TypesError, canonical_columns};

/// Name of the trailing Int64 column that carries diffs wherever a delta is written as one RecordBatch.
pub const DIFF_COLUMN: &str = "__diff";

/// n rows and their n diffs: +1 inserts, −1 retracts, other weights count that many times.
#[derive(Debug, Clone)]
pub struct DeltaBatch {
    rows: RecordBatch,
    /// `None`: every diff is +1 (the append-only fast path).
    diffs: Option<ScalarBuffer<i64>>,
}

impl DeltaBatch {
    /// Every row inserted once.
    pub fn inserts(rows: RecordBatch) -> Self {
        DeltaBatch { rows, diffs: None }
    }

    /// Rows with explicit diffs. Panics if the lengths differ: that is a bug in the caller.
    pub fn new(rows: RecordBatch, diffs: impl Into<ScalarBuffer<i64>>) -> Self {
        let diffs = diffs.into();
        assert_eq!(rows.num_rows(), diffs.len(), "one diff per row");
        DeltaBatch { rows, diffs: Some(diffs) }
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The diffs, or `None` if all are +1.
    pub fn diffs(&self) -> Option<&ScalarBuffer<i64>> {
        self.diffs.as_ref()
    }

    #[inline]
    pub fn diff(&self, row: usize) -> i64 {
        self.diffs.as_ref().map_or(1, |d| d[row])
    }

    /// The diffs as a vector, materialised when all are +1.
    pub fn diffs_to_vec(&self) -> Vec<i64> {
        match &self.diffs {
            Some(d) => d.to_vec(),
            None => vec![1; self.rows.num_rows()],
        }
    }

    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }

    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// The same diffs over other columns (a projection). `rows` must have as many rows.
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        assert_eq!(rows.num_rows(), self.rows.num_rows(), "a projection keeps the rows");
        DeltaBatch { rows, diffs: self.diffs.clone() }
    }

    /// Bytes held by the arrays, for memory accounting. Of large batches, which are often slices of arrays shared with
    /// others, their own part.
    pub fn memory_bytes(&self) -> usize {
        let rows = if self.num_rows() < SEGMENT_ROWS_MIN {
            self.rows.get_array_memory_size()
        } else {
            self.rows.columns().iter().map(slice_bytes).sum()
        };
        rows + self.diffs.as_ref().map_or(0, |d| d.len() * 8)
    }

    /// `length` rows from `offset` on, without a copy.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        DeltaBatch {
            rows: self.rows.slice(offset, length),
            diffs: self.diffs.as_ref().map(|diffs| diffs.slice(offset, length)),
        }
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Self {
        let rows = if self.rows.num_columns() == 0 {
            self.rows.slice(0, indices.len())
        } else {
            take_record_batch(&self.rows, indices).expect("indices lie inside the batch")
        };
        let diffs =
            self.diffs.as_ref().map(|d| indices.values().iter().map(|i| d[*i as usize]).collect::<Vec<i64>>().into());
        DeltaBatch { rows, diffs }
    }

    /// The inverse change.
    pub fn negate(&self) -> Self {
        let diffs: Vec<i64> = (0..self.num_rows()).map(|i| -self.diff(i)).collect();
        DeltaBatch::new(self.rows.clone(), diffs)
    }

    /// All batches as one. Append-only stays append-only. `schema` is used when `batches` is empty.
    pub fn concat(schema: &SchemaRef, batches: &[DeltaBatch]) -> Self {
        if let [one] = batches {
            return one.clone();
        }
        let rows = arrow::compute::concat_batches(schema, batches.iter().map(|b| &b.rows))
            .expect("batches of one edge share their schema");
        if batches.iter().all(|b| b.diffs.is_none()) {
            return DeltaBatch::inserts(rows);
        }
        let diffs: Vec<i64> = batches.iter().flat_map(|b| b.diffs_to_vec()).collect();
        DeltaBatch::new(rows, diffs)
    }

    /// The rows with their diffs as a trailing `__diff` column: the form written to run files and journals.
    pub fn to_record_batch(&self) -> RecordBatch {
        self.to_record_batch_as(&with_diff(&self.rows.schema()))
    }

    /// The same, for many batches of one schema: `schema` comes from [`with_diff`]. Cheap for insertions, whose diffs
    /// are a part of one array that all share.
    pub fn to_record_batch_as(&self, schema: &SchemaRef) -> RecordBatch {
        let diffs = match &self.diffs {
            None if self.num_rows() <= BATCH_ROWS_MAX => ONES.slice(0, self.num_rows()),
            None => Int64Array::from_value(1, self.num_rows()),
            Some(diffs) => Int64Array::new(diffs.clone(), None),
        };
        let columns = self.rows.columns().iter().cloned().chain([Arc::new(diffs) as ArrayRef]).collect();
        RecordBatch::try_new(schema.clone(), columns).expect("columns have one length")
    }

    /// Inverse of [`to_record_batch`](Self::to_record_batch).
    ///
    /// Errors: `MissingDiff` if the last column is not an Int64 named `__diff`.
    pub fn from_record_batch(batch: &RecordBatch) -> Result<Self, TypesError> {
        let last = batch.num_columns().checked_sub(1).ok_or(TypesError::MissingDiff)?;
        let is_diff = batch.schema().field(last).name() == DIFF_COLUMN;
        let diffs = batch.column(last).as_any().downcast_ref::<Int64Array>().filter(|_| is_diff);
        let diffs = diffs.ok_or(TypesError::MissingDiff)?;
        let indices: Vec<usize> = (0..last).collect();
        let rows = batch.project(&indices).expect("projection of existing columns");
        if diffs.values().iter().all(|d| *d == 1) {
            return Ok(DeltaBatch::inserts(rows));
        }
        Ok(DeltaBatch::new(rows, diffs.values().clone()))
    }
}

/// Bytes of an array: of a slice its own part.
pub fn slice_bytes(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

static ONES: LazyLock<Int64Array> = LazyLock::new(|| Int64Array::from_value(1, BATCH_ROWS_MAX));

/// The columns of `schema` and the diff.
pub fn with_diff(schema: &SchemaRef) -> SchemaRef {
    let diff = Arc::new(Field::new(DIFF_COLUMN, DataType::Int64, false));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([diff]).collect::<Vec<_>>()))
}

/// A failing expression as data: the twin collection of the rows (docs/architecture.md, Errors).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDelta {
    pub state: SqlState,
    pub message: String,
    /// What it failed for, as text: a row, the key of a group.
    pub row: Option<String>,
    pub diff: i64,
}

impl ErrorDelta {
    pub fn new(state: SqlState, message: impl Into<String>, diff: i64) -> Self {
        ErrorDelta { state, message: message.into(), row: None, diff }
    }
}

/// Sums `diffs` of equal rows and drops zeros.
///
/// In: n rows, any order. Out: m ≤ n rows, sorted by row encoding, diffs ≠ 0. Cost O(n log n).
/// Errors: `Overflow` if a summed diff leaves i64; `RowEncoding` if a column type has no row form.
pub fn consolidate(batch: &DeltaBatch) -> Result<DeltaBatch, TypesError> {
    let n = batch.num_rows();
    if n == 0 || (n == 1 && batch.diff(0) != 0) {
        return Ok(batch.clone());
    }
    if batch.rows.num_columns() == 0 {
        return consolidate_without_columns(batch);
    }
    let fields = batch.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(TypesError::RowEncoding)?;
    let columns = canonical_columns(batch.rows.columns());
    let rows = converter.convert_columns(&columns).map_err(TypesError::RowEncoding)?;
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_unstable_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
    let mut indices = Vec::with_capacity(n);
    let mut diffs: Vec<i64> = Vec::with_capacity(n);
    let mut start = 0;
    while start < n {
        let first = rows.row(order[start] as usize);
        let (mut end, mut sum) = (start, 0i64);
        while end < n && rows.row(order[end] as usize) == first {
            sum = sum.checked_add(batch.diff(order[end] as usize)).ok_or(TypesError::Overflow)?;
            end += 1;
        }
        if sum != 0 {
            indices.push(order[start]);
            diffs.push(sum);
        }
        start = end;
    }
    let taken = take_record_batch(&batch.rows, &UInt32Array::from(indices)).expect("indices lie inside the batch");
    if diffs.iter().all(|d| *d == 1) {
        return Ok(DeltaBatch::inserts(taken));
    }
    Ok(DeltaBatch::new(taken, diffs))
}

fn consolidate_without_columns(batch: &DeltaBatch) -> Result<DeltaBatch, TypesError> {
    let sum = (0..batch.num_rows())
        .try_fold(0i64, |sum, row| sum.checked_add(batch.diff(row)))
        .ok_or(TypesError::Overflow)?;
    let kept = batch.rows.slice(0, usize::from(sum != 0));
    Ok(DeltaBatch::new(kept, if sum == 0 { vec![] } else { vec![sum] }))
}
