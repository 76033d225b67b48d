//! How rows find their place: sorted runs meet the timelines, and slots come and go with entries.

use std::collections::HashMap;

use super::SessionAggregateOperator;
use super::outputs::Session;
use crate::OperatorError;
use crate::timeline::{Entry, within};

/// Rows of one key that surely share a session, by their place in the sorted batch.
pub(super) struct Run {
    pub key: u32,
    pub first: i64,
    pub last: i64,
    pub rows: std::ops::Range<usize>,
    pub slot: u32,
}

impl SessionAggregateOperator {
    /// Rows sorted by (key, time) and cut where a session or, with retractions, a time ends.
    pub(super) fn runs(&self, keys: &[u32], times: &[i64]) -> (Vec<u32>, Vec<Run>) {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_unstable_by_key(|row| (keys[*row as usize], times[*row as usize], *row));
        let gap_us = if self.append_only { self.gap_us } else { 0 };
        let mut runs: Vec<Run> = vec![];
        for (place, row) in order.iter().enumerate() {
            let (key, time) = (keys[*row as usize], times[*row as usize]);
            match runs.last_mut() {
                Some(run) if run.key == key && within(run.last, time, gap_us) => {
                    run.last = time;
                    run.rows.end = place + 1;
                }
                _ => runs.push(Run { key, first: time, last: time, rows: place..place + 1, slot: 0 }),
            }
        }
        (order, runs)
    }

    /// Remembers the outputs of all sessions that the runs touch, before anything changes.
    pub(super) fn remember(&mut self, runs: &[Run]) -> Result<(), OperatorError> {
        let mut sessions = vec![];
        for run in runs {
            let timeline = &mut self.timelines[run.key as usize];
            let touching = timeline.touching(run.first, run.last, self.gap_us);
            let mut entries = timeline.entries[touching].iter_mut().filter(|e| e.emitted).peekable();
            // Entries with an output that lie within the gap of each other were one session at the last seal.
            while let Some(entry) = entries.next() {
                let mut session =
                    Session { key: run.key, first: entry.first, last: entry.last, slots: vec![entry.slot] };
                (entry.emitted, entry.dirty) = (false, true);
                while let Some(next) = entries.next_if(|e| within(session.last, e.first, self.gap_us)) {
                    session.last = next.last;
                    session.slots.push(next.slot);
                    (next.emitted, next.dirty) = (false, true);
                }
                sessions.push(session);
            }
        }
        let (ids, scratch) = self.slots_of(&sessions)?;
        self.old.gather(&self.slots, &ids)?;
        self.free(&scratch)?;
        self.old_sessions.extend(sessions);
        Ok(())
    }

    /// One slot per session: its own if it has one entry, else a scratch slot with all of them folded; those come
    /// back second, to be freed.
    pub(super) fn slots_of(&mut self, sessions: &[Session]) -> Result<(Vec<u32>, Vec<u32>), OperatorError> {
        let (mut ids, mut scratch, mut into, mut from) = (vec![], vec![], vec![], vec![]);
        for session in sessions {
            if let [slot] = session.slots[..] {
                ids.push(slot);
                continue;
            }
            let slot = self.new_slot();
            scratch.push(slot);
            ids.push(slot);
            into.extend(session.slots.iter().map(|_| slot));
            from.extend_from_slice(&session.slots);
        }
        self.grow_slots();
        if !from.is_empty() {
            self.slots.fold(&into, &from)?;
        }
        Ok((ids, scratch))
    }

    pub(super) fn new_slot(&mut self) -> u32 {
        self.entries += 1;
        self.free_slots.pop().unwrap_or_else(|| (self.entries - 1) as u32)
    }

    pub(super) fn grow_slots(&mut self) {
        let len = self.entries + self.free_slots.len();
        if len > self.slots.rows.len() {
            self.slots.resize(len);
        }
    }

    pub(super) fn free(&mut self, slots: &[u32]) -> Result<(), OperatorError> {
        self.slots.clear(slots)?;
        self.free_slots.extend_from_slice(slots);
        self.entries -= slots.len();
        if self.entries == 0 {
            self.free_slots = vec![];
            self.slots.resize(0);
        }
        Ok(())
    }

    /// Gives every run its entry; answers slots to fold away: (into, from).
    pub(super) fn place(&mut self, runs: &mut [Run]) -> (Vec<u32>, Vec<u32>) {
        let mut moved: HashMap<u32, u32> = HashMap::new();
        for run in runs.iter_mut() {
            run.slot = if self.append_only { self.place_interval(run, &mut moved) } else { self.place_time(run) };
        }
        let resolve = |mut slot: u32| {
            while let Some(next) = moved.get(&slot) {
                slot = *next;
            }
            slot
        };
        runs.iter_mut().for_each(|run| run.slot = resolve(run.slot));
        let mut from: Vec<u32> = moved.keys().copied().collect();
        from.sort_unstable();
        (from.iter().map(|slot| resolve(*slot)).collect(), from)
    }

    /// The session of an append-only run: all that lie within the gap become one, in the slot with most rows.
    fn place_interval(&mut self, run: &Run, moved: &mut HashMap<u32, u32>) -> u32 {
        let timeline = &self.timelines[run.key as usize];
        let touching = timeline.touching(run.first, run.last, self.gap_us);
        let Some(most) = timeline.entries[touching.clone()].iter().max_by_key(|e| self.slots_rows(e.slot)).copied()
        else {
            return self.insert(run.key, touching.start, run.first, run.last);
        };
        let entries = &timeline.entries[touching.clone()];
        let first = run.first.min(entries[0].first);
        let last = run.last.max(entries[entries.len() - 1].last);
        let mut saved = false;
        for entry in entries {
            if entry.slot != most.slot {
                moved.insert(entry.slot, most.slot);
            }
            if entry.saved && entry.first == first {
                saved = true;
            } else if entry.saved {
                self.unsaved.delete(run.key, entry.first);
            }
        }
        let merged = Entry { first, last, slot: most.slot, emitted: false, saved, dirty: true };
        let timeline = &mut self.timelines[run.key as usize];
        timeline.entries.splice(touching, [merged]);
        most.slot
    }

    /// Rows of a slot; slots made in this batch have none yet.
    fn slots_rows(&self, slot: u32) -> i64 {
        self.slots.rows.get(slot as usize).copied().unwrap_or(0)
    }

    fn place_time(&mut self, run: &Run) -> u32 {
        match self.timelines[run.key as usize].find(run.first) {
            Ok(place) => {
                let entry = &mut self.timelines[run.key as usize].entries[place];
                entry.dirty = true;
                entry.slot
            }
            Err(place) => self.insert(run.key, place, run.first, run.last),
        }
    }

    fn insert(&mut self, key: u32, place: usize, first: i64, last: i64) -> u32 {
        let slot = self.new_slot();
        let entries = &mut self.timelines[key as usize].entries;
        if entries.is_empty() {
            // Most keys have one session.
            entries.reserve_exact(1);
        }
        entries.insert(place, Entry { first, last, slot, emitted: false, saved: false, dirty: true });
        slot
    }

    /// Removes times whose rows have all been retracted.
    pub(super) fn remove_empty(&mut self) -> Result<(), OperatorError> {
        let mut gone = vec![];
        for (key, first, _) in &self.touched {
            let timeline = &mut self.timelines[*key as usize];
            if let Ok(place) = timeline.find(*first)
                && self.slots.rows[timeline.entries[place].slot as usize] == 0
            {
                let entry = timeline.entries.remove(place);
                gone.push(entry.slot);
                if entry.saved {
                    self.unsaved.delete(*key, entry.first);
                }
            }
        }
        self.free(&gone)
    }
}
