//! The errors a relation holds, as a multiset beside its rows.
//!
//! What failed is named for the first `ERRORS_NAMED_MAX` of them; the others are counted by kind, so that a stream whose
//! every row fails does not fill the memory. Single counts may therefore be negative (a row was counted without its name and
//! is taken back with it), also because an error and its retraction may lie in different shards: an error is held
//! when the sum over its kind is above 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::limits::ERRORS_NAMED_MAX;
use types::{ErrorDelta, SqlError, SqlState};

/// (state, message, row).
type Key = (SqlState, String, Option<String>);

/// Counts by what failed how. Cloning is one pointer; the writer copies only what a reader holds.
#[derive(Debug, Clone)]
pub(crate) struct Errors {
    counts: Arc<BTreeMap<Key, i64>>,
    /// Entries with a row, and how many there may be.
    named: usize,
    named_max: usize,
    bytes: usize,
}

impl Errors {
    pub fn new() -> Self {
        Errors::naming(ERRORS_NAMED_MAX)
    }

    /// Of a relation whose errors are rows of another one.
    pub fn all_named() -> Self {
        Errors::naming(usize::MAX)
    }

    fn naming(named_max: usize) -> Self {
        Errors { counts: Arc::default(), named: 0, named_max, bytes: 0 }
    }

    pub fn add(&mut self, errors: &[ErrorDelta]) {
        self.sum(errors.iter().map(|e| (e, e.diff)));
    }

    pub fn subtract(&mut self, errors: &[ErrorDelta]) {
        self.sum(errors.iter().map(|e| (e, -e.diff)));
    }

    fn sum<'a>(&mut self, errors: impl Iterator<Item = (&'a ErrorDelta, i64)>) {
        for (error, diff) in errors {
            let counts = Arc::make_mut(&mut self.counts);
            let mut key = (error.state, error.message.clone(), error.row.clone());
            if self.named >= self.named_max && !counts.contains_key(&key) {
                key.2 = None;
            }
            let named = usize::from(key.2.is_some());
            let bytes = key.1.len() + key.2.as_ref().map_or(0, String::len) + 2 * size_of::<(Key, i64)>();
            let count = *counts.entry(key.clone()).and_modify(|c| *c += diff).or_insert_with(|| {
                self.bytes += bytes;
                self.named += named;
                diff
            });
            if count == 0 {
                self.bytes -= bytes;
                self.named -= named;
                counts.remove(&key);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Every error whose count is not 0, with its count, in order of state, message and row.
    pub fn to_vec(&self) -> Vec<ErrorDelta> {
        let delta = |((state, message, row), diff): (&Key, &i64)| ErrorDelta {
            row: row.clone(),
            ..ErrorDelta::new(*state, message, *diff)
        };
        self.counts.iter().map(delta).collect()
    }

    /// The first that is held at least once, as a reader is told.
    pub fn first(&self) -> Option<SqlError> {
        let kinds: Vec<(&Key, &i64)> = self.counts.iter().collect();
        let mut kinds = kinds.chunk_by(|(a, _), (b, _)| (a.0, &a.1) == (b.0, &b.1));
        let held = kinds.find(|kind| kind.iter().map(|(_, count)| **count).sum::<i64>() > 0)?;
        let named = held.iter().find(|(key, count)| key.2.is_some() && **count > 0);
        let ((state, message, row), _) = named.unwrap_or(&held[0]);
        let error = SqlError::new(*state, message.clone());
        let error = match row.as_ref().filter(|_| named.is_some()) {
            Some(row) => error.with_detail(format!("It failed for {row}.")),
            None => error,
        };
        Some(error.with_hint("Correct or remove the row and the view can be read again; hw_catalog.errors counts all."))
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(row: &str, diff: i64) -> ErrorDelta {
        ErrorDelta { row: Some(row.into()), ..ErrorDelta::new(SqlState::DivisionByZero, "division by zero", diff) }
    }

    fn detail(errors: &Errors) -> Option<Option<String>> {
        errors.first().map(|error| error.detail)
    }

    fn failed(row: &str) -> Option<Option<String>> {
        Some(Some(format!("It failed for {row}.")))
    }

    #[test]
    fn what_is_beyond_the_named_ones_is_counted_and_taken_back() {
        let mut errors = Errors::naming(2);
        errors.add(&[error("a", 1), error("b", 1), error("c", 1), error("d", 2)]);
        assert_eq!((errors.to_vec().len(), detail(&errors)), (3, failed("a")));
        // There is room for a name again, and the unnamed ones are taken back with it.
        errors.subtract(&[error("a", 1), error("b", 1)]);
        assert_eq!(detail(&errors), Some(None), "c and d are held, without their names");
        errors.subtract(&[error("d", 2)]);
        assert_eq!(detail(&errors), Some(None));
        errors.subtract(&[error("c", 1)]);
        assert_eq!(errors.first(), None);
    }

    #[test]
    fn an_error_and_its_retraction_meet_over_shards() {
        let (mut one, mut other) = (Errors::naming(1), Errors::naming(1));
        one.add(&[error("a", 1), error("b", 1)]);
        other.add(&[error("b", -1)]);
        let mut sum = Errors::naming(1);
        sum.add(&one.to_vec());
        sum.add(&other.to_vec());
        assert_eq!(detail(&sum), failed("a"));
        other.add(&[error("a", -1)]);
        let mut sum = Errors::naming(1);
        sum.add(&other.to_vec());
        sum.add(&one.to_vec());
        assert_eq!(sum.first(), None);
    }
}
