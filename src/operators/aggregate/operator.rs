//! Second phase of an aggregation: keeps the groups and emits, per epoch, what changed of their results.
//!
//! A group exists while it has rows; without group columns there is one group, which always exists. Everything is
//! by group id: keys in a `KeyTable`, state in `Slots`, marks in bit sets. Windows close by `closing`, cuts and
//! restores are `checkpoint`. Input is the partial output described in `layout`, in any order and split.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, hash_columns, vnode_of, worker_of};

use super::changes::{Emitter, NO_OUTPUT, Outputs, Touched};
use super::checkpoint::Unsaved;
use super::closing::{Closing, window_ends};
use super::key_table::KeyTable;
use super::layout::Layout;
use super::slots::{Scope, Slots};
use crate::spec::AggregateSpec;
use crate::window::check_time_column;
use crate::{BuildContext, Cut, Operator, OperatorError, Output, Progress, RestoredTable};

pub struct AggregateOperator {
    pub(super) layout: Arc<Layout>,
    pub(super) keys: KeyTable,
    pub(super) slots: Slots,
    touched: Touched,
    pub(super) closing: Option<Closing>,
    /// The seal in progress.
    sealing: Option<Sealing>,
    pub(super) unsaved: Unsaved,
    pub(super) global: Global,
    /// State was put back and empty groups among it are still to be dropped.
    pub(super) restoring: bool,
}

/// The one group of an aggregation without group columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    /// There are group columns.
    No,
    /// This worker owns it; `announced`: its row has left once.
    Owned { announced: bool },
    /// Another worker owns it.
    Elsewhere,
}

struct Sealing {
    work: Vec<(u32, u32)>,
    old: Outputs,
    next: usize,
}

impl AggregateOperator {
    /// `context` decides which worker holds the one group of an aggregation without group columns.
    ///
    /// Errors: as [`Layout::new`]; `Internal` if `close` names no group column.
    pub fn new(spec: &AggregateSpec, context: &BuildContext) -> Result<Self, OperatorError> {
        let (groups, null_on_error) = (spec.group.len(), spec.null_on_error);
        let layout = Layout::new(groups, &spec.calls, &spec.input, &spec.output, spec.append_only, null_on_error)?;
        let types: Vec<_> = layout.group_fields.iter().map(|f| f.data_type().clone()).collect();
        if let Some(close) = &spec.close {
            if close.column >= types.len() {
                return Err(OperatorError::internal("an aggregation closes by one of its group columns"));
            }
            check_time_column(&spec.output, close.column)?;
        }
        let mut keys = KeyTable::new(&types)?;
        let mut slots = Slots::new(&layout, Scope::FullTracked)?;
        let mut global = Global::No;
        if spec.group.is_empty() {
            let owner = worker_of(vnode_of(hash_columns(&[], 1)?[0]), context.workers);
            global = if owner == context.worker { Global::Owned { announced: false } } else { Global::Elsewhere };
            keys.ids_of(&[], 1, &mut vec![])?;
            slots.resize(1);
        }
        Ok(AggregateOperator {
            unsaved: Unsaved::new(layout.sets.len()),
            layout,
            keys,
            slots,
            touched: Touched::default(),
            closing: spec.close.clone().map(Closing::new),
            sealing: None,
            global,
            restoring: false,
        })
    }

    fn holds_back(&self) -> bool {
        self.closing.as_ref().is_some_and(|c| c.spec.emit_on_close)
    }

    /// Adds a batch whose rows all belong to living windows.
    fn apply(&mut self, batch: &DeltaBatch) -> Result<(), OperatorError> {
        let groups = self.layout.groups();
        let keys = &batch.rows().columns()[..groups];
        let mut fresh = vec![];
        let ids = self.keys.ids_of(keys, batch.num_rows(), &mut fresh)?;
        self.slots.resize(self.keys.slots());
        if let Some(closing) = &mut self.closing {
            let fresh = UInt32Array::from(fresh);
            let ends = window_ends(&take(&keys[closing.spec.column], &fresh, None)?);
            fresh.values().iter().zip(ends).for_each(|(row, end)| closing.add(ids[*row as usize], end));
        }
        self.touch(&ids)?;
        for id in &ids {
            self.unsaved.dirty.insert(*id);
        }
        let state = &batch.rows().columns()[groups..];
        let weights = batch.diffs().map(|d| &d[..]);
        if self.layout.sets.is_empty() {
            return self.slots.merge(&ids, state, weights);
        }
        self.apply_tagged(&ids, state, weights)
    }

    /// Remembers the outputs of groups that are visible now and about to change.
    fn touch(&mut self, ids: &[u32]) -> Result<(), OperatorError> {
        let rows = &self.slots.rows;
        match (&self.closing, self.global) {
            (Some(closing), _) if closing.spec.emit_on_close => {
                let emitted = ids.iter().copied().filter(|id| closing.emitted.get(*id));
                self.touched.touch(emitted, &self.slots, |id| rows[id as usize] > 0)
            }
            (_, Global::Owned { announced }) => self.touched.touch(ids.iter().copied(), &self.slots, |_| announced),
            _ => self.touched.touch(ids.iter().copied(), &self.slots, |id| rows[id as usize] > 0),
        }
    }

    /// Splits rows by `__set`: additive ones are merged, value rows go to their set.
    fn apply_tagged(&mut self, ids: &[u32], state: &[ArrayRef], weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let tag_at = self.layout.set_column() - self.layout.groups();
        let tags = state[tag_at].as_primitive::<Int64Type>().values();
        for tag in 0..=self.layout.sets.len() {
            let rows: Vec<u32> = (0..ids.len() as u32).filter(|row| tags[*row as usize] == tag as i64).collect();
            if rows.is_empty() {
                continue;
            }
            let ids: Vec<u32> = rows.iter().map(|row| ids[*row as usize]).collect();
            let weights: Option<Vec<i64>> = weights.map(|w| rows.iter().map(|row| w[*row as usize]).collect());
            let rows = UInt32Array::from(rows);
            if tag == 0 {
                let columns = state[..tag_at].iter().map(|c| take(c, &rows, None)).collect::<Result<Vec<_>, _>>()?;
                self.slots.merge(&ids, &columns, weights.as_deref())?;
                continue;
            }
            let own = take(&state[0], &rows, None)?;
            let own = own.as_primitive::<Int64Type>().values();
            let total: Vec<i64> = match &weights {
                None => own.to_vec(),
                Some(weights) => own.iter().zip(weights).map(|(a, b)| a * b).collect(),
            };
            let values = take(&state[tag_at + tag], &rows, None)?;
            self.slots.apply_values(tag - 1, &ids, &values, Some(&total))?;
        }
        Ok(())
    }

    /// What has to leave or go with this epoch.
    fn begin_seal(&mut self, record: &EpochRecord) -> Sealing {
        let (mut work, old) = self.touched.take();
        let holds_back = self.holds_back();
        if let Some(closing) = &mut self.closing {
            let closed = closing.close(record);
            if holds_back {
                let rows = &self.slots.rows;
                for id in closed {
                    // Restored groups may have left already.
                    if closing.emitted.insert(id) {
                        self.unsaved.dirty.insert(id);
                        if rows[id as usize] > 0 {
                            work.push((id, NO_OUTPUT));
                        }
                    }
                }
            }
        }
        if let Global::Owned { announced: false } = self.global {
            if work.is_empty() {
                work.push((0, NO_OUTPUT));
            }
            self.unsaved.dirty.insert(0);
            self.global = Global::Owned { announced: true };
        }
        Sealing { work, old, next: 0 }
    }

    /// Emits at most one batch; true when all have left.
    fn emit_some(&mut self, sealing: &mut Sealing, out: &mut Output) -> Result<bool, OperatorError> {
        let end = (sealing.next + BATCH_ROWS_MAX / 2).min(sealing.work.len());
        let work = &sealing.work[sealing.next..end];
        if !work.is_empty() {
            let ids: Vec<u32> = work.iter().map(|(id, _)| *id).collect();
            let keys = self.keys.columns(&ids)?;
            let global = matches!(self.global, Global::Owned { .. });
            let emitter = Emitter { slots: &self.slots, schema: &self.layout.output };
            let exists = |id: u32| global || self.slots.rows[id as usize] > 0;
            emitter.emit(work, &mut sealing.old, &keys, exists, out)?;
        }
        sealing.next = end;
        Ok(end == sealing.work.len())
    }

    /// Drops groups that are empty or whose window may go.
    fn finish_seal(&mut self, record: &EpochRecord, sealing: Sealing) -> Result<(), OperatorError> {
        if let Some(closing) = &mut self.closing {
            let expired = closing.expire(record);
            return self.release(&expired);
        }
        if self.global == Global::No {
            let rows = &self.slots.rows;
            let empty: Vec<u32> = sealing.work.iter().map(|(id, _)| *id).filter(|id| rows[*id as usize] == 0).collect();
            self.release(&empty)?;
        }
        Ok(())
    }

    /// Forgets groups, with a note for the next cut where the last one has them.
    pub(super) fn release(&mut self, ids: &[u32]) -> Result<(), OperatorError> {
        if ids.is_empty() {
            return Ok(());
        }
        let gone = self.slots.clear(ids)?;
        self.unsaved.forget(&self.keys, ids, gone)?;
        self.keys.release(ids);
        if let Some(closing) = &mut self.closing {
            ids.iter().for_each(|id| closing.emitted.remove(*id));
        }
        self.keys.shrink();
        let slots = self.keys.slots();
        if slots < self.slots.rows.len() {
            self.slots.resize(slots);
            self.unsaved.truncate(slots);
            self.touched.truncate(slots);
            if let Some(closing) = &mut self.closing {
                closing.emitted.truncate(slots);
            }
        }
        Ok(())
    }

    /// Rows of windows whose state has gone are refused at admission; should one come nevertheless, it is dropped:
    /// its group would leave a second time.
    fn without_gone_windows(&self, batch: DeltaBatch) -> DeltaBatch {
        let Some(closing) = &self.closing else { return batch };
        let ends = window_ends(batch.rows().column(closing.spec.column));
        if !ends.iter().any(|end| closing.gone(*end)) {
            return batch;
        }
        debug_assert!(false, "a row came for a window whose state has gone");
        let kept = (0..ends.len() as u32).filter(|row| !closing.gone(ends[*row as usize]));
        batch.take(&UInt32Array::from_iter_values(kept))
    }
}

impl Operator for AggregateOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        self.finish_restore()?;
        let batch = self.without_gone_windows(batch);
        if batch.is_empty() {
            return Ok(());
        }
        if self.global == Global::Elsewhere {
            return Err(OperatorError::internal("rows of the global group came to a worker that doesn't own it"));
        }
        self.apply(&batch)
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        self.finish_restore()?;
        let mut sealing = match self.sealing.take() {
            Some(sealing) => sealing,
            None => self.begin_seal(record),
        };
        if !self.emit_some(&mut sealing, out)? {
            self.sealing = Some(sealing);
            return Ok(Progress::More);
        }
        self.finish_seal(record, sealing)?;
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
            + self.touched.memory_bytes()
            + self.unsaved.memory_bytes()
            + self.closing.as_ref().map_or(0, |c| c.memory_bytes())
    }
}
