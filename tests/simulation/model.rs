//! What must be true: the contents of every relation at every epoch of this life, from what was journaled and entered.

use std::collections::{BTreeMap, BTreeSet};

use types::{Epoch, ObjectId};

use crate::disk::{Changes, Entry, Event, Meaning};
use crate::rows::apply;
use crate::schema::{ACCOUNTS, Bag, LOOSE, Row, SOURCE, VIEWS};

#[derive(Default)]
pub struct Model {
    /// Tables at the start of this life.
    base: BTreeMap<ObjectId, Bag>,
    base_events: Vec<Event>,
    /// Journaled in any life, by position.
    written: BTreeMap<u64, (Changes, Vec<Meaning>)>,
    entered: BTreeMap<u64, Epoch>,
    /// Writes up to here are in the checkpoint.
    from: u64,
    moved: Vec<(Epoch, Vec<Event>)>,
    /// Positions whose writers were told.
    pub acknowledged: BTreeSet<u64>,
    /// Views that somebody was told to exist, or to be gone.
    pub created: BTreeSet<ObjectId>,
    pub uncertain: BTreeSet<ObjectId>,
    /// The newest epoch that a reader saw, and how many events of the source it saw.
    shown: Epoch,
    pub checks: u64,
}

impl Model {
    pub fn write(&mut self, position: u64, changes: Changes, meaning: Vec<Meaning>) {
        self.written.insert(position, (changes, meaning));
    }

    pub fn enter(&mut self, entered: Vec<(u64, Epoch)>, moved: Vec<(Epoch, Vec<Event>)>) {
        for (position, epoch) in entered {
            // A write of two tables enters with both.
            let before = self.entered.insert(position, epoch);
            assert!(before.is_none_or(|before| before == epoch), "write {position} enters {before:?} and {epoch}");
        }
        self.moved.extend(moved);
    }

    pub fn acknowledge(&mut self, position: u64, epoch: Epoch) {
        assert_eq!(self.entered.get(&position), Some(&epoch), "a writer is told the epoch that its write entered");
        self.acknowledged.insert(position);
    }

    /// A reader fixed its epoch.
    pub fn show(&mut self, epoch: Epoch) {
        assert!(epoch >= self.shown, "reads go back from {} to {epoch}", self.shown);
        self.shown = epoch;
        for position in &self.acknowledged {
            let entered = self.entered.get(position);
            assert!(entered.is_none_or(|at| *at <= epoch), "write {position} of {entered:?} is missing at {epoch}");
        }
        self.checks += 1;
    }

    /// The epoch by which all rows of the journal have been told again after a restart; `None` before.
    pub fn repeated(&self) -> Option<Epoch> {
        let mut beyond = self.written.range(self.from + 1..).map(|(position, _)| self.entered.get(position));
        let last = beyond.try_fold(0, |last, entered| entered.map(|epoch| last.max(*epoch)))?;
        Some(self.moved.iter().map(|(epoch, _)| *epoch).fold(last, Epoch::max))
    }

    /// Every relation at `epoch`.
    pub fn contents(&self, epoch: Epoch) -> BTreeMap<ObjectId, Bag> {
        let mut all = self.base.clone();
        all.entry(ACCOUNTS).or_default();
        all.entry(LOOSE).or_default();
        for (position, _) in self.entered.iter().filter(|(_, at)| **at <= epoch) {
            for (table, changes) in &self.written[position].0 {
                apply(all.entry(*table).or_default(), changes);
            }
        }
        let later = self.moved.iter().filter(|(at, _)| *at <= epoch).flat_map(|(_, events)| events);
        all.insert(SOURCE, source_rows(self.base_events.iter().chain(later)));
        for view in VIEWS {
            let rows = (view.expected)(&all);
            all.insert(view.id, rows);
        }
        all
    }

    /// A restart found this on disk: everything acknowledged must be among it, everything decided too.
    pub fn restart(&mut self, entries: &[(u64, Entry)], from: u64, saved: Vec<Event>, beyond: Vec<Event>) {
        // What the checkpoint covers need not be in the journal any more: readers will see whether it is in the state.
        let mut rows = std::mem::take(&mut self.written);
        rows.split_off(&(from + 1));
        rows.extend(entries.iter().filter_map(|(position, entry)| match entry {
            Entry::Rows { changes, meaning } => Some((*position, (changes.clone(), meaning.clone()))),
            Entry::Epoch { .. } | Entry::Created(_) | Entry::Dropped(_) => None,
        }));
        for position in &self.acknowledged {
            assert!(rows.contains_key(position), "acknowledged write {position} is gone after the crash");
        }
        let known: Vec<Event> = saved.iter().chain(&beyond).cloned().collect();
        let before: Vec<Event> =
            self.base_events.iter().chain(self.moved.iter().flat_map(|(_, events)| events)).cloned().collect();
        // The log may be behind, or have the one epoch that was still held back.
        let agree = before.starts_with(&known) || known.starts_with(&before);
        assert!(agree, "the log says {known:?}, decided was {before:?}");
        self.base.clear();
        for (_, (changes, _)) in rows.range(..=from) {
            for (table, changes) in changes {
                apply(self.base.entry(*table).or_default(), changes);
            }
        }
        self.written = rows;
        self.from = from;
        self.entered.clear();
        self.moved.clear();
        self.base_events = saved;
        self.shown = 0;
        self.checks += 1;
    }

    /// The journal's deltas are what its statements mean, one after the other: no update was lost.
    pub fn check_meaning(&self) {
        let (mut by_rows, mut by_meaning) = (Bag::new(), BTreeMap::<i64, i64>::new());
        for (position, (changes, meaning)) in &self.written {
            let changes = changes.iter().filter(|(table, _)| *table == ACCOUNTS);
            changes.for_each(|(_, changes)| apply(&mut by_rows, changes));
            meaning.iter().for_each(|meaning| act(&mut by_meaning, meaning, *position));
        }
        let by_meaning: Bag = by_meaning.into_iter().map(|(id, v)| (vec![id, v], 1)).collect();
        assert_eq!(by_rows, by_meaning, "rows that were written and what the statements said");
    }
}

fn act(accounts: &mut BTreeMap<i64, i64>, meaning: &Meaning, position: u64) {
    match meaning {
        Meaning::Insert { id, v } => {
            assert!(accounts.insert(*id, *v).is_none(), "write {position} inserts {id} a second time");
        }
        Meaning::Add { id, amount } => {
            *accounts.get_mut(id).unwrap_or_else(|| panic!("write {position} changes {id}, which is gone")) += amount;
        }
        Meaning::Delete { id } => {
            assert!(accounts.remove(id).is_some(), "write {position} deletes {id}, which is gone");
        }
        Meaning::Loose { .. } | Meaning::LooseDelete { .. } => {}
    }
}

/// The row at a position of the source.
pub fn source_row(position: u64) -> Row {
    vec![position as i64, (position.wrapping_mul(2_654_435_761) >> 7) as i64 % 16]
}

fn source_rows<'a>(events: impl Iterator<Item = &'a Event>) -> Bag {
    let (mut to, mut refused) = (0, BTreeSet::new());
    for event in events {
        match event {
            Event::Read(position) => to = *position,
            Event::Refused(position) => drop(refused.insert(*position)),
        }
    }
    (0..to).filter(|position| !refused.contains(position)).map(|position| (source_row(position), 1)).collect()
}
