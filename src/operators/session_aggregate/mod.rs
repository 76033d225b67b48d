//! SESSION fused with the GROUP BY on it: no rows are kept, only intervals with accumulators.
//!
//! Rows of a batch are sorted by (key, time) and cut into runs; a run then meets the key's timeline once. Over
//! append-only input an entry of a timeline is a whole session and neighbours within the gap are folded together; with
//! retractions entries are single times and sessions are read as runs of them. Before a session changes for the first
//! time in an epoch its output is remembered; at the seal −old and +new leave, consolidated.
//!
//! `outputs` makes rows of sessions, `checkpoint` cuts and restores.

mod checkpoint;
mod outputs;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, WATERMARK_NONE};

use crate::aggregate::{KeyTable, Layout, Outputs, Scope, Slots};
use crate::emit_on_close::slice;
use crate::spec::{GroupColumn, SessionAggregateSpec, SessionClose};
use crate::timeline::{EndIndex, Entry, Timeline, has_passed, within};
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
    /// Rows of the seal in progress, last first.
    leaving: Vec<DeltaBatch>,
    sealing: bool,
    unsaved: checkpoint::Unsaved,
    restoring: bool,
}

/// Rows of one key that surely share a session, by their place in the sorted batch.
struct Run {
    key: u32,
    first: i64,
    last: i64,
    rows: std::ops::Range<usize>,
    slot: u32,
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
        let layout = Layout::new(spec.group.len(), &spec.calls, &spec.input, &spec.output, spec.append_only)?;
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
            leaving: vec![],
            sealing: false,
            restoring: false,
        })
    }

    fn holds_back(&self) -> bool {
        self.close.as_ref().is_some_and(|c| c.emit_on_close)
    }

    /// Rows sorted by (key, time) and cut where a session or, with retractions, a time ends.
    fn runs(&self, keys: &[u32], times: &[i64]) -> (Vec<u32>, Vec<Run>) {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_unstable_by_key(|row| (keys[*row as usize], times[*row as usize], *row));
        let gap_us = if self.append_only { self.gap_us } else { 0 };
        let mut runs: Vec<Run> = vec![];
        for (place, row) in order.iter().enumerate() {
            let (key, time) = (keys[*row as usize], times[*row as usize]);
            match runs.last_mut() {
                Some(run) if run.key == key && within(run.last, time, gap_us) => {
                    run.last = time;
                    run.rows.end = place + 1;
                }
                _ => runs.push(Run { key, first: time, last: time, rows: place..place + 1, slot: 0 }),
            }
        }
        (order, runs)
    }

    /// Remembers the outputs of all sessions that the runs touch, before anything changes.
    fn remember(&mut self, runs: &[Run]) -> Result<(), OperatorError> {
        let mut sessions = vec![];
        for run in runs {
            let timeline = &mut self.timelines[run.key as usize];
            let touching = timeline.touching(run.first, run.last, self.gap_us);
            let mut entries = timeline.entries[touching].iter_mut().filter(|e| e.emitted).peekable();
            // Entries with an output that lie within the gap of each other were one session at the last seal.
            while let Some(entry) = entries.next() {
                let mut session =
                    Session { key: run.key, first: entry.first, last: entry.last, slots: vec![entry.slot] };
                (entry.emitted, entry.dirty) = (false, true);
                while let Some(next) = entries.next_if(|e| within(session.last, e.first, self.gap_us)) {
                    session.last = next.last;
                    session.slots.push(next.slot);
                    (next.emitted, next.dirty) = (false, true);
                }
                sessions.push(session);
            }
        }
        let (ids, scratch) = self.slots_of(&sessions)?;
        self.old.gather(&self.slots, &ids)?;
        self.free(&scratch)?;
        self.old_sessions.extend(sessions);
        Ok(())
    }

    /// One slot per session: its own if it has one entry, else a scratch slot with all of them folded; those come
    /// back second, to be freed.
    fn slots_of(&mut self, sessions: &[Session]) -> Result<(Vec<u32>, Vec<u32>), OperatorError> {
        let (mut ids, mut scratch, mut into, mut from) = (vec![], vec![], vec![], vec![]);
        for session in sessions {
            if let [slot] = session.slots[..] {
                ids.push(slot);
                continue;
            }
            let slot = self.new_slot();
            scratch.push(slot);
            ids.push(slot);
            into.extend(session.slots.iter().map(|_| slot));
            from.extend_from_slice(&session.slots);
        }
        self.grow_slots();
        if !from.is_empty() {
            self.slots.fold(&into, &from)?;
        }
        Ok((ids, scratch))
    }

    fn new_slot(&mut self) -> u32 {
        self.entries += 1;
        self.free_slots.pop().unwrap_or_else(|| (self.entries - 1) as u32)
    }

    fn grow_slots(&mut self) {
        let len = self.entries + self.free_slots.len();
        if len > self.slots.rows.len() {
            self.slots.resize(len);
        }
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), OperatorError> {
        self.slots.clear(slots)?;
        self.free_slots.extend_from_slice(slots);
        self.entries -= slots.len();
        if self.entries == 0 {
            self.free_slots = vec![];
            self.slots.resize(0);
        }
        Ok(())
    }

    /// Gives every run its entry; answers slots to fold away: (into, from).
    fn place(&mut self, runs: &mut [Run]) -> (Vec<u32>, Vec<u32>) {
        let mut moved: HashMap<u32, u32> = HashMap::new();
        for run in runs.iter_mut() {
            run.slot = if self.append_only { self.place_interval(run, &mut moved) } else { self.place_time(run) };
        }
        let resolve = |mut slot: u32| {
            while let Some(next) = moved.get(&slot) {
                slot = *next;
            }
            slot
        };
        runs.iter_mut().for_each(|run| run.slot = resolve(run.slot));
        let mut from: Vec<u32> = moved.keys().copied().collect();
        from.sort_unstable();
        (from.iter().map(|slot| resolve(*slot)).collect(), from)
    }

    /// The session of an append-only run: all that lie within the gap become one, in the slot with most rows.
    fn place_interval(&mut self, run: &Run, moved: &mut HashMap<u32, u32>) -> u32 {
        let timeline = &self.timelines[run.key as usize];
        let touching = timeline.touching(run.first, run.last, self.gap_us);
        let Some(most) = timeline.entries[touching.clone()].iter().max_by_key(|e| self.slots_rows(e.slot)).copied()
        else {
            return self.insert(run.key, touching.start, run.first, run.last);
        };
        let entries = &timeline.entries[touching.clone()];
        let first = run.first.min(entries[0].first);
        let last = run.last.max(entries[entries.len() - 1].last);
        let mut saved = false;
        for entry in entries {
            if entry.slot != most.slot {
                moved.insert(entry.slot, most.slot);
            }
            if entry.saved && entry.first == first {
                saved = true;
            } else if entry.saved {
                self.unsaved.delete(run.key, entry.first);
            }
        }
        let merged = Entry { first, last, slot: most.slot, emitted: false, saved, dirty: true };
        let timeline = &mut self.timelines[run.key as usize];
        timeline.entries.splice(touching, [merged]);
        most.slot
    }

    /// Rows of a slot; slots made in this batch have none yet.
    fn slots_rows(&self, slot: u32) -> i64 {
        self.slots.rows.get(slot as usize).copied().unwrap_or(0)
    }

    fn place_time(&mut self, run: &Run) -> u32 {
        match self.timelines[run.key as usize].find(run.first) {
            Ok(place) => {
                let entry = &mut self.timelines[run.key as usize].entries[place];
                entry.dirty = true;
                entry.slot
            }
            Err(place) => self.insert(run.key, place, run.first, run.last),
        }
    }

    fn insert(&mut self, key: u32, place: usize, first: i64, last: i64) -> u32 {
        let slot = self.new_slot();
        let entries = &mut self.timelines[key as usize].entries;
        if entries.is_empty() {
            // Most keys have one session.
            entries.reserve_exact(1);
        }
        entries.insert(place, Entry { first, last, slot, emitted: false, saved: false, dirty: true });
        slot
    }

    /// Removes times whose rows have all been retracted.
    fn remove_empty(&mut self) -> Result<(), OperatorError> {
        let mut gone = vec![];
        for (key, first, _) in &self.touched {
            let timeline = &mut self.timelines[*key as usize];
            if let Ok(place) = timeline.find(*first)
                && self.slots.rows[timeline.entries[place].slot as usize] == 0
            {
                let entry = timeline.entries.remove(place);
                gone.push(entry.slot);
                if entry.saved {
                    self.unsaved.delete(*key, entry.first);
                }
            }
        }
        self.free(&gone)
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

/// Rows with a time, and the times; rows out of range become errors.
pub(crate) fn timed(batch: DeltaBatch, time_column: usize, out: &mut Output) -> (DeltaBatch, Vec<i64>) {
    let times = batch.rows().column(time_column).as_primitive::<TimestampMicrosecondType>().clone();
    let limit = i64::MAX / 2;
    let mut kept: Vec<u32> = Vec::with_capacity(times.len());
    for row in 0..times.len() {
        if times.is_null(row) {
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
        let (batch, times) = timed(batch, self.time_column, out);
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
