//! MATCH_RECOGNIZE with EMIT ON WINDOW CLOSE: rows leave once, at the first watermark at which no row to come can change
//! them (`kernels::StreamMatcher`).
//!
//! Rows wait by partition until the watermark has passed them: only then is their order known. A partition is looked at
//! when one of its rows becomes known or the time of its open match runs out, and never else: an index of times leads to it.
//! Of known rows those are kept that an open match, or what it may read before it, needs.
//!
//! State: table 0, the rows that are kept, as a multiset; table 1, by key, how far the search has come (four numbers). The
//! search's memory is not stored: after a restore it walks the open match again, and comes to the same point.

mod checkpoint;
mod partition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashMap;
use kernels::{MatchVisit, StreamMatcher};
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, ErrorDelta, ToSqlState, WATERMARK_END, WATERMARK_NONE, canonical_columns};

use crate::emit_on_close::slice;
use crate::recompute::{RowCodec, Uncut};
use crate::spec::MatchOnCloseSpec;
use crate::timeline::{EndIndex, has_passed};
use crate::window::check_time_column;
use crate::{Cut, Operator, OperatorError, Output, Progress, RestoredTable};
use partition::Partition;

pub struct MatchOnCloseOperator {
    spec: MatchOnCloseSpec,
    matcher: StreamMatcher,
    codec: RowCodec,
    /// `None`: one partition.
    keys: Option<RowConverter>,
    ids: HashMap<Box<[u8]>, u32>,
    partitions: Vec<Option<Partition>>,
    free: Vec<u32>,
    /// Partitions by the time after which there is something to do.
    wake: EndIndex,
    /// Rows before it are known.
    known_us: i64,
    sealing: bool,
    /// Partitions of the seal in progress that wait for their turn.
    due: VecDeque<u32>,
    leaving: VecDeque<DeltaBatch>,
    uncut: Uncut,
    /// Partitions whose search has moved since the last cut.
    moved: BTreeSet<u32>,
    /// Keys that the last cut has and that are gone.
    gone: Vec<Box<[u8]>>,
    restoring: bool,
    bytes: usize,
}

impl MatchOnCloseOperator {
    /// Errors: `Kernel` if the pattern cannot be matched, `Internal` for a time column of another type.
    pub fn new(spec: &MatchOnCloseSpec) -> Result<Self, OperatorError> {
        let input = &spec.pattern.input;
        check_time_column(input, spec.time_column)?;
        let field = |column: &usize| SortField::new(input.field(*column).data_type().clone());
        let fields: Vec<SortField> = spec.pattern.key.iter().map(field).collect();
        Ok(MatchOnCloseOperator {
            matcher: StreamMatcher::compile(&spec.pattern)?,
            codec: RowCodec::new(input)?,
            keys: if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) },
            spec: spec.clone(),
            ids: HashMap::new(),
            partitions: vec![],
            free: vec![],
            wake: EndIndex::default(),
            known_us: WATERMARK_NONE,
            sealing: false,
            due: VecDeque::new(),
            leaving: VecDeque::new(),
            uncut: Uncut::default(),
            moved: BTreeSet::new(),
            gone: vec![],
            restoring: false,
            bytes: 0,
        })
    }

    /// Encoded keys of rows; `None`: all are of the one partition.
    fn encoded_keys(&self, columns: &[ArrayRef]) -> Result<Option<Rows>, OperatorError> {
        let Some(converter) = &self.keys else { return Ok(None) };
        Ok(Some(converter.convert_columns(&canonical_columns(columns))?))
    }

    fn id_of(&mut self, key: &[u8]) -> u32 {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        let partition = Partition::new(key.into(), self.matcher.begin());
        self.bytes += partition.own_bytes();
        let id = match self.free.pop() {
            Some(id) => {
                self.partitions[id as usize] = Some(partition);
                id
            }
            None => {
                self.partitions.push(Some(partition));
                (self.partitions.len() - 1) as u32
            }
        };
        self.ids.insert(key.into(), id);
        id
    }

    fn partition(&mut self, id: u32) -> Option<&mut Partition> {
        self.partitions.get_mut(id as usize)?.as_mut()
    }

    /// Puts rows to those that wait.
    ///
    /// Errors: `Internal` for a row whose time has passed.
    fn add(&mut self, batch: &DeltaBatch, restored: bool) -> Result<(), OperatorError> {
        let columns: Vec<ArrayRef> =
            self.spec.pattern.key.iter().map(|column| batch.rows().column(*column).clone()).collect();
        let keys = self.encoded_keys(&columns)?;
        let rows = self.codec.encode(batch.rows())?;
        let times = batch.rows().column(self.spec.time_column).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let time = times.value(row);
            if !restored && has_passed(time, self.known_us) {
                return Err(OperatorError::internal("a row came after the watermark had passed it"));
            }
            let key: &[u8] = keys.as_ref().map_or(&[], |keys| keys.row(row).data());
            let id = self.id_of(key);
            let partition = self.partitions[id as usize].as_mut().expect("it has just been found");
            self.bytes = self.bytes.saturating_add_signed(partition.wait(time, rows.row(row).data(), batch.diff(row)));
            if !restored {
                self.wake.add(time, id);
            }
        }
        Ok(())
    }

    fn begin_seal(&mut self, record: &EpochRecord) {
        self.finish_restore();
        let bound = self.spec.bound.at(&record.watermarks);
        if bound == WATERMARK_END && self.known_us != WATERMARK_END {
            let live = self.partitions.iter().enumerate().filter(|(_, partition)| partition.is_some());
            self.due = live.map(|(id, _)| id as u32).collect();
        } else {
            let due: BTreeSet<u32> = self.wake.passed(bound).into_iter().map(|(_, id)| id).collect();
            self.due = due.into_iter().collect();
        }
        self.known_us = self.known_us.max(bound);
        self.sealing = true;
    }

    /// Goes on in as many due partitions as have about one batch of rows.
    fn advance_some(&mut self, out: &mut Output) -> Result<(), OperatorError> {
        let bound = self.known_us;
        let mut buffer = self.codec.buffer();
        let mut taken: Vec<(u32, Partition)> = vec![];
        let mut ranges = vec![];
        while buffer.num_rows() < BATCH_ROWS_MAX
            && let Some(id) = self.due.pop_front()
        {
            let Some(mut partition) = self.partitions[id as usize].take() else { continue };
            partition.learn(bound)?;
            let start = buffer.num_rows();
            partition.known.iter().for_each(|row| self.codec.push(&mut buffer, row));
            ranges.push(start..buffer.num_rows());
            taken.push((id, partition));
        }
        let rows = self.codec.decode(&buffer)?;
        let mut visits = vec![];
        for ((_, partition), rows) in taken.iter_mut().zip(ranges.clone()) {
            visits.push(MatchVisit { progress: partition.progress_mut(), rows, keep_from: 0, deadline: None });
        }
        let matched = self.matcher.advance(&rows, &mut visits, bound, bound == WATERMARK_END)?;
        let settled: Vec<(usize, Option<i64>)> = visits.iter().map(|visit| (visit.keep_from, visit.deadline)).collect();
        for (visit, error) in matched.errors {
            let key = self.key_text(&rows, ranges[visit].start, ranges[visit].len());
            out.errors.push(ErrorDelta { row: key, ..ErrorDelta::new(error.sql_state(), error.to_string(), 1) });
        }
        let mut pruned = self.codec.buffer();
        for ((id, mut partition), (keep_from, deadline)) in taken.into_iter().zip(settled) {
            for row in partition.known.drain(..keep_from) {
                self.bytes = self.bytes.saturating_sub(partition::row_bytes(&row));
                self.codec.push(&mut pruned, &row);
            }
            // A match that waits for what only another row can tell is looked at when that row comes.
            if let Some(deadline) = deadline.filter(|deadline| !has_passed(*deadline, bound)) {
                self.wake.add(deadline, id);
            }
            self.put_back(id, partition);
        }
        if pruned.num_rows() > 0 {
            let rows = self.codec.decode(&pruned)?;
            let gone = DeltaBatch::inserts(rows).negate();
            self.uncut.push(&self.spec.pattern.input, gone)?;
        }
        let found = DeltaBatch::inserts(matched.rows);
        let starts = (0..found.num_rows()).step_by(BATCH_ROWS_MAX);
        self.leaving.extend(starts.map(|start| slice(&found, start, BATCH_ROWS_MAX)));
        Ok(())
    }

    /// Keeps a partition that has rows, or something to remember.
    fn put_back(&mut self, id: u32, partition: Partition) {
        if partition.is_empty() && !self.matcher.keeps_count() {
            self.bytes = self.bytes.saturating_sub(partition.own_bytes());
            self.ids.remove(&partition.key);
            self.moved.remove(&id);
            self.free.push(id);
            if partition.saved {
                self.gone.push(partition.key);
            }
            return;
        }
        self.partitions[id as usize] = Some(partition);
        self.moved.insert(id);
    }

    /// The key of a partition, for people.
    fn key_text(&self, rows: &arrow::array::RecordBatch, row: usize, count: usize) -> Option<String> {
        let key = &self.spec.pattern.key;
        if count == 0 || key.is_empty() {
            return None;
        }
        let fields = key.iter().map(|column| self.spec.pattern.input.field(*column));
        let columns: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
        Some(types::values_text(fields, &columns, row))
    }
}

/// Indices of the rows for which `keep` is true.
fn places(keep: &BooleanArray) -> UInt32Array {
    keep.values().set_indices().map(|row| row as u32).collect()
}

impl Operator for MatchOnCloseOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        // Rows without a time have no place in the order.
        let timed = arrow::compute::is_not_null(batch.rows().column(self.spec.time_column))?;
        let batch = if timed.true_count() == batch.num_rows() { batch } else { batch.take(&places(&timed)) };
        if batch.is_empty() {
            return Ok(());
        }
        self.finish_restore();
        self.add(&batch, false)?;
        self.uncut.push(&self.spec.pattern.input, batch)
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        if !self.sealing {
            self.begin_seal(record);
        }
        if self.leaving.is_empty() && !self.due.is_empty() {
            self.advance_some(out)?;
        }
        if let Some(batch) = self.leaving.pop_front() {
            out.push(batch);
        }
        if !self.leaving.is_empty() || !self.due.is_empty() {
            return Ok(Progress::More);
        }
        self.sealing = false;
        Ok(Progress::DONE)
    }

    fn checkpoint(&mut self) -> Cut {
        self.cut()
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restore_table(table)
    }

    fn memory_bytes(&self) -> usize {
        let leaving = self.leaving.iter().map(DeltaBatch::memory_bytes).sum::<usize>();
        self.bytes + self.wake.memory_bytes() + self.uncut.memory_bytes() + leaving
    }
}
