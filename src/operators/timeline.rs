//! Sessions of one key: intervals in order of time, and which of them lie within a gap of each other.
//!
//! An entry is a piece of a session with its own state slot. Over append-only input entries within a gap are merged at
//! once, so every entry is a session; with retractions there is one entry per distinct time, and a session is a
//! maximal run of entries no further apart than the gap, so it can shrink and split.

use std::collections::BTreeMap;

use types::WATERMARK_NONE;

/// A piece of a session, times in microseconds, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub first: i64,
    pub last: i64,
    pub slot: u32,
    /// The session it is part of has an output now.
    pub emitted: bool,
    /// The last cut has it, under this `first`.
    pub saved: bool,
    /// Changed since the last cut.
    pub dirty: bool,
}

/// Entries of one key, ascending and disjoint.
#[derive(Debug, Default, Clone)]
pub(crate) struct Timeline {
    pub entries: Vec<Entry>,
}

/// Whether `later` still belongs to a session that ends at `last`: exactly one gap after it does.
#[inline]
pub(crate) fn within(last: i64, later: i64, gap_us: i64) -> bool {
    later.saturating_sub(last) <= gap_us
}

impl Timeline {
    /// Indices of the sessions, as ranges of entries.
    pub fn sessions(&self, gap_us: i64) -> Vec<std::ops::Range<usize>> {
        self.sessions_in(0..self.entries.len(), gap_us)
    }

    /// The sessions within `range`, which begins and ends between sessions.
    pub fn sessions_in(&self, range: std::ops::Range<usize>, gap_us: i64) -> Vec<std::ops::Range<usize>> {
        let mut found = vec![];
        let mut start = range.start;
        while start < range.end {
            let end = self.end_of_run(start, gap_us);
            found.push(start..end);
            start = end;
        }
        found
    }

    fn end_of_run(&self, mut index: usize, gap_us: i64) -> usize {
        while index + 1 < self.entries.len() && within(self.entries[index].last, self.entries[index + 1].first, gap_us)
        {
            index += 1;
        }
        index + 1
    }

    fn start_of_run(&self, mut index: usize, gap_us: i64) -> usize {
        while index > 0 && within(self.entries[index - 1].last, self.entries[index].first, gap_us) {
            index -= 1;
        }
        index
    }

    /// Entries of all sessions that rows from `first` to `last` (no further apart than the gap) touch: empty, at the
    /// place of insertion, if none.
    pub fn touching(&self, first: i64, last: i64, gap_us: i64) -> std::ops::Range<usize> {
        let start = self.entries.partition_point(|e| !within(e.last, first, gap_us));
        let mut end = start;
        while end < self.entries.len() && within(last, self.entries[end].first, gap_us) {
            end += 1;
        }
        if start == end {
            return start..end;
        }
        self.start_of_run(start, gap_us)..self.end_of_run(end - 1, gap_us)
    }

    /// The place of the entry at exactly `time`, or where it would be.
    pub fn find(&self, time: i64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&time, |e| e.first)
    }
}

/// Keys by the end of one of their sessions. Entries are hints: a session may have grown or gone since.
#[derive(Debug, Default)]
pub(crate) struct EndIndex {
    keys: BTreeMap<i64, Vec<u32>>,
}

impl EndIndex {
    pub fn add(&mut self, end: i64, key: u32) {
        let keys = self.keys.entry(end).or_default();
        if keys.last() != Some(&key) {
            keys.push(key);
        }
    }

    /// Takes out (end, key) with end < `bound`, by end.
    pub fn passed(&mut self, bound: i64) -> Vec<(i64, u32)> {
        let mut passed = vec![];
        while let Some(entry) = self.keys.first_entry() {
            if !has_passed(*entry.key(), bound) {
                break;
            }
            let (end, keys) = entry.remove_entry();
            passed.extend(keys.into_iter().map(|key| (end, key)));
        }
        passed
    }

    pub fn memory_bytes(&self) -> usize {
        self.keys.values().map(|keys| keys.capacity() * 4 + 48).sum()
    }
}

/// Whether a session ending at `end` is past `bound`: a row exactly at the end would still belong.
pub(crate) fn has_passed(end: i64, bound: i64) -> bool {
    bound != WATERMARK_NONE && end < bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(times: &[(i64, i64)]) -> Timeline {
        let entry = |&(first, last)| Entry { first, last, slot: 0, emitted: false, saved: false, dirty: false };
        Timeline { entries: times.iter().map(entry).collect() }
    }

    #[test]
    fn exactly_one_gap_apart_is_one_session() {
        let t = timeline(&[(0, 0), (10, 12), (22, 22), (33, 40)]);
        assert_eq!(t.sessions(10), [0..3, 3..4]);
        assert_eq!(t.sessions(9), [0..1, 1..2, 2..3, 3..4]);
    }

    #[test]
    fn rows_touch_whole_sessions_on_both_sides() {
        let t = timeline(&[(0, 0), (10, 10), (30, 30), (40, 40), (100, 100)]);
        assert_eq!(t.touching(20, 20, 10), 0..4);
        assert_eq!(t.touching(21, 21, 10), 2..4);
        assert_eq!(t.touching(60, 60, 10), 4..4);
        assert_eq!(t.touching(-10, -10, 10), 0..2);
        assert_eq!(t.touching(-11, -11, 10), 0..0);
        assert_eq!(t.touching(200, 200, 10), 5..5);
        assert_eq!(t.touching(i64::MAX, i64::MAX, 10), 5..5);
    }
}
