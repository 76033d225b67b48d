//! The search through one partition: match after match, from the first row on.
//!
//! Rows may still be coming. Whatever `next` gives is final: no row to come can change it. What it gives does not depend on how
//! many rows were there when it was asked.

use std::sync::Arc;

use thiserror::Error;

use crate::path::Path;
use crate::program::Program;
use crate::rows::Rows;
use crate::run::{Outcome, Run};
use crate::skip::{AfterMatch, SkipFault};
use crate::visited::Visited;

#[derive(Debug, Error)]
pub enum SearchError<E> {
    #[error("the search for a row pattern match takes too many steps")]
    TooManySteps,
    #[error(transparent)]
    Condition(E),
}

/// A match, or one that ran out of time.
#[derive(Debug, Clone)]
pub struct Match {
    pub path: Path,
    /// From 1, without gaps, per partition.
    pub number: u64,
    /// The search could not go on where it was told to.
    pub fault: Option<SkipFault>,
    /// It is not complete: its time ran out.
    pub timed_out: bool,
}

#[derive(Debug)]
pub enum Step {
    Match(Match),
    /// Rows that are still to come decide how it goes on.
    Blocked,
    /// All starts have been tried.
    Finished,
}

#[derive(Debug, Clone)]
pub struct Search {
    program: Arc<Program>,
    after_match: AfterMatch,
    /// Whether matches that run out of time are given too.
    timed_out: bool,
    start: usize,
    number: u64,
    run: Option<Run>,
    visited: Visited,
    /// What is remembered holds for the last start only.
    cut: bool,
}

impl Search {
    pub fn new(program: Arc<Program>, after_match: AfterMatch, timed_out: bool) -> Search {
        Search::resume(program, after_match, timed_out, 0, 0)
    }

    /// A search that has given `number` matches and goes on at `start`.
    pub fn resume(
        program: Arc<Program>,
        after_match: AfterMatch,
        timed_out: bool,
        start: usize,
        number: u64,
    ) -> Search {
        let mut visited = Visited::new(&program);
        visited.clear(start);
        Search { program, after_match, timed_out, start, number, run: None, visited, cut: false }
    }

    /// The row at which the next match can start at the earliest: whether those before belong to a match is decided.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Matches given so far.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether a match from `start` is under way.
    pub fn under_way(&self) -> bool {
        self.run.is_some()
    }

    /// The next match that is final.
    pub fn next<R: Rows>(&mut self, rows: &mut R) -> Result<Step, SearchError<R::Error>> {
        loop {
            if self.start >= rows.len() {
                return Ok(if rows.closed() { Step::Finished } else { Step::Blocked });
            }
            let mut run = match self.run.take() {
                Some(run) => run,
                None => {
                    if std::mem::take(&mut self.cut) {
                        self.visited.clear(self.start);
                    } else {
                        self.visited.forget_before(self.start);
                    }
                    Run::new(&self.program, self.start)
                }
            };
            let outcome = run.advance(&self.program, &mut self.visited, rows, self.number + 1);
            self.cut |= run.cut;
            if outcome.is_err() {
                // The way that was broken off has not failed.
                self.visited.clear(self.start);
            }
            match outcome.map_err(SearchError::Condition)? {
                Outcome::Blocked => {
                    self.run = Some(run);
                    return Ok(Step::Blocked);
                }
                Outcome::Exceeded => return Err(SearchError::TooManySteps),
                Outcome::Matched => {
                    let (start, fault) = self.after_match.next_start(&run.path);
                    return Ok(Step::Match(self.found(run.path, start, fault, false)));
                }
                Outcome::Failed => match run.timed_out {
                    Some(path) if self.timed_out => {
                        let start = self.start + 1;
                        return Ok(Step::Match(self.found(path, start, None, true)));
                    }
                    Some(_) | None => self.start += 1,
                },
            }
        }
    }

    fn found(&mut self, path: Path, next_start: usize, fault: Option<SkipFault>, timed_out: bool) -> Match {
        self.start = next_start;
        self.number += 1;
        if self.program.match_number {
            self.visited.clear(self.start);
        }
        Match { path, number: self.number, fault, timed_out }
    }
}
