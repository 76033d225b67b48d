//! The facade the engine uses: journal, checkpoints, facts, as one durable store.
//!
//! Invariant: a manifest is committed only when everything it names is on disk; nothing is deleted before a newer
//! manifest is committed, and never what one of the kept manifests names.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use types::{Epoch, Incarnation, ObjectId};

use crate::compaction::{self, Compacted};
use crate::disk::{self, FatalHandler};
use crate::live::LiveRuns;
use crate::run::WrittenRun;
use crate::{
    CompactionPolicy, CompactionStats, DataDir, FactsStatus, Journal, JournalEntry, JournalOptions, Manifest,
    ManifestStore, MemoryBackend, Recovered, RunName, RunWriter, StateBackend, StateBlock, StateError, StateReader,
    backend, recovery,
};

/// Key of the fact that names the newest manifest; the store's own.
const NEWEST_MANIFEST: &[u8] = b"\0store/manifest";

/// How to open a store. `Default`: facts in sled, a failed sync aborts the process.
#[derive(Clone)]
pub struct StoreOptions {
    pub facts: FactsBackend,
    pub compaction: CompactionPolicy,
    /// Bytes of a journal segment, and of the space kept back for queued entries when the disk fills up.
    pub segment_bytes: u64,
    pub reserve_bytes: u64,
    pub on_fatal: FatalHandler,
    /// Called after each step of a commit; crash tests copy the directory there.
    pub on_step: Option<Arc<dyn Fn(CommitStep) + Send + Sync>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            facts: FactsBackend::Sled,
            compaction: CompactionPolicy::default(),
            segment_bytes: 64 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
            on_fatal: disk::abort_on_fatal(),
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

/// The steps of a commit, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitStep {
    JournalSynced,
    /// Once per run.
    RunWritten,
    ManifestWritten,
    /// The commit point.
    CurrentSwitched,
    FactsWritten,
    ManifestsPruned,
    RunsCollected,
    JournalTruncated,
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
    /// All live blocks after the commit.
    pub live_bytes: u64,
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
    disk: Option<OnDisk>,
    newest_epoch: AtomicU64,
}

struct OnDisk {
    commit: Mutex<CommitState>,
    /// Held while a compaction runs.
    compacting: Mutex<()>,
    next_sequence: AtomicU64,
    dir: DataDir,
}

struct CommitState {
    manifests: ManifestStore,
    live: LiveRuns,
    /// Leave with the next commit.
    dropped: BTreeSet<ObjectId>,
    compacted: Option<Compacted>,
    /// File that a running compaction writes: named by no manifest yet, but not garbage.
    in_flight: Option<String>,
}

impl DurableStore {
    /// Opens the store in `dir`, or creates it. See [`StateError`] for the refusals: in use, newer format, damaged.
    /// If the newest checkpoint is damaged the one before is used, with more journal to replay.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(DurableStore, Recovered), StateError> {
        let mut dir = DataDir::open(dir)?;
        let fresh = dir.is_fresh();
        let mut state = StateReader::empty();
        let manifests = if fresh {
            ManifestStore::create(dir.path())?
        } else {
            ManifestStore::load_newest_valid(dir.path(), &mut |manifest| {
                state = recovery::open_runs(&dir.runs(), manifest)?;
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
        let next_sequence = AtomicU64::new(largest_sequence(&dir.runs())? + 1);
        let (live, dropped) = (state.live().clone(), BTreeSet::new());
        let commit = Mutex::new(CommitState { manifests, live, dropped, compacted: None, in_flight: None });
        let disk = Some(OnDisk { commit, compacting: Mutex::new(()), next_sequence, dir });
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

    /// Keys beginning with a zero byte are the store's own.
    pub fn facts(&self) -> &dyn StateBackend {
        &*self.inner.facts
    }

    /// Makes the engine's facts exactly `facts`, writing only what differs. For every start: facts may be older than
    /// the journal, or gone.
    pub fn rebuild_facts(&self, facts: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StateError> {
        let mut facts = facts.to_vec();
        facts.extend(self.inner.facts.get(NEWEST_MANIFEST)?.map(|value| (NEWEST_MANIFEST.to_vec(), value)));
        self.fatal(self.inner.facts.rebuild(&facts))
    }

    /// Epoch of the newest committed checkpoint; 0 before the first.
    pub fn newest_epoch(&self) -> Epoch {
        self.inner.newest_epoch.load(Ordering::Acquire)
    }

    /// Leaves these relations' state out of the next checkpoint and all later ones. Repeat it after a crash: it is not
    /// durable by itself.
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
        let stats = match &self.inner.disk {
            Some(disk) => self.fatal(self.commit_on_disk(disk, checkpoint))?,
            None => CheckpointStats::default(),
        };
        self.inner.newest_epoch.store(epoch, Ordering::Release);
        Ok(stats)
    }

    fn commit_on_disk(&self, disk: &OnDisk, checkpoint: Checkpoint) -> Result<CheckpointStats, StateError> {
        let start = Instant::now();
        let Checkpoint { epoch, incarnation, journal_position, blocks, payload } = checkpoint;
        let mut commit = disk.lock();
        self.inner.journal.sync_up_to(journal_position)?;
        self.step(CommitStep::JournalSynced);
        let mut written = NewRuns { disk, runs: vec![], keep: false };
        for (worker, blocks) in blocks.into_iter().enumerate() {
            written.write(epoch, worker as u32, blocks, &|step| self.step(step))?;
        }
        let mut stats = CheckpointStats { runs: written.runs.len(), ..CheckpointStats::default() };
        let mut live = commit.live.clone();
        if let Some(compacted) = &commit.compacted {
            live.replace(&compacted.inputs, compacted.output.as_ref());
        }
        // Before the new runs join: a relation that is built anew starts without its old state.
        live.drop_relations(&commit.dropped);
        for run in &written.runs {
            stats.bytes_written += run.run.bytes;
            stats.bytes_before += run.memory_bytes;
            live.push(run.run.clone(), run.blocks.clone());
        }
        stats.live_bytes = live.bytes();
        let (runs, previous_hash) = (live.references(), String::new());
        let manifest = Manifest { version: 0, incarnation, epoch, journal_position, runs, payload, previous_hash };
        let committed = commit.manifests.commit_in_steps(manifest, &|step| self.step(step)).map(|m| m.version);
        // Only a full disk surely fails before the commit point; after anything else the files must stay.
        written.keep = !matches!(committed, Err(StateError::DiskFull { .. }));
        let version = committed?;
        if commit.compacted.take().is_some() {
            commit.in_flight = None;
        }
        commit.live = live;
        commit.dropped.clear();
        self.note_manifest(version, epoch)?;
        self.step(CommitStep::FactsWritten);
        match self.clean_up(disk, &mut commit) {
            Err(error @ StateError::SyncFailed { .. }) => return Err(error),
            Err(error) => tracing::warn!(%error, "old files could not be removed, the next checkpoint will try again"),
            Ok(()) => {}
        }
        stats.duration = start.elapsed();
        Ok(stats)
    }

    /// The facts store's index of manifests. Only a failed sync matters: the rest can be rebuilt.
    fn note_manifest(&self, version: u64, epoch: Epoch) -> Result<(), StateError> {
        let value = format!("{{\"version\":{version},\"epoch\":{epoch}}}").into_bytes();
        match self.inner.facts.put_all(&[(NEWEST_MANIFEST.to_vec(), Some(value))]) {
            Err(error @ StateError::SyncFailed { .. }) => Err(error),
            Err(error) => {
                tracing::error!(%error, "facts store could not be written");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Deletes what no kept manifest needs.
    fn clean_up(&self, disk: &OnDisk, commit: &mut CommitState) -> Result<(), StateError> {
        commit.manifests.prune()?;
        self.step(CommitStep::ManifestsPruned);
        let kept = commit.manifests.kept();
        let oldest = &kept[0];
        let named: BTreeSet<&str> = kept.iter().flat_map(|m| &m.runs).map(|run| run.file.as_str()).collect();
        let runs = disk.dir.runs();
        for (file, path) in disk::list_files(&runs)? {
            let Some(name) = RunName::parse(&file) else { continue };
            let pending = commit.in_flight.as_ref() == Some(&file);
            if name.epoch <= oldest.epoch && !named.contains(file.as_str()) && !pending {
                std::fs::remove_file(&path).map_err(|e| StateError::io("remove", &path, e))?;
            }
        }
        disk::sync_dir(&runs)?;
        self.step(CommitStep::RunsCollected);
        self.inner.journal.truncate_before(oldest.journal_position + 1)?;
        self.step(CommitStep::JournalTruncated);
        Ok(())
    }

    /// Merges the tables that the policy names, if any; the next checkpoint publishes the result. Meant for a
    /// background thread: it takes as long as reading, sorting and writing those tables.
    pub fn compact_once(&self) -> Result<Option<CompactionStats>, StateError> {
        match &self.inner.disk {
            Some(disk) => self.fatal(self.compact_on_disk(disk)),
            None => Ok(None),
        }
    }

    fn compact_on_disk(&self, disk: &OnDisk) -> Result<Option<CompactionStats>, StateError> {
        let _one_at_a_time = disk.compacting.lock().expect("a compaction's panic ends the process's checkpoints");
        let (snapshot, tables, name) = {
            let mut commit = disk.lock();
            if commit.compacted.is_some() {
                return Ok(None);
            }
            let tables = commit.live.tables_to_compact(&self.inner.options.compaction);
            if tables.is_empty() {
                return Ok(None);
            }
            let name = disk.next_run(commit.manifests.newest().epoch, RunName::COMPACTION);
            commit.in_flight = Some(name.file_name());
            (commit.live.clone(), tables, name)
        };
        let result = compaction::run(&disk.dir.runs(), &snapshot, &tables, name);
        let mut commit = disk.lock();
        let compacted = result.inspect_err(|_| commit.in_flight = None)?;
        let stats = compacted.stats;
        commit.compacted = Some(compacted);
        Ok(Some(stats))
    }

    fn step(&self, step: CommitStep) {
        if let Some(on_step) = &self.inner.options.on_step {
            on_step(step);
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

impl OnDisk {
    fn lock(&self) -> MutexGuard<'_, CommitState> {
        self.commit.lock().expect("a panic inside a commit ends the process's checkpoints")
    }

    fn next_run(&self, epoch: Epoch, writer: u32) -> RunName {
        RunName { epoch, writer, sequence: self.next_sequence.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The runs of a checkpoint being written; removed again if it fails before the commit point.
struct NewRuns<'a> {
    disk: &'a OnDisk,
    runs: Vec<WrittenRun>,
    keep: bool,
}

impl NewRuns<'_> {
    fn write(
        &mut self,
        epoch: Epoch,
        worker: u32,
        blocks: Vec<StateBlock>,
        step: &dyn Fn(CommitStep),
    ) -> Result<(), StateError> {
        if blocks.iter().all(|block| block.num_rows() == 0) {
            return Ok(());
        }
        assert!(worker < RunName::COMPACTION, "far fewer workers than that");
        let mut writer = RunWriter::create(&self.disk.dir.runs(), self.disk.next_run(epoch, worker))?;
        for block in blocks {
            writer.write_block(block)?;
        }
        if !writer.is_empty() {
            self.runs.push(writer.finish()?);
            step(CommitStep::RunWritten);
        }
        Ok(())
    }
}

impl Drop for NewRuns<'_> {
    fn drop(&mut self) {
        if !self.keep {
            for run in &self.runs {
                // Best effort: unnamed runs are collected by age anyway.
                let _ = std::fs::remove_file(self.disk.dir.runs().join(&run.run.file));
            }
        }
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
        segment_bytes: options.segment_bytes,
        reserve: (options.reserve_bytes > 0).then(|| (dir.reserve(), options.reserve_bytes)),
        on_fatal: options.on_fatal.clone(),
    };
    let journal = Journal::open(&dir.journal(), manifest.journal_position, journal_options, &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok((journal, entries))
}

fn largest_sequence(runs: &Path) -> Result<u64, StateError> {
    if !runs.is_dir() {
        disk::create_dir(runs)?;
    }
    let files = disk::list_files(runs)?;
    Ok(files.iter().filter_map(|(name, _)| RunName::parse(name)).map(|name| name.sequence).max().unwrap_or(0))
}
