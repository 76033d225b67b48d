//! From state changes to net output: what touched groups looked like before the epoch, and the difference at its end.
//! Old outputs are computed from state when a group is first touched and forgotten at the seal, so nothing is stored
//! for groups at rest.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;
use types::{DeltaBatch, ErrorDelta, values_text};

use super::accumulator::{Failure, Failures};
use super::slots::Slots;
use crate::bits::Bits;
use crate::{OperatorError, Output};

/// Position of an old output that there isn't.
pub(crate) const NO_OUTPUT: u32 = u32::MAX;

/// Groups touched in this epoch and their outputs before it.
#[derive(Default)]
pub(crate) struct Touched {
    marked: Bits,
    /// (slot, position of its old output or [`NO_OUTPUT`]), in order of first touch.
    pub slots: Vec<(u32, u32)>,
    outputs: Outputs,
}

/// Result columns by position, gathered in pieces.
#[derive(Default)]
pub(crate) struct Outputs {
    pieces: Vec<Vec<ArrayRef>>,
    failures: Failures,
    len: usize,
}

impl Outputs {
    /// Appends the results of `slots`; answers the position of the first.
    pub fn gather(&mut self, from: &Slots, slots: &[u32]) -> Result<u32, OperatorError> {
        let first = self.len;
        if slots.is_empty() {
            return Ok(first as u32);
        }
        let (columns, failures) = from.results(slots)?;
        self.pieces.push(columns);
        self.failures.extend(failures.into_iter().map(|(i, failure)| (first + i, failure)));
        self.len += slots.len();
        Ok(first as u32)
    }

    /// Joins the pieces into one column per call.
    pub fn columns(&mut self) -> Result<&[ArrayRef], OperatorError> {
        if self.pieces.len() > 1 {
            let pieces = std::mem::take(&mut self.pieces);
            let join = |call: usize| {
                let parts: Vec<&dyn Array> = pieces.iter().map(|p| p[call].as_ref()).collect();
                concat(&parts)
            };
            self.pieces = vec![(0..pieces[0].len()).map(join).collect::<Result<_, _>>()?];
        }
        Ok(self.pieces.first().map_or(&[], |p| p.as_slice()))
    }

    /// Which positions have no result.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    pub fn memory_bytes(&self) -> usize {
        self.pieces.iter().flatten().map(|c| c.get_array_memory_size()).sum()
    }
}

impl Touched {
    /// Marks `ids`; remembers the output of those touched for the first time for which `visible` holds. To be called
    /// before their state changes.
    pub fn touch(
        &mut self,
        ids: impl Iterator<Item = u32>,
        slots: &Slots,
        visible: impl Fn(u32) -> bool,
    ) -> Result<(), OperatorError> {
        let mut remembered = vec![];
        for id in ids {
            if self.marked.insert(id) {
                let position = if visible(id) { (self.outputs.len + remembered.len()) as u32 } else { NO_OUTPUT };
                if position != NO_OUTPUT {
                    remembered.push(id);
                }
                self.slots.push((id, position));
            }
        }
        self.outputs.gather(slots, &remembered)?;
        Ok(())
    }

    /// Hands over what was touched and starts anew.
    pub fn take(&mut self) -> (Vec<(u32, u32)>, Outputs) {
        let slots = std::mem::take(&mut self.slots);
        slots.iter().for_each(|(id, _)| self.marked.remove(*id));
        (slots, std::mem::take(&mut self.outputs))
    }

    /// Gives the memory of slots from `slots` on back; none of them is marked.
    pub fn truncate(&mut self, slots: usize) {
        self.marked.truncate(slots);
    }

    pub fn memory_bytes(&self) -> usize {
        self.marked.memory_bytes() + self.slots.capacity() * 8 + self.outputs.memory_bytes()
    }
}

/// Where −old and +new go.
pub(crate) struct Emitter<'a> {
    pub slots: &'a Slots,
    pub schema: &'a SchemaRef,
}

impl Emitter<'_> {
    /// Emits the net change of `work`: (slot, position of its old output). `keys` are the group columns of `work`,
    /// `exists` whether a slot has an output now.
    pub fn emit(
        &self,
        work: &[(u32, u32)],
        old: &mut Outputs,
        keys: &[ArrayRef],
        exists: impl Fn(u32) -> bool,
        out: &mut Output,
    ) -> Result<(), OperatorError> {
        let ids: Vec<u32> = work.iter().map(|(id, _)| *id).collect();
        let (new, new_failures) = self.slots.results(&ids)?;
        old.columns()?;
        let had: Vec<u32> = (0..work.len() as u32).filter(|i| work[*i as usize].1 != NO_OUTPUT).collect();
        let old_columns = self.aligned_old(work, &had, old)?;
        let differs = differing(&old_columns, &new, &had)?;
        let mut rows: Vec<u32> = vec![];
        let mut sources: Vec<u32> = vec![];
        let mut diffs: Vec<i64> = vec![];
        let mut next_old = 0;
        for (i, (id, position)) in work.iter().enumerate() {
            let had_output = *position != NO_OUTPUT;
            let old_failure = had_output.then(|| old.failures.get(&(*position as usize)).copied()).flatten();
            let exists = exists(*id);
            let new_failure = exists.then(|| new_failures.get(&i).copied()).flatten();
            emit_failures(old_failure, new_failure, || key_text(self.schema, keys, i), out);
            let (old_row, new_row) = (had_output && old_failure.is_none(), exists && new_failure.is_none());
            let changed = !(old_row && new_row) || differs[next_old];
            if old_row && changed {
                rows.push(i as u32);
                sources.push(next_old as u32);
                diffs.push(-1);
            }
            if new_row && changed {
                rows.push(i as u32);
                sources.push((had.len() + i) as u32);
                diffs.push(1);
            }
            next_old += usize::from(had_output);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let (rows, sources) = (UInt32Array::from(rows), UInt32Array::from(sources));
        let mut columns = keys.iter().map(|k| take(k, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        for (call, new) in new.iter().enumerate() {
            let both = match old_columns.get(call) {
                Some(old) => concat(&[old.as_ref(), new.as_ref()])?,
                None => new.clone(),
            };
            columns.push(take(&both, &sources, None)?);
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let inserts_only = diffs.iter().all(|d| *d == 1);
        out.push(if inserts_only { DeltaBatch::inserts(batch) } else { DeltaBatch::new(batch, diffs) });
        Ok(())
    }

    /// Old outputs of those of `work` that had one, in order.
    fn aligned_old(&self, work: &[(u32, u32)], had: &[u32], old: &mut Outputs) -> Result<Vec<ArrayRef>, OperatorError> {
        if had.is_empty() {
            return Ok(vec![]);
        }
        let positions = UInt32Array::from_iter_values(had.iter().map(|i| work[*i as usize].1));
        old.columns()?.iter().map(|column| Ok(take(column, &positions, None)?)).collect()
    }
}

/// For every old output whether the new one at its place in `had` differs.
fn differing(old: &[ArrayRef], new: &[ArrayRef], had: &[u32]) -> Result<Vec<bool>, OperatorError> {
    let mut differs = vec![false; had.len()];
    let indices = UInt32Array::from(had.to_vec());
    for (old, new) in old.iter().zip(new) {
        let new = take(new, &indices, None)?;
        match distinct(old, &new) {
            Ok(column) => differs.iter_mut().zip(column.values()).for_each(|(d, c)| *d |= c),
            // Nested values have no comparison kernel: emitting an unchanged row out and in again is only slower.
            Err(_) => differs.fill(true),
        }
    }
    Ok(differs)
}

/// `key` tells which group it is.
fn emit_failures(old: Option<Failure>, new: Option<Failure>, key: impl FnOnce() -> Option<String>, out: &mut Output) {
    if old == new {
        return;
    }
    let key = key();
    for (failure, diff) in [(old, -1), (new, 1)] {
        if let Some(failure) = failure {
            let error = ErrorDelta::new(failure.state, failure.message, diff);
            out.errors.push(ErrorDelta { row: key.clone(), ..error });
        }
    }
}

/// The group columns of one group, if there are any; they come first in `schema`.
fn key_text(schema: &SchemaRef, keys: &[ArrayRef], group: usize) -> Option<String> {
    if keys.is_empty() {
        return None;
    }
    Some(values_text(schema.fields().iter().map(AsRef::as_ref), keys, group))
}

/// A `__diff` column of one value.
pub(crate) fn diff_column(diff: i64, rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from(vec![diff; rows]))
}
