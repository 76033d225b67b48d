//! What a row of a counted side shows by itself: the NULL-padded row of an outer join while nothing matches (anti: the
//! row), the row of a semi join while something does. Changes are collected over an epoch and only their net leaves.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::SchemaRef;
use types::DeltaBatch;

use super::probe::{Pairs, batch, delta};
use super::side::{Probing, Side, take_delta};
use crate::OperatorError;
use crate::arrangement::net;
use crate::dirt::slices;

/// When a counted row shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shows {
    Unmatched,
    Matched,
}

impl Shows {
    fn at(self, count: i64) -> bool {
        (count == 0) == (self == Shows::Unmatched)
    }
}

/// Changes of what one side shows, within the epoch under way.
pub(super) struct Alone {
    pub shows: Shows,
    changes: Vec<DeltaBatch>,
}

impl Alone {
    pub fn new(shows: Shows) -> Self {
        Alone { shows, changes: vec![] }
    }

    /// Rows that enter or leave their side while they have `counts` matches.
    pub fn own_rows(&mut self, probing: &Probing, counts: &[i64]) {
        let rows: Vec<u32> = (0..counts.len() as u32).filter(|row| self.shows.at(counts[*row as usize])).collect();
        if !rows.is_empty() {
            self.changes.push(take_delta(&probing.batch, &rows));
        }
    }

    /// Rows without a key that could match.
    pub fn unmatchable(&mut self, rows: DeltaBatch) {
        if self.shows == Shows::Unmatched && !rows.is_empty() {
            self.changes.push(rows);
        }
    }

    /// Stored rows whose match counts change by `weights[i]`.
    pub fn matched_rows(&mut self, side: &mut Side, ids: &[u32], weights: impl Iterator<Item = i64>) {
        let counts = side.counts.as_mut().expect("a side that shows alone is counted");
        let (mut turned, mut diffs) = (vec![], vec![]);
        for (id, weight) in ids.iter().zip(weights) {
            let count = &mut counts[*id as usize];
            let before = self.shows.at(*count);
            *count += weight;
            if before != self.shows.at(*count) {
                turned.push(*id);
                diffs.push(if before { -side.rows.weight(*id) } else { side.rows.weight(*id) });
            }
        }
        if !turned.is_empty() {
            self.changes.push(delta(side.rows_at(&turned), diffs));
        }
    }

    /// The net change of the epoch as rows of the join's output. `pad_left`/`pad_right`: columns of the other side.
    pub fn take(
        &mut self,
        side: &Side,
        output: &SchemaRef,
        padding: usize,
        padding_first: bool,
    ) -> Result<VecDeque<DeltaBatch>, OperatorError> {
        let mut leaving = VecDeque::new();
        for change in net(&side.layout, std::mem::take(&mut self.changes))? {
            for part in slices(&change) {
                let rows = part.num_rows();
                let offset = if padding_first { 0 } else { side.layout.columns.len() };
                let nulls = (0..padding).map(|c| new_null_array(output.field(offset + c).data_type(), rows));
                let own = part.rows().columns().iter().cloned();
                let columns: Vec<ArrayRef> =
                    if padding_first { nulls.chain(own).collect() } else { own.chain(nulls).collect() };
                leaving.push_back(part.with_rows(batch(output, columns, rows)?));
            }
        }
        Ok(leaving)
    }
}

/// Adds `diffs` of the pairs to the counts of the probing rows.
pub(super) fn count_own(counts: &mut [i64], pairs: &Pairs, stored: &Side) {
    for (row, id) in pairs.rows.iter().zip(&pairs.ids) {
        counts[*row as usize] += stored.weight_in(pairs, *id);
    }
}
