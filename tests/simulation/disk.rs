//! What survives a crash: the real journal, runs and manifests, on a disk in memory that forgets what was not synced.
//! The journal is written by hand and facts are in memory, so nothing here has a thread or a time of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use coordinator::{CheckpointPlan, EpochEntry, History, SourceState};
use dataflow::{RestoredBatch, RestoredState};
use serde::{Deserialize, Serialize};
use state::testing::{Fault, SimulatedDisk};
use state::{Checkpoint, Drive, DurableStore, FactsBackend, Recovered, StateBlock, StateError, StoreOptions};
use types::{Epoch, ObjectId};

use crate::schema::{Row, SOURCE};

const DIRECTORY: &str = "/data";
/// So small that segments end within a seed.
const SEGMENT_BYTES: u64 = 4 * 1024;
const RESERVE_BYTES: u64 = 8 * 1024;
/// Of the journal's entries.
const KIND: u8 = 1;

/// One thing that happened to the simulated source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Read up to here.
    Read(u64),
    /// The row at this position is outside: decided by the wall clock, so only the log knows.
    Refused(u64),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events(pub Vec<Event>);

impl History for Events {
    type Event = Event;
    type Admission = ();

    fn push(&mut self, event: Event) {
        self.0.push(event);
    }
}

/// What a statement means, whatever rows it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meaning {
    Insert { id: i64, v: i64 },
    Add { id: i64, amount: i64 },
    Delete { id: i64 },
    Loose { row: Row, count: i64 },
    LooseDelete { v: i64 },
}

pub type Changes = Vec<(ObjectId, Vec<(Row, i64)>)>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Entry {
    Rows { changes: Changes, meaning: Vec<Meaning> },
    Epoch { epoch: Epoch, incarnation: u64, wall_time_us: i64, events: Vec<Event> },
    Created(ObjectId),
    Dropped(ObjectId),
}

impl Entry {
    pub fn of_epoch(entry: EpochEntry<Event>) -> Entry {
        let EpochEntry { epoch, incarnation, wall_time_us, mut sources, .. } = entry;
        Entry::Epoch { epoch, incarnation, wall_time_us, events: sources.remove(&SOURCE).unwrap_or_default() }
    }
}

/// What a manifest says beside the state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Payload {
    epoch: Epoch,
    incarnation: u64,
    wall_time_us: i64,
    position: u64,
    dataflows: BTreeSet<ObjectId>,
    history: Events,
    pending: VecDeque<(i64, Event)>,
    catalog: BTreeSet<ObjectId>,
    catalog_position: u64,
}

/// Everything a start finds.
pub struct Found {
    pub epoch: Epoch,
    pub wall_time_us: i64,
    pub position: u64,
    pub last_epoch: Epoch,
    pub incarnation: u64,
    /// Relations in the checkpoint, with their state.
    pub state: BTreeMap<ObjectId, RestoredState>,
    /// The source as of the checkpoint; what was logged later is pending.
    pub source: SourceState<Events>,
    pub catalog: BTreeSet<ObjectId>,
    /// Of the journal beyond the checkpoint.
    pub entries: Vec<(u64, Entry)>,
}

pub struct Disk {
    store: DurableStore,
    simulated: SimulatedDisk,
}

impl Disk {
    /// Opens what is on the disk; a new directory if there is nothing.
    pub fn open(simulated: SimulatedDisk) -> (Disk, Found) {
        let options = StoreOptions {
            facts: FactsBackend::Memory,
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: RESERVE_BYTES,
            on_fatal: Arc::new(|_| {}),
            disk: Arc::new(simulated.clone()),
            drive: Drive::ByHand,
            ..StoreOptions::default()
        };
        let opened = DurableStore::open(Path::new(DIRECTORY), options);
        let (store, recovered) = opened.unwrap_or_else(|error| panic!("the store does not open again: {error:?}"));
        let found = found(&recovered);
        (Disk { store, simulated }, found)
    }

    /// The new entry's position; `None` if the disk is full.
    pub fn append(&self, entry: &Entry, lazy: bool) -> Option<u64> {
        let payload = serde_json::to_vec(entry).expect("an entry has a JSON form");
        let journal = self.store.journal();
        let appended = match lazy {
            true => journal.append_lazy(KIND, &payload),
            false => journal.append(KIND, &payload),
        };
        match appended {
            Ok(position) => Some(position),
            Err(StateError::DiskFull { .. } | StateError::JournalStopped) => None,
            Err(error) => panic!("appending fails: {error:?}"),
        }
    }

    pub fn durable(&self) -> u64 {
        self.store.journal().durable_position()
    }

    /// How the journal stands.
    pub fn stands(&self) -> String {
        let journal = self.store.journal();
        let (position, durable) = (journal.position(), journal.durable_position());
        format!("position {position}, durable {durable}, full {}", journal.disk_full())
    }

    /// Whether something waits for a sync.
    pub fn unsynced(&self) -> bool {
        self.durable() < self.store.journal().position()
    }

    /// Writes and syncs what is queued. False once the disk has lost its power.
    pub fn sync(&self) -> bool {
        self.store.journal().write_group().is_ok()
    }

    /// Makes the mark of what was acknowledged last durable.
    pub fn mark(&self) -> bool {
        self.store.journal().sync_mark().is_ok()
    }

    /// The power goes at the `after`th operation from now.
    pub fn cut_power_in(&self, after: u64) {
        self.simulated.fail_at(self.simulated.operations() + after, Fault::PowerOff);
    }

    /// Room for so many more bytes than are used; `None`: for all.
    pub fn leave_room(&self, bytes: Option<u64>) {
        let capacity = bytes.map_or(u64::MAX, |bytes| self.simulated.used_bytes() + bytes);
        self.simulated.set_capacity(capacity);
    }

    pub fn drop_relation(&self, relation: ObjectId) {
        self.store.drop_relations(&[relation]);
    }

    /// `Ok(false)`: the disk is full.
    pub fn checkpoint(
        &self,
        plan: &CheckpointPlan<Events>,
        catalog: (BTreeSet<ObjectId>, u64),
        blocks: Vec<StateBlock>,
    ) -> Result<bool, StateError> {
        let source = &plan.sources[&SOURCE];
        let payload = Payload {
            epoch: plan.epoch,
            incarnation: plan.incarnation,
            wall_time_us: plan.wall_time_us,
            position: plan.position,
            dataflows: plan.dataflows.keys().copied().collect(),
            history: source.history.clone(),
            pending: source.pending.clone(),
            catalog: catalog.0,
            catalog_position: catalog.1,
        };
        let checkpoint = Checkpoint {
            epoch: plan.epoch,
            incarnation: plan.incarnation,
            journal_position: plan.position,
            blocks: vec![blocks],
            payload: serde_json::to_value(&payload).expect("a payload has a JSON form"),
        };
        match self.store.commit_checkpoint(checkpoint) {
            Ok(_) => Ok(true),
            Err(StateError::DiskFull { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub fn compact(&self) -> bool {
        match self.store.compact_once() {
            Ok(_) | Err(StateError::DiskFull { .. }) => true,
            Err(_) => false,
        }
    }

    /// The power goes, if it has not gone yet.
    pub fn crash(&self, seed: u64) -> SimulatedDisk {
        self.simulated.power_cut(seed)
    }
}

fn found(recovered: &Recovered) -> Found {
    let payload: Payload = match &recovered.manifest {
        Some(manifest) if !manifest.is_initial() => {
            serde_json::from_value(manifest.payload.clone()).expect("a payload reads back")
        }
        Some(_) | None => Payload::default(),
    };
    let decode = |entry: &state::JournalEntry| {
        (entry.position, serde_json::from_slice(&entry.payload).expect("an entry reads back"))
    };
    let entries: Vec<(u64, Entry)> = recovered.entries.iter().map(decode).collect();
    let (mut catalog, mut pending) = (payload.catalog.clone(), payload.pending.clone());
    let (mut last_epoch, mut incarnation) = (payload.epoch, payload.incarnation);
    for (position, entry) in &entries {
        match entry {
            Entry::Epoch { epoch, incarnation: of, wall_time_us, events } => {
                last_epoch = last_epoch.max(*epoch);
                incarnation = incarnation.max(*of);
                if *epoch > payload.epoch {
                    pending.extend(events.iter().map(|event| (*wall_time_us, event.clone())));
                }
            }
            Entry::Created(id) if *position > payload.catalog_position => drop(catalog.insert(*id)),
            Entry::Dropped(id) if *position > payload.catalog_position => drop(catalog.remove(id)),
            Entry::Created(_) | Entry::Dropped(_) | Entry::Rows { .. } => {}
        }
    }
    let state = payload.dataflows.iter().map(|id| (*id, state_of(recovered, *id))).collect();
    let source = SourceState { history: payload.history, admission: None, watermark: None, ended: false, pending };
    let (epoch, wall_time_us, position) = (payload.epoch, payload.wall_time_us, payload.position);
    Found { epoch, wall_time_us, position, last_epoch, incarnation, state, source, catalog, entries }
}

fn state_of(recovered: &Recovered, relation: ObjectId) -> RestoredState {
    let mut state = RestoredState::new();
    for block in recovered.state.blocks_of(relation) {
        let block = block.expect("a block of the checkpoint reads back");
        let (table, vnode_columns) = (block.table, block.vnode_columns);
        let batch = |batch| RestoredBatch { table, vnode_columns: vnode_columns.clone(), batch };
        state.entry(block.operator).or_default().extend(block.batches.into_iter().map(batch));
    }
    state
}
