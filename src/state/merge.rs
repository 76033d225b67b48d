//! Merging the batches of a table in memory: the net effect of many changes, before a block is written. Compaction, which
//! merges the blocks of several runs, is `merge_sorted.rs`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use types::{DIFF_COLUMN, TypesError};

use crate::{BlockKind, StateError};

/// Rows per batch of a block: a compaction holds one batch of every block that it merges.
const BLOCK_BATCH_ROWS: usize = 8_192;

/// The net effect of the batches of one table, in order of application.
///
/// Keyed: the last write of a key stays, deletes too. Multiset: weights of equal rows are summed, zeros dropped. Rows
/// come out sorted by their encoding, in batches of at most `BLOCK_BATCH_ROWS`. Cost O(n log n).
pub(crate) fn merge_batches(kind: BlockKind, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StateError> {
    let batches: Vec<RecordBatch> = batches.into_iter().filter(|b| b.num_rows() > 0).collect();
    let Some(first) = batches.first() else { return Ok(vec![]) };
    let fields = key_fields(kind, first)?;
    assert!(batches.iter().all(|b| same_types(b, first)), "blocks of one table share their schema");
    if !RowConverter::supports_fields(&fields) {
        // Merging saves space and time, it changes no meaning: such tables are kept as they came.
        return Ok(batches);
    }
    let keys = encode_keys(fields, &batches)?;
    let diffs: Vec<i64> = batches.iter().flat_map(|b| diffs(b).values().to_vec()).collect();
    let survivors = match kind {
        BlockKind::Keyed { .. } => last_writes(&keys, &diffs),
        BlockKind::Multiset => sums(&keys, &diffs)?,
    };
    gather(&batches, &survivors)
}

fn same_types(left: &RecordBatch, right: &RecordBatch) -> bool {
    let types = |batch: &RecordBatch| batch.columns().iter().map(|c| c.data_type().clone()).collect::<Vec<_>>();
    types(left) == types(right)
}

/// The columns that say which rows are equal; they stand first.
pub(crate) fn key_fields(kind: BlockKind, batch: &RecordBatch) -> Result<Vec<SortField>, StateError> {
    let width = payload_columns(batch)?;
    let key_columns = match kind {
        BlockKind::Keyed { key_columns } => key_columns.min(width),
        BlockKind::Multiset => width,
    };
    Ok(batch.columns()[..key_columns].iter().map(|c| SortField::new(c.data_type().clone())).collect())
}

/// Number of columns in front of the diff.
fn payload_columns(batch: &RecordBatch) -> Result<usize, StateError> {
    let schema = batch.schema();
    match schema.fields().last() {
        Some(last) if last.name() == DIFF_COLUMN && *last.data_type() == DataType::Int64 => {
            Ok(schema.fields().len() - 1)
        }
        _ => Err(TypesError::MissingDiff.into()),
    }
}

pub(crate) fn diffs(batch: &RecordBatch) -> &Int64Array {
    batch.columns().last().expect("the diff column was checked").as_primitive::<Int64Type>()
}

/// The keys of all rows of all batches in comparable form.
enum Keys {
    Rows(Rows),
    /// No key columns: all rows are equal.
    Unit(usize),
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Keys::Rows(rows) => rows.num_rows(),
            Keys::Unit(n) => *n,
        }
    }

    fn compare(&self, a: usize, b: usize) -> std::cmp::Ordering {
        match self {
            Keys::Rows(rows) => rows.row(a).cmp(&rows.row(b)),
            Keys::Unit(_) => std::cmp::Ordering::Equal,
        }
    }

    /// Calls `each` with the row numbers of one key, in order of application; keys ascending.
    fn for_each_group(&self, mut each: impl FnMut(&[usize]) -> Result<(), StateError>) -> Result<(), StateError> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_unstable_by(|a, b| self.compare(*a, *b).then(a.cmp(b)));
        order.chunk_by(|a, b| self.compare(*a, *b).is_eq()).try_for_each(&mut each)
    }
}

fn encode_keys(fields: Vec<SortField>, batches: &[RecordBatch]) -> Result<Keys, StateError> {
    let key_columns = fields.len();
    let n = batches.iter().map(|b| b.num_rows()).sum();
    if key_columns == 0 {
        return Ok(Keys::Unit(n));
    }
    let converter = RowConverter::new(fields)?;
    let mut rows = converter.empty_rows(n, 0);
    for batch in batches {
        converter.append(&mut rows, &batch.columns()[..key_columns])?;
    }
    Ok(Keys::Rows(rows))
}

/// A row of the result: its number among all input rows, and its diff.
type Survivor = (usize, i64);

fn last_writes(keys: &Keys, diffs: &[i64]) -> Vec<Survivor> {
    let mut survivors = vec![];
    let collected = keys.for_each_group(|group| {
        let last = *group.last().expect("groups are not empty");
        survivors.push((last, diffs[last]));
        Ok(())
    });
    collected.expect("collecting last writes does not fail");
    survivors
}

fn sums(keys: &Keys, diffs: &[i64]) -> Result<Vec<Survivor>, StateError> {
    let mut survivors = vec![];
    keys.for_each_group(|group| {
        let sum = group.iter().try_fold(0i64, |sum, row| sum.checked_add(diffs[*row])).ok_or(TypesError::Overflow)?;
        if sum != 0 {
            survivors.push((group[0], sum));
        }
        Ok(())
    })?;
    Ok(survivors)
}

/// The surviving rows, with their diffs, in batches.
fn gather(batches: &[RecordBatch], survivors: &[Survivor]) -> Result<Vec<RecordBatch>, StateError> {
    let mut starts = Vec::with_capacity(batches.len());
    let mut total = 0;
    for batch in batches {
        starts.push(total);
        total += batch.num_rows();
    }
    let locate = |row: usize| {
        let batch = starts.partition_point(|start| *start <= row) - 1;
        (batch, row - starts[batch])
    };
    let references: Vec<&RecordBatch> = batches.iter().collect();
    let chunks = survivors.chunks(BLOCK_BATCH_ROWS).map(|chunk| {
        let indices: Vec<(usize, usize)> = chunk.iter().map(|(row, _)| locate(*row)).collect();
        weighted(&references, &indices, chunk.iter().map(|(_, diff)| *diff).collect())
    });
    chunks.collect()
}

/// The rows at `indices` (batch, row) with `diffs` for theirs.
pub(crate) fn weighted(
    batches: &[&RecordBatch],
    indices: &[(usize, usize)],
    diffs: Vec<i64>,
) -> Result<RecordBatch, StateError> {
    let rows = interleave_record_batch(batches, indices)?;
    let mut columns = rows.columns().to_vec();
    *columns.last_mut().expect("the diff column was checked") = Arc::new(Int64Array::from(diffs)) as ArrayRef;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::StateBlock;
    use crate::run::tests::{block, rows};

    const KEYED: BlockKind = BlockKind::Keyed { key_columns: 1 };

    fn merged(mut block: StateBlock) -> Vec<(i64, String, i64)> {
        block.batches = merge_batches(block.kind, block.batches).unwrap();
        rows(&block)
    }

    #[test]
    fn last_write_wins_and_deletes_stay() {
        let block = block(1, KEYED, &[(1, "a", 1), (2, "b", 1), (2, "", -1), (1, "c", 1)]);
        assert_eq!(merged(block), [(1, "c".into(), 1), (2, String::new(), -1)]);
    }

    #[test]
    fn weights_add_up_and_zeros_leave() {
        let several = [(1, "a", 2), (1, "b", 1), (1, "b", -1), (1, "a", 5), (0, "z", -3)];
        assert_eq!(merged(block(1, BlockKind::Multiset, &several)), [(0, "z".into(), -3), (1, "a".into(), 7)]);
        assert_eq!(merged(block(1, BlockKind::Multiset, &[(1, "a", 2), (1, "a", -2)])), []);
    }

    #[test]
    fn table_without_key_has_one_row() {
        let kind = BlockKind::Keyed { key_columns: 0 };
        assert_eq!(merged(block(1, kind, &[(1, "a", 1), (2, "b", 1), (3, "c", 1)])), [(3, "c".into(), 1)]);
    }

    #[test]
    fn relation_without_columns_is_a_count() {
        let schema = Arc::new(Schema::new(vec![Field::new(DIFF_COLUMN, DataType::Int64, false)]));
        let batch =
            |diffs: Vec<i64>| RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(diffs))]).unwrap();
        let merged = merge_batches(BlockKind::Multiset, vec![batch(vec![1, 2]), batch(vec![4])]).unwrap();
        assert_eq!(diffs(&merged[0]).values()[..], [7]);
        assert!(merge_batches(BlockKind::Multiset, vec![batch(vec![1, -1])]).unwrap().is_empty());
    }

    #[test]
    fn overflow_and_missing_diff_are_errors() {
        let max = block(1, BlockKind::Multiset, &[(1, "a", i64::MAX), (1, "a", 1)]);
        assert!(matches!(merge_batches(max.kind, max.batches), Err(StateError::Types(TypesError::Overflow))));
        let headless = block(1, KEYED, &[(1, "a", 1)]).batches.iter().map(|b| b.project(&[0, 1]).unwrap()).collect();
        assert!(matches!(merge_batches(KEYED, headless), Err(StateError::Types(TypesError::MissingDiff))));
    }
}
