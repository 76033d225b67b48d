//! What survives a crash: the journal as far as it was synced (and perhaps a little more), and the last checkpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use coordinator::{CheckpointPlan, EpochEntry, History, SourceState};
use dataflow::RestoredBatch;
use rand::Rng;
use rand::rngs::StdRng;
use types::{Epoch, ObjectId};

use crate::schema::Row;

/// One thing that happened to the simulated source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Read up to here.
    Read(u64),
    /// The row at this position is outside: decided by the wall clock, so only the log knows.
    Refused(u64),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events(pub Vec<Event>);

impl History for Events {
    type Event = Event;
    type Admission = ();

    fn push(&mut self, event: Event) {
        self.0.push(event);
    }
}

/// What a statement means, whatever rows it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    Insert { id: i64, v: i64 },
    Add { id: i64, amount: i64 },
    Delete { id: i64 },
    Loose { row: Row, count: i64 },
    LooseDelete { v: i64 },
}

pub type Changes = Vec<(ObjectId, Vec<(Row, i64)>)>;

#[derive(Debug, Clone)]
pub enum Entry {
    Rows { changes: Changes, meaning: Vec<Meaning> },
    Epoch(EpochEntry<Event>),
    Created(ObjectId),
    Dropped(ObjectId),
}

/// A committed checkpoint.
pub struct Saved {
    pub plan: CheckpointPlan<Events>,
    pub catalog: BTreeSet<ObjectId>,
    pub catalog_position: u64,
    /// By relation and operator, oldest first.
    pub state: BTreeMap<ObjectId, BTreeMap<u32, Vec<RestoredBatch>>>,
}

#[derive(Default)]
pub struct Disk {
    /// Position i + 1 at index i.
    entries: Vec<Entry>,
    durable: u64,
    pub saved: Option<Arc<Saved>>,
    /// No room for another entry.
    pub full: bool,
}

impl Disk {
    /// The new entry's position; `None` while the disk is full.
    pub fn append(&mut self, entry: Entry) -> Option<u64> {
        if self.full {
            return None;
        }
        self.entries.push(entry);
        Some(self.entries.len() as u64)
    }

    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether something waits for a sync.
    pub fn unsynced(&self) -> bool {
        self.durable < self.entries.len() as u64
    }

    pub fn sync(&mut self) {
        self.durable = self.entries.len() as u64;
    }

    /// The power goes: what was not synced is there up to some entry.
    pub fn crash(&mut self, rng: &mut StdRng) {
        let kept = rng.random_range(self.durable..=self.entries.len() as u64);
        self.entries.truncate(kept as usize);
        self.durable = kept;
        self.full = false;
    }

    /// All entries with their positions.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().enumerate().map(|(at, entry)| (at as u64 + 1, entry))
    }

    /// The last epoch that is known, and its incarnation.
    pub fn last_epoch(&self) -> (Epoch, u64) {
        let saved = self.saved.as_ref().map_or((0, 0), |saved| (saved.plan.epoch, saved.plan.incarnation));
        let logged = self.entries().filter_map(|(_, entry)| match entry {
            Entry::Epoch(entry) => Some((entry.epoch, entry.incarnation)),
            Entry::Rows { .. } | Entry::Created(_) | Entry::Dropped(_) => None,
        });
        logged.fold(saved, |a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// The source as the log has it: its state in the checkpoint, with the events after that as pending.
    pub fn source(&self, source: ObjectId) -> SourceState<Events> {
        let none = SourceState {
            history: Events::default(),
            admission: None,
            watermark: None,
            ended: false,
            pending: VecDeque::new(),
        };
        let mut saved = self.saved.as_ref().and_then(|saved| saved.plan.sources.get(&source).cloned()).unwrap_or(none);
        let from = self.saved.as_ref().map_or(0, |saved| saved.plan.epoch);
        let beyond = self.entries().filter_map(|(_, entry)| match entry {
            Entry::Epoch(entry) if entry.epoch > from => {
                let events = entry.sources.get(&source)?;
                Some(events.iter().map(|event| (entry.wall_time_us, event.clone())).collect::<Vec<_>>())
            }
            Entry::Epoch(_) | Entry::Rows { .. } | Entry::Created(_) | Entry::Dropped(_) => None,
        });
        saved.pending.extend(beyond.flatten());
        saved
    }

    /// Which views there are.
    pub fn catalog(&self) -> BTreeSet<ObjectId> {
        let (mut catalog, from) = match &self.saved {
            Some(saved) => (saved.catalog.clone(), saved.catalog_position),
            None => (BTreeSet::new(), 0),
        };
        for (_, entry) in self.entries().filter(|(position, _)| *position > from) {
            match entry {
                Entry::Created(id) => drop(catalog.insert(*id)),
                Entry::Dropped(id) => drop(catalog.remove(id)),
                Entry::Rows { .. } | Entry::Epoch(_) => {}
            }
        }
        catalog
    }
}
