//! Where the search goes on after a match.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::label::LabelSet;
use crate::path::Path;
use crate::program::End;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Serialize, Deserialize)]
pub enum AfterMatch {
    PastLastRow,
    ToNextRow,
    ToFirst(LabelSet),
    ToLast(LabelSet),
}

/// A match after which the search cannot go on as asked. It is the caller's to raise; the search goes on past the last row, or at
/// the next one, which ends in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum SkipFault {
    #[error("the variable that AFTER MATCH SKIP names has no row in the match")]
    Absent,
    #[error("AFTER MATCH SKIP leads to the first row of the match")]
    FirstRow,
}

impl AfterMatch {
    /// The next start, and the fault if it is not the one asked for. An empty match leads to the next row, whatever is asked.
    pub(crate) fn next_start(self, path: &Path) -> (usize, Option<SkipFault>) {
        if path.is_empty() {
            return (path.start() + 1, None);
        }
        let (set, end) = match self {
            AfterMatch::PastLastRow => return (path.end(), None),
            AfterMatch::ToNextRow => return (path.start() + 1, None),
            AfterMatch::ToFirst(set) => (set, End::First),
            AfterMatch::ToLast(set) => (set, End::Last),
        };
        match path.find(set, end, 0, path.len()) {
            None => (path.end(), Some(SkipFault::Absent)),
            Some(0) => (path.start() + 1, Some(SkipFault::FirstRow)),
            Some(index) => (path.start() + index, None),
        }
    }
}
