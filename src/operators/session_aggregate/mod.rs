//! SESSION fused with the GROUP BY on it: no rows are kept, only intervals with accumulators.
//!
//! Rows of a batch are sorted by (key, time) and cut into runs; a run then meets the key's timeline once. Over
//! append-only input an entry of a timeline is a whole session and neighbours within the gap are folded together; with
//! retractions entries are single times and sessions are read as runs of them. Before a session changes for the first
//! time in an epoch its output is remembered; at the seal −old and +new leave, consolidated.
//!
//! `place` finds each row's entry, `outputs` makes rows of sessions, `checkpoint` cuts and restores.

mod checkpoint;
mod outputs;
mod place;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, WATERMARK_NONE};

use crate::aggregate::{KeyTable, Layout, Outputs, Scope, Slots};
use crate::emit_on_close::slice;
use crate::spec::{GroupColumn, SessionAggregateSpec, SessionClose};
use crate::timeline::{EndIndex, Entry, Timeline, has_passed};
use crate::window::{check_time_column, time_out_of_range};
use crate::{Cut, Operator, OperatorError, Output, Progress, RestoredTable};
use outputs::Session;

pub struct SessionAggregateOperator {
    layout: Arc<Layout>,
    group: Vec<GroupColumn>,
    partition_by: Vec<usize>,
    time_column: usize,
    gap_us: i64,
    close: Option<SessionClose>,
    /// Entries within the gap are folded together at once.
    append_only: bool,
    keys: KeyTable,
    /// By key id.
    timelines: Vec<Timeline>,
    /// By entry.
    slots: Slots,
    free_slots: Vec<u32>,
    entries: usize,
    /// Outputs that this epoch takes back, and whose they were.
    old: Outputs,
    old_sessions: Vec<Session>,
    /// Runs of this epoch: (key, first, last).
    touched: Vec<(u32, i64, i64)>,
    /// Ends of sessions that have yet to leave (emit on close), and whose state has yet to go.
    closing: EndIndex,
    expiring: EndIndex,
    /// The retention bound as of the last seal.
    retained_us: i64,
    /// Rows of the seal in progress, last first.
    leaving: Vec<DeltaBatch>,
    sealing: bool,
    unsaved: checkpoint::Unsaved,
    restoring: bool,
}

impl SessionAggregateOperator {
    /// Errors: `Internal` unless the group columns are all partition columns and at least the start or the end of the
    /// window; otherwise as for aggregation.
    pub fn new(spec: &SessionAggregateSpec) -> Result<Self, OperatorError> {
        let session = &spec.session;
        check_time_column(&spec.input, session.time_column)?;
        if session.gap_us < 0 || session.gap_us > i64::MAX / 8 {
            return Err(OperatorError::internal("the gap of a session is not negative"));
        }
        let inputs = |c: &GroupColumn| matches!(c, GroupColumn::Input(column) if session.partition_by.contains(column));
        let is_window = |c: &GroupColumn| !matches!(c, GroupColumn::Input(_));
        let complete = session.partition_by.iter().all(|p| spec.group.contains(&GroupColumn::Input(*p)))
            && spec.group.iter().all(|c| is_window(c) || inputs(c))
            && spec.group.iter().any(is_window);
        if !complete {
            return Err(OperatorError::internal("a fused session groups by its partition and its window"));
        }
        let (groups, null_on_error) = (spec.group.len(), spec.null_on_error);
        let layout = Layout::new(groups, &spec.calls, &spec.input, &spec.output, spec.append_only, null_on_error)?;
        let types: Vec<DataType> =
            session.partition_by.iter().map(|c| spec.input.field(*c).data_type().clone()).collect();
        Ok(SessionAggregateOperator {
            slots: Slots::new(&layout, Scope::Full)?,
            layout,
            group: spec.group.clone(),
            partition_by: session.partition_by.clone(),
            time_column: session.time_column,
            gap_us: session.gap_us,
            close: session.close.clone(),
            append_only: spec.append_only,
            unsaved: checkpoint::Unsaved::new(spec, &types),
            keys: KeyTable::new(&types)?,
            timelines: vec![],
            free_slots: vec![],
            entries: 0,
            old: Outputs::default(),
            old_sessions: vec![],
            touched: vec![],
            closing: EndIndex::default(),
            expiring: EndIndex::default(),
            retained_us: WATERMARK_NONE,
            leaving: vec![],
            sealing: false,
            restoring: false,
        })
    }

    fn holds_back(&self) -> bool {
        self.close.as_ref().is_some_and(|c| c.emit_on_close)
    }

    /// Computes what leaves with this epoch.
    fn begin_seal(&mut self, record: &EpochRecord) -> Result<(), OperatorError> {
        if !self.append_only {
            self.remove_empty()?;
        }
        let bound = self.close.as_ref().map_or(WATERMARK_NONE, |c| c.bound.at(&record.watermarks));
        let holds_back = self.holds_back();
        let touched = std::mem::take(&mut self.touched);
        let closed =
            self.closing.passed(bound).into_iter().map(|(end, key)| (key, end - self.gap_us, end - self.gap_us));
        let mut sessions = vec![];
        for (key, first, last) in touched.iter().copied().chain(closed) {
            // Hints of the index may name keys that are gone.
            let Some(timeline) = self.timelines.get_mut(key as usize) else { continue };
            for range in timeline.sessions_in(timeline.touching(first, last, self.gap_us), self.gap_us) {
                let entries = &mut timeline.entries[range];
                let (first, last) = (entries[0].first, entries[entries.len() - 1].last);
                if entries[0].emitted {
                    continue;
                }
                if holds_back && !has_passed(last + self.gap_us, bound) {
                    self.closing.add(last + self.gap_us, key);
                } else {
                    for entry in entries.iter_mut() {
                        entry.emitted = true;
                        entry.dirty = true;
                    }
                    self.unsaved.touch(key);
                    let slots = entries.iter().map(|e| e.slot).collect();
                    sessions.push(Session { key, first, last, slots });
                }
                if self.close.is_some() {
                    self.expiring.add(last + self.gap_us, key);
                }
            }
        }
        self.finish_outputs(sessions, &touched)
    }

    /// Makes the net rows of this epoch, then releases keys that have nothing left.
    fn finish_outputs(&mut self, sessions: Vec<Session>, touched: &[(u32, i64, i64)]) -> Result<(), OperatorError> {
        let (ids, scratch) = self.slots_of(&sessions)?;
        let mut new = Outputs::default();
        new.gather(&self.slots, &ids)?;
        self.free(&scratch)?;
        self.leave(new, &sessions)?;
        self.release_empty(touched.iter().map(|(key, _, _)| *key))
    }

    /// Drops sessions past the retention bound, without output.
    fn expire(&mut self, record: &EpochRecord) -> Result<(), OperatorError> {
        let Some(close) = &self.close else { return Ok(()) };
        let retain = close.retain.at(&record.watermarks);
        self.retained_us = retain;
        let passed = self.expiring.passed(retain);
        let mut gone = vec![];
        for (end, key) in &passed {
            let Some(timeline) = self.timelines.get_mut(*key as usize) else { continue };
            let touching = timeline.touching(end - self.gap_us, end - self.gap_us, self.gap_us);
            let Some(last) = timeline.entries[touching.clone()].last().map(|e| e.last) else { continue };
            if !has_passed(last + self.gap_us, retain) {
                continue;
            }
            for entry in timeline.entries.drain(touching) {
                gone.push(entry.slot);
                if entry.saved {
                    self.unsaved.delete(*key, entry.first);
                }
            }
        }
        self.free(&gone)?;
        self.release_empty(passed.into_iter().map(|(_, key)| key))
    }

    /// Forgets keys without entries.
    fn release_empty(&mut self, keys: impl Iterator<Item = u32>) -> Result<(), OperatorError> {
        let empty = |key: &u32| self.timelines.get(*key as usize).is_some_and(|t| t.entries.is_empty());
        let mut empty: Vec<u32> = keys.filter(empty).collect();
        empty.sort_unstable();
        empty.dedup();
        // Hints of the indices may name keys that are gone.
        let empty = self.keys.live_ids_among(&empty);
        if empty.is_empty() {
            return Ok(());
        }
        self.unsaved.resolve(&self.keys)?;
        self.keys.release(&empty);
        for key in empty {
            self.timelines[key as usize] = Timeline::default();
            self.unsaved.forget(key);
        }
        self.keys.shrink();
        self.timelines.truncate(self.keys.slots());
        self.timelines.shrink_to(self.keys.slots() * 2);
        Ok(())
    }

    fn apply(&mut self, batch: &DeltaBatch, times: &[i64]) -> Result<(), OperatorError> {
        let columns: Vec<ArrayRef> = self.partition_by.iter().map(|c| batch.rows().column(*c).clone()).collect();
        let keys = self.keys.ids_of(&columns, batch.num_rows(), &mut vec![])?;
        if self.keys.slots() > self.timelines.len() {
            self.timelines.resize_with(self.keys.slots(), Timeline::default);
        }
        let (order, mut runs) = self.runs(&keys, times);
        self.remember(&runs)?;
        let (into, from) = self.place(&mut runs);
        self.grow_slots();
        self.slots.fold(&into, &from)?;
        let mut ids = vec![0; keys.len()];
        for run in &runs {
            order[run.rows.clone()].iter().for_each(|row| ids[*row as usize] = run.slot);
            self.unsaved.touch(run.key);
        }
        self.slots.update(&ids, batch.rows(), batch.diffs().map(|d| &d[..]))?;
        self.free(&from)?;
        self.touched.extend(runs.iter().map(|run| (run.key, run.first, run.last)));
        Ok(())
    }
}

/// Rows with a time, and the times; rows out of range become errors. Rows whose session would be past `retained_us`
/// less the gap are refused at admission; should one come nevertheless, it is dropped: its session is gone.
pub(crate) fn timed(
    batch: DeltaBatch,
    time_column: usize,
    (gap_us, retained_us): (i64, i64),
    out: &mut Output,
) -> (DeltaBatch, Vec<i64>) {
    let times = batch.rows().column(time_column).as_primitive::<TimestampMicrosecondType>().clone();
    let limit = i64::MAX / 2;
    let mut kept: Vec<u32> = Vec::with_capacity(times.len());
    for row in 0..times.len() {
        if times.is_null(row) {
            continue;
        }
        if has_passed(times.value(row).saturating_add(gap_us), retained_us) {
            debug_assert!(false, "a row came for a session whose state has gone");
            continue;
        }
        if times.value(row) > -limit && times.value(row) < limit {
            kept.push(row as u32);
        } else {
            out.errors.push(time_out_of_range(batch.diff(row)));
        }
    }
    let values = kept.iter().map(|row| times.value(*row as usize)).collect();
    let all = kept.len() == batch.num_rows();
    (if all { batch } else { batch.take(&UInt32Array::from(kept)) }, values)
}

impl Operator for SessionAggregateOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        self.finish_restore()?;
        let (batch, times) = timed(batch, self.time_column, (self.gap_us, self.retained_us), out);
        if batch.is_empty() {
            return Ok(());
        }
        self.apply(&batch, &times)
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        self.finish_restore()?;
        if !std::mem::replace(&mut self.sealing, true) {
            self.begin_seal(record)?;
            out.errors.append(&mut self.unsaved.errors);
        }
        if let Some(batch) = self.leaving.pop() {
            out.push(batch);
        }
        if !self.leaving.is_empty() {
            return Ok(Progress::More);
        }
        self.sealing = false;
        self.expire(record)?;
        Ok(Progress::DONE)
    }

    fn checkpoint(&mut self) -> Cut {
        self.cut().expect("state columns fit the schemas they were made for")
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restore_table(table)
    }

    fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes()
            + self.slots.memory_bytes()
            + self.timelines.capacity() * size_of::<Timeline>()
            + self.entries * (size_of::<Entry>() + 16)
            + self.free_slots.capacity() * 4
            + self.closing.memory_bytes()
            + self.expiring.memory_bytes()
            + self.unsaved.memory_bytes()
    }
}

/// Batches of at most `BATCH_ROWS_MAX` rows, last first.
pub(crate) fn cut_into_batches(net: &DeltaBatch) -> Vec<DeltaBatch> {
    let starts: Vec<usize> = (0..net.num_rows()).step_by(BATCH_ROWS_MAX).collect();
    starts.into_iter().rev().map(|start| slice(net, start, BATCH_ROWS_MAX)).collect()
}
