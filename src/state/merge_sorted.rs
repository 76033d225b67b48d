//! Merging the blocks of a table in one pass over all of them, in memory for a batch of each. Every block is sorted by
//! the encoding of its keys (`merge.rs`), so equal keys of all blocks come together.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, Rows};
use types::TypesError;
use types::limits::BATCH_ROWS_MAX;

use crate::merge::{diffs, key_fields, weighted};
use crate::run::BlockStream;
use crate::{BlockKind, StateError};

/// Batches that the rows of one output batch may come from, per block.
const SOURCES_PER_BLOCK: usize = 4;

/// What a merge is of: all of a table, or only its newest changes, whose deletions still have something to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Table,
    Changes,
}

/// The rows of `blocks` (of one table, oldest first) merged: keyed: the last write of a key, deletions only among
/// changes; multiset: the sum of weights of equal rows, unless it is 0. Sorted, in batches of at most
/// `limits::BATCH_ROWS_MAX` rows. Tables whose keys have no encoding come as they are.
pub(crate) fn merge_sorted(kind: BlockKind, scope: Scope, blocks: Vec<BlockStream>) -> Result<SortedMerge, StateError> {
    let mut merge = SortedMerge { kind, scope, cursors: vec![], heap: vec![], key: vec![], unmergeable: false };
    for block in blocks {
        merge.cursors.extend(Cursor::open(kind, block)?);
    }
    merge.unmergeable = merge.cursors.iter().any(|cursor| cursor.keys.is_none());
    if !merge.unmergeable {
        (0..merge.cursors.len()).for_each(|cursor| merge.enter(cursor));
    }
    Ok(merge)
}

/// See [`merge_sorted`].
pub(crate) struct SortedMerge {
    kind: BlockKind,
    scope: Scope,
    /// In order of application.
    cursors: Vec<Cursor>,
    /// Cursors that have rows, as a binary heap: the smallest key first, among equal ones the oldest.
    heap: Vec<usize>,
    /// The key whose rows are being merged.
    key: Vec<u8>,
    unmergeable: bool,
}

impl Iterator for SortedMerge {
    type Item = Result<RecordBatch, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.unmergeable {
            true => self.cursors.iter_mut().find_map(|cursor| cursor.whole_batch().transpose()),
            false => self.merged_batch().transpose(),
        }
    }
}

impl SortedMerge {
    fn merged_batch(&mut self) -> Result<Option<RecordBatch>, StateError> {
        let mut chosen = Chosen::default();
        self.cursors.iter_mut().for_each(|cursor| cursor.source = None);
        let sources_max = SOURCES_PER_BLOCK * self.cursors.len();
        while !self.heap.is_empty() && chosen.rows.len() < BATCH_ROWS_MAX {
            if chosen.sources.len() >= sources_max {
                if !chosen.rows.is_empty() {
                    break;
                }
                // Nothing of all that stayed.
                chosen.sources.clear();
                self.cursors.iter_mut().for_each(|cursor| cursor.source = None);
            }
            self.merge_key(&mut chosen)?;
        }
        chosen.gather()
    }

    /// Merges the rows of the smallest key.
    fn merge_key(&mut self, chosen: &mut Chosen) -> Result<(), StateError> {
        self.key.clear();
        self.key.extend_from_slice(self.cursors[self.heap[0]].key());
        let (mut survivor, mut weight) = (None, 0i64);
        while let Some(&first) = self.heap.first() {
            let cursor = &mut self.cursors[first];
            if cursor.key() != self.key {
                break;
            }
            let diff = cursor.diff();
            match self.kind {
                BlockKind::Keyed { .. } => (survivor, weight) = (Some(cursor.place(chosen)), diff),
                BlockKind::Multiset => {
                    weight = weight.checked_add(diff).ok_or(TypesError::Overflow)?;
                    survivor = survivor.or_else(|| Some(cursor.place(chosen)));
                }
            }
            match cursor.advance()? {
                true => self.sift_down(0),
                false => self.leave(),
            }
        }
        let stays = match self.kind {
            BlockKind::Keyed { .. } => weight > 0 || self.scope == Scope::Changes,
            BlockKind::Multiset => weight != 0,
        };
        if stays {
            chosen.rows.push(survivor.expect("a key has at least one row"));
            chosen.weights.push(weight);
        }
        Ok(())
    }

    fn enter(&mut self, cursor: usize) {
        self.heap.push(cursor);
        let mut at = self.heap.len() - 1;
        while at > 0 && self.before(at, (at - 1) / 2) {
            self.heap.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn leave(&mut self) {
        self.heap.swap_remove(0);
        self.sift_down(0);
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let Some(child) = children.reduce(|a, b| if self.before(b, a) { b } else { a }) else { return };
            if !self.before(child, at) {
                return;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }

    /// Whether the cursor at heap place `a` comes before that at `b`.
    fn before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        self.cursors[a].key().cmp(self.cursors[b].key()).then(a.cmp(&b)).is_lt()
    }
}

/// Rows of one output batch: where they come from, and their weights.
#[derive(Default)]
struct Chosen {
    sources: Vec<RecordBatch>,
    rows: Vec<(usize, usize)>,
    weights: Vec<i64>,
}

impl Chosen {
    fn gather(self) -> Result<Option<RecordBatch>, StateError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let sources: Vec<&RecordBatch> = self.sources.iter().collect();
        weighted(&sources, &self.rows, self.weights).map(Some)
    }
}

/// A place in a block.
struct Cursor {
    block: BlockStream,
    batch: RecordBatch,
    row: usize,
    keys: Option<Keys>,
    /// Where `batch` stands among the sources of the output batch.
    source: Option<usize>,
    /// `whole_batch` has given `batch`.
    given: bool,
}

/// The keys of a cursor's batch.
struct Keys {
    columns: usize,
    /// `None`: no key columns, all rows are equal.
    encoded: Option<(RowConverter, Rows)>,
}

impl Cursor {
    /// `None` if the block is empty.
    fn open(kind: BlockKind, mut block: BlockStream) -> Result<Option<Cursor>, StateError> {
        let Some(batch) = next_batch(&mut block)? else { return Ok(None) };
        let fields = key_fields(kind, &batch)?;
        let columns = fields.len();
        let keys = if columns == 0 {
            Some(Keys { columns, encoded: None })
        } else if RowConverter::supports_fields(&fields) {
            let converter = RowConverter::new(fields)?;
            let rows = converter.convert_columns(&batch.columns()[..columns])?;
            Some(Keys { columns, encoded: Some((converter, rows)) })
        } else {
            None
        };
        Ok(Some(Cursor { block, batch, row: 0, keys, source: None, given: false }))
    }

    fn key(&self) -> &[u8] {
        let keys = self.keys.as_ref().expect("only tables with encoded keys are merged");
        keys.encoded.as_ref().map_or(&[], |(_, rows)| rows.row(self.row).data())
    }

    fn diff(&self) -> i64 {
        diffs(&self.batch).value(self.row)
    }

    /// The row as one of `chosen`'s sources.
    fn place(&mut self, chosen: &mut Chosen) -> (usize, usize) {
        let source = *self.source.get_or_insert_with(|| {
            chosen.sources.push(self.batch.clone());
            chosen.sources.len() - 1
        });
        (source, self.row)
    }

    /// Moves to the next row; false if there is none.
    ///
    /// Errors: `Corrupt` if its key is smaller than the last one.
    fn advance(&mut self) -> Result<bool, StateError> {
        if self.row + 1 < self.batch.num_rows() {
            let before = self.key();
            let after = match self.keys.as_ref().and_then(|keys| keys.encoded.as_ref()) {
                Some((_, rows)) => rows.row(self.row + 1).data(),
                None => &[],
            };
            check_order(self.block.path(), before, after)?;
            self.row += 1;
            return Ok(true);
        }
        let last = self.key().to_vec();
        let Some(batch) = next_batch(&mut self.block)? else { return Ok(false) };
        let keys = self.keys.as_mut().expect("only tables with encoded keys are merged");
        if let Some((converter, rows)) = &mut keys.encoded {
            *rows = converter.convert_columns(&batch.columns()[..keys.columns])?;
        }
        (self.batch, self.row, self.source) = (batch, 0, None);
        check_order(self.block.path(), &last, self.key())?;
        Ok(true)
    }

    fn whole_batch(&mut self) -> Result<Option<RecordBatch>, StateError> {
        match std::mem::replace(&mut self.given, true) {
            false => Ok(Some(self.batch.clone())),
            true => next_batch(&mut self.block),
        }
    }
}

/// The next batch that has rows.
fn next_batch(block: &mut BlockStream) -> Result<Option<RecordBatch>, StateError> {
    block.find(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0)).transpose()
}

fn check_order(path: &Path, before: &[u8], after: &[u8]) -> Result<(), StateError> {
    match before <= after {
        true => Ok(()),
        false => Err(StateError::corrupt(path, "the rows of a block are not sorted")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::disk::Files;
    use crate::run::MERGED_ROWS_MAX;
    use crate::run::tests::{block, rows};
    use crate::tests::scratch;
    use crate::{RunName, RunReader, RunWriter, StateBlock};

    const KEYED: BlockKind = BlockKind::Keyed { key_columns: 1 };

    /// Writes each block to a run of its own, and merges them into another one.
    fn compacted(dir: &Path, blocks: Vec<StateBlock>) -> Result<Option<StateBlock>, StateError> {
        let runs = (0..).zip(blocks).map(|(sequence, block)| {
            let mut writer = RunWriter::create(&Files::real(), dir, RunName { epoch: 1, writer: 0, sequence }).unwrap();
            writer.write_block(block).unwrap();
            RunReader::open(&Files::real(), &dir.join(writer.finish().unwrap().run.file)).unwrap()
        });
        merged(dir, runs.filter(|run| !run.blocks().is_empty()).collect())
    }

    fn merged(dir: &Path, runs: Vec<RunReader>) -> Result<Option<StateBlock>, StateError> {
        let Some(like) = runs.first().map(|run| run.blocks()[0].clone()) else { return Ok(None) };
        let blocks = runs.iter().flat_map(|run| (0..run.blocks().len()).map(|index| run.stream_block(index)));
        let blocks: Vec<BlockStream> = blocks.collect::<Result<_, _>>()?;
        let mut writer =
            RunWriter::create(&Files::real(), dir, RunName { epoch: 2, writer: RunName::COMPACTION, sequence: 9_999 })?;
        writer.write_sorted(&like, true, merge_sorted(like.kind, Scope::Table, blocks)?)?;
        if writer.is_empty() {
            return Ok(None);
        }
        let run = writer.finish()?.run;
        let reader = RunReader::open_verified(&Files::real(), dir, &run)?;
        let block = reader.read_block(0)?;
        assert!(reader.blocks()[0].base && reader.blocks()[0].rows == block.num_rows() as u64);
        Ok(Some(block))
    }

    #[test]
    fn last_write_wins_and_deletes_leave() {
        let blocks = vec![
            block(1, KEYED, &[(1, "a", 1), (2, "b", 1), (4, "d", 1)]),
            block(1, KEYED, &[(2, "", -1), (1, "c", 1), (3, "", -1)]),
        ];
        let base = compacted(scratch().path(), blocks).unwrap().unwrap();
        assert_eq!(rows(&base), [(1, "c".into(), 1), (4, "d".into(), 1)]);
        let all_gone = vec![block(1, KEYED, &[(1, "a", 1)]), block(1, KEYED, &[(1, "", -1)])];
        assert!(compacted(scratch().path(), all_gone).unwrap().is_none());
    }

    #[test]
    fn weights_add_up_over_blocks() {
        let first = block(1, BlockKind::Multiset, &[(1, "a", 2), (1, "b", 1)]);
        let second = block(1, BlockKind::Multiset, &[(1, "b", -1), (1, "a", 5), (0, "z", -3)]);
        let merged = compacted(scratch().path(), vec![first, second]).unwrap().unwrap();
        assert_eq!(rows(&merged), [(0, "z".into(), -3), (1, "a".into(), 7)]);
        let max = || block(1, BlockKind::Multiset, &[(1, "a", i64::MAX)]);
        let error = compacted(scratch().path(), vec![max(), max()]).unwrap_err();
        assert!(matches!(error, StateError::Types(TypesError::Overflow)), "{error}");
    }

    #[test]
    fn table_without_key_has_one_row() {
        let kind = BlockKind::Keyed { key_columns: 0 };
        let blocks = vec![block(1, kind, &[(1, "a", 1), (2, "b", 1)]), block(1, kind, &[(3, "c", 1)])];
        assert_eq!(rows(&compacted(scratch().path(), blocks).unwrap().unwrap()), [(3, "c".into(), 1)]);
    }

    /// A block of puts and deletes over several batches, from a small generator of its own.
    fn writes(seed: u64, keys: i64, count: usize) -> Vec<(i64, &'static str, i64)> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64
        };
        (0..count).map(|_| (next() % keys - keys / 2, "value", if next() % 4 == 0 { -1 } else { 1 })).collect()
    }

    #[test]
    fn many_large_blocks_give_what_a_map_gives() {
        let blocks: Vec<Vec<(i64, &str, i64)>> =
            (0..7).map(|n| writes(n + 1, 150_000, if n % 3 == 0 { 200_000 } else { 20_000 })).collect();
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        for (key, _, diff) in blocks.iter().flatten() {
            last.insert(*key, *diff);
            *sums.entry(*key).or_default() += diff;
        }
        last.retain(|_, diff| *diff > 0);
        sums.retain(|_, sum| *sum != 0);
        for (kind, expected) in [(KEYED, last), (BlockKind::Multiset, sums)] {
            let merged = compacted(scratch().path(), blocks.iter().map(|rows| block(1, kind, rows)).collect());
            let merged = merged.unwrap().unwrap();
            assert!(merged.batches.len() > 1 && merged.batches.iter().all(|b| b.num_rows() <= BATCH_ROWS_MAX));
            let found: Vec<(i64, i64)> = rows(&merged).into_iter().map(|(key, _, diff)| (key, diff)).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_large_block_is_written_in_parts_that_merge() {
        let n = MERGED_ROWS_MAX as i64;
        let mut many: Vec<(i64, &str, i64)> = (0..n).rev().map(|key| (key, "first", 1)).collect();
        many.extend([(5, "last", 1), (n, "new", 1), (7, "", -1)]);
        let merged = compacted(scratch().path(), vec![block(1, KEYED, &many)]).unwrap().unwrap();
        let mut expected: BTreeMap<i64, &str> = many.iter().map(|(key, text, _)| (*key, *text)).collect();
        expected.remove(&7);
        let expected: Vec<_> = expected.into_iter().map(|(key, text)| (key, text.to_owned(), 1)).collect();
        assert!(rows(&merged) == expected);
    }

    #[test]
    fn a_damaged_block_is_not_merged() {
        let dir = scratch();
        let many: Vec<(i64, &str, i64)> = (0..100_000).map(|key| (key, "value", 1)).collect();
        let mut writer =
            RunWriter::create(&Files::real(), dir.path(), RunName { epoch: 1, writer: 0, sequence: 1 }).unwrap();
        writer.write_block(block(1, KEYED, &many)).unwrap();
        let path = dir.path().join(writer.finish().unwrap().run.file);
        let good = fs::read(&path).unwrap();
        let length = RunReader::open(&Files::real(), &path).unwrap().blocks()[0].length as usize;
        for at in (40..length).step_by(length / 50) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(merged(dir.path(), vec![RunReader::open(&Files::real(), &path).unwrap()]).is_err(), "byte {at}");
            let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
            assert_eq!(left.len(), 1, "a merge that fails leaves nothing");
        }
    }
}
