//! The rows of a match, or of one that may become one: they follow each other, each with its label.

use crate::label::{Label, LabelSet, VARIABLES_MAX};
use crate::program::End;

#[derive(Debug, Clone, Default)]
pub struct Path {
    start: usize,
    labels: Vec<Label>,
    excluded: Vec<bool>,
    /// One per row, never given twice: two ways that have one in common have all rows up to it in common.
    ids: Vec<u64>,
    given: u64,
    /// Per label the places of its rows, ascending: finding the last row of a variable must not walk the match.
    places: Vec<Vec<u32>>,
}

impl Path {
    pub fn new(start: usize) -> Path {
        Path { start, ..Path::default() }
    }

    /// The place of the first row in the partition.
    pub fn start(&self) -> usize {
        self.start
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The place in the partition of the row after the last.
    pub fn end(&self) -> usize {
        self.start + self.labels.len()
    }

    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Numbers of the rows, ascending, each given once: whoever knows the way up to one knows all before it.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// Whether the `index`-th row stands in `{- … -}`.
    pub fn excluded(&self, index: usize) -> bool {
        self.excluded[index]
    }

    /// Of the first `length` rows, the index in the match of the `offset`-th from an end among those of `set`.
    pub fn find(&self, set: LabelSet, end: End, offset: usize, length: usize) -> Option<usize> {
        if set == LabelSet::ALL {
            return match end {
                End::First => (offset < length).then_some(offset),
                End::Last => length.checked_sub(offset + 1),
            };
        }
        if let Some(label) = set.single() {
            let places = self.places.get(label.0 as usize)?;
            let within = if length == self.len() {
                places.len()
            } else {
                places.partition_point(|place| (*place as usize) < length)
            };
            let index = match end {
                End::First => (offset < within).then_some(offset)?,
                End::Last => within.checked_sub(offset + 1)?,
            };
            return Some(places[index] as usize);
        }
        let mut rows = (0..length).filter(|index| set.contains(self.labels[*index]));
        match end {
            End::First => rows.nth(offset),
            End::Last => rows.nth_back(offset),
        }
    }

    pub(crate) fn push(&mut self, label: Label, excluded: bool) {
        if self.places.len() <= label.0 as usize {
            assert!((label.0 as usize) < VARIABLES_MAX, "labels are below VARIABLES_MAX");
            self.places.resize(label.0 as usize + 1, vec![]);
        }
        self.places[label.0 as usize].push(self.labels.len() as u32);
        self.labels.push(label);
        self.excluded.push(excluded);
        self.given += 1;
        self.ids.push(self.given);
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        while self.labels.len() > length {
            let label = self.labels.pop().expect("longer than length");
            self.places[label.0 as usize].pop();
            self.excluded.pop();
            self.ids.pop();
        }
    }
}
