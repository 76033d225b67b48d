//! Random patterns, rows and conditions of every kind that the search treats differently.

use std::convert::Infallible;

use rand::Rng;
use rand::rngs::StdRng;

use crate::{Dependence, End, Label, LabelSet, Path, Pattern, Read, Rows};

pub(super) const LABELS: u8 = 3;

/// What conditions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Row,
    Ahead,
    LastOfOther,
    FirstOfUnion,
    Before,
    WholeMatch,
    MatchNumber,
}

pub(super) const FAMILIES: [Family; 7] = [
    Family::Row,
    Family::Ahead,
    Family::LastOfOther,
    Family::FirstOfUnion,
    Family::Before,
    Family::WholeMatch,
    Family::MatchNumber,
];

/// Rows whose conditions are decided by a hash of what they depend on.
#[derive(Debug, Clone)]
pub(super) struct Hashed {
    pub(super) length: usize,
    pub(super) known: usize,
    pub(super) closed: bool,
    pub(super) family: Family,
    pub(super) seed: u64,
    /// Of 8, how often a condition holds.
    pub(super) odds: u64,
    pub(super) times: Vec<i64>,
    pub(super) limit: Option<i64>,
    pub(super) watermark: i64,
}

impl Hashed {
    fn read(&self, path: &Path, set: LabelSet, end: End, offset: usize) -> u64 {
        path.find(set, end, offset, path.len()).map_or(99, |index| (path.start() + index) as u64)
    }
}

pub(super) fn dependences(family: Family) -> Vec<Dependence> {
    let read = |set, end, offset| Dependence { reads: vec![Read { set, end, offset }], ..Dependence::default() };
    (0..LABELS)
        .map(|label| match family {
            Family::Row => Dependence::default(),
            Family::Ahead => Dependence { lookahead: label as usize, ..Dependence::default() },
            // The first condition stays local, so that both kinds meet in one program.
            Family::LastOfOther | Family::FirstOfUnion | Family::Before if label == 0 => Dependence::default(),
            Family::LastOfOther => read(LabelSet::of([Label(0)]), End::Last, 0),
            Family::FirstOfUnion => read(LabelSet::of([Label(0), Label(2)]), End::First, 1),
            Family::Before => read(LabelSet::of([Label(label)]), End::Last, 1),
            Family::WholeMatch => Dependence { whole_match: true, ..Dependence::default() },
            Family::MatchNumber => Dependence { match_number: true, ..Dependence::default() },
        })
        .collect()
}

impl Rows for Hashed {
    type Error = Infallible;

    fn len(&self) -> usize {
        self.known
    }

    fn closed(&self) -> bool {
        self.closed
    }

    fn holds(&mut self, label: Label, path: &Path, match_number: u64) -> Result<bool, Infallible> {
        let row = path.end() - 1;
        assert!(row < self.known && path.labels().last() == Some(&label));
        let mut parts = vec![self.seed, u64::from(label.0), row as u64];
        match self.family {
            Family::Row => {}
            Family::Ahead => {
                let last = row + label.0 as usize;
                assert!(self.closed || last < self.known, "what a condition looks at is there");
                parts.push(last.min(self.length) as u64);
            }
            Family::LastOfOther | Family::FirstOfUnion | Family::Before if label.0 == 0 => {}
            Family::LastOfOther => parts.push(self.read(path, LabelSet::of([Label(0)]), End::Last, 0)),
            Family::FirstOfUnion => {
                parts.push(self.read(path, LabelSet::of([Label(0), Label(2)]), End::First, 1));
            }
            Family::Before => parts.push(self.read(path, LabelSet::of([label]), End::Last, 1)),
            Family::WholeMatch => parts.extend(path.labels().iter().map(|label| u64::from(label.0))),
            Family::MatchNumber => parts.push(match_number),
        }
        Ok(hash(&parts) % 8 < self.odds)
    }

    fn within(&self, start: usize, row: usize) -> bool {
        self.limit.is_none_or(|limit| self.times[row] - self.times[start] <= limit)
    }

    fn limited(&self) -> bool {
        self.limit.is_some()
    }

    fn expired(&self, start: usize) -> bool {
        self.limit.is_some_and(|limit| self.times[start] + limit < self.watermark)
    }
}

fn hash(parts: &[u64]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        state = (state ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
    }
    state.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
}

/// A pattern of at most this depth.
pub(super) fn pattern(random: &mut StdRng, depth: u32) -> Pattern {
    let kind = if depth == 0 { random.random_range(0..6) } else { random.random_range(0..14) };
    match kind {
        0..=4 => Pattern::Variable(Label(random.random_range(0..LABELS))),
        5 => [Pattern::Empty, Pattern::Start, Pattern::End][random.random_range(0..3)].clone(),
        6 | 7 => Pattern::Concat(parts(random, depth, 3)),
        8 | 9 => Pattern::Alternate(parts(random, depth, 3)),
        10 => Pattern::Permute(parts(random, depth.min(2), 3)),
        11 => Pattern::Exclude(Box::new(pattern(random, depth - 1))),
        _ => {
            let min = random.random_range(0..3);
            let max = if random.random_bool(0.5) { None } else { Some((min + random.random_range(0..3)).max(1)) };
            let body = Box::new(pattern(random, depth - 1));
            Pattern::Repeat { body, min, max, greedy: random.random_bool(0.5) }
        }
    }
}

fn parts(random: &mut StdRng, depth: u32, max: usize) -> Vec<Pattern> {
    (0..random.random_range(1..=max)).map(|_| pattern(random, depth - 1)).collect()
}
