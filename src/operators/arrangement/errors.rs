//! The errors a relation holds, as a multiset beside its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{ErrorDelta, SqlError, SqlState};

/// (state, message, row).
type Key = (SqlState, String, Option<String>);

/// Counts by what failed how. Cloning is one pointer; the writer copies only what a reader holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Errors {
    counts: Arc<BTreeMap<Key, i64>>,
    bytes: usize,
}

impl Errors {
    pub fn add(&mut self, errors: &[ErrorDelta]) {
        self.sum(errors.iter().map(|e| (e, e.diff)));
    }

    pub fn subtract(&mut self, errors: &[ErrorDelta]) {
        self.sum(errors.iter().map(|e| (e, -e.diff)));
    }

    fn sum<'a>(&mut self, errors: impl Iterator<Item = (&'a ErrorDelta, i64)>) {
        for (error, diff) in errors {
            let counts = Arc::make_mut(&mut self.counts);
            let key = (error.state, error.message.clone(), error.row.clone());
            let text = error.message.len() + error.row.as_ref().map_or(0, String::len);
            let bytes = text + 2 * size_of::<(Key, i64)>();
            let count = *counts.entry(key.clone()).and_modify(|c| *c += diff).or_insert_with(|| {
                self.bytes += bytes;
                diff
            });
            if count == 0 {
                self.bytes -= bytes;
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
        let ((state, message, row), _) = self.counts.iter().find(|(_, count)| **count > 0)?;
        let error = SqlError::new(*state, message.clone());
        let error = match row {
            Some(row) => error.with_detail(format!("It failed for {row}.")),
            None => error,
        };
        Some(error.with_hint("Correct or remove the row and the view can be read again; hw_catalog.errors counts all."))
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}
