//! First phase of an aggregation, before the exchange: adds up what one epoch brings per group.
//!
//! Groups gather over batches until `BATCH_ROWS_MAX` of them or the seal; then one row per group leaves (`layout`
//! says which columns). Where that would barely reduce anything, rows pass one by one in the same form, so the
//! second phase can't tell. A fused window groups by (pane, keys) and expands each pane's row to its windows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord};

use super::key_table::KeyTable;
use super::layout::Layout;
use super::slots::{Scope, Slots, filtered};
use crate::spec::{AggregateSpec, GroupColumn};
use crate::window::{Windows, check_time_column, panes_of, timestamps, window_times};
use crate::{Operator, OperatorError, Output, Progress};

/// Rows to see before judging the reduction.
const PROBE_ROWS: usize = 8 * 1024;
/// Rows to pass one by one before judging again.
const BYPASS_ROWS: usize = 1024 * 1024;

pub struct PartialAggregateOperator {
    layout: Arc<Layout>,
    group: Vec<GroupColumn>,
    window: Option<(Windows, usize)>,
    /// Pane if there is a window, then the input columns among the group columns.
    keys: KeyTable,
    slots: Slots,
    sets: Vec<LocalSet>,
    /// Input rows in `slots`.
    rows_in: usize,
    /// Rows still to pass one by one.
    bypass_rows: usize,
    /// Where the seal in progress stands.
    emitted: Emitted,
}

#[derive(Default, Clone, Copy)]
struct Emitted {
    groups: usize,
    set: usize,
    values: usize,
}

/// Distinct (group, value) pairs of this epoch with their weights.
struct LocalSet {
    pairs: KeyTable,
    weights: Vec<i64>,
}

impl LocalSet {
    fn new(data_type: &DataType) -> Result<Self, OperatorError> {
        Ok(LocalSet { pairs: KeyTable::new(&[DataType::Int64, data_type.clone()])?, weights: vec![] })
    }

    fn add(&mut self, ids: &[u32], values: &ArrayRef, weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let keep = |row: &usize| values.is_valid(*row) && weights.is_none_or(|w| w[*row] != 0);
        let rows: Vec<u32> = (0..ids.len()).filter(keep).map(|row| row as u32).collect();
        let groups = Int64Array::from_iter_values(rows.iter().map(|row| ids[*row as usize] as i64));
        let indices = UInt32Array::from(rows);
        let kept = take(values, &indices, None)?;
        let pairs = self.pairs.ids_of(&[Arc::new(groups), kept], indices.len(), &mut vec![])?;
        self.weights.resize(self.pairs.slots(), 0);
        for (pair, row) in pairs.iter().zip(indices.values()) {
            self.weights[*pair as usize] += weights.map_or(1, |w| w[*row as usize]);
        }
        Ok(())
    }
}

impl PartialAggregateOperator {
    /// Errors: as [`Layout::new`]; `Internal` for group columns that don't fit the input; `Limit` for windows that
    /// make no sense.
    pub fn new(spec: &AggregateSpec) -> Result<Self, OperatorError> {
        let (groups, null_on_error) = (spec.group.len(), spec.null_on_error);
        let layout = Layout::new(groups, &spec.calls, &spec.input, &spec.output, spec.append_only, null_on_error)?;
        let window = match &spec.window {
            None => None,
            Some(window) => {
                check_time_column(&spec.input, window.time_column)?;
                Some((Windows::new(window.kind)?, window.time_column))
            }
        };
        let mut key_types = vec![];
        key_types.extend(window.map(|_| DataType::Int64));
        for (position, column) in spec.group.iter().enumerate() {
            match column {
                GroupColumn::Input(column) => {
                    let field = spec.input.fields().get(*column);
                    let data_type =
                        field.map(|f| f.data_type()).filter(|t| *t == spec.output.field(position).data_type());
                    let error = || OperatorError::internal("a group column differs between input and output");
                    key_types.push(data_type.ok_or_else(error)?.clone());
                }
                _ if window.is_none() => return Err(OperatorError::internal("window columns need a window")),
                _ => {}
            }
        }
        Ok(PartialAggregateOperator {
            group: spec.group.clone(),
            window,
            keys: KeyTable::new(&key_types)?,
            slots: Slots::new(&layout, Scope::Additive)?,
            sets: layout.sets.iter().map(|s| LocalSet::new(&s.data_type)).collect::<Result<_, _>>()?,
            layout,
            rows_in: 0,
            bypass_rows: 0,
            emitted: Emitted::default(),
        })
    }

    /// Group key columns of a batch: the pane, then the input columns.
    fn key_columns(&self, rows: &RecordBatch, panes: Option<Vec<i64>>) -> Vec<ArrayRef> {
        let inputs = self.group.iter().filter_map(|column| match column {
            GroupColumn::Input(column) => Some(rows.column(*column).clone()),
            GroupColumn::WindowStart | GroupColumn::WindowEnd | GroupColumn::WindowTime => None,
        });
        panes.map(|p| Arc::new(Int64Array::from(p)) as ArrayRef).into_iter().chain(inputs).collect()
    }

    /// Rows that may leave as one batch, before windows multiply them.
    fn chunk_rows(&self) -> usize {
        let windows = self.window.map_or(1, |(windows, _)| windows.per_pane_max().max(1));
        (BATCH_ROWS_MAX / windows).max(1)
    }

    fn aggregate(&mut self, batch: &DeltaBatch, keys: &[ArrayRef]) -> Result<(), OperatorError> {
        let ids = self.keys.ids_of(keys, batch.num_rows(), &mut vec![])?;
        self.slots.resize(self.keys.slots());
        let weights = batch.diffs().map(|d| &d[..]);
        self.slots.update(&ids, batch.rows(), weights)?;
        for (set, layout) in self.sets.iter_mut().zip(&self.layout.sets) {
            let weights = filtered(weights, batch.rows(), layout.filter);
            set.add(&ids, batch.rows().column(layout.argument), weights.as_deref())?;
        }
        self.rows_in += batch.num_rows();
        Ok(())
    }

    /// Every row is its own group: no hashing, the same columns.
    fn pass(&mut self, batch: &DeltaBatch, keys: &[ArrayRef], out: &mut Output) -> Result<(), OperatorError> {
        let rows = batch.num_rows();
        let ids: Vec<u32> = (0..rows as u32).collect();
        let mut slots = Slots::new(&self.layout, Scope::Additive)?;
        slots.resize(rows);
        let weights = batch.diffs().map(|d| &d[..]);
        slots.update(&ids, batch.rows(), weights)?;
        for ids in ids.chunks(self.chunk_rows()) {
            let indices = UInt32Array::from(ids.to_vec());
            let keys = keys.iter().map(|k| take(k, &indices, None)).collect::<Result<Vec<_>, _>>()?;
            out.push(self.additive_rows(&keys, slots.state(ids, true)?)?);
        }
        for (set, layout) in self.layout.sets.iter().enumerate() {
            let weights = filtered(weights, batch.rows(), layout.filter);
            let values = batch.rows().column(layout.argument);
            let weight = |row: u32| weights.as_ref().map_or(1, |w| w[row as usize]);
            let kept: Vec<u32> =
                ids.iter().copied().filter(|row| values.is_valid(*row as usize) && weight(*row) != 0).collect();
            for kept in kept.chunks(self.chunk_rows()) {
                let weights: Vec<i64> = kept.iter().map(|row| weight(*row)).collect();
                let indices = UInt32Array::from(kept.to_vec());
                let keys = keys.iter().map(|k| take(k, &indices, None)).collect::<Result<Vec<_>, _>>()?;
                out.push(self.value_rows(set, &keys, take(values, &indices, None)?, weights)?);
            }
        }
        self.bypass_rows = self.bypass_rows.saturating_sub(rows);
        Ok(())
    }

    fn additive_rows(&self, keys: &[ArrayRef], state: Vec<ArrayRef>) -> Result<DeltaBatch, OperatorError> {
        let rows = state[0].len();
        let mut columns = state;
        if !self.layout.sets.is_empty() {
            columns.push(Arc::new(Int64Array::from(vec![0; rows])));
            columns.extend(self.layout.sets.iter().map(|s| new_null_array(&s.data_type, rows)));
        }
        self.expand(keys, columns)
    }

    fn value_rows(
        &self,
        set: usize,
        keys: &[ArrayRef],
        values: ArrayRef,
        weights: Vec<i64>,
    ) -> Result<DeltaBatch, OperatorError> {
        let rows = weights.len();
        let schema = &self.layout.partial;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(weights))];
        for field in &schema.fields()[self.layout.groups() + 1..] {
            columns.push(new_null_array(field.data_type(), rows));
        }
        let tag = self.layout.set_column() - self.layout.groups();
        columns[tag] = Arc::new(Int64Array::from(vec![set as i64 + 1; rows]));
        columns[tag + 1 + set] = values;
        self.expand(keys, columns)
    }

    /// Group columns in their order, panes expanded to windows, then `columns`.
    fn expand(&self, keys: &[ArrayRef], columns: Vec<ArrayRef>) -> Result<DeltaBatch, OperatorError> {
        let schema: SchemaRef = self.layout.partial.clone();
        let Some((windows, _)) = self.window else {
            let columns = keys.iter().cloned().chain(columns).collect();
            return Ok(DeltaBatch::inserts(RecordBatch::try_new(schema, columns)?));
        };
        let panes = keys[0].as_primitive::<Int64Type>();
        let assigned = windows.assign(panes.values().iter().enumerate().map(|(i, pane)| (i as u32, *pane)));
        let indices = UInt32Array::from(assigned.indices);
        let spread = |column: &ArrayRef| -> Result<ArrayRef, OperatorError> {
            if windows.per_pane_max() == 1 && indices.len() == column.len() {
                return Ok(column.clone());
            }
            Ok(take(column, &indices, None)?)
        };
        let mut inputs = keys[1..].iter();
        let mut all = vec![];
        for (column, field) in self.group.iter().zip(&self.layout.group_fields) {
            let array = match column {
                GroupColumn::Input(_) => spread(inputs.next().expect("one key per input group column"))?,
                GroupColumn::WindowStart => timestamps(assigned.starts.clone()),
                GroupColumn::WindowEnd => timestamps(assigned.ends.clone()),
                GroupColumn::WindowTime => timestamps(window_times(&assigned.ends)),
            };
            all.push(if array.data_type() == field.data_type() {
                array
            } else {
                arrow::compute::cast(&array, field.data_type())?
            });
        }
        for column in &columns {
            all.push(spread(column)?);
        }
        Ok(DeltaBatch::inserts(RecordBatch::try_new(schema, all)?))
    }

    /// The next batch of the gathered groups; `None` when all have left (and nothing is gathered any more).
    fn next_batch(&mut self) -> Result<Option<DeltaBatch>, OperatorError> {
        let chunk = self.chunk_rows();
        let groups = self.keys.slots();
        if self.emitted.groups < groups {
            let end = (self.emitted.groups + chunk).min(groups);
            let ids: Vec<u32> = (self.emitted.groups as u32..end as u32).collect();
            self.emitted.groups = end;
            return Ok(Some(self.additive_rows(&self.keys.columns(&ids)?, self.slots.state(&ids, true)?)?));
        }
        while let Some(set) = self.sets.get(self.emitted.set) {
            let end = (self.emitted.values + chunk).min(set.weights.len());
            if self.emitted.values == end {
                self.emitted.set += 1;
                self.emitted.values = 0;
                continue;
            }
            let pairs: Vec<u32> = (self.emitted.values as u32..end as u32).collect();
            let pairs: Vec<u32> = pairs.into_iter().filter(|pair| set.weights[*pair as usize] != 0).collect();
            self.emitted.values = end;
            let columns = set.pairs.columns(&pairs)?;
            let groups: Vec<u32> = columns[0].as_primitive::<Int64Type>().values().iter().map(|g| *g as u32).collect();
            let weights: Vec<i64> = pairs.iter().map(|pair| set.weights[*pair as usize]).collect();
            let keys = self.keys.columns(&groups)?;
            return Ok(Some(self.value_rows(self.emitted.set, &keys, columns[1].clone(), weights)?));
        }
        self.reset();
        Ok(None)
    }

    fn reset(&mut self) {
        let reduces_well = self.keys.slots() * 2 <= self.rows_in;
        if self.rows_in >= PROBE_ROWS && !reduces_well {
            self.bypass_rows = BYPASS_ROWS;
        }
        let ids: Vec<u32> = (0..self.keys.slots() as u32).collect();
        self.keys.clear();
        self.slots.clear_additive(&ids);
        for set in &mut self.sets {
            set.pairs.clear();
            set.weights.clear();
        }
        self.rows_in = 0;
        self.emitted = Emitted::default();
    }

    #[cfg(test)]
    pub(super) fn bypasses(&self) -> bool {
        self.bypass_rows > 0
    }

    fn should_flush(&self) -> bool {
        let values = self.sets.iter().map(|s| s.weights.len()).max().unwrap_or(0);
        let poor = self.rows_in >= PROBE_ROWS && self.keys.slots() * 2 > self.rows_in;
        poor || self.keys.slots() >= BATCH_ROWS_MAX || values >= BATCH_ROWS_MAX
    }
}

impl Operator for PartialAggregateOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        let (batch, panes) = match self.window {
            None => (batch, None),
            Some((windows, time_column)) => {
                let found = panes_of(&windows, &batch, time_column, out);
                let all = found.rows.len() == batch.num_rows();
                (if all { batch } else { batch.take(&UInt32Array::from(found.rows)) }, Some(found.panes))
            }
        };
        if batch.is_empty() {
            return Ok(());
        }
        let keys = self.key_columns(batch.rows(), panes);
        if self.bypass_rows > 0 {
            return self.pass(&batch, &keys, out);
        }
        self.aggregate(&batch, &keys)?;
        if self.should_flush() {
            while let Some(batch) = self.next_batch()? {
                out.push(batch);
            }
        }
        Ok(())
    }

    fn on_seal(&mut self, _record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        match self.next_batch()? {
            Some(batch) => {
                out.push(batch);
                Ok(Progress::More)
            }
            None => Ok(Progress::DONE),
        }
    }

    fn memory_bytes(&self) -> usize {
        let sets = self.sets.iter().map(|s| s.pairs.memory_bytes() + s.weights.capacity() * 8);
        self.keys.memory_bytes() + self.slots.memory_bytes() + sets.sum::<usize>()
    }
}
