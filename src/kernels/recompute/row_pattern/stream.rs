//! Patterns over rows that come in order: a partition's search goes on where it stopped, and gives what no row to come
//! can change, at the first watermark at which that is so.
//!
//! The caller keeps the rows, and hands over those that are still needed; what a search remembers can be made again from
//! them and the four numbers of [`MatchProgress::saved`].

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use arrow::array::RecordBatch;
use pattern::{Match, Search, Step};

use super::super::{RecomputeKind, RecomputeSpec};
use super::compile::{Column, CompiledMatch, Expression, Source};
use super::conditions::{Bitmaps, PartitionRows};
use super::measures::OutputRows;
use super::sorted::Sorted;
use super::{search_error, skip_error};
use crate::KernelError;

#[derive(Debug)]
pub struct StreamMatcher {
    spec: RecomputeSpec,
    compiled: CompiledMatch,
    /// Rows before a start that its conditions and measures may read.
    lookback: usize,
    /// Rows behind its last row that the measures of a match may read.
    lookahead: usize,
    keeps_count: bool,
}

/// How far the search through one partition has come.
#[derive(Debug)]
pub struct MatchProgress {
    search: Search,
    /// Rows of the partition that the caller has dropped.
    base: usize,
    /// Rows before this one have left, or have been found to be in no match.
    covered: usize,
    /// Matches whose measures wait for rows to come, each with the state of the search before it.
    held: VecDeque<(SearchState, Match)>,
}

/// Where the search goes on, and how many matches it has given.
type SearchState = (usize, u64);

/// A partition that is looked at.
#[derive(Debug)]
pub struct MatchVisit<'a> {
    pub progress: &'a mut MatchProgress,
    /// Its rows in the batch: the known ones that are still kept.
    pub rows: Range<usize>,
    /// Set: the first of them that is still needed, and the time that must pass before anything changes without a row.
    pub keep_from: usize,
    pub deadline: Option<i64>,
}

#[derive(Debug)]
pub struct Matched {
    pub rows: RecordBatch,
    /// By visit: conditions, measures and skips that failed.
    pub errors: Vec<(usize, KernelError)>,
}

impl StreamMatcher {
    /// Errors: as `Recomputer::compile`; `Internal` for a spec of another kind.
    pub fn compile(spec: &RecomputeSpec) -> Result<StreamMatcher, KernelError> {
        let RecomputeKind::Match(pattern) = &spec.kind else {
            return Err(KernelError::internal("only row patterns are matched over a stream"));
        };
        let compiled = CompiledMatch::compile(pattern, &spec.input)?;
        let measures = || {
            compiled.columns.iter().filter_map(|column| match column {
                Column::Measure(measure) => Some(measure),
                Column::Input(_) => None,
            })
        };
        let back = compiled.conditions.iter().flatten().chain(measures()).map(|expr| -reach(expr).0);
        let lookback = back.max().unwrap_or(0).max(0) as usize;
        let lookahead = measures().map(|expr| reach(expr).1).max().unwrap_or(0).max(0) as usize;
        let reads_number = measures().chain(compiled.conditions.iter().flatten()).any(reads_number);
        let keeps_count = reads_number || pattern.pattern.has_start_anchor() || lookback > 0;
        Ok(StreamMatcher { spec: spec.clone(), compiled, lookback, lookahead, keeps_count })
    }

    pub fn begin(&self) -> MatchProgress {
        self.resume([0; 4])
    }

    /// What [`MatchProgress::saved`] gave.
    pub fn resume(&self, [base, start, number, covered]: [usize; 4]) -> MatchProgress {
        let (program, after) = (self.compiled.program.clone(), self.compiled.after_match);
        let search = Search::resume(program, after, self.compiled.timed_out, start, number as u64);
        MatchProgress { search, base, covered, held: VecDeque::new() }
    }

    /// Whether a partition without rows has anything to remember.
    pub fn keeps_count(&self) -> bool {
        self.keeps_count
    }

    /// Goes on in all `visits`. `rows` hold the rows of each, in an order that depends on the rows alone and in which rows
    /// that have been seen are first. No row to come is before `watermark`; with `closed` there is none.
    pub fn advance(
        &self,
        rows: &RecordBatch,
        visits: &mut [MatchVisit<'_>],
        watermark: i64,
        closed: bool,
    ) -> Result<Matched, KernelError> {
        let partitions: Vec<Range<usize>> = visits.iter().map(|visit| visit.rows.clone()).collect();
        let sorted = Sorted::new(&self.compiled, rows, &partitions)?;
        let bitmaps = Bitmaps::new(&self.compiled, &sorted, &partitions)?;
        let mut output = OutputRows::default();
        let mut outcomes = vec![];
        let mut errors = vec![];
        for (number, visit) in visits.iter_mut().enumerate() {
            let mut rows = PartitionRows {
                compiled: &self.compiled,
                sorted: &sorted,
                bitmaps: &bitmaps,
                partition: visit.rows.clone(),
                base: visit.progress.base,
                closed,
                watermark,
                failed: Some(vec![]),
                running: HashMap::new(),
            };
            let start = output.len();
            self.visit(visit, &mut rows, &mut output, |error| errors.push((number, error)))?;
            errors.extend(rows.failed.into_iter().flatten().map(|error| (number, error)));
            outcomes.push(Ok(start..output.len()));
        }
        let (columns, outcomes) = self.compiled.columns(&sorted, &partitions, &output, outcomes)?;
        let measured = outcomes.into_iter().enumerate().filter_map(|(n, outcome)| outcome.err().map(|e| (n, e)));
        errors.extend(measured);
        let rows = RecordBatch::try_new(self.spec.output.clone(), columns)
            .map_err(|error| KernelError::internal(format!("matches do not have the planned columns: {error}")))?;
        Ok(Matched { rows, errors })
    }

    fn visit(
        &self,
        visit: &mut MatchVisit<'_>,
        rows: &mut PartitionRows<'_>,
        output: &mut OutputRows,
        mut fail: impl FnMut(KernelError),
    ) -> Result<(), KernelError> {
        let progress = &mut *visit.progress;
        let length = rows.base + rows.partition.len();
        let closed = rows.closed;
        let readable = |found: &Match| closed || found.path.end() + self.lookahead <= length;
        while progress.held.front().is_some_and(|(_, found)| readable(found)) {
            let (_, found) = progress.held.pop_front().expect("there is one");
            self.give(progress, found, visit.rows.clone(), output);
        }
        loop {
            let before = (progress.search.start(), progress.search.number());
            let found = match progress.search.next(rows).map_err(search_error)? {
                Step::Match(found) => found,
                Step::Blocked | Step::Finished => break,
            };
            if let Some(fault) = found.fault.filter(|_| !self.compiled.skip_faults_pass) {
                fail(skip_error(fault));
            }
            if !readable(&found) || !progress.held.is_empty() {
                progress.held.push_back((before, found));
                continue;
            }
            self.give(progress, found, visit.rows.clone(), output);
        }
        if progress.held.is_empty() {
            let decided = progress.search.start().min(length);
            let (base, covered) = (progress.base, &mut progress.covered);
            self.compiled.unmatched(decided, &visit.rows, base, covered, output);
        }
        let needed = progress.state().0.min(length).saturating_sub(self.lookback).max(progress.base);
        visit.keep_from = needed - progress.base;
        let start = progress.search.start();
        visit.deadline = if progress.search.under_way() { rows.deadline(start) } else { None };
        progress.base = needed;
        Ok(())
    }

    fn give(&self, progress: &mut MatchProgress, found: Match, rows: Range<usize>, output: &mut OutputRows) {
        self.compiled.collect(found, &rows, progress.base, &mut progress.covered, output);
    }
}

impl MatchProgress {
    /// Before the first match that is held.
    fn state(&self) -> SearchState {
        self.held.front().map_or((self.search.start(), self.search.number()), |(before, _)| *before)
    }

    /// What leads back here, together with the rows that are kept.
    pub fn saved(&self) -> [usize; 4] {
        let (start, number) = self.state();
        [self.base, start, number as usize, self.covered]
    }
}

/// How far an expression reads before and behind a row of the match.
fn reach(expr: &Expression) -> (i64, i64) {
    let shifts = expr.values.iter().map(|value| match &value.source {
        Source::Row(row) => row.shift,
        Source::Aggregate { .. } | Source::MatchNumber | Source::TimedOut => 0,
    });
    let shifts: Vec<i64> = shifts.collect();
    (shifts.iter().copied().min().unwrap_or(0), shifts.iter().copied().max().unwrap_or(0))
}

/// Numbers inside the arguments of navigation and aggregates count as read wherever there are any.
fn reads_number(expr: &Expression) -> bool {
    expr.values.iter().any(|value| match &value.source {
        Source::MatchNumber | Source::Aggregate { .. } => true,
        Source::Row(row) => row.by_itself.is_none(),
        Source::TimedOut => false,
    })
}
