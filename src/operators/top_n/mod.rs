//! Top-N per partition: the first `limit` rows after `offset` in an order, with or without their ROW_NUMBER.
//!
//! A partition keeps its rows ordered by the encoding of the order columns, then of the whole row, which breaks ties.
//! An epoch's changes are summed per row first; at the seal old and new positions are walked side by side, up to the
//! end of the window. Append-only input keeps offset + limit rows per partition and turns others away unseen.
//! State table 0: the kept rows with weights (under EMIT ON WINDOW CLOSE with a column saying whether they were shown).

mod checkpoint;
mod encoding;
mod partition;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use hashbrown::HashMap;
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, SqlState};

use self::checkpoint::state_schema;
use self::encoding::{Encoding, pick};
use self::partition::{Ordered, Partition, Window, entry_bytes, trim};
use crate::dirt::{Dirt, slices};
use crate::spec::{CloseSpec, TopNSpec};
use crate::{Cut, Operator, OperatorError, Output, Progress, RestoredTable};

const ROWS_TABLE: u16 = 0;

pub struct TopNOperator {
    spec: TopNSpec,
    encoding: Encoding,
    window: Window,
    /// Rows an append-only partition keeps.
    keep: Option<i64>,
    /// Partitions close by a column that is the same in all their rows.
    close: Option<CloseSpec>,
    partitions: HashMap<Box<[u8]>, Partition>,
    /// Partitions by window end: those not shown yet, and those not dropped yet.
    unshown: BTreeMap<i64, Vec<Box<[u8]>>>,
    ends: BTreeMap<i64, Vec<Box<[u8]>>>,
    /// Changes of the epoch that is not sealed yet, per partition.
    pending: BTreeMap<Box<[u8]>, Pending>,
    /// Batches of the epoch, where they are what the checkpoint needs.
    arrived: Vec<DeltaBatch>,
    leaving: Option<VecDeque<DeltaBatch>>,
    restored: bool,
    dirt: Dirt,
    row_count: i64,
    memory: usize,
}

#[derive(Default)]
struct Pending {
    changes: Ordered,
    /// Sum of the diffs.
    total: i64,
    end: Option<i64>,
}

/// Output rows as they are found, decoded together.
#[derive(Default)]
struct Found {
    rows: Vec<Box<[u8]>>,
    positions: Vec<i64>,
    diffs: Vec<i64>,
}

impl Found {
    fn push(&mut self, row: &[u8], position: i64, diff: i64) {
        self.rows.push(row.into());
        self.positions.push(position);
        self.diffs.push(diff);
    }
}

impl TopNOperator {
    /// Errors: `Limit` for what has no order: rows without columns, holding rows back by a column outside the
    /// partition.
    pub fn new(spec: &TopNSpec) -> Result<Self, OperatorError> {
        let unsupported = |message: &str| {
            Err(OperatorError::Limit { state: SqlState::FeatureNotSupported, message: message.to_string() })
        };
        if spec.input.fields().is_empty() {
            return unsupported("a limit on rows without columns is not supported");
        }
        let close = spec.close.clone().filter(|c| spec.partition_by.contains(&c.column));
        if close.is_none() && spec.close.as_ref().is_some_and(|c| c.emit_on_close) {
            return unsupported("emit on window close needs the window among the columns of PARTITION BY");
        }
        let offset = i64::try_from(spec.offset).unwrap_or(i64::MAX);
        let end = spec.limit.map_or(i64::MAX, |l| offset.saturating_add(i64::try_from(l).unwrap_or(i64::MAX)));
        let held_back = close.as_ref().is_some_and(|c| c.emit_on_close);
        Ok(TopNOperator {
            encoding: Encoding::new(spec)?,
            window: Window { positions: offset..end, numbered: spec.with_row_number },
            keep: (spec.append_only && spec.limit.is_some()).then_some(end),
            close,
            partitions: HashMap::new(),
            unshown: BTreeMap::new(),
            ends: BTreeMap::new(),
            pending: BTreeMap::new(),
            arrived: vec![],
            leaving: None,
            restored: false,
            dirt: Dirt::new(&state_schema(&spec.input, held_back)),
            row_count: 0,
            memory: 0,
            spec: spec.clone(),
        })
    }

    fn holds_back(&self) -> bool {
        self.close.as_ref().is_some_and(|c| c.emit_on_close)
    }

    /// Whether checkpoints take the rows kept, rather than the input as it came.
    fn notes_kept_rows(&self) -> bool {
        self.keep.is_some() || self.holds_back()
    }

    /// Sums a batch's rows into the pending changes.
    fn collect(&mut self, batch: &DeltaBatch) -> Result<(), OperatorError> {
        let rows = self.encoding.row.convert_columns(&pick(batch.rows(), &self.encoding.row_columns))?;
        let keys = match &self.encoding.partition {
            Some(converter) => Some(converter.convert_columns(&pick(batch.rows(), &self.encoding.partition_columns))?),
            None => None,
        };
        let ends = self.close.as_ref().map(|c| batch.rows().column(c.column).clone());
        let ends = ends.as_ref().map(|e| e.as_primitive::<TimestampMicrosecondType>());
        for row in 0..batch.num_rows() {
            let key = keys.as_ref().map_or(&[][..], |k| k.row(row).data());
            let bytes = rows.row(row).data();
            if self.is_beyond(key, bytes) {
                continue;
            }
            if !self.pending.contains_key(key) {
                let end = ends.filter(|e| e.is_valid(row)).map(|e| e.value(row));
                self.pending.insert(key.into(), Pending { end, ..Pending::default() });
            }
            let pending = self.pending.get_mut(key).expect("inserted just now");
            pending.total += batch.diff(row);
            match pending.changes.get_mut(bytes) {
                Some(change) => *change += batch.diff(row),
                None => {
                    pending.changes.insert(bytes.into(), batch.diff(row));
                }
            }
            if let Some(keep) = self.keep {
                trim(&mut pending.changes, &mut pending.total, keep, |_, _| {});
            }
        }
        Ok(())
    }

    /// Whether an append-only partition is full of rows before this one.
    fn is_beyond(&self, key: &[u8], row: &[u8]) -> bool {
        let Some(keep) = self.keep else { return false };
        let full = self.partitions.get(key).filter(|p| p.total >= keep);
        keep == 0 || full.is_some_and(|p| p.rows.last_key_value().is_some_and(|(last, _)| **last < *row))
    }

    /// Applies the epoch; returns what leaves.
    fn apply(&mut self, record: &EpochRecord) -> Result<VecDeque<DeltaBatch>, OperatorError> {
        let mut found = Found::default();
        let mut kept = Found::default();
        for (key, mut pending) in std::mem::take(&mut self.pending) {
            pending.changes.retain(|_, diff| *diff != 0);
            if !pending.changes.is_empty() {
                self.apply_partition(key, pending, &mut found, &mut kept)?;
            }
        }
        if self.notes_kept_rows() {
            self.note(&kept)?;
        } else {
            let arrived = std::mem::take(&mut self.arrived);
            self.dirt.add(&arrived, self.row_count as usize)?;
        }
        if let Some(close) = self.close.clone() {
            self.show_closed(&close, record, &mut found)?;
            self.drop_closed(&close, record)?;
        }
        self.output(found)
    }

    fn apply_partition(
        &mut self,
        key: Box<[u8]>,
        pending: Pending,
        found: &mut Found,
        kept: &mut Found,
    ) -> Result<(), OperatorError> {
        let held_back = self.holds_back();
        if !self.partitions.contains_key(&key) {
            self.partitions
                .insert(key.clone(), Partition { shown: !held_back, end: pending.end, ..Partition::default() });
            self.memory += partition_bytes(&key);
            if let (Some(end), true) = (pending.end, self.close.is_some()) {
                self.ends.entry(end).or_default().push(key.clone());
                if held_back {
                    self.unshown.entry(end).or_default().push(key.clone());
                }
            }
        }
        let partition = self.partitions.get_mut(&key).expect("inserted just now");
        if partition.shown {
            partition.shifts(&pending.changes, &self.window, |s| found.push(s.row, s.position, s.diff));
        }
        let noted = i64::from(partition.noted);
        pending.changes.iter().for_each(|(row, diff)| kept.push(row, noted, *diff));
        self.row_count += pending.total;
        if !partition.apply(pending.changes, &mut self.memory) {
            return Err(OperatorError::internal("a top-n was told to retract a row it does not hold"));
        }
        if let Some(keep) = self.keep {
            let (rows, total) = (&mut partition.rows, &mut partition.total);
            trim(rows, total, keep, |row, weight| {
                self.row_count -= weight;
                self.memory -= entry_bytes(&row);
                kept.push(&row, noted, -weight);
            });
        }
        if partition.rows.is_empty() && self.close.is_none() {
            self.partitions.remove(&key);
            self.memory -= partition_bytes(&key);
        }
        Ok(())
    }

    /// EMIT ON WINDOW CLOSE: partitions whose window the watermark has passed leave for the first time.
    fn show_closed(&mut self, close: &CloseSpec, record: &EpochRecord, found: &mut Found) -> Result<(), OperatorError> {
        if !close.emit_on_close {
            return Ok(());
        }
        let (bound, retain) = (close.bound.at(&record.watermarks), close.retain.at(&record.watermarks));
        let mut rewritten = Found::default();
        while let Some(entry) = self.unshown.first_entry().filter(|e| close.passed(*e.key(), bound)) {
            // Rows that go at once need not be noted as shown.
            let stays = !close.passed(*entry.key(), retain);
            for key in entry.remove() {
                let Some(partition) = self.partitions.get_mut(&key).filter(|p| !p.shown) else { continue };
                (partition.shown, partition.noted) = (true, stays);
                let rows = std::mem::take(&mut partition.rows);
                Partition::default().shifts(&rows, &self.window, |s| found.push(s.row, s.position, s.diff));
                for (row, weight) in rows.iter().filter(|_| stays) {
                    rewritten.push(row, 0, -weight);
                    rewritten.push(row, 1, *weight);
                }
                partition.rows = rows;
            }
        }
        self.note(&rewritten)
    }

    /// State of windows no correction can reach any more goes.
    fn drop_closed(&mut self, close: &CloseSpec, record: &EpochRecord) -> Result<(), OperatorError> {
        let retain = close.retain.at(&record.watermarks);
        let mut dropped = Found::default();
        while let Some(entry) = self.ends.first_entry().filter(|e| close.passed(*e.key(), retain)) {
            for key in entry.remove() {
                let Some(partition) = self.partitions.remove(&key) else { continue };
                self.memory -= partition_bytes(&key);
                self.row_count -= partition.total;
                for (row, weight) in &partition.rows {
                    self.memory -= entry_bytes(row);
                    dropped.push(row, i64::from(partition.noted), -weight);
                }
            }
        }
        self.note(&dropped)
    }

    fn output(&self, found: Found) -> Result<VecDeque<DeltaBatch>, OperatorError> {
        if found.rows.is_empty() {
            return Ok(VecDeque::new());
        }
        let rows = self.encoding.decode(&self.spec.input, found.rows.iter().map(|r| &**r))?;
        let mut columns = rows.columns().to_vec();
        if self.spec.with_row_number {
            columns.push(Arc::new(Int64Array::from_iter_values(found.positions.iter().map(|p| p + 1))));
        }
        let rows = RecordBatch::try_new(self.spec.output.clone(), columns)?;
        let plain = found.diffs.iter().all(|d| *d == 1);
        let delta = if plain { DeltaBatch::inserts(rows) } else { DeltaBatch::new(rows, found.diffs) };
        Ok(slices(&delta).collect())
    }
}

fn partition_bytes(key: &[u8]) -> usize {
    key.len() + size_of::<(Box<[u8]>, Partition)>()
}

impl Operator for TopNOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        if std::mem::take(&mut self.restored) {
            self.finish_restore()?;
        }
        self.collect(&batch)?;
        if !self.notes_kept_rows() {
            self.arrived.push(batch);
        }
        Ok(())
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        if std::mem::take(&mut self.restored) {
            self.finish_restore()?;
        }
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => self.apply(record)?,
        };
        let mut fuel = BATCH_ROWS_MAX;
        while let Some(next) = leaving.pop_front() {
            if next.num_rows() > fuel {
                leaving.push_front(next);
                self.leaving = Some(leaving);
                return Ok(Progress::More);
            }
            fuel -= next.num_rows();
            out.push(next);
        }
        Ok(Progress::DONE)
    }

    fn checkpoint(&mut self) -> Cut {
        let mut cut = Cut::default();
        self.dirt.cut(&mut cut, ROWS_TABLE, self.spec.partition_by.clone());
        cut
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        match table.table {
            ROWS_TABLE => self.restore_rows(table.batch),
            other => Err(OperatorError::internal(format!("a top-n has no state table {other}"))),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.memory + self.dirt.memory_bytes()
    }
}

#[cfg(test)]
mod tests;
