//! Work grows with the rows: twice the rows, about twice the questions asked.

use super::{Letters, found, repeat, var};
use crate::{AfterMatch, Dependence, Label, Path, Pattern, Rows};

fn asked(pattern: &Pattern, rows: usize) -> u64 {
    let mut letters = Letters::new(&"a".repeat(rows), "abc");
    found(pattern, AfterMatch::PastLastRow, &vec![Dependence::default(); 3], &mut letters);
    letters.asked
}

fn grows_linearly(pattern: &Pattern) {
    let (once, twice) = (asked(pattern, 20_000), asked(pattern, 40_000));
    assert!(twice <= once * 2 + 100, "{once} questions became {twice}");
}

#[test]
fn nested_loops_without_an_end_cost_a_bounded_number_of_questions_per_row() {
    let inner = repeat(var(0), 1, None, true);
    grows_linearly(&Pattern::Concat(vec![repeat(inner, 1, None, true), var(1)]));
}

#[test]
fn starts_that_fail_at_the_end_of_the_partition_are_not_walked_again() {
    let either = repeat(Pattern::Alternate(vec![var(0), var(1)]), 0, None, true);
    grows_linearly(&Pattern::Concat(vec![either.clone(), var(2)]));
    // Each start has a match of its own, found only after the longer way was tried to the end.
    let optional = repeat(Pattern::Concat(vec![either, var(2)]), 0, Some(1), true);
    grows_linearly(&Pattern::Concat(vec![var(0), optional]));
}

/// Rows a second apart.
struct Timed {
    letters: Letters,
    limit: usize,
}

impl Rows for Timed {
    type Error = std::convert::Infallible;

    fn len(&self) -> usize {
        self.letters.len()
    }

    fn closed(&self) -> bool {
        self.letters.closed()
    }

    fn holds(&mut self, label: Label, path: &Path, number: u64) -> Result<bool, Self::Error> {
        self.letters.holds(label, path, number)
    }

    fn within(&self, start: usize, row: usize) -> bool {
        row - start <= self.limit
    }

    fn limited(&self) -> bool {
        true
    }
}

#[test]
fn a_time_limit_that_cuts_nothing_costs_nothing() {
    let any = repeat(var(1), 0, None, true);
    let pattern = Pattern::Concat(vec![var(0), any, var(2)]);
    let asked = |rows: usize| {
        // Runs of a hundred rows that end by themselves, long before their time.
        let text = format!("{}x", "a".repeat(99)).repeat(rows / 100);
        let mut rows = Timed { letters: Letters::new(&text, "aab"), limit: 1_000 };
        found(&pattern, AfterMatch::PastLastRow, &vec![Dependence::default(); 3], &mut rows);
        rows.letters.asked
    };
    assert!(asked(40_000) < 40_000 * 6, "{} questions", asked(40_000));
}

#[test]
fn optional_rows_in_a_row_are_not_exponential() {
    let optional = vec![repeat(var(0), 0, Some(1), true); 30];
    let needed = vec![var(0); 30];
    let pattern = Pattern::Concat(vec![Pattern::Concat(optional), Pattern::Concat(needed), var(1)]);
    assert!(asked(&pattern, 40) < 20_000);
}
