//! Cuts and restores of sessions.
//!
//! Table 0, keyed by the partition columns and `__first`: one row per timeline entry with `__last`, the state columns
//! of all calls, each value set as a list, `__emitted`. A changed entry is written whole; deletions stand before puts.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use types::{DIFF_COLUMN, ErrorDelta};

use super::SessionAggregateOperator;
use crate::aggregate::{KeyTable, deletion, diff_column};
use crate::bits::Bits;
use crate::spec::SessionAggregateSpec;
use crate::timeline::{Entry, Timeline};
use crate::{Cut, OperatorError, RestoredTable, TableCut, TableKind};

/// What the last cut doesn't know.
pub(super) struct Unsaved {
    key_fields: Vec<Field>,
    /// Keys with entries that changed.
    dirty: Bits,
    /// Entries gone, by key id; resolved to key columns before the id is released.
    deleted: Vec<(u32, i64)>,
    resolved: Vec<Vec<ArrayRef>>,
    /// Errors on their way out.
    pub errors: Vec<ErrorDelta>,
}

impl Unsaved {
    pub fn new(spec: &SessionAggregateSpec, types: &[DataType]) -> Self {
        let name = |place: usize| spec.input.field(spec.session.partition_by[place]).name().clone();
        let field = |(place, t): (usize, &DataType)| Field::new(name(place), t.clone(), true);
        Unsaved {
            key_fields: types.iter().enumerate().map(field).collect(),
            dirty: Bits::default(),
            deleted: vec![],
            resolved: vec![],
            errors: vec![],
        }
    }

    pub fn touch(&mut self, key: u32) {
        self.dirty.insert(key);
    }

    /// Notes that the last cut's entry `first` of a key is gone.
    pub fn delete(&mut self, key: u32, first: i64) {
        self.deleted.push((key, first));
    }

    /// Turns key ids of deletions into key columns.
    pub fn resolve(&mut self, keys: &KeyTable) -> Result<(), OperatorError> {
        if self.deleted.is_empty() {
            return Ok(());
        }
        let deleted = std::mem::take(&mut self.deleted);
        let ids: Vec<u32> = deleted.iter().map(|(key, _)| *key).collect();
        let mut columns = keys.columns(&ids)?;
        columns.push(Arc::new(Int64Array::from_iter_values(deleted.iter().map(|(_, first)| *first))));
        self.resolved.push(columns);
        Ok(())
    }

    pub fn forget(&mut self, key: u32) {
        self.dirty.remove(key);
    }

    pub fn memory_bytes(&self) -> usize {
        let arrays: usize = self.resolved.iter().flatten().map(|c| c.get_array_memory_size()).sum();
        arrays + self.deleted.capacity() * 16 + self.dirty.memory_bytes()
    }
}

impl SessionAggregateOperator {
    fn state_schema(&self) -> SchemaRef {
        let mut fields = self.unsaved.key_fields.clone();
        fields.push(Field::new("__first", DataType::Int64, true));
        fields.push(Field::new("__last", DataType::Int64, true));
        fields.extend(self.slots.state_fields());
        fields.extend(self.slots.set_list_fields());
        fields.push(Field::new("__emitted", DataType::Boolean, true));
        fields.push(Field::new(DIFF_COLUMN, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    pub(super) fn cut(&mut self) -> Result<Cut, OperatorError> {
        self.finish_restore()?;
        let schema = self.state_schema();
        self.unsaved.resolve(&self.keys)?;
        let mut batches = vec![];
        for keys in std::mem::take(&mut self.unsaved.resolved) {
            batches.push(deletion(&schema, keys)?);
        }
        let (mut ids, mut entries): (Vec<u32>, Vec<Entry>) = (vec![], vec![]);
        for key in self.unsaved.dirty.drain() {
            for entry in self.timelines[key as usize].entries.iter_mut().filter(|e| e.dirty) {
                entry.saved = true;
                entry.dirty = false;
                ids.push(key);
                entries.push(*entry);
            }
        }
        if !entries.is_empty() {
            let slots: Vec<u32> = entries.iter().map(|e| e.slot).collect();
            let mut columns = self.keys.columns(&ids)?;
            columns.push(Arc::new(Int64Array::from_iter_values(entries.iter().map(|e| e.first))));
            columns.push(Arc::new(Int64Array::from_iter_values(entries.iter().map(|e| e.last))));
            columns.extend(self.slots.state(&slots, false)?);
            columns.extend(self.slots.set_lists(&slots)?);
            columns.push(Arc::new(BooleanArray::from(entries.iter().map(|e| e.emitted).collect::<Vec<_>>())));
            columns.push(diff_column(1, entries.len()));
            batches.push(RecordBatch::try_new(schema, columns)?);
        }
        let keys = self.partition_by.len();
        let kind = TableKind::Keyed { key_columns: keys + 1 };
        Ok(TableCut { table: 0, kind, vnode_columns: (0..keys).collect(), batches }.into())
    }

    pub(super) fn restore_table(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restoring = true;
        let batch = table.batch;
        if table.table != 0 || batch.num_columns() != self.state_schema().fields().len() {
            return Err(OperatorError::internal("session state doesn't fit the plan it is restored into"));
        }
        let diffs = batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>().values().clone();
        let mut start = 0;
        for run in diffs.chunk_by(|a, b| a == b) {
            let rows = batch.slice(start, run.len());
            start += run.len();
            self.restore_rows(&rows, run[0] > 0)?;
        }
        Ok(())
    }

    fn restore_rows(&mut self, batch: &RecordBatch, put: bool) -> Result<(), OperatorError> {
        let keys = self.partition_by.len();
        let ids = self.keys.ids_of(&batch.columns()[..keys], batch.num_rows(), &mut vec![])?;
        if self.keys.slots() > self.timelines.len() {
            self.timelines.resize_with(self.keys.slots(), Timeline::default);
        }
        let firsts = batch.column(keys).as_primitive::<Int64Type>().values().clone();
        let mut gone = vec![];
        for (key, first) in ids.iter().zip(&firsts) {
            let timeline = &mut self.timelines[*key as usize];
            if let Ok(place) = timeline.find(*first) {
                gone.push(timeline.entries.remove(place).slot);
            }
        }
        self.free(&gone)?;
        if !put {
            return Ok(());
        }
        let lasts = batch.column(keys + 1).as_primitive::<Int64Type>().values();
        let emitted = batch.column(batch.num_columns() - 2).as_boolean();
        let mut slots = vec![];
        for (row, key) in ids.iter().enumerate() {
            let slot = self.new_slot();
            let (first, last, emitted) = (firsts[row], lasts[row], emitted.value(row));
            let timeline = &mut self.timelines[*key as usize];
            let place = timeline.find(first).expect_err("a key stands once in a run of puts");
            timeline.entries.insert(place, Entry { first, last, slot, emitted, saved: true, dirty: false });
            slots.push(slot);
        }
        self.grow_slots();
        let state = self.slots.state_fields().len();
        let lists = self.slots.set_list_fields().len();
        self.slots.load(&slots, &batch.columns()[keys + 2..keys + 2 + state])?;
        self.slots.load_set_lists(&slots, &batch.columns()[keys + 2 + state..keys + 2 + state + lists])
    }

    /// Once, before the first input after a restore: indexes the sessions' ends.
    pub(super) fn finish_restore(&mut self) -> Result<(), OperatorError> {
        if !std::mem::take(&mut self.restoring) {
            return Ok(());
        }
        let holds_back = self.holds_back();
        let keys = self.keys.live_ids();
        for key in &keys {
            let timeline = &self.timelines[*key as usize];
            for range in timeline.sessions(self.gap_us) {
                let end = timeline.entries[range.end - 1].last + self.gap_us;
                if holds_back && !timeline.entries[range.start].emitted {
                    self.closing.add(end, *key);
                }
                if self.close.is_some() {
                    self.expiring.add(end, *key);
                }
            }
        }
        self.release_empty(keys.into_iter())
    }
}
