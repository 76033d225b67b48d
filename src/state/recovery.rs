//! What a start finds on disk: the newest checkpoint that verifies, and what the journal has beyond it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use types::ObjectId;

use crate::disk::Files;
use crate::live::LiveRuns;
use crate::{JournalEntry, Manifest, RunReader, StateBlock, StateError};

/// What was on disk.
pub struct Recovered {
    /// `None`: no checkpoint was ever committed.
    pub manifest: Option<Manifest>,
    pub state: StateReader,
    /// Journal entries above the manifest's position, in order.
    pub entries: Vec<JournalEntry>,
    pub facts: FactsStatus,
}

/// Whether the facts store survived. In any case `rebuild_facts` makes it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactsStatus {
    Intact,
    /// It is empty now; the broken one was moved aside.
    Replaced {
        reason: String,
    },
}

/// Reads the state of a manifest. Cheap to clone; workers may read in parallel.
#[derive(Clone)]
pub struct StateReader {
    runs: Arc<BTreeMap<String, RunReader>>,
    live: LiveRuns,
}

impl StateReader {
    pub(crate) fn empty() -> Self {
        StateReader { runs: Arc::default(), live: LiveRuns::default() }
    }

    /// Relations that have state, ascending.
    pub fn relations(&self) -> Vec<ObjectId> {
        self.live.relations().into_iter().collect()
    }

    /// Bytes on disk of the live blocks.
    pub fn bytes(&self) -> u64 {
        self.live.bytes()
    }

    /// All blocks, in order of application; checksums are verified.
    pub fn blocks(&self) -> impl Iterator<Item = Result<StateBlock, StateError>> + Send + use<> {
        self.select(&|_| true)
    }

    /// The blocks of one relation, in order of application.
    pub fn blocks_of(&self, relation: ObjectId) -> impl Iterator<Item = Result<StateBlock, StateError>> + Send + use<> {
        self.select(&|of| of == relation)
    }

    fn select(
        &self,
        wanted: &dyn Fn(ObjectId) -> bool,
    ) -> impl Iterator<Item = Result<StateBlock, StateError>> + Send + use<> {
        let blocks = self.live.blocks().filter(|(_, block)| wanted(block.id.relation)).map(|(address, _)| address);
        let addresses: Vec<_> = blocks.collect();
        let runs = self.runs.clone();
        addresses.into_iter().map(move |(file, index)| runs[&file].read_block(index))
    }

    pub(crate) fn live(&self) -> &LiveRuns {
        &self.live
    }
}

/// Opens and verifies every run that `manifest` names.
pub(crate) fn open_runs(files: &Files, dir: &Path, manifest: &Manifest) -> Result<StateReader, StateError> {
    let mut runs = BTreeMap::new();
    let mut live = LiveRuns::default();
    for run in &manifest.runs {
        let reader = RunReader::open_verified(files, dir, run)?;
        live.push(run.clone(), reader.blocks().to_vec());
        runs.insert(run.file.clone(), reader);
    }
    Ok(StateReader { runs: Arc::new(runs), live })
}
