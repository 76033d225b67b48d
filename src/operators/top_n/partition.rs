//! One partition of a top-N: its rows in order, and what a set of changes does to the rows inside the limit.
//! Rows are their encodings, order columns first, so that comparing bytes is comparing rows.

use std::collections::BTreeMap;
use std::ops::Range;

/// Rows in order with their weights.
pub(super) type Ordered = BTreeMap<Box<[u8]>, i64>;

/// Bytes an entry of a tree costs besides its key.
const ENTRY_BYTES: usize = 40;

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub rows: Ordered,
    /// Sum of the weights.
    pub total: i64,
    /// Whether its rows have left already (EMIT ON WINDOW CLOSE), always true otherwise.
    pub shown: bool,
    /// What the checkpointed rows say about `shown`.
    pub noted: bool,
    /// End of the window it belongs to, if rows are closed by one.
    pub end: Option<i64>,
}

/// A changed output row: encoding, 0-based position if numbered, diff.
pub(super) struct Shift<'a> {
    pub row: &'a [u8],
    pub position: i64,
    pub diff: i64,
}

/// The positions that leave, and whether rows carry theirs.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub positions: Range<i64>,
    pub numbered: bool,
}

pub(super) fn entry_bytes(row: &[u8]) -> usize {
    row.len() + ENTRY_BYTES
}

impl Partition {
    /// Net changes inside the window when `changes` apply, in row order.
    pub fn shifts<'a>(&'a self, changes: &'a Ordered, window: &Window, mut each: impl FnMut(Shift<'a>)) {
        let (mut old, mut new) = (0, 0);
        let mut rows = self.rows.iter().peekable();
        let mut changes = changes.iter().peekable();
        while old < window.positions.end || new < window.positions.end {
            let next = match (rows.peek(), changes.peek()) {
                (None, None) => return,
                (Some((row, _)), None) => *row,
                (None, Some((row, _))) => *row,
                (Some((a, _)), Some((b, _))) => *a.min(b),
            };
            let weight = rows.next_if(|(row, _)| *row == next).map_or(0, |(_, weight)| *weight);
            let change = changes.next_if(|(row, _)| *row == next).map_or(0, |(_, change)| *change);
            let before = clip(old..old + weight, &window.positions);
            let after = clip(new..new + weight + change, &window.positions);
            window.differences(next, before, after, &mut each);
            old += weight;
            new += weight + change;
        }
    }

    /// Applies changes. False if a weight falls below zero, which its input must never do.
    pub fn apply(&mut self, changes: Ordered, memory: &mut usize) -> bool {
        for (row, change) in changes {
            self.total += change;
            let bytes = entry_bytes(&row);
            match self.rows.entry(row) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    if change < 0 {
                        return false;
                    }
                    entry.insert(change);
                    *memory += bytes;
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    *entry.get_mut() += change;
                    if *entry.get() < 0 {
                        return false;
                    }
                    if *entry.get() == 0 {
                        entry.remove();
                        *memory -= bytes;
                    }
                }
            }
        }
        true
    }
}

/// Drops the last rows until at most `keep` stand; tells each row and how much of it went.
pub(super) fn trim(rows: &mut Ordered, total: &mut i64, keep: i64, mut dropped: impl FnMut(Box<[u8]>, i64)) {
    while *total > keep {
        let mut last = rows.last_entry().expect("a positive total has rows");
        let excess = *total - keep;
        if *last.get() > excess {
            *last.get_mut() -= excess;
            *total = keep;
            dropped(last.key().clone(), excess);
        } else {
            let (row, weight) = last.remove_entry();
            *total -= weight;
            dropped(row, weight);
        }
    }
}

fn clip(range: Range<i64>, window: &Range<i64>) -> Range<i64> {
    let start = range.start.clamp(window.start, window.end);
    start..range.end.clamp(start, window.end.max(start))
}

impl Window {
    fn differences<'a>(&self, row: &'a [u8], before: Range<i64>, after: Range<i64>, each: &mut impl FnMut(Shift<'a>)) {
        if !self.numbered {
            let diff = (after.end - after.start) - (before.end - before.start);
            if diff != 0 {
                each(Shift { row, position: 0, diff });
            }
            return;
        }
        before.clone().filter(|p| !after.contains(p)).for_each(|position| each(Shift { row, position, diff: -1 }));
        after.filter(|p| !before.contains(p)).for_each(|position| each(Shift { row, position, diff: 1 }));
    }
}
