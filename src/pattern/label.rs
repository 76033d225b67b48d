//! Variables of a pattern by number, and sets of them. What their names are is the caller's business.

use serde::{Deserialize, Serialize};

/// Primary variables one pattern may have: a set of them is one machine word.
pub const VARIABLES_MAX: usize = 64;

/// A primary variable: its index, below `VARIABLES_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label(pub u8);

/// Primary variables taken together: a primary variable is the set of itself, a union variable the set of its members, and all
/// rows of a match are those of `ALL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelSet(u64);

impl LabelSet {
    pub const NONE: LabelSet = LabelSet(0);
    pub const ALL: LabelSet = LabelSet(u64::MAX);

    pub fn of(labels: impl IntoIterator<Item = Label>) -> LabelSet {
        labels.into_iter().fold(LabelSet::NONE, LabelSet::with)
    }

    pub fn with(self, label: Label) -> LabelSet {
        assert!((label.0 as usize) < VARIABLES_MAX, "labels are below VARIABLES_MAX");
        LabelSet(self.0 | 1 << label.0)
    }

    pub fn contains(self, label: Label) -> bool {
        self.0 >> label.0 & 1 == 1
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The only member, if there is exactly one.
    pub fn single(self) -> Option<Label> {
        (self.0.count_ones() == 1).then(|| Label(self.0.trailing_zeros() as u8))
    }

    pub fn iter(self) -> impl Iterator<Item = Label> {
        (0..VARIABLES_MAX as u8).map(Label).filter(move |label| self.contains(*label))
    }
}
