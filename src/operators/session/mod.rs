//! SESSION as a table function: input rows with the window columns of their session.
//!
//! Keeps the rows, per key and time. When a session grows, shrinks, merges or splits, its rows leave again: −old window,
//! +new window, net per epoch. Each row remembers the window under which it last left, so the difference needs no
//! second look at the past. Sessions past `close` leave once if held back; past `retain` their rows go.
//!
//! State: table 0, keyed by all input columns: `__weight`, and as it last left `__left` (weight), `__first`, `__last`.
//! vnodes are those of the partition columns.

mod checkpoint;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use types::{DeltaBatch, EpochRecord, WATERMARK_NONE, canonical_columns, consolidate};

use crate::aggregate::KeyTable;
use crate::bits::Bits;
use crate::session_aggregate::{cut_into_batches, timed};
use crate::spec::{SessionClose, SessionSpec};
use crate::timeline::{EndIndex, Entry, Timeline, has_passed};
use crate::window::{WINDOW_TIME_LEAD_US, check_time_column, timestamps, window_fields};
use crate::{Cut, Operator, OperatorError, Output, Progress, RestoredTable};

pub struct SessionOperator {
    partition_by: Vec<usize>,
    time_column: usize,
    gap_us: i64,
    close: Option<SessionClose>,
    /// Known from the first batch on.
    tables: Option<Tables>,
    /// Runs of this epoch: (key, time).
    touched: Vec<(u32, i64)>,
    closing: EndIndex,
    expiring: EndIndex,
    /// The retention bound as of the last seal.
    retained_us: i64,
    /// Rows of the seal in progress, last first.
    leaving: Vec<DeltaBatch>,
    sealing: bool,
    restoring: bool,
}

/// What depends on the input's schema.
struct Tables {
    input: SchemaRef,
    output: SchemaRef,
    converter: RowConverter,
    keys: KeyTable,
    /// By key id; one entry per distinct time.
    timelines: Vec<Timeline>,
    /// By slot: the rows of one key and time.
    rows: Vec<Rows>,
    free_slots: Vec<u32>,
    row_bytes: usize,
    dirty: Bits,
    /// Encoded rows that the last cut has and that are gone.
    deleted: Vec<Box<[u8]>>,
}

/// Rows of one key and time by encoding.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<Box<[u8]>, Row>,
    /// Window under which `Row::left` left.
    first: i64,
    last: i64,
}

#[derive(Default, Clone, Copy)]
struct Row {
    weight: i64,
    /// Weight that is out.
    left: i64,
    saved: bool,
}

/// Rows on their way out: encoded rows with their windows and diffs.
#[derive(Default)]
struct Changes {
    rows: Vec<Box<[u8]>>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    diffs: Vec<i64>,
}

impl SessionOperator {
    /// Errors: `Internal` for a negative gap.
    pub fn new(spec: &SessionSpec) -> Result<Self, OperatorError> {
        if spec.gap_us < 0 || spec.gap_us > i64::MAX / 8 {
            return Err(OperatorError::internal("the gap of a session is not negative"));
        }
        Ok(SessionOperator {
            partition_by: spec.partition_by.clone(),
            time_column: spec.time_column,
            gap_us: spec.gap_us,
            close: spec.close.clone(),
            tables: None,
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

    fn tables(&mut self, input: &SchemaRef) -> Result<&mut Tables, OperatorError> {
        if self.tables.is_none() {
            check_time_column(input, self.time_column)?;
            self.tables = Some(Tables::new(input, &self.partition_by)?);
        }
        Ok(self.tables.as_mut().expect("set above"))
    }

    /// Recomputes the sessions around what this epoch touched or closed, and gathers the rows whose window changed.
    fn begin_seal(&mut self, record: &EpochRecord) -> Result<(), OperatorError> {
        let bound = self.close.as_ref().map_or(WATERMARK_NONE, |c| c.bound.at(&record.watermarks));
        let (gap_us, holds_back) = (self.gap_us, self.holds_back());
        let touched = std::mem::take(&mut self.touched);
        let closed = self.closing.passed(bound);
        let Some(tables) = &mut self.tables else { return Ok(()) };
        let mut changes = Changes::default();
        for (key, time) in &touched {
            tables.remove_if_empty(*key, *time, gap_us, &mut changes);
        }
        let closed = closed.into_iter().map(|(end, key)| (key, end - gap_us));
        for (key, time) in touched.iter().copied().chain(closed) {
            let Some(timeline) = tables.timelines.get(key as usize) else { continue };
            for range in timeline.sessions_in(timeline.touching(time, time, gap_us), gap_us) {
                let (first, last) = (timeline.entries[range.start].first, timeline.entries[range.end - 1].last);
                let visible = !holds_back || has_passed(last + gap_us, bound);
                if !visible {
                    self.closing.add(last + gap_us, key);
                }
                if self.close.is_some() {
                    self.expiring.add(last + gap_us, key);
                }
                for entry in &timeline.entries[range] {
                    let rows = &mut tables.rows[entry.slot as usize];
                    if rows.leave(first, last, visible, gap_us, &mut changes) {
                        tables.dirty.insert(entry.slot);
                    }
                }
            }
        }
        tables.release_empty(touched.iter().map(|(key, _)| *key));
        self.leaving = cut_into_batches(&tables.to_delta(changes)?);
        Ok(())
    }

    /// Drops the rows of sessions past the retention bound.
    fn expire(&mut self, record: &EpochRecord) {
        let (Some(close), Some(tables)) = (&self.close, &mut self.tables) else { return };
        let retain = close.retain.at(&record.watermarks);
        self.retained_us = retain;
        let passed = self.expiring.passed(retain);
        for (end, key) in &passed {
            let Some(timeline) = tables.timelines.get_mut(*key as usize) else { continue };
            let touching = timeline.touching(end - self.gap_us, end - self.gap_us, self.gap_us);
            let Some(last) = timeline.entries[touching.clone()].last().map(|e| e.last) else { continue };
            if has_passed(last + self.gap_us, retain) {
                let gone: Vec<Entry> = timeline.entries.drain(touching).collect();
                gone.into_iter().for_each(|entry| tables.free(entry.slot));
            }
        }
        tables.release_empty(passed.into_iter().map(|(_, key)| key));
    }
}

impl Rows {
    /// Gathers the difference between how the rows are out and how they should be; true if there is any.
    fn leave(&mut self, first: i64, last: i64, visible: bool, gap_us: i64, changes: &mut Changes) -> bool {
        let same_window = (self.first, self.last) == (first, last);
        let mut changed = false;
        for (bytes, row) in &mut self.rows {
            let wanted = if visible { row.weight } else { 0 };
            if same_window || row.left == 0 || wanted == 0 {
                let window = if wanted == 0 { (self.first, self.last) } else { (first, last) };
                if row.left != wanted {
                    changes.push(bytes, window, gap_us, wanted - row.left);
                }
            } else {
                changes.push(bytes, (self.first, self.last), gap_us, -row.left);
                changes.push(bytes, (first, last), gap_us, wanted);
            }
            changed |= row.left != wanted || !same_window;
            row.left = wanted;
        }
        (self.first, self.last) = (first, last);
        changed
    }
}

impl Changes {
    fn push(&mut self, bytes: &[u8], (first, last): (i64, i64), gap_us: i64, diff: i64) {
        self.rows.push(bytes.into());
        self.starts.push(first);
        self.ends.push(last + gap_us);
        self.diffs.push(diff);
    }
}

impl Tables {
    fn new(input: &SchemaRef, partition_by: &[usize]) -> Result<Self, OperatorError> {
        let types: Vec<DataType> = partition_by.iter().map(|c| input.field(*c).data_type().clone()).collect();
        let fields = input.fields().iter().map(|f| f.as_ref().clone()).chain(window_fields());
        let sort_fields = input.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        Ok(Tables {
            input: input.clone(),
            output: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            converter: RowConverter::new(sort_fields)?,
            keys: KeyTable::new(&types)?,
            timelines: vec![],
            rows: vec![],
            free_slots: vec![],
            row_bytes: 0,
            dirty: Bits::default(),
            deleted: vec![],
        })
    }

    /// Ids of the rows' partition keys.
    fn key_ids(&mut self, columns: &[ArrayRef], rows: usize, by: &[usize]) -> Result<Vec<u32>, OperatorError> {
        let keys: Vec<ArrayRef> = by.iter().map(|c| columns[*c].clone()).collect();
        let ids = self.keys.ids_of(&keys, rows, &mut vec![])?;
        if self.keys.slots() > self.timelines.len() {
            self.timelines.resize_with(self.keys.slots(), Timeline::default);
        }
        Ok(ids)
    }

    /// The slot of a key's rows at `time`, made if there is none.
    fn slot(&mut self, key: u32, time: i64) -> u32 {
        let timeline = &mut self.timelines[key as usize];
        match timeline.find(time) {
            Ok(place) => timeline.entries[place].slot,
            Err(place) => {
                let slot = self.free_slots.pop().unwrap_or(self.rows.len() as u32);
                if slot as usize == self.rows.len() {
                    self.rows.push(Rows::default());
                }
                let entry = Entry { first: time, last: time, slot, emitted: false, saved: false, dirty: false };
                timeline.entries.insert(place, entry);
                slot
            }
        }
    }

    fn add(&mut self, slot: u32, bytes: &[u8], weight: i64) {
        self.dirty.insert(slot);
        let rows = &mut self.rows[slot as usize].rows;
        if let Some(row) = rows.get_mut(bytes) {
            row.weight += weight;
        } else {
            self.row_bytes += bytes.len();
            rows.insert(bytes.into(), Row { weight, ..Row::default() });
        }
    }

    /// Takes rows that have all been retracted out of their time, and the time if nothing is left of it.
    fn remove_if_empty(&mut self, key: u32, time: i64, gap_us: i64, changes: &mut Changes) {
        let timeline = &mut self.timelines[key as usize];
        let Ok(place) = timeline.find(time) else { return };
        let slot = timeline.entries[place].slot;
        let Rows { rows, first, last } = &mut self.rows[slot as usize];
        for (bytes, row) in rows.extract_if(.., |_, row| row.weight == 0) {
            if row.left != 0 {
                changes.push(&bytes, (*first, *last), gap_us, -row.left);
            }
            self.row_bytes -= bytes.len();
            if row.saved {
                self.deleted.push(bytes);
            }
        }
        if rows.is_empty() {
            timeline.entries.remove(place);
            self.free(slot);
        }
    }

    /// Gives a slot back that no timeline names any more.
    fn free(&mut self, slot: u32) {
        let rows = std::mem::take(&mut self.rows[slot as usize]);
        for (bytes, row) in rows.rows {
            self.row_bytes -= bytes.len();
            if row.saved {
                self.deleted.push(bytes);
            }
        }
        self.dirty.remove(slot);
        self.free_slots.push(slot);
        if self.free_slots.len() == self.rows.len() {
            self.rows = vec![];
            self.free_slots = vec![];
        }
    }

    fn release_empty(&mut self, keys: impl Iterator<Item = u32>) {
        let mut keys: Vec<u32> = keys.collect();
        keys.sort_unstable();
        keys.dedup();
        let live = self.keys.live_ids_among(&keys);
        let empty: Vec<u32> = live.into_iter().filter(|key| self.timelines[*key as usize].entries.is_empty()).collect();
        if empty.is_empty() {
            return;
        }
        self.keys.release(&empty);
        empty.iter().for_each(|key| self.timelines[*key as usize] = Timeline::default());
        self.keys.shrink();
        self.timelines.truncate(self.keys.slots());
        self.timelines.shrink_to(self.keys.slots() * 2);
    }

    fn decode<'a>(&self, rows: impl Iterator<Item = &'a Box<[u8]>>) -> Result<Vec<ArrayRef>, OperatorError> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(rows.map(|bytes| parser.parse(bytes)))?)
    }

    fn to_delta(&self, changes: Changes) -> Result<DeltaBatch, OperatorError> {
        let mut columns = self.decode(changes.rows.iter())?;
        let times = changes.ends.iter().map(|end| end - WINDOW_TIME_LEAD_US).collect();
        columns.extend([timestamps(changes.starts), timestamps(changes.ends), timestamps(times)]);
        let batch = RecordBatch::try_new(self.output.clone(), columns)?;
        Ok(consolidate(&DeltaBatch::new(batch, changes.diffs))?)
    }

    fn memory_bytes(&self) -> usize {
        let timelines = self.timelines.iter().map(|t| t.entries.capacity()).sum::<usize>();
        self.keys.memory_bytes()
            + self.timelines.capacity() * size_of::<Timeline>()
            + timelines * (size_of::<Entry>() + size_of::<Row>() + 32)
            + self.rows.capacity() * size_of::<Rows>()
            + self.row_bytes
            + self.deleted.iter().map(|bytes| bytes.len() + 16).sum::<usize>()
    }
}

impl Operator for SessionOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        let partition_by = self.partition_by.clone();
        self.tables(&batch.schema())?;
        self.finish_restore();
        let (batch, times) = timed(batch, self.time_column, (self.gap_us, self.retained_us), out);
        if batch.is_empty() {
            return Ok(());
        }
        let tables = self.tables.as_mut().expect("made above");
        let keys = tables.key_ids(batch.rows().columns(), batch.num_rows(), &partition_by)?;
        let encoded = tables.converter.convert_columns(&canonical_columns(batch.rows().columns()))?;
        for (row, (key, time)) in keys.iter().zip(&times).enumerate() {
            let slot = tables.slot(*key, *time);
            tables.add(slot, encoded.row(row).data(), batch.diff(row));
        }
        self.touched.extend(keys.into_iter().zip(times));
        Ok(())
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        self.finish_restore();
        if !std::mem::replace(&mut self.sealing, true) {
            self.touched.sort_unstable();
            self.touched.dedup();
            self.begin_seal(record)?;
        }
        if let Some(batch) = self.leaving.pop() {
            out.push(batch);
        }
        if !self.leaving.is_empty() {
            return Ok(Progress::More);
        }
        self.sealing = false;
        self.expire(record);
        Ok(Progress::DONE)
    }

    fn checkpoint(&mut self) -> Cut {
        self.cut().expect("rows decode into the schema they were encoded from")
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restore_table(table)
    }

    fn memory_bytes(&self) -> usize {
        self.tables.as_ref().map_or(0, Tables::memory_bytes)
            + self.closing.memory_bytes()
            + self.expiring.memory_bytes()
            + self.leaving.iter().map(DeltaBatch::memory_bytes).sum::<usize>()
    }
}
