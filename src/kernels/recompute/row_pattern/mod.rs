//! MATCH_RECOGNIZE over the rows of keys.
//!
//! `spec.rs` is what is persisted, `compile.rs` makes it ready to run. `sorted.rs` brings the rows of all partitions
//! into order and computes, for all rows at once, every value that a row gives by itself. `conditions.rs` answers the
//! search's questions: conditions on single rows from bitmaps, others by evaluating them for the candidate. `measures.rs`
//! turns matches into rows, all matches of all partitions at once. What a match is decides the crate `pattern`.
//! `stream.rs` is the other form: rows come in order, and what is given is final.

mod compile;
mod conditions;
mod measures;
mod sorted;
mod spec;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use pattern::{Match, Search, SearchError, SkipFault, Step};
use types::SqlState;

pub use spec::{MatchColumn, MatchExpr, MatchLimit, MatchOutput, MatchSource, MatchSpec, MatchValue};

pub use stream::{MatchProgress, MatchVisit, Matched, StreamMatcher};

pub(super) use compile::CompiledMatch;

use crate::KernelError;
use conditions::{Bitmaps, PartitionRows};
use measures::OutputRows;
use sorted::Sorted;

/// What rows have beside the columns of the input, inside navigation and aggregates: their label, and the match's number.
pub const ROW_LABEL: &str = "classifier";
pub const ROW_MATCH_NUMBER: &str = "match_number";

/// The rows that navigation and aggregates see: those of the input, their label (text) and the number of the match (int8).
pub fn match_row_schema(input: &Schema) -> Schema {
    let added = [(ROW_LABEL, DataType::Utf8), (ROW_MATCH_NUMBER, DataType::Int64)];
    let added = added.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
    Schema::new(input.fields().iter().cloned().chain(added).collect::<Vec<_>>())
}

impl CompiledMatch {
    /// The output columns, and of each partition its rows or why it has none. As `Recomputer::recompute`.
    pub(super) fn run(
        &self,
        rows: &RecordBatch,
        partitions: &[Range<usize>],
    ) -> Result<(Vec<ArrayRef>, Vec<Result<Range<usize>, KernelError>>), KernelError> {
        let sorted = Sorted::new(self, rows, partitions)?;
        let bitmaps = Bitmaps::new(self, &sorted, partitions)?;
        let mut output = OutputRows::default();
        let mut outcomes = vec![];
        for partition in partitions {
            let start = output.len();
            outcomes.push(match self.search(&sorted, &bitmaps, partition.clone()) {
                Ok(matches) => {
                    let mut covered = 0;
                    for found in matches {
                        self.collect(found, partition, 0, &mut covered, &mut output);
                    }
                    self.unmatched(partition.len(), partition, 0, &mut covered, &mut output);
                    Ok(start..output.len())
                }
                Err(error @ KernelError::Evaluation { .. }) => Err(error),
                Err(other) => return Err(other),
            });
        }
        self.columns(&sorted, partitions, &output, outcomes)
    }

    /// All matches of one partition, in order.
    fn search(&self, sorted: &Sorted, bitmaps: &Bitmaps, partition: Range<usize>) -> Result<Vec<Match>, KernelError> {
        let mut rows = PartitionRows {
            compiled: self,
            sorted,
            bitmaps,
            partition,
            base: 0,
            closed: true,
            watermark: i64::MAX,
            failed: None,
            running: HashMap::new(),
        };
        let mut search = Search::new(self.program.clone(), self.after_match, self.timed_out);
        let mut matches = vec![];
        loop {
            match search.next(&mut rows).map_err(search_error)? {
                Step::Match(found) => {
                    if let Some(fault) = found.fault.filter(|_| !self.skip_faults_pass) {
                        return Err(skip_error(fault));
                    }
                    matches.push(found);
                }
                Step::Finished => return Ok(matches),
                Step::Blocked => return Err(KernelError::internal("a search over all rows waits for more")),
            }
        }
    }
}

fn search_error(error: SearchError<KernelError>) -> KernelError {
    match error {
        SearchError::Condition(error) => error,
        SearchError::TooManySteps => KernelError::evaluation(SqlState::ProgramLimitExceeded, error.to_string()),
    }
}

/// As the standard names the two conditions.
fn skip_error(fault: SkipFault) -> KernelError {
    let state = match fault {
        SkipFault::Absent => SqlState::SkipToNonexistentRow,
        SkipFault::FirstRow => SqlState::SkipToFirstRowOfMatch,
    };
    KernelError::evaluation(state, fault.to_string())
}
