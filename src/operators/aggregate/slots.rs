//! The state of all calls over all groups (or sessions), by slot. Who owns a slot, and which slots are free, is the
//! caller's to know: group tables and session lists differ only there.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};

use super::accumulator::{Accumulator, Failures};
use super::layout::{CallKind, Layout};
use super::value_set::{Entries, ValueSet, value_set};
use crate::OperatorError;

pub(crate) struct Slots {
    layout: Arc<Layout>,
    /// Input rows behind each slot.
    pub rows: Vec<i64>,
    /// By call; `None` for those that need no accumulator.
    accumulators: Vec<Option<Box<dyn Accumulator>>>,
    sets: Vec<Box<dyn ValueSet>>,
}

/// Which of an aggregation's state a [`Slots`] keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scope {
    /// What partial rows add up: no value sets, no distinct calls.
    Additive,
    Full,
    /// Full, and changes of value sets are remembered for cuts.
    FullTracked,
}

impl Slots {
    pub fn new(layout: &Arc<Layout>, scope: Scope) -> Result<Self, OperatorError> {
        let full = scope != Scope::Additive;
        let accumulators = layout.calls.iter().map(|call| match call.kind {
            CallKind::Distinct { .. } if !full => Ok(None),
            _ => call.accumulator(),
        });
        let sets = layout.sets.iter().filter(|_| full);
        Ok(Slots {
            layout: layout.clone(),
            rows: vec![],
            accumulators: accumulators.collect::<Result<_, _>>()?,
            sets: sets.map(|s| value_set(&s.data_type, scope == Scope::FullTracked)).collect::<Result<_, _>>()?,
        })
    }

    /// Makes room for slots below `len`, neutral where new; or gives the slots from `len` on back.
    pub fn resize(&mut self, len: usize) {
        super::accumulator::resize(&mut self.rows, len, 0);
        self.accumulators.iter_mut().flatten().for_each(|a| a.resize(len));
    }

    /// Adds input rows: row i, `weights[i]` times, to slot `ids[i]`.
    pub fn update(&mut self, ids: &[u32], input: &RecordBatch, weights: Option<&[i64]>) -> Result<(), OperatorError> {
        self.add_rows(ids, weights);
        for index in 0..self.layout.calls.len() {
            let call = &self.layout.calls[index];
            if call.kind != CallKind::Additive {
                continue;
            }
            let weights = filtered(weights, input, call.call.filter);
            let counted: ArrayRef;
            let argument = match call.call.argument {
                Some(column) => input.column(column),
                None => {
                    // COUNT(*) FILTER: any column without NULLs counts rows.
                    counted = Arc::new(Int64Array::from(vec![0; ids.len()]));
                    &counted
                }
            };
            let accumulator = self.accumulators[index].as_mut().expect("additive calls have an accumulator");
            accumulator.update(ids, argument, weights.as_deref())?;
        }
        for set in 0..self.sets.len() {
            let weights = filtered(weights, input, self.layout.sets[set].filter);
            let values = input.column(self.layout.sets[set].argument).clone();
            self.apply_values(set, ids, &values, weights.as_deref())?;
        }
        Ok(())
    }

    /// Adds additive rows of partial output. `state`: `__rows` and the state columns.
    pub fn merge(&mut self, ids: &[u32], state: &[ArrayRef], weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let rows = state[0].as_primitive::<Int64Type>().values();
        match weights {
            None => ids.iter().zip(rows).for_each(|(id, n)| self.rows[*id as usize] += n),
            Some(weights) => {
                for ((id, n), weight) in ids.iter().zip(rows).zip(weights) {
                    self.rows[*id as usize] += n * weight;
                }
            }
        }
        let mut next = 1;
        for (call, accumulator) in self.layout.calls.iter().zip(&mut self.accumulators) {
            if let (CallKind::Additive, Some(accumulator)) = (call.kind, accumulator) {
                let columns = accumulator.state_types().len();
                accumulator.merge(ids, &state[next..next + columns], weights)?;
                next += columns;
            }
        }
        Ok(())
    }

    /// Adds weighted values to one value set and feeds the distinct calls on it.
    pub fn apply_values(
        &mut self,
        set: usize,
        ids: &[u32],
        values: &ArrayRef,
        weights: Option<&[i64]>,
    ) -> Result<(), OperatorError> {
        let crossings = self.sets[set].apply(ids, values, weights)?;
        if crossings.rows.is_empty() || !self.layout.calls.iter().any(|c| c.kind == CallKind::Distinct { set }) {
            return Ok(());
        }
        let ids: Vec<u32> = crossings.rows.iter().map(|row| ids[*row as usize]).collect();
        let values = take(values, &UInt32Array::from(crossings.rows), None)?;
        for (call, accumulator) in self.layout.calls.iter().zip(&mut self.accumulators) {
            if let (true, Some(accumulator)) = (call.kind == CallKind::Distinct { set }, accumulator) {
                accumulator.update(&ids, &values, Some(&crossings.diffs))?;
            }
        }
        Ok(())
    }

    fn add_rows(&mut self, ids: &[u32], weights: Option<&[i64]>) {
        let rows = self.rows.as_mut_slice();
        match weights {
            None => ids.iter().for_each(|id| rows[*id as usize] += 1),
            Some(weights) => ids.iter().zip(weights).for_each(|(id, weight)| rows[*id as usize] += weight),
        }
    }

    /// Results of all calls for `ids`, and which of `ids` have none because a call failed.
    pub fn results(&self, ids: &[u32]) -> Result<(Vec<ArrayRef>, Failures), OperatorError> {
        let mut failures = Failures::new();
        let mut columns = Vec::with_capacity(self.layout.calls.len());
        for (call, accumulator) in self.layout.calls.iter().zip(&self.accumulators) {
            columns.push(match (call.kind, accumulator) {
                (CallKind::Extreme { set, max }, _) => self.sets[set].extremes(ids, max)?,
                (_, Some(accumulator)) => accumulator.result(ids, &mut failures)?,
                (_, None) => self.row_counts(ids),
            });
        }
        if self.layout.null_on_error {
            // Where a result failed its column has NULL already.
            failures.clear();
        }
        Ok((columns, failures))
    }

    fn row_counts(&self, ids: &[u32]) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| self.rows[*id as usize])))
    }

    /// `__rows` and the state columns: of additive calls only (what partial rows carry) or of distinct calls too.
    pub fn state(&self, ids: &[u32], additive_only: bool) -> Result<Vec<ArrayRef>, OperatorError> {
        let mut columns = vec![self.row_counts(ids)];
        for (call, accumulator) in self.layout.calls.iter().zip(&self.accumulators) {
            if let Some(accumulator) = accumulator
                && (call.kind == CallKind::Additive || !additive_only)
            {
                columns.extend(accumulator.state(ids)?);
            }
        }
        Ok(columns)
    }

    /// Fields of `state(_, false)`.
    pub fn state_fields(&self) -> Vec<Field> {
        let mut fields = vec![Field::new("__rows", DataType::Int64, true)];
        for (index, accumulator) in self.accumulators.iter().enumerate() {
            let types = accumulator.as_ref().map(|a| a.state_types()).unwrap_or_default();
            fields.extend(super::accumulator::state_fields(index, types));
        }
        fields
    }

    /// Puts back what `state(_, false)` gave, into neutral slots.
    pub fn load(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<(), OperatorError> {
        let rows = state[0].as_primitive::<Int64Type>().values();
        ids.iter().zip(rows).for_each(|(id, n)| self.rows[*id as usize] = *n);
        let mut next = 1;
        for accumulator in self.accumulators.iter_mut().flatten() {
            let columns = accumulator.state_types().len();
            accumulator.merge(ids, &state[next..next + columns], None)?;
            next += columns;
        }
        Ok(())
    }

    /// Adds slot `from[i]` to slot `into[i]`; no slot of `into` may be in `from`. The `from` slots are unchanged.
    pub fn fold(&mut self, into: &[u32], from: &[u32]) -> Result<(), OperatorError> {
        let state = self.state(from, true)?;
        self.merge(into, &state, None)?;
        for set in 0..self.sets.len() {
            let mut ids = vec![];
            let mut parts: Vec<Entries> = vec![];
            for (into, from) in into.iter().zip(from) {
                let part = self.sets[set].entries(std::slice::from_ref(from))?;
                ids.extend(std::iter::repeat_n(*into, part.weights.len()));
                parts.push(part);
            }
            if ids.is_empty() {
                continue;
            }
            let arrays: Vec<&dyn Array> = parts.iter().map(|p| p.values.as_ref()).collect();
            let values = arrow::compute::concat(&arrays)?;
            let weights: Vec<i64> = parts.iter().flat_map(|p| p.weights.iter().copied()).collect();
            self.apply_values(set, &ids, &values, Some(&weights))?;
        }
        Ok(())
    }

    /// Back to neutral. Per value set: what the last cut holds of these slots.
    pub fn clear(&mut self, ids: &[u32]) -> Result<Vec<Entries>, OperatorError> {
        ids.iter().for_each(|id| self.rows[*id as usize] = 0);
        self.accumulators.iter_mut().flatten().for_each(|a| a.clear(ids));
        self.sets.iter_mut().map(|set| set.clear(ids)).collect()
    }

    pub fn clear_additive(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| self.rows[*id as usize] = 0);
        self.accumulators.iter_mut().flatten().for_each(|a| a.clear(ids));
    }

    pub fn sets_mut(&mut self) -> &mut [Box<dyn ValueSet>] {
        &mut self.sets
    }

    /// Value sets as list columns, one element (value, weight) per entry: for state that is written whole.
    pub fn set_lists(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        self.sets
            .iter()
            .zip(&self.layout.sets)
            .map(|(set, layout)| set_list(set.as_ref(), &layout.data_type, ids))
            .collect()
    }

    pub fn set_list_fields(&self) -> Vec<Field> {
        let field = |(i, s): (usize, &super::layout::SetLayout)| {
            Field::new(format!("__values_{i}"), DataType::List(entry_field(&s.data_type)), true)
        };
        self.layout.sets.iter().enumerate().map(field).collect()
    }

    /// Puts back what `set_lists` gave, into empty sets. Distinct calls are not fed: `load` restored them.
    pub fn load_set_lists(&mut self, ids: &[u32], lists: &[ArrayRef]) -> Result<(), OperatorError> {
        for (set, lists) in self.sets.iter_mut().zip(lists) {
            let lists = lists.as_list::<i32>();
            for (row, id) in ids.iter().enumerate() {
                let entries = lists.value(row);
                let entries = entries.as_struct();
                let weights = entries.column(1).as_primitive::<Int64Type>().values().to_vec();
                let ids = vec![*id; weights.len()];
                set.restore(&Entries { ids, values: entries.column(0).clone(), weights })?;
            }
        }
        Ok(())
    }

    pub fn memory_bytes(&self) -> usize {
        self.rows.capacity() * 8
            + self.accumulators.iter().flatten().map(|a| a.memory_bytes()).sum::<usize>()
            + self.sets.iter().map(|s| s.memory_bytes()).sum::<usize>()
    }
}

fn entry_fields(data_type: &DataType) -> Fields {
    vec![Field::new("value", data_type.clone(), true), Field::new("weight", DataType::Int64, true)].into()
}

fn entry_field(data_type: &DataType) -> Arc<Field> {
    Arc::new(Field::new("entry", DataType::Struct(entry_fields(data_type)), true))
}

fn set_list(set: &dyn ValueSet, data_type: &DataType, ids: &[u32]) -> Result<ArrayRef, OperatorError> {
    let entries = set.entries(ids)?;
    let mut lengths = vec![];
    let mut next = 0;
    for id in ids {
        let start = next;
        while entries.ids.get(next) == Some(id) {
            next += 1;
        }
        lengths.push(next - start);
    }
    let columns: Vec<ArrayRef> = vec![entries.values, Arc::new(Int64Array::from(entries.weights))];
    let entries = StructArray::new(entry_fields(data_type), columns, None);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::new(entry_field(data_type), offsets, Arc::new(entries), None)))
}

/// Weights with those of rows that fail the filter set to 0.
pub(crate) fn filtered<'a>(
    weights: Option<&'a [i64]>,
    input: &RecordBatch,
    filter: Option<usize>,
) -> Option<Cow<'a, [i64]>> {
    let Some(filter) = filter else { return weights.map(Cow::Borrowed) };
    let filter = input.column(filter).as_boolean();
    let pass = |row: usize| filter.is_valid(row) && filter.value(row);
    let weight = |row: usize| if pass(row) { weights.map_or(1, |w| w[row]) } else { 0 };
    Some(Cow::Owned((0..input.num_rows()).map(weight).collect()))
}
