//! The facade the engine uses: journal, checkpoints, facts, as one durable store.
//!
//! What a commit does on disk is `commit.rs`; what a start reads, `recovery.rs`. Here is what happens around them: a
//! failed sync stops the process, a broken facts store is logged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use types::{Epoch, ObjectId, limits};

use crate::commit::{OnDisk, OnStep};
use crate::disk::{self, FatalHandler, Files, RealDisk};
use crate::{
    Checkpoint, CheckpointStats, CompactionPolicy, CompactionStats, DataDir, Disk, Drive, FactWrite, FactsStatus,
    Journal, JournalEntry, JournalOptions, Manifest, ManifestStore, MemoryBackend, Recovered, StateBackend, StateError,
    StateReader, backend, facts, recovery,
};

/// Key of the fact that names the newest manifest; the store's own.
const NEWEST_MANIFEST: &[u8] = b"\0store/manifest";

/// How to open a store. `Default`: facts in sled, a failed sync aborts the process.
#[derive(Clone)]
pub struct StoreOptions {
    pub facts: FactsBackend,
    pub compaction: CompactionPolicy,
    /// Go on without journal entries that are missing or damaged, instead of refusing to open.
    pub accept_data_loss: bool,
    /// Bytes of a journal segment, and of the space kept back for queued entries when the disk fills up.
    pub segment_bytes: u64,
    pub reserve_bytes: u64,
    pub on_fatal: FatalHandler,
    /// Where the directory is. On any but the real one facts must be in memory.
    pub disk: Arc<dyn Disk>,
    /// Who writes the journal.
    pub drive: Drive,
    /// Called after each step of a commit; crash tests copy the directory there.
    pub on_step: Option<OnStep>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            facts: FactsBackend::Sled,
            compaction: CompactionPolicy::default(),
            accept_data_loss: false,
            segment_bytes: limits::JOURNAL_SEGMENT_BYTES,
            reserve_bytes: limits::DISK_RESERVE_BYTES,
            on_fatal: disk::abort_on_fatal(),
            disk: Arc::new(RealDisk),
            drive: Drive::Thread,
            on_step: None,
        }
    }
}

/// Where facts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactsBackend {
    Sled,
    /// Empty at every start.
    Memory,
}

/// The open store. Clones share it; the directory is unlocked when the last one goes.
#[derive(Clone)]
pub struct DurableStore {
    inner: Arc<Inner>,
}

struct Inner {
    // Fields are dropped in this order: the journal is closed while the directory is still locked.
    journal: Journal,
    facts: Box<dyn StateBackend>,
    options: StoreOptions,
    /// `None`: in memory.
    disk: Option<Arc<OnDisk>>,
    newest_epoch: AtomicU64,
}

impl DurableStore {
    /// Opens the store in `dir`, or creates it. See [`StateError`] for the refusals: in use, newer format, damaged.
    /// If the newest checkpoint is damaged the one before is used, with more journal to replay.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(DurableStore, Recovered), StateError> {
        let files = Files::new(options.disk.clone());
        let mut dir = DataDir::open(&files, dir)?;
        let fresh = dir.is_fresh();
        let mut state = StateReader::empty();
        let manifests = if fresh {
            ManifestStore::create(&files, dir.path())?
        } else {
            ManifestStore::load_newest_valid(&files, dir.path(), &mut |manifest| {
                state = recovery::open_runs(&files, &dir.runs(), manifest)?;
                Ok(())
            })?
        };
        let manifest = manifests.newest().clone();
        let (journal, entries) = open_journal(&dir, &manifest, &options)?;
        if fresh {
            dir.complete()?;
        }
        let (facts, status): (Box<dyn StateBackend>, _) = match options.facts {
            FactsBackend::Memory => (Box::new(MemoryBackend::new()), FactsStatus::Intact),
            FactsBackend::Sled => match backend::open_or_replace(&dir.facts())? {
                (facts, None) => (facts, FactsStatus::Intact),
                (facts, Some(reason)) => (facts, FactsStatus::Replaced { reason }),
            },
        };
        let (policy, on_step) = (options.compaction.clone(), options.on_step.clone());
        let disk = Arc::new(OnDisk::new(dir, manifests, state.live().clone(), policy, on_step)?);
        let asked = disk.clone();
        journal.shared().on_full(Box::new(move |journal| asked.make_space(journal)));
        let disk = Some(disk);
        let newest_epoch = AtomicU64::new(manifest.epoch);
        let inner = Inner { journal, facts, options, disk, newest_epoch };
        let manifest = (!manifest.is_initial()).then_some(manifest);
        let store = DurableStore { inner: Arc::new(inner) };
        Ok((store, Recovered { manifest, state, entries, facts: status }))
    }

    /// A store with the same behaviour that keeps nothing.
    pub fn in_memory() -> (DurableStore, Recovered) {
        let inner = Inner {
            journal: Journal::in_memory(),
            facts: Box::new(MemoryBackend::new()),
            options: StoreOptions::default(),
            disk: None,
            newest_epoch: AtomicU64::new(0),
        };
        let (state, facts) = (StateReader::empty(), FactsStatus::Intact);
        let recovered = Recovered { manifest: None, state, entries: vec![], facts };
        (DurableStore { inner: Arc::new(inner) }, recovered)
    }

    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// Facts whose key starts with `prefix`, ascending.
    pub fn facts(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        facts::scan(&*self.inner.facts, prefix)
    }

    /// Puts (`Some`) or deletes (`None`) facts, all or nothing, durable on return. Keys contain no zero byte.
    ///
    /// Facts are never the only copy: whoever calls this has journaled the same before. So a facts store that can't be
    /// written is logged, and `rebuild_facts` of the next start makes up for it.
    pub fn put_facts(&self, writes: &[FactWrite]) {
        self.note(facts::put(&*self.inner.facts, writes));
    }

    /// Makes the engine's facts exactly `facts`, writing only what differs. For every start: facts may be older than
    /// the journal, or gone.
    pub fn rebuild_facts(&self, facts: &[(Vec<u8>, Vec<u8>)]) {
        self.note(facts::rebuild(&*self.inner.facts, facts));
    }

    /// The facts store's index of manifests.
    fn note_manifest(&self, version: u64, epoch: Epoch) {
        let value = format!("{{\"version\":{version},\"epoch\":{epoch}}}").into_bytes();
        self.note(self.inner.facts.put_all(&[(NEWEST_MANIFEST.to_vec(), Some(value))]));
    }

    /// A failed sync is fatal even here: the disk is the one everything else is on.
    fn note(&self, written: Result<(), StateError>) {
        if let Err(error) = self.fatal(written) {
            let cause = std::error::Error::source(&error).map(|cause| cause.to_string()).unwrap_or_default();
            tracing::error!(%error, cause, "facts store could not be written");
        }
    }

    /// Epoch of the newest committed checkpoint; 0 before the first.
    pub fn newest_epoch(&self) -> Epoch {
        self.inner.newest_epoch.load(Ordering::Acquire)
    }

    /// Forgets what is stored of these relations: the next checkpoint and all later ones hold only what comes from now
    /// on. Repeat it after a crash: it is not durable by itself.
    pub fn drop_relations(&self, relations: &[ObjectId]) {
        if let Some(disk) = &self.inner.disk {
            disk.lock().dropped.extend(relations);
        }
    }

    /// Commits a checkpoint; when it returns, a start finds this state. Blocks for as long as the disk takes.
    ///
    /// After an error (`DiskFull`, say) the checkpoint before is still the newest, and the blocks given must be part
    /// of the next attempt. Panics if epoch or journal position go back.
    pub fn commit_checkpoint(&self, checkpoint: Checkpoint) -> Result<CheckpointStats, StateError> {
        let epoch = checkpoint.epoch;
        let published = |version| self.note_manifest(version, epoch);
        let stats = match &self.inner.disk {
            Some(disk) => self.fatal(disk.commit(&checkpoint, &self.inner.journal, &published))?,
            None => CheckpointStats::default(),
        };
        self.inner.newest_epoch.store(epoch, Ordering::Release);
        Ok(stats)
    }

    /// Merges the tables that the policy names, if any; the next checkpoint publishes the result. Meant for a
    /// background thread: it takes as long as reading, sorting and writing those tables.
    pub fn compact_once(&self) -> Result<Option<CompactionStats>, StateError> {
        match &self.inner.disk {
            Some(disk) => self.fatal(disk.compact()),
            None => Ok(None),
        }
    }

    /// Hands failed syncs to the handler, which normally doesn't return.
    fn fatal<T>(&self, result: Result<T, StateError>) -> Result<T, StateError> {
        if let Err(error @ StateError::SyncFailed { .. }) = &result {
            (self.inner.options.on_fatal)(error);
        }
        result
    }
}

fn open_journal(
    dir: &DataDir,
    manifest: &Manifest,
    options: &StoreOptions,
) -> Result<(Journal, Vec<JournalEntry>), StateError> {
    let mut entries = vec![];
    let journal_options = JournalOptions {
        create: dir.is_fresh(),
        accept_data_loss: options.accept_data_loss,
        segment_bytes: options.segment_bytes,
        reserve: (options.reserve_bytes > 0).then(|| (dir.reserve(), options.reserve_bytes)),
        on_fatal: options.on_fatal.clone(),
        drive: options.drive,
    };
    let (after, path) = (manifest.journal_position, dir.journal());
    let journal = Journal::open_on(dir.files(), &path, after, journal_options, &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok((journal, entries))
}
