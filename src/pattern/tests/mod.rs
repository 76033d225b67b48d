//! The matcher against the reference, and the answers of the standard's examples.

mod examples;
mod growth;
mod property;
mod random;

use std::convert::Infallible;
use std::sync::Arc;

use crate::{AfterMatch, Dependence, Label, Path, Pattern, Rows, Search, Step, compile};

/// Rows as letters: a variable's condition holds where its letter stands. Variables without a letter hold everywhere.
#[derive(Debug, Clone)]
pub(super) struct Letters {
    pub(super) rows: Vec<char>,
    /// By label.
    pub(super) letters: Vec<Option<char>>,
    pub(super) known: usize,
    pub(super) asked: u64,
}

impl Letters {
    pub(super) fn new(rows: &str, letters: &str) -> Letters {
        let letters = letters.chars().map(|c| (c != '*').then_some(c)).collect();
        Letters { rows: rows.chars().collect(), letters, known: usize::MAX, asked: 0 }
    }
}

impl Rows for Letters {
    type Error = Infallible;

    fn len(&self) -> usize {
        self.rows.len().min(self.known)
    }

    fn closed(&self) -> bool {
        self.known == usize::MAX
    }

    fn holds(&mut self, label: Label, path: &Path, _: u64) -> Result<bool, Infallible> {
        self.asked += 1;
        Ok(self.letters[label.0 as usize].is_none_or(|letter| self.rows[path.end() - 1] == letter))
    }
}

/// All that a search gives, as `start-labels`, labels by number: `0-aab`.
pub(super) fn found<R: Rows<Error: std::fmt::Debug>>(
    pattern: &Pattern,
    after_match: AfterMatch,
    dependences: &[Dependence],
    rows: &mut R,
) -> Vec<String> {
    let program = Arc::new(compile(pattern, dependences).expect("it is small"));
    let mut search = Search::new(program, after_match, false);
    let mut all = vec![];
    while let Step::Match(found) = search.next(rows).expect("no error") {
        all.push(text(found.path.start(), found.path.labels()));
    }
    all
}

pub(super) fn text(start: usize, labels: &[Label]) -> String {
    let labels: String = labels.iter().map(|label| (b'a' + label.0) as char).collect();
    format!("{start}-{labels}")
}

pub(super) fn var(label: u8) -> Pattern {
    Pattern::Variable(Label(label))
}

pub(super) fn repeat(body: Pattern, min: u32, max: Option<u32>, greedy: bool) -> Pattern {
    Pattern::Repeat { body: Box::new(body), min, max, greedy }
}
