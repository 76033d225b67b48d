//! What the search asks of whoever has the rows. Rows are named by their place in the partition, from 0.

use crate::label::Label;
use crate::path::Path;

pub trait Rows {
    type Error;

    /// Rows that are known, and will not change.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further row will come.
    fn closed(&self) -> bool;

    /// Whether the last row of `path`, taken as the label it has there, fulfils that variable's condition. Without a condition it
    /// does; a condition that is NULL does not hold.
    ///
    /// `match_number` is the one that the match would get.
    fn holds(&mut self, label: Label, path: &Path, match_number: u64) -> Result<bool, Self::Error>;

    /// Whether a match may reach from `start` to `row` (WITHIN).
    fn within(&self, _start: usize, _row: usize) -> bool {
        true
    }

    /// Whether matches have a time limit at all.
    fn limited(&self) -> bool {
        false
    }

    /// Whether no row that is still to come can be within the limit of a match from `start`.
    fn expired(&self, _start: usize) -> bool {
        false
    }
}
