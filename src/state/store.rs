//! The facade the engine uses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use types::{Epoch, Incarnation, ObjectId};

use crate::{
    CompactionPolicy, CompactionStats, FatalHandler, Journal, JournalEntry, Manifest, StateBackend, StateBlock,
    StateError,
};

/// How to open a store. `Default`: sled for facts, abort on a failed sync.
#[derive(Clone)]
pub struct StoreOptions {
    pub facts: FactsBackend,
    pub compaction: CompactionPolicy,
    /// Bytes of a journal segment, and of the reserve that lets queued entries through when the disk is full.
    pub segment_bytes: u64,
    pub reserve_bytes: u64,
    pub on_fatal: FatalHandler,
    /// Called after each step of a commit; for crash tests.
    pub on_step: Option<Arc<dyn Fn(CommitStep) + Send + Sync>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        unimplemented!()
    }
}

/// Where facts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactsBackend {
    Sled,
    /// Rebuilt at every start.
    Memory,
}

/// The steps of a commit, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitStep {
    JournalSynced,
}

/// What a checkpoint consists of.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    /// Journal entries up to here are part of the state.
    pub journal_position: u64,
    /// What changed since the last checkpoint, per worker, in order of application.
    pub blocks: Vec<Vec<StateBlock>>,
    pub payload: serde_json::Value,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckpointStats {
    /// Of the new runs.
    pub bytes_written: u64,
    /// Arrow memory of the blocks as given.
    pub bytes_before: u64,
    pub runs: usize,
    pub duration: Duration,
    /// All live runs after the commit.
    pub live_bytes: u64,
}

/// What was on disk.
pub struct Recovered {
    /// `None`: a new directory.
    pub manifest: Option<Manifest>,
    pub state: StateReader,
    /// Journal entries above the manifest's position, in order.
    pub entries: Vec<JournalEntry>,
    pub facts: FactsStatus,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactsStatus {
    Intact,
    /// Empty; call `store.facts().rebuild(..)`.
    Replaced {
        reason: String,
    },
}

/// Reads the state of a manifest; cheap to clone, workers may read in parallel.
#[derive(Clone)]
pub struct StateReader {}

impl StateReader {
    /// Relations that have state, ascending.
    pub fn relations(&self) -> Vec<ObjectId> {
        unimplemented!()
    }
    /// All blocks in order of application; checksums are verified.
    pub fn blocks(&self) -> impl Iterator<Item = Result<StateBlock, StateError>> + use<> {
        std::iter::empty()
    }
    pub fn blocks_of(&self, relation: ObjectId) -> impl Iterator<Item = Result<StateBlock, StateError>> + use<> {
        let _ = relation;
        std::iter::empty()
    }
}

#[derive(Clone)]
pub struct DurableStore {}

impl DurableStore {
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(DurableStore, Recovered), StateError> {
        let _ = (dir, options);
        unimplemented!()
    }
    pub fn in_memory() -> (DurableStore, Recovered) {
        unimplemented!()
    }
    pub fn journal(&self) -> &Journal {
        unimplemented!()
    }
    pub fn facts(&self) -> &dyn StateBackend {
        unimplemented!()
    }
    pub fn commit_checkpoint(&self, checkpoint: Checkpoint) -> Result<CheckpointStats, StateError> {
        let _ = checkpoint;
        unimplemented!()
    }
    pub fn drop_relations(&self, relations: &[ObjectId]) {
        let _ = relations;
        unimplemented!()
    }
    pub fn compact_once(&self) -> Result<Option<CompactionStats>, StateError> {
        unimplemented!()
    }
    pub fn newest_epoch(&self) -> Epoch {
        unimplemented!()
    }
}
