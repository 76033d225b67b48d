//! Cuts and restores of an aggregation's state.
//!
//! Table 0, keyed by the group columns: `__rows`, the state columns of all additive and distinct calls, `__emitted`
//! (the group left when its window closed). Table 1 + s, keyed by group columns and value: value set s with
//! `__weight`. vnodes are those of the group columns. Only what changed since the last cut is written; deletions
//! stand before puts, so a key that went and came back is put.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use types::DIFF_COLUMN;

use super::changes::diff_column;
use super::key_table::{KeyTable, NO_ID};
use super::operator::{AggregateOperator, Global};
use super::value_set::Entries;
use crate::bits::Bits;
use crate::{Cut, OperatorError, RestoredTable, TableCut, TableKind};

/// What the last cut doesn't know.
pub(crate) struct Unsaved {
    /// Live groups that changed.
    pub dirty: Bits,
    /// Live groups that the last cut has.
    saved: Bits,
    /// Keys of groups that the last cut has and that are gone.
    deleted: Vec<Vec<ArrayRef>>,
    /// By value set: keys and values that the last cut has and whose group is gone.
    deleted_values: Vec<Vec<(Vec<ArrayRef>, ArrayRef)>>,
}

impl Unsaved {
    pub fn new(sets: usize) -> Self {
        Unsaved {
            dirty: Bits::default(),
            saved: Bits::default(),
            deleted: vec![],
            deleted_values: (0..sets).map(|_| vec![]).collect(),
        }
    }

    /// Notes that groups go, while `keys` still has them. `gone`: what the last cut has of their value sets.
    pub fn forget(&mut self, keys: &KeyTable, ids: &[u32], gone: Vec<Entries>) -> Result<(), OperatorError> {
        let saved: Vec<u32> = ids.iter().copied().filter(|id| self.saved.get(*id)).collect();
        if !saved.is_empty() {
            self.deleted.push(keys.columns(&saved)?);
        }
        for (entries, deleted) in gone.into_iter().zip(&mut self.deleted_values) {
            if !entries.ids.is_empty() {
                deleted.push((keys.columns(&entries.ids)?, entries.values));
            }
        }
        for id in ids {
            self.saved.remove(*id);
            self.dirty.remove(*id);
        }
        Ok(())
    }

    pub fn truncate(&mut self, slots: usize) {
        self.dirty.truncate(slots);
        self.saved.truncate(slots);
    }

    pub fn memory_bytes(&self) -> usize {
        let deleted = self.deleted.iter().flatten();
        let values = self.deleted_values.iter().flatten().flat_map(|(keys, values)| keys.iter().chain([values]));
        let arrays: usize = deleted.chain(values).map(|c| c.get_array_memory_size()).sum();
        arrays + self.dirty.memory_bytes() + self.saved.memory_bytes()
    }
}

impl AggregateOperator {
    pub(super) fn cut(&mut self) -> Result<Cut, OperatorError> {
        self.finish_restore()?;
        let mut cut = Cut::from(self.cut_groups()?);
        for set in 0..self.layout.sets.len() {
            let table = self.cut_set(set)?;
            cut.add(|| Ok(table));
        }
        Ok(cut)
    }

    fn groups_schema(&self) -> SchemaRef {
        let mut fields = self.layout.group_fields.clone();
        fields.extend(self.slots.state_fields());
        fields.push(Field::new("__emitted", DataType::Boolean, true));
        fields.push(Field::new(DIFF_COLUMN, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    fn cut_groups(&mut self) -> Result<TableCut, OperatorError> {
        let schema = self.groups_schema();
        let groups = self.layout.groups();
        let mut batches = vec![];
        for keys in std::mem::take(&mut self.unsaved.deleted) {
            batches.push(deletion(&schema, keys)?);
        }
        let dirty = self.unsaved.dirty.drain();
        if !dirty.is_empty() {
            let mut columns = self.keys.columns(&dirty)?;
            columns.extend(self.slots.state(&dirty, false)?);
            let emitted = |id: &u32| self.closing.as_ref().is_some_and(|c| c.emitted.get(*id));
            columns.push(Arc::new(BooleanArray::from(dirty.iter().map(emitted).collect::<Vec<bool>>())));
            columns.push(diff_column(1, dirty.len()));
            batches.push(RecordBatch::try_new(schema, columns)?);
            for id in dirty {
                self.unsaved.saved.insert(id);
            }
        }
        let kind = TableKind::Keyed { key_columns: groups };
        Ok(TableCut { table: 0, kind, vnode_columns: (0..groups).collect(), batches })
    }

    fn set_schema(&self, set: usize) -> SchemaRef {
        let mut fields = self.layout.group_fields.clone();
        fields.push(Field::new("__value", self.layout.sets[set].data_type.clone(), true));
        fields.push(Field::new("__weight", DataType::Int64, true));
        fields.push(Field::new(DIFF_COLUMN, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    fn cut_set(&mut self, set: usize) -> Result<TableCut, OperatorError> {
        let schema = self.set_schema(set);
        let groups = self.layout.groups();
        let mut batches = vec![];
        for (mut keys, values) in std::mem::take(&mut self.unsaved.deleted_values[set]) {
            keys.push(values);
            batches.push(deletion(&schema, keys)?);
        }
        let (puts, deletes) = self.slots.sets_mut()[set].cut()?;
        if !deletes.ids.is_empty() {
            let mut keys = self.keys.columns(&deletes.ids)?;
            keys.push(deletes.values);
            batches.push(deletion(&schema, keys)?);
        }
        if !puts.ids.is_empty() {
            let mut columns = self.keys.columns(&puts.ids)?;
            columns.push(puts.values);
            columns.push(Arc::new(Int64Array::from(puts.weights)));
            columns.push(diff_column(1, puts.ids.len()));
            batches.push(RecordBatch::try_new(schema, columns)?);
        }
        let kind = TableKind::Keyed { key_columns: groups + 1 };
        Ok(TableCut { table: set as u16 + 1, kind, vnode_columns: (0..groups).collect(), batches })
    }

    pub(super) fn restore_table(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restoring = true;
        let set = (table.table as usize).checked_sub(1);
        if set.is_some_and(|set| set >= self.layout.sets.len()) {
            return Err(OperatorError::internal(format!("aggregate state has no table {}", table.table)));
        }
        let schema = set.map_or_else(|| self.groups_schema(), |set| self.set_schema(set));
        if table.batch.num_columns() != schema.fields().len() {
            return Err(OperatorError::internal("aggregate state doesn't fit the plan it is restored into"));
        }
        // Rows apply in order: runs of one diff at a time.
        let diffs = table.batch.column(table.batch.num_columns() - 1).as_primitive::<Int64Type>().values().clone();
        let mut start = 0;
        for run in diffs.chunk_by(|a, b| a == b) {
            let batch = table.batch.slice(start, run.len());
            start += run.len();
            match set {
                None => self.restore_groups(&batch, run[0] > 0)?,
                Some(set) => self.restore_values(set, &batch, run[0] > 0)?,
            }
        }
        Ok(())
    }

    fn restore_ids(&mut self, batch: &RecordBatch) -> Result<Vec<u32>, OperatorError> {
        let keys = &batch.columns()[..self.layout.groups()];
        let ids = self.keys.ids_of(keys, batch.num_rows(), &mut vec![])?;
        self.slots.resize(self.keys.slots());
        Ok(ids)
    }

    fn restore_groups(&mut self, batch: &RecordBatch, put: bool) -> Result<(), OperatorError> {
        let groups = self.layout.groups();
        if !put {
            let mut ids = self.keys.find(&batch.columns()[..groups], batch.num_rows())?;
            ids.retain(|id| *id != NO_ID);
            self.slots.clear_additive(&ids);
            ids.iter().for_each(|id| self.unsaved.saved.remove(*id));
            return Ok(());
        }
        let ids = self.restore_ids(batch)?;
        self.slots.clear_additive(&ids);
        let state = self.slots.state_fields().len();
        self.slots.load(&ids, &batch.columns()[groups..groups + state])?;
        let emitted = batch.column(groups + state).as_boolean();
        for (row, id) in ids.iter().enumerate() {
            self.unsaved.saved.insert(*id);
            if let Some(closing) = &mut self.closing {
                closing.emitted.remove(*id);
                if emitted.value(row) {
                    closing.emitted.insert(*id);
                }
            }
        }
        if let Global::Owned { announced } = &mut self.global {
            *announced = true;
        }
        Ok(())
    }

    fn restore_values(&mut self, set: usize, batch: &RecordBatch, put: bool) -> Result<(), OperatorError> {
        let groups = self.layout.groups();
        let values = batch.column(groups);
        if put {
            let ids = self.restore_ids(batch)?;
            let weights = batch.column(groups + 1).as_primitive::<Int64Type>().values().to_vec();
            return self.slots.sets_mut()[set].restore(&Entries { ids, values: values.clone(), weights });
        }
        let found = self.keys.find(&batch.columns()[..groups], batch.num_rows())?;
        let rows: Vec<u32> = (0..found.len() as u32).filter(|row| found[*row as usize] != NO_ID).collect();
        let ids: Vec<u32> = rows.iter().map(|row| found[*row as usize]).collect();
        let values = take(values, &UInt32Array::from(rows), None)?;
        let weights = vec![0; ids.len()];
        self.slots.sets_mut()[set].restore(&Entries { ids, values, weights })
    }

    /// Once, before the first input after a restore: drops groups that were deleted meanwhile (tables come in any
    /// order, so not earlier) and sorts the others into their windows.
    pub(super) fn finish_restore(&mut self) -> Result<(), OperatorError> {
        if !std::mem::take(&mut self.restoring) || self.global != Global::No {
            return Ok(());
        }
        let live = self.keys.live_ids();
        let (empty, held): (Vec<u32>, Vec<u32>) = live.into_iter().partition(|id| self.slots.rows[*id as usize] == 0);
        self.release(&empty)?;
        if let Some(closing) = &mut self.closing {
            let ends = super::closing::window_ends(&self.keys.columns(&held)?[closing.spec.column]);
            held.iter().zip(ends).for_each(|(id, end)| closing.add(*id, end));
        }
        Ok(())
    }
}

/// Rows that delete `keys` from a keyed table of `schema`.
pub(crate) fn deletion(schema: &SchemaRef, keys: Vec<ArrayRef>) -> Result<RecordBatch, OperatorError> {
    let rows = keys.first().map_or(1, |k| k.len());
    let mut columns = keys;
    for field in &schema.fields()[columns.len()..schema.fields().len() - 1] {
        columns.push(new_null_array(field.data_type(), rows));
    }
    columns.push(diff_column(-1, rows));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
