//! The general operator: keeps its input by key and recomputes the touched keys once per seal (`kernels::Recomputer`);
//! the difference between a key's new and old answer leaves. Right for every aggregate and window function; the cost
//! of a change is the size of the keys it touches.
//!
//! State: table 0, the input as a multiset. Answers are kept beside it but not stored: after a restore the old answer
//! of a key is recomputed from its old rows when the key is next touched, and does not leave again.
//! Table 1 says that an aggregate without GROUP BY has answered, be it for an input without rows.

mod state;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::Rows;
use kernels::{KernelError, RecomputeSpec, Recomputer};
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, ErrorDelta, ToSqlState, consolidate, hash_columns, vnode_of, worker_of};

use crate::{Cut, Operator, OperatorError, Output, Progress, RestoredTable, TableCut, TableKind};
pub(crate) use state::RowCodec;
use state::{Answer, EncodedRows, KeyedRows, TouchedKey};

const TABLE_INPUT: u16 = 0;
const TABLE_STARTED: u16 = 1;

pub struct RecomputeOperator {
    recomputer: Recomputer,
    key: Vec<usize>,
    input: SchemaRef,
    state: KeyedRows,
    answers: RowCodec,
    /// Input of the epoch being collected.
    stash: Vec<DeltaBatch>,
    sealing: bool,
    /// Keys of the epoch being sealed that wait for their turn, ascending.
    touched: VecDeque<TouchedKey>,
    /// Output of the epoch being sealed that has not left yet, in batches of at most `BATCH_ROWS_MAX` rows.
    pending: VecDeque<DeltaBatch>,
    uncut: Uncut,
    /// An aggregate without GROUP BY, on the worker that owns its one key.
    answers_empty_input: bool,
    started: bool,
    started_uncut: bool,
}

impl RecomputeOperator {
    /// `worker` of `workers` will own the operator: only the owner of the constant key answers for an empty input.
    ///
    /// Errors: `Kernel` if a call cannot be maintained, `Arrow` if a column type has no row encoding.
    pub fn new(spec: &RecomputeSpec, worker: usize, workers: usize) -> Result<Self, OperatorError> {
        let recomputer = Recomputer::compile(spec)?;
        let constant = hash_columns(&[], 1)?[0];
        let owner = worker_of(vnode_of(constant), workers) == worker;
        Ok(RecomputeOperator {
            answers_empty_input: recomputer.answers_empty_input() && owner,
            recomputer,
            key: spec.key.clone(),
            input: spec.input.clone(),
            state: KeyedRows::new(&spec.input, &spec.key)?,
            answers: RowCodec::new(&spec.output)?,
            stash: vec![],
            sealing: false,
            touched: VecDeque::new(),
            pending: VecDeque::new(),
            uncut: Uncut::default(),
            started: false,
            started_uncut: false,
        })
    }

    /// Turns the collected input into touched keys.
    fn begin_seal(&mut self) -> Result<(), OperatorError> {
        let batches = std::mem::take(&mut self.stash);
        let delta = consolidate(&DeltaBatch::concat(&self.input, &batches))?;
        self.touched = self.state.touch(&delta)?;
        self.uncut.push(&self.input, delta)?;
        if self.answers_empty_input && !self.started {
            self.started = true;
            self.started_uncut = true;
            if self.touched.is_empty() {
                self.touched.push_back(TouchedKey { key: Box::default(), changes: vec![] });
            }
        }
        self.sealing = true;
        Ok(())
    }

    /// Recomputes as many of the waiting keys as hold about one batch of rows, and queues the difference.
    fn recompute_some(&mut self, out: &mut Output) -> Result<(), OperatorError> {
        let mut work: Vec<KeyWork> = vec![];
        let mut rows = self.state.codec.buffer();
        let mut partitions: Vec<Range<usize>> = vec![];
        while rows.num_rows() < BATCH_ROWS_MAX
            && let Some(touched) = self.touched.pop_front()
        {
            let key = touched.key.clone();
            let old = match self.state.take_answer(&key) {
                Some(answer) => OldAnswer::Known(answer),
                None => OldAnswer::Recompute(self.partition(&key, &mut rows, &mut partitions)),
            };
            self.state.apply(touched)?;
            let new = self.partition(&key, &mut rows, &mut partitions);
            work.push(KeyWork { key, old, new });
        }
        let rows = self.state.codec.decode(&rows)?;
        let result = self.recomputer.recompute(&rows, &partitions)?;
        let encoded = self.answers.encode(&result.rows)?;
        let answer = |partition: Option<usize>| match partition {
            Some(partition) => {
                let key = || failing_key(&self.input, &self.key, &rows, &partitions[partition]);
                to_answer(&result.partitions[partition], &encoded, key)
            }
            None => Answer::none(),
        };
        let mut difference = Difference { rows: self.answers.buffer(), diffs: vec![] };
        for KeyWork { key, old, new } in work {
            let old = match old {
                OldAnswer::Known(answer) => answer,
                OldAnswer::Recompute(partition) => answer(partition),
            };
            let new = answer(new);
            difference.add(&self.answers, &old, &new, out);
            self.state.set_answer(&key, new);
        }
        self.queue(difference)
    }

    /// Appends the rows of `key` as one partition. `None`: it has no rows, and therefore no answer.
    fn partition(&self, key: &[u8], rows: &mut Rows, partitions: &mut Vec<Range<usize>>) -> Option<usize> {
        let start = rows.num_rows();
        self.state.expand(key, rows);
        if rows.num_rows() == start && !self.answers_empty_input {
            return None;
        }
        partitions.push(start..rows.num_rows());
        Some(partitions.len() - 1)
    }

    fn queue(&mut self, difference: Difference) -> Result<(), OperatorError> {
        let rows = self.answers.decode(&difference.rows)?;
        let mut start = 0;
        while start < rows.num_rows() {
            let len = BATCH_ROWS_MAX.min(rows.num_rows() - start);
            let diffs = difference.diffs[start..start + len].to_vec();
            self.pending.push_back(DeltaBatch::new(rows.slice(start, len), diffs));
            start += len;
        }
        Ok(())
    }
}

impl Operator for RecomputeOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        self.stash.push(batch);
        Ok(())
    }

    fn on_seal(&mut self, _record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        if !self.sealing {
            self.begin_seal()?;
        }
        if self.pending.is_empty() && !self.touched.is_empty() {
            self.recompute_some(out)?;
        }
        if let Some(batch) = self.pending.pop_front() {
            out.push(batch);
        }
        if !self.pending.is_empty() || !self.touched.is_empty() {
            return Ok(Progress::More);
        }
        self.sealing = false;
        Ok(Progress::DONE)
    }

    fn checkpoint(&mut self) -> Cut {
        let mut cut = Cut::default();
        let (uncut, vnode_columns) = (self.uncut.take(), self.key.clone());
        cut.add(move || {
            let batches = uncut.iter().map(DeltaBatch::to_record_batch).collect();
            Ok(TableCut { table: TABLE_INPUT, kind: TableKind::Multiset, vnode_columns, batches })
        });
        if std::mem::take(&mut self.started_uncut) {
            let schema = Arc::new(Schema::new(vec![Field::new("started", DataType::Boolean, false)]));
            let batch = RecordBatch::try_new(schema, vec![Arc::new(BooleanArray::from(vec![true]))])
                .expect("one column of the schema's type");
            cut.add(move || {
                let batches = vec![DeltaBatch::inserts(batch).to_record_batch()];
                let kind = TableKind::Keyed { key_columns: 1 };
                Ok(TableCut { table: TABLE_STARTED, kind, vnode_columns: vec![], batches })
            });
        }
        cut
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        match table.table {
            TABLE_INPUT => {
                let delta = DeltaBatch::from_record_batch(table.batch)?;
                for touched in self.state.touch(&delta)? {
                    self.state.restore(touched)?;
                }
                Ok(())
            }
            TABLE_STARTED => {
                self.started = true;
                self.state.restore(TouchedKey { key: Box::default(), changes: vec![] })
            }
            other => Err(OperatorError::internal(format!("recompute has no table {other}"))),
        }
    }

    fn memory_bytes(&self) -> usize {
        let batches = self.stash.iter().chain(&self.pending).map(DeltaBatch::memory_bytes).sum::<usize>();
        self.state.memory_bytes() + batches + self.uncut.memory_bytes()
    }
}

struct KeyWork {
    key: Box<[u8]>,
    old: OldAnswer,
    /// Index of the partition with the new rows.
    new: Option<usize>,
}

enum OldAnswer {
    Known(Answer),
    /// Index of the partition with the old rows.
    Recompute(Option<usize>),
}

fn to_answer(
    outcome: &Result<Range<usize>, KernelError>,
    encoded: &Rows,
    failing_key: impl FnOnce() -> Option<String>,
) -> Answer {
    match outcome {
        Ok(range) => Answer::Rows(EncodedRows::sorted(range.clone().map(|row| encoded.row(row).data()))),
        Err(error) => Answer::Error { state: error.sql_state(), message: error.to_string(), key: failing_key() },
    }
}

/// The key of the rows at `partition`, for people. `None`: there is no key, or no row.
fn failing_key(input: &Schema, key: &[usize], rows: &RecordBatch, partition: &Range<usize>) -> Option<String> {
    if partition.is_empty() || key.is_empty() {
        return None;
    }
    let fields = key.iter().map(|column| input.field(*column));
    let columns: Vec<_> = key.iter().map(|column| rows.column(*column).clone()).collect();
    Some(types::values_text(fields, &columns, partition.start))
}

/// Encoded output rows and their diffs.
struct Difference {
    rows: Rows,
    diffs: Vec<i64>,
}

impl Difference {
    /// Adds what leads from `old` to `new`: rows here, errors to `out`.
    fn add(&mut self, codec: &RowCodec, old: &Answer, new: &Answer, out: &mut Output) {
        if old == new {
            return;
        }
        let nothing = EncodedRows::default();
        let mut error_of = |answer: &Answer, diff: i64| {
            if let Answer::Error { state, message, key } = answer {
                out.errors.push(ErrorDelta { row: key.clone(), ..ErrorDelta::new(*state, message, diff) });
            }
        };
        error_of(old, -1);
        error_of(new, 1);
        let old = if let Answer::Rows(rows) = old { rows } else { &nothing };
        let new = if let Answer::Rows(rows) = new { rows } else { &nothing };
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let order = match (i < old.len(), j < new.len()) {
                (true, true) => old.row(i).cmp(new.row(j)),
                (true, false) => Ordering::Less,
                _ => Ordering::Greater,
            };
            match order {
                Ordering::Less => self.push(codec, old.row(i), -1),
                Ordering::Greater => self.push(codec, new.row(j), 1),
                Ordering::Equal => {}
            }
            i += usize::from(order != Ordering::Greater);
            j += usize::from(order != Ordering::Less);
        }
    }

    fn push(&mut self, codec: &RowCodec, row: &[u8], diff: i64) {
        codec.push(&mut self.rows, row);
        self.diffs.push(diff);
    }
}

/// Input since the last cut; consolidated now and then, so that a row that comes and goes does not pile up.
#[derive(Default)]
pub(crate) struct Uncut {
    batches: Vec<DeltaBatch>,
    rows: usize,
    /// Rows after the last consolidation.
    consolidated: usize,
}

impl Uncut {
    pub(crate) fn push(&mut self, schema: &SchemaRef, delta: DeltaBatch) -> Result<(), OperatorError> {
        if delta.is_empty() {
            return Ok(());
        }
        self.rows += delta.num_rows();
        self.batches.push(delta);
        if self.rows > 2 * self.consolidated + BATCH_ROWS_MAX {
            let all = consolidate(&DeltaBatch::concat(schema, &self.batches))?;
            self.rows = all.num_rows();
            self.consolidated = self.rows;
            self.batches = vec![all];
        }
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Vec<DeltaBatch> {
        std::mem::take(self).batches
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.batches.iter().map(DeltaBatch::memory_bytes).sum()
    }
}
