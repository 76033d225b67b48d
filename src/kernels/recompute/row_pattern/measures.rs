//! Matches to rows. The measures of all rows are computed at once; only if that fails partition by partition, so that
//! the failure of one does not touch the others.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array, new_empty_array};
use arrow::compute::{concat, take};
use datafusion_common::ScalarValue;
use pattern::{LabelSet, Match};

use super::super::aggregate::AggregateCall;
use super::MatchOutput;
use super::compile::{Column, CompiledMatch, Expression, RowValue, Source, Value};
use super::conditions::{batch, shifted};
use super::sorted::{SeenRow, Sorted};
use crate::KernelError;

/// The rows that leave, in order.
#[derive(Default)]
pub(super) struct OutputRows {
    matches: Vec<Found>,
    rows: Vec<OutputRow>,
}

struct Found {
    found: Match,
    partition: Range<usize>,
    /// Where the match's first row is in [`Sorted::rows`].
    first: usize,
}

#[derive(Clone, Copy)]
struct OutputRow {
    /// Its index in [`Sorted::rows`].
    row: usize,
    /// `None`: it is in no match.
    found: Option<usize>,
    /// Rows of the match up to and with this one.
    length: usize,
}

impl OutputRows {
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

type Outcomes = Vec<Result<Range<usize>, KernelError>>;

impl CompiledMatch {
    /// Adds the rows that ROWS PER MATCH asks for. `partition` are the rows that are known, without the first `base`; what
    /// lies before `covered` has been settled, and is moved on.
    pub(super) fn collect(
        &self,
        found: Match,
        partition: &Range<usize>,
        base: usize,
        covered: &mut usize,
        output: &mut OutputRows,
    ) {
        let (start, end) = (found.path.start(), found.path.end());
        self.unmatched(start, partition, base, covered, output);
        *covered = (*covered).max(end).max(start + 1);
        let number = output.matches.len();
        let first = partition.start + start - base;
        let row = |index: usize, length: usize| OutputRow { row: first + index, found: Some(number), length };
        let length = found.path.len();
        match self.rows {
            MatchOutput::OneRow => output.rows.push(row(length.saturating_sub(1), length)),
            MatchOutput::AllOmitEmpty if length == 0 => {}
            MatchOutput::AllShowEmpty | MatchOutput::AllOmitEmpty | MatchOutput::AllWithUnmatched => {
                if length == 0 {
                    output.rows.push(row(0, 0));
                }
                let shown = (0..length).filter(|index| !found.path.excluded(*index));
                output.rows.extend(shown.map(|index| row(index, index + 1)));
            }
        }
        output.matches.push(Found { found, partition: partition.clone(), first });
    }

    /// Adds the rows up to `end` that are in no match, if they are asked for. Starts only grow: what lies before one and
    /// in no match so far is in none.
    pub(super) fn unmatched(
        &self,
        end: usize,
        partition: &Range<usize>,
        base: usize,
        covered: &mut usize,
        output: &mut OutputRows,
    ) {
        if self.rows == MatchOutput::AllWithUnmatched {
            let places = (*covered).min(end)..end;
            let row = |place| OutputRow { row: partition.start + place - base, found: None, length: 0 };
            output.rows.extend(places.map(row));
        }
        *covered = (*covered).max(end);
    }

    /// The columns, and the outcomes with those partitions failed whose measures do.
    pub(super) fn columns(
        &self,
        sorted: &Sorted,
        partitions: &[Range<usize>],
        output: &OutputRows,
        outcomes: Outcomes,
    ) -> Result<(Vec<ArrayRef>, Outcomes), KernelError> {
        match self.all_columns(sorted, output, &output.rows) {
            Ok(columns) => Ok((columns, outcomes)),
            Err(KernelError::Evaluation { .. }) => {
                debug_assert_eq!(partitions.len(), outcomes.len());
                self.columns_by_partition(sorted, output, outcomes)
            }
            Err(other) => Err(other),
        }
    }

    fn columns_by_partition(
        &self,
        sorted: &Sorted,
        output: &OutputRows,
        outcomes: Outcomes,
    ) -> Result<(Vec<ArrayRef>, Outcomes), KernelError> {
        let mut pieces: Vec<Vec<ArrayRef>> = vec![self.all_columns(sorted, output, &[])?];
        let mut rows = 0;
        let mut settled = vec![];
        for outcome in outcomes {
            let outcome = outcome.and_then(|range| self.all_columns(sorted, output, &output.rows[range]));
            settled.push(match outcome {
                Ok(columns) => {
                    let count = columns.first().map_or(0, |column| column.len());
                    rows += count;
                    pieces.push(columns);
                    Ok(rows - count..rows)
                }
                Err(error @ KernelError::Evaluation { .. }) => Err(error),
                Err(other) => return Err(other),
            });
        }
        let column = |index: usize| {
            let parts: Vec<&dyn arrow::array::Array> = pieces.iter().map(|piece| piece[index].as_ref()).collect();
            concat(&parts).map_err(|error| KernelError::from_arrow(&error))
        };
        Ok(((0..self.columns.len()).map(column).collect::<Result<_, _>>()?, settled))
    }

    fn all_columns(
        &self,
        sorted: &Sorted,
        output: &OutputRows,
        rows: &[OutputRow],
    ) -> Result<Vec<ArrayRef>, KernelError> {
        let own: UInt32Array = rows.iter().map(|row| Some(row.row as u32)).collect();
        // Measures of rows in no match are NULL, whatever they are.
        let matched: Vec<OutputRow> = rows.iter().filter(|row| row.found.is_some()).copied().collect();
        let mut next = 0..matched.len() as u32;
        let spread: UInt32Array = rows.iter().map(|row| row.found.and_then(|_| next.next())).collect();
        let arrow = |error| KernelError::from_arrow(&error);
        let mut columns = vec![];
        for column in &self.columns {
            columns.push(match column {
                Column::Input(column) => take(sorted.rows.column(*column), &own, None).map_err(arrow)?,
                Column::Measure(measure) => {
                    let values = self.measure(sorted, output, &matched, measure)?;
                    take(&values, &spread, None).map_err(arrow)?
                }
            });
        }
        Ok(columns)
    }

    fn measure(
        &self,
        sorted: &Sorted,
        output: &OutputRows,
        rows: &[OutputRow],
        measure: &Expression,
    ) -> Result<ArrayRef, KernelError> {
        let found = |row: &OutputRow| &output.matches[row.found.expect("only rows of matches are measured")];
        let mut columns: Vec<ArrayRef> = vec![];
        for value in &measure.values {
            columns.push(match &value.source {
                Source::Row(value) => {
                    let targets: Vec<_> = rows.iter().map(|row| self.target(value, found(row), row.length)).collect();
                    sorted.at(self, value, &targets)?
                }
                Source::Aggregate { set, complete, call } => {
                    self.aggregate(sorted, output, rows, (*set, *complete, call), value)?
                }
                Source::MatchNumber => {
                    Arc::new(rows.iter().map(|row| Some(found(row).found.number as i64)).collect::<Int64Array>())
                }
                Source::TimedOut => {
                    Arc::new(rows.iter().map(|row| Some(found(row).found.timed_out)).collect::<BooleanArray>())
                }
            });
        }
        measure.expr.evaluate(&batch(measure, columns, rows.len())?)
    }

    /// The row that a value is taken from, for the row with which the match has `length` rows.
    fn target(&self, value: &RowValue, found: &Found, length: usize) -> Option<SeenRow<'_>> {
        let path = &found.found.path;
        let length = if value.complete { path.len() } else { length };
        let index = path.find(value.set, value.end, value.offset, length)?;
        let first = found.first;
        let row = shifted(first + index, value.shift, &found.partition)?;
        let label = row.checked_sub(first).and_then(|index| path.labels().get(index));
        Some(SeenRow {
            row,
            label: label.map(|label| self.variables[label.0 as usize].as_str()),
            match_number: found.found.number,
        })
    }

    fn aggregate(
        &self,
        sorted: &Sorted,
        output: &OutputRows,
        rows: &[OutputRow],
        (set, complete, call): (LabelSet, bool, &AggregateCall),
        value: &Value,
    ) -> Result<ArrayRef, KernelError> {
        let mut values: Vec<ScalarValue> = Vec::with_capacity(rows.len());
        for rows in rows.chunk_by(|a, b| a.found == b.found) {
            let found = &output.matches[rows[0].found.expect("only rows of matches are measured")];
            let all = self.seen_rows(found);
            let belongs = |index: usize| set.contains(found.found.path.labels()[index]);
            let some = |length: usize| (0..length).filter(|index| belongs(*index)).map(|index| all[index]).collect();
            if complete || rows.len() == 1 {
                let length = if complete { all.len() } else { rows[0].length };
                let of_set: Vec<SeenRow<'_>> = some(length);
                let answer = call.run(&sorted.seen(self, &of_set)?)?;
                values.extend(rows.iter().map(|_| answer.clone()));
                continue;
            }
            let of_set: Vec<SeenRow<'_>> = some(all.len());
            let running = call.running(&sorted.seen(self, &of_set)?)?;
            let mut counted = 0;
            let mut reached = 0;
            for row in rows {
                counted += (reached..row.length).filter(|index| belongs(*index)).count();
                reached = row.length;
                values.push(running[counted].clone());
            }
        }
        if values.is_empty() {
            return Ok(new_empty_array(&value.data_type));
        }
        ScalarValue::iter_to_array(values).map_err(KernelError::from_evaluation)
    }

    fn seen_rows(&self, found: &Found) -> Vec<SeenRow<'_>> {
        let path = &found.found.path;
        let first = found.first;
        let row = |(index, label): (usize, &pattern::Label)| SeenRow {
            row: first + index,
            label: Some(self.variables[label.0 as usize].as_str()),
            match_number: found.found.number,
        };
        path.labels().iter().enumerate().map(row).collect()
    }
}
