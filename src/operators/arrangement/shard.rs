//! The shard: rows, errors and history of a relation's part under one lock.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, Epoch, ErrorDelta, hash_columns};

use super::cut::Graveyard;
use super::errors::Errors;
use super::gather::{gather, take_rows};
use super::history::History;
use super::layout::{Incoming, Layout};
use super::net::net;
use super::rows::{Prepared, Rows};
use super::segments::{Segments, is_segment};
use super::snapshot::{ShardSnapshot, keep_keys};
use crate::OperatorError;

/// One worker's part of a relation.
pub struct Shard {
    pub(super) layout: Arc<Layout>,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub rows: Rows,
    /// Bags without retractions: large insertions.
    segments: Segments,
    /// Keys deleted since the last cut.
    pub deleted: Option<Graveyard>,
    errors: Errors,
    history: History,
    frontier: Epoch,
    retain_from: Epoch,
    /// Set when an epoch could not be applied: the relation may hold half of it.
    broken: Option<String>,
    /// Weights a restored bag still owes: rows whose retraction came back before their insertion.
    owed: Vec<DeltaBatch>,
}

impl Shard {
    /// An empty shard. `key`: see `MaterializeSpec::key`.
    pub fn new(schema: SchemaRef, key: Option<Vec<usize>>) -> Arc<Shard> {
        Shard::with_errors(schema, key, Errors::new())
    }

    /// An empty shard of a relation whose errors are rows of another one: all of them stay named.
    pub fn with_errors_apart(schema: SchemaRef, key: Option<Vec<usize>>) -> Arc<Shard> {
        Shard::with_errors(schema, key, Errors::all_named())
    }

    fn with_errors(schema: SchemaRef, key: Option<Vec<usize>>, errors: Errors) -> Arc<Shard> {
        let layout = Arc::new(Layout::new(schema, key));
        let inner = Inner {
            rows: Rows::new(&layout),
            segments: Segments::default(),
            deleted: layout.key.as_ref().map(|_| Graveyard::new(&layout)),
            errors,
            history: History::default(),
            frontier: 0,
            retain_from: 0,
            broken: None,
            owed: vec![],
        };
        Arc::new(Shard { layout, inner: Mutex::new(inner) })
    }

    pub fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }

    /// Columns that identify a row; `None` for a bag.
    pub fn key(&self) -> Option<&[usize]> {
        self.layout.key.as_deref()
    }

    /// Applies the change of `epoch` (greater than any before) and publishes it. Deltas at or below `retain_from`
    /// may be forgotten. Equal rows may stand several times in `deltas`: their net effect counts.
    ///
    /// Errors: `Internal` if a row that is not there is retracted, or a key would stand twice.
    pub fn apply(&self, epoch: Epoch, deltas: &[DeltaBatch], errors: &[ErrorDelta]) -> Result<(), OperatorError> {
        self.apply_net(epoch, self.net(deltas.to_vec())?, errors.to_vec())
    }

    /// The net effect of changes of this relation.
    pub(crate) fn net(&self, deltas: Vec<DeltaBatch>) -> Result<Vec<DeltaBatch>, OperatorError> {
        net(&self.layout, deltas)
    }

    /// Like [`apply`](Self::apply), for deltas in which no row stands with both signs, nor twice among rows with
    /// retractions.
    pub(crate) fn apply_net(
        &self,
        epoch: Epoch,
        mut deltas: Vec<DeltaBatch>,
        errors: Vec<ErrorDelta>,
    ) -> Result<(), OperatorError> {
        deltas.retain(|d| !d.is_empty());
        self.lock().settle(&self.layout)?;
        let retracts = deltas.iter().any(has_retractions);
        let keeps_whole = !retracts && self.keeps_segments();
        let (whole, single): (Vec<&DeltaBatch>, Vec<&DeltaBatch>) =
            deltas.iter().partition(|d| keeps_whole && is_segment(d));
        let prepared: Vec<Prepared<'_>> =
            single.iter().map(|d| Prepared::new(&self.layout, d)).collect::<Result<_, _>>()?;
        let mut inner = self.lock();
        assert!(epoch > inner.frontier || inner.frontier == 0, "epochs are applied in order, each once");
        if retracts {
            inner.segments_to_pages(&self.layout)?;
        }
        if let Err(error) = inner.apply_rows(&self.layout, &prepared, &single) {
            inner.broken = Some(error.to_string());
            return Err(error);
        }
        whole.into_iter().for_each(|d| inner.segments.push(epoch, d));
        drop(prepared);
        inner.errors.add(&errors);
        inner.frontier = epoch;
        let retain_from = inner.retain_from;
        if epoch > retain_from && !(deltas.is_empty() && errors.is_empty()) {
            inner.history.push(epoch, deltas, errors);
        }
        inner.history.prune(retain_from);
        Ok(())
    }

    /// Raises the oldest epoch readers may still ask for. Monotone.
    pub fn set_retain_from(&self, epoch: Epoch) {
        let mut inner = self.lock();
        inner.retain_from = inner.retain_from.max(epoch);
        let retain_from = inner.retain_from;
        inner.history.prune(retain_from);
    }

    /// The oldest epoch readers may ask for.
    pub fn retain_from(&self) -> Epoch {
        self.lock().retain_from
    }

    /// Whether the relation can be read as of `epoch`.
    pub fn keeps(&self, epoch: Epoch) -> bool {
        self.retain_from() <= epoch
    }

    /// The last applied epoch.
    pub fn frontier(&self) -> Epoch {
        self.lock().frontier
    }

    /// Says that restored rows are as of `epoch`; nothing before it can be read.
    pub fn set_frontier(&self, epoch: Epoch) {
        let mut inner = self.lock();
        inner.frontier = inner.frontier.max(epoch);
        inner.retain_from = inner.retain_from.max(epoch);
    }

    /// The shard as of `epoch`, which must lie between retain_from and the last applied epoch (a later epoch means
    /// "nothing happened since").
    pub fn snapshot(&self, epoch: Epoch) -> ShardSnapshot {
        let inner = self.lock();
        inner.readable(epoch);
        let undo = inner.undo(epoch);
        let row_count = inner.rows.row_count() + inner.segments.row_count() - inner.segments.rows_after(epoch);
        let later = inner.history.between(epoch, Epoch::MAX).map(|c| c.errors.clone());
        let errors_undo = later.filter(|e| !e.is_empty()).collect();
        ShardSnapshot {
            layout: self.layout.clone(),
            epoch,
            pages: inner.rows.pages.clone(),
            segments: inner.segments.clone(),
            row_count,
            undo,
            broken: inner.broken.clone(),
            errors: inner.errors.clone(),
            errors_undo,
        }
    }

    /// Net changes of epochs in (after, upto], in epoch order.
    pub fn deltas(&self, after: Epoch, upto: Epoch) -> Vec<(Epoch, Arc<Vec<DeltaBatch>>)> {
        self.lock().history.between(after, upto).map(|c| (c.epoch, c.deltas.clone())).collect()
    }

    /// Net changes of the errors, as [`deltas`](Self::deltas).
    pub fn error_deltas(&self, after: Epoch, upto: Epoch) -> Vec<(Epoch, Arc<Vec<ErrorDelta>>)> {
        self.lock().history.between(after, upto).map(|c| (c.epoch, c.errors.clone())).collect()
    }

    /// Rows whose key columns equal one of the rows of `key` as of `epoch`, each once; NULL equals NULL. `key` has
    /// the key's columns in their order and types. Relations without a key: `None`.
    pub fn lookup(&self, key: &RecordBatch, epoch: Epoch) -> Option<RecordBatch> {
        let columns = self.layout.key.as_ref()?;
        let cells: Vec<Incoming> = columns
            .iter()
            .zip(key.columns())
            .map(|(c, a)| self.layout.columns[*c].read(a).expect("the caller coerces to the key's types"))
            .collect();
        let cells: Vec<(usize, &Incoming)> = columns.iter().copied().zip(&cells).collect();
        let hashes = hash_columns(key.columns(), key.num_rows()).expect("key columns were hashed on their way in");
        let inner = self.lock();
        inner.readable(epoch);
        let mut ids: Vec<u32> =
            (0..key.num_rows()).filter_map(|row| inner.rows.find_live(hashes[row], &cells, row)).collect();
        let undo = inner.undo(epoch);
        let pages = inner.rows.pages.clone();
        drop(inner);
        ids.sort_unstable();
        ids.dedup();
        let all: Vec<usize> = (0..self.layout.columns.len()).collect();
        let found = gather(&self.layout, &pages, &ids, &all, self.layout.schema.clone());
        if undo.is_empty() {
            return Some(found);
        }
        Some(keep_keys(&self.layout, found, &undo, columns, key.columns()))
    }

    /// Takes back rows with their trailing diff column, before the first apply: keyed relations put (1) and delete (−1)
    /// by key, bags add weights.
    pub fn restore_rows(&self, batch: &RecordBatch) -> Result<(), OperatorError> {
        let delta = DeltaBatch::from_record_batch(batch)?;
        let whole = self.keeps_segments() && is_segment(&delta);
        let mut inner = self.lock();
        assert!(inner.history.memory_bytes() == 0, "rows are restored before the first epoch");
        if whole {
            inner.segments.push(0, &delta);
            return Ok(());
        }
        if has_retractions(&delta) {
            inner.segments_to_pages(&self.layout)?;
        }
        let prepared = Prepared::new(&self.layout, &delta)?;
        if self.layout.key.is_some() {
            inner.rows.upsert(&self.layout, &prepared)?;
            inner.rows.take_written();
            return Ok(());
        }
        let (mut rows, mut diffs): (Vec<u32>, Vec<i64>) = (vec![], vec![]);
        inner.rows.apply_bag(&self.layout, &[prepared], |_, row, missing| {
            rows.push(row as u32);
            diffs.push(-missing);
        });
        if !rows.is_empty() {
            let rows = take_rows(delta.rows(), &UInt32Array::from(rows));
            inner.owed.push(DeltaBatch::new(rows, diffs));
        }
        Ok(())
    }

    /// Takes back one error of a checkpoint.
    pub(crate) fn restore_errors(&self, errors: &[ErrorDelta]) {
        self.lock().errors.add(errors);
    }

    /// Live rows, counted with their weights.
    pub fn row_count(&self) -> usize {
        let inner = self.lock();
        inner.rows.row_count() + inner.segments.row_count()
    }

    fn keeps_segments(&self) -> bool {
        self.layout.key.is_none() && !self.lock().rows.has_index()
    }

    pub fn memory_bytes(&self) -> usize {
        let inner = self.lock();
        size_of::<Shard>()
            + inner.rows.memory_bytes()
            + inner.segments.memory_bytes()
            + inner.deleted.as_ref().map_or(0, Graveyard::memory_bytes)
            + inner.history.memory_bytes()
            + inner.errors.memory_bytes()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            // Its dataflow has failed; who still holds the relation learns it here.
            let mut inner = poisoned.into_inner();
            inner.broken.get_or_insert_with(|| "a change of the relation was interrupted".into());
            inner
        })
    }
}

impl Inner {
    fn apply_rows(
        &mut self,
        layout: &Layout,
        prepared: &[Prepared<'_>],
        deltas: &[&DeltaBatch],
    ) -> Result<(), OperatorError> {
        let Some(deleted) = &mut self.deleted else {
            let mut short = 0;
            self.rows.apply_bag(layout, prepared, |_, _, _| short += 1);
            return match short {
                0 => Ok(()),
                n => Err(OperatorError::internal(format!("{n} retracted rows are not there"))),
            };
        };
        let mut left: Vec<Vec<u32>> = vec![vec![]; deltas.len()];
        self.rows.apply_keyed(layout, prepared, |batch, row| left[batch].push(row))?;
        for (delta, rows) in deltas.iter().zip(left).filter(|(_, rows)| !rows.is_empty()) {
            let columns = layout.key.as_ref().expect("relations with a graveyard have a key");
            let keys: Vec<ArrayRef> = columns.iter().map(|c| delta.rows().column(*c).clone()).collect();
            deleted.bury(&keys, &rows.into())?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn keeps_arrays(&self) -> bool {
        !self.segments.is_empty()
    }

    /// From now on rows are found one by one: the bag's first retraction is about to come.
    fn segments_to_pages(&mut self, layout: &Layout) -> Result<(), OperatorError> {
        for rows in std::mem::take(&mut self.segments).batches(Epoch::MAX, BATCH_ROWS_MAX) {
            let delta = DeltaBatch::inserts(rows);
            self.rows.add_to_bag(layout, &Prepared::new(layout, &delta)?);
        }
        Ok(())
    }

    /// Settles what a restore left open: after its last batch every retraction has met its row.
    fn settle(&mut self, layout: &Layout) -> Result<(), OperatorError> {
        let owed = std::mem::take(&mut self.owed);
        if owed.is_empty() {
            return Ok(());
        }
        let prepared: Vec<Prepared<'_>> = owed.iter().map(|d| Prepared::new(layout, d)).collect::<Result<_, _>>()?;
        let mut short = 0;
        self.rows.apply_bag(layout, &prepared, |_, _, _| short += 1);
        if short > 0 {
            return Err(OperatorError::internal(format!("{short} rows of a restored relation have a negative weight")));
        }
        Ok(())
    }

    fn readable(&self, epoch: Epoch) {
        assert!(
            epoch >= self.retain_from,
            "epoch {epoch} was asked for, but nothing before {} is kept",
            self.retain_from
        );
    }

    /// Changes above `epoch` to take back row by row, newest last. While there are segments, every change that could be
    /// one is: readers leave those out whole.
    fn undo(&self, epoch: Epoch) -> Vec<Arc<Vec<DeltaBatch>>> {
        let later = self.history.between(epoch, Epoch::MAX).map(|c| c.deltas.clone());
        let single = |deltas: Arc<Vec<DeltaBatch>>| {
            if self.segments.is_empty() || !deltas.iter().any(is_segment) {
                return deltas;
            }
            Arc::new(deltas.iter().filter(|d| !is_segment(d)).cloned().collect())
        };
        later.map(single).filter(|d| !d.is_empty()).collect()
    }
}

fn has_retractions(delta: &DeltaBatch) -> bool {
    delta.diffs().is_some_and(|d| d.iter().any(|d| *d < 0))
}
