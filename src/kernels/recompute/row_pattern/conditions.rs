//! Answers to the search's questions about rows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array,
};
use datafusion_common::ScalarValue;
use pattern::{Label, LabelSet, Path, Rows};

use super::super::aggregate::{AggregateCall, Incremental};
use super::compile::{CompiledMatch, Expression, RowValue, Source};
use super::sorted::{SeenRow, Sorted};
use crate::KernelError;

/// Conditions that depend on the candidate's place alone, for all rows. `None`: the condition is of another kind, or
/// fails for some row, be it one that nobody asks about.
pub(super) struct Bitmaps(Vec<Option<BooleanArray>>);

impl Bitmaps {
    pub fn new(compiled: &CompiledMatch, sorted: &Sorted, partitions: &[Range<usize>]) -> Result<Bitmaps, KernelError> {
        let mut bitmaps = vec![];
        for condition in &compiled.conditions {
            let local = condition.as_ref().filter(|condition| condition.local);
            bitmaps.push(match local.map(|condition| bitmap(compiled, sorted, partitions, condition)) {
                None | Some(Err(KernelError::Evaluation { .. })) => None,
                Some(bits) => Some(bits?),
            });
        }
        Ok(Bitmaps(bitmaps))
    }
}

fn bitmap(
    compiled: &CompiledMatch,
    sorted: &Sorted,
    partitions: &[Range<usize>],
    condition: &Expression,
) -> Result<BooleanArray, KernelError> {
    let mut columns = vec![];
    for value in &condition.values {
        let Source::Row(value) = &value.source else {
            return Err(KernelError::internal("a condition on single rows reads more than rows"));
        };
        let mut targets = Vec::with_capacity(sorted.rows.num_rows());
        for partition in partitions {
            targets.extend(partition.clone().map(|row| {
                let row = shifted(row, value.shift, partition)?;
                Some(SeenRow { row, label: None, match_number: 0 })
            }));
        }
        columns.push(sorted.at(compiled, value, &targets)?);
    }
    let values = condition.expr.evaluate(&batch(condition, columns, sorted.rows.num_rows())?)?;
    Ok(values.as_boolean().clone())
}

/// `shift` rows on from `row`, if that is in the partition.
pub(super) fn shifted(row: usize, shift: i64, partition: &Range<usize>) -> Option<usize> {
    let row = usize::try_from(i64::try_from(row).ok()?.checked_add(shift)?).ok()?;
    partition.contains(&row).then_some(row)
}

pub(super) fn batch(expr: &Expression, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, KernelError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(expr.schema.clone(), columns, &options)
        .map_err(|error| KernelError::internal(format!("values of a row pattern: {error}")))
}

/// One partition.
pub(super) struct PartitionRows<'a> {
    pub compiled: &'a CompiledMatch,
    pub sorted: &'a Sorted,
    pub bitmaps: &'a Bitmaps,
    /// Its rows in `sorted`: all that are known, without the first `base`, which nobody will ask for again.
    pub partition: Range<usize>,
    pub base: usize,
    pub closed: bool,
    /// Rows to come are not before it.
    pub watermark: i64,
    /// Where conditions that fail are noted, as not fulfilled; `None`: they end the search.
    pub failed: Option<Vec<KernelError>>,
    /// By variable and value of its condition.
    pub running: HashMap<(Label, usize), Running>,
}

impl Rows for PartitionRows<'_> {
    type Error = KernelError;

    fn len(&self) -> usize {
        self.base + self.partition.len()
    }

    fn closed(&self) -> bool {
        self.closed
    }

    fn holds(&mut self, label: Label, path: &Path, match_number: u64) -> Result<bool, KernelError> {
        let row = self.place(path.end() - 1);
        if let Some(bits) = &self.bitmaps.0[label.0 as usize] {
            return Ok(bits.is_valid(row) && bits.value(row));
        }
        let answer = self.evaluate(label, path, match_number);
        match (answer, &mut self.failed) {
            (Err(error @ KernelError::Evaluation { .. }), Some(failed)) => {
                if !failed.contains(&error) {
                    failed.push(error);
                }
                Ok(false)
            }
            (answer, _) => answer,
        }
    }

    fn within(&self, start: usize, row: usize) -> bool {
        let (Some(limit), Some(times)) = (self.compiled.limit, &self.sorted.times) else { return true };
        let (start, row) = (self.place(start), self.place(row));
        if times.is_null(start) || times.is_null(row) {
            return start == row;
        }
        // Descending order is as good.
        times.value(row).abs_diff(times.value(start)) <= limit.distance.max(0) as u64
    }

    fn limited(&self) -> bool {
        self.compiled.limit.is_some()
    }

    fn expired(&self, start: usize) -> bool {
        self.deadline(start).is_some_and(|deadline| deadline < self.watermark)
    }
}

impl PartitionRows<'_> {
    /// Where a row of the partition is in `sorted`.
    pub fn place(&self, row: usize) -> usize {
        self.partition.start + row - self.base
    }

    /// The last time that a match from `start` can reach.
    pub fn deadline(&self, start: usize) -> Option<i64> {
        let (limit, times) = (self.compiled.limit?, self.sorted.times.as_ref()?);
        let start = self.place(start);
        times.is_valid(start).then(|| times.value(start).saturating_add(limit.distance))
    }

    fn evaluate(&mut self, label: Label, path: &Path, match_number: u64) -> Result<bool, KernelError> {
        let compiled = self.compiled;
        let Some(condition) = &compiled.conditions[label.0 as usize] else { return Ok(true) };
        let mut columns: Vec<ArrayRef> = vec![];
        for (index, value) in condition.values.iter().enumerate() {
            columns.push(match &value.source {
                Source::Row(value) => self.row(value, path, match_number)?,
                Source::Aggregate { set, call, .. } => {
                    let value = self.aggregate((label, index), (*set, call), path, match_number)?;
                    value.to_array().map_err(KernelError::from_evaluation)?
                }
                Source::MatchNumber => Arc::new(Int64Array::from(vec![match_number as i64])),
                Source::TimedOut => Arc::new(BooleanArray::from(vec![false])),
            });
        }
        let value = condition.expr.evaluate(&batch(condition, columns, 1)?)?;
        let value = value.as_boolean();
        Ok(value.is_valid(0) && value.value(0))
    }

    /// An aggregate over the match with the candidate. What it makes of the rows before is kept for the next candidate, so a
    /// match that grows costs one step per row.
    fn aggregate(
        &mut self,
        place: (Label, usize),
        (set, call): (LabelSet, &AggregateCall),
        path: &Path,
        match_number: u64,
    ) -> Result<ScalarValue, KernelError> {
        let (compiled, sorted) = (self.compiled, self.sorted);
        let last = path.len() - 1;
        let before = &path.ids()[..last];
        let known = self.running.remove(&place).filter(|known| known.start == path.start());
        let known = known.and_then(|known| {
            let rows =
                if known.id == 0 { Some(0) } else { before.binary_search(&known.id).ok().map(|index| index + 1) };
            rows.map(|rows| (known.aggregate, rows))
        });
        let known = match known {
            Some(known) => Some(known),
            None => call.incremental()?.map(|aggregate| (aggregate, 0)),
        };
        let seen = |rows: Range<usize>| sorted.seen(compiled, &self.rows_of(set, path, rows, match_number));
        let Some((mut aggregate, counted)) = known else { return call.run(&seen(0..last + 1)?) };
        if counted < last {
            aggregate.add(call, &seen(counted..last)?)?;
        }
        let value = aggregate.with(call, &seen(last..last + 1)?)?;
        let id = before.last().copied().unwrap_or(0);
        self.running.insert(place, Running { start: path.start(), id, aggregate });
        Ok(value)
    }

    /// A value of the candidate's condition, as an array of one.
    fn row(&self, value: &RowValue, path: &Path, match_number: u64) -> Result<ArrayRef, KernelError> {
        let found = path.find(value.set, value.end, value.offset, path.len());
        let found = found.map(|index| self.place(path.start() + index));
        let target = found.and_then(|row| shifted(row, value.shift, &self.partition));
        let Some(row) = target else { return Ok(new_null_array(&value.expr.data_type(), 1)) };
        if let Some(values) = value.by_itself.and_then(|index| self.sorted.values[index].as_ref()) {
            return Ok(values.slice(row, 1));
        }
        let label = row.checked_sub(self.place(path.start())).and_then(|index| path.labels().get(index));
        let label = label.map(|label| self.compiled.variables[label.0 as usize].as_str());
        self.sorted.at(self.compiled, value, &[Some(SeenRow { row, label, match_number })])
    }

    /// Those of `rows` of the match that are of `set`.
    fn rows_of(&self, set: LabelSet, path: &Path, rows: Range<usize>, match_number: u64) -> Vec<SeenRow<'_>> {
        let first = self.place(path.start());
        let of_set = rows.filter(|index| set.contains(path.labels()[*index]));
        of_set
            .map(|index| SeenRow {
                row: first + index,
                label: Some(self.compiled.variables[path.labels()[index].0 as usize].as_str()),
                match_number,
            })
            .collect()
    }
}

/// An aggregate of a condition over the rows before the last candidate.
pub(super) struct Running {
    start: usize,
    /// Of the last of them; 0 if there were none.
    id: u64,
    aggregate: Incremental,
}
