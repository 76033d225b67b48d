//! Places from which the search already came back in vain: it need not go there again.
//!
//! A place is an instruction at a row, and where conditions further on read rows of the match, also which rows those are. Where
//! they read more than that nothing is remembered, and the step limit is the bound.

use std::collections::HashSet;

use crate::path::Path;
use crate::program::{End, Program, Reach};

/// Places with what they read, from whose number on they are forgotten at the next start: it costs time, not an answer.
const KEYED_MAX: usize = 1 << 20;

/// A place on the way the search is on: forgotten if the way leads to a match.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Plain { state: usize, row: usize },
    Keyed(Vec<usize>),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Visited {
    /// Row of the first entry of `bits`.
    base: usize,
    words: usize,
    bits: Vec<u64>,
    keyed: HashSet<Vec<usize>>,
}

impl Visited {
    pub(crate) fn new(program: &Program) -> Visited {
        Visited { words: program.states().div_ceil(64), ..Visited::default() }
    }

    pub(crate) fn clear(&mut self, start: usize) {
        self.base = start;
        self.bits.clear();
        self.keyed.clear();
    }

    /// Rows before `start` will not be asked for again.
    pub(crate) fn forget_before(&mut self, start: usize) {
        let stale = start.saturating_sub(self.base) * self.words;
        if stale >= self.bits.len() {
            self.bits.clear();
            self.base = start;
        } else if stale > self.bits.len() / 2 {
            self.bits.drain(..stale);
            self.base = start;
        }
        if self.keyed.len() > KEYED_MAX {
            self.keyed.clear();
        }
    }

    /// The place, or `None` where nothing can be remembered.
    pub(crate) fn place(program: &Program, pc: usize, level: usize, path: &Path) -> Option<Place> {
        let state = pc * program.levels + level;
        let row = path.end();
        match &program.reach[pc] {
            Reach::Rows => Some(Place::Plain { state, row }),
            Reach::Anything => None,
            Reach::Reads(reads) => {
                let mut key = vec![state, row];
                for read in reads {
                    // Rows to come push back what is read: all up to the offset count. Rows have absolute places, so ways from
                    // different starts meet where they read the same.
                    for offset in 0..=read.offset {
                        let found = path.find(read.set, read.end, offset, path.len());
                        key.push(found.map_or(usize::MAX, |index| path.start() + index));
                        if found.is_none() && read.end == End::First {
                            break;
                        }
                    }
                }
                Some(Place::Keyed(key))
            }
        }
    }

    pub(crate) fn contains(&self, place: &Place) -> bool {
        match place {
            Place::Plain { state, row } => {
                let (word, bit) = self.position(*state, *row);
                self.bits.get(word).is_some_and(|w| w >> bit & 1 == 1)
            }
            Place::Keyed(key) => self.keyed.contains(key),
        }
    }

    pub(crate) fn insert(&mut self, place: &Place) {
        match place {
            Place::Plain { state, row } => {
                let (word, bit) = self.position(*state, *row);
                if word >= self.bits.len() {
                    let rows = row - self.base + 1;
                    self.bits.resize(rows * self.words, 0);
                }
                self.bits[word] |= 1 << bit;
            }
            Place::Keyed(key) => drop(self.keyed.insert(key.clone())),
        }
    }

    pub(crate) fn remove(&mut self, place: &Place) {
        match place {
            Place::Plain { state, row } => {
                let (word, bit) = self.position(*state, *row);
                self.bits[word] &= !(1 << bit);
            }
            Place::Keyed(key) => drop(self.keyed.remove(key)),
        }
    }

    fn position(&self, state: usize, row: usize) -> (usize, usize) {
        ((row - self.base) * self.words + state / 64, state % 64)
    }
}
