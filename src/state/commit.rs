//! Committing a checkpoint to disk, and what goes with it: publishing compactions, deleting what is no longer named.
//!
//! Invariant: a manifest is committed only when everything it names is on disk; nothing is deleted before a newer
//! manifest is committed, and never what one of the kept manifests names.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use types::limits::MANIFESTS_KEPT;
use types::{Epoch, Incarnation, ObjectId};

use crate::compaction::{self, Compacted};
use crate::journal::Shared;
use crate::live::LiveRuns;
use crate::run::WrittenRun;
use crate::{
    CompactionPolicy, CompactionStats, DataDir, Journal, Manifest, ManifestStore, RunName, RunWriter, StateBlock,
    StateError,
};

/// Is told of every step of a commit.
pub(crate) type OnStep = Arc<dyn Fn(CommitStep) + Send + Sync>;

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

/// The part of a store that is on disk.
pub(crate) struct OnDisk {
    commit: Mutex<CommitState>,
    /// Held while a compaction runs.
    compacting: Mutex<()>,
    next_sequence: AtomicU64,
    policy: CompactionPolicy,
    on_step: Option<OnStep>,
    dir: DataDir,
}

pub(crate) struct CommitState {
    manifests: ManifestStore,
    live: LiveRuns,
    /// Their state so far leaves with the next commit; the blocks of that commit stay.
    pub(crate) dropped: BTreeSet<ObjectId>,
    compacted: Option<Compacted>,
    /// File that a running compaction writes: named by no manifest yet, but not garbage.
    in_flight: Option<String>,
}

impl OnDisk {
    pub(crate) fn new(
        dir: DataDir,
        manifests: ManifestStore,
        live: LiveRuns,
        policy: CompactionPolicy,
        on_step: Option<OnStep>,
    ) -> Result<OnDisk, StateError> {
        let runs = dir.files().list_files(&dir.runs())?;
        let sequences = runs.iter().filter_map(|(name, ..)| RunName::parse(name)).map(|name| name.sequence);
        let next_sequence = AtomicU64::new(sequences.max().unwrap_or(0) + 1);
        let dropped = BTreeSet::new();
        let commit = Mutex::new(CommitState { manifests, live, dropped, compacted: None, in_flight: None });
        Ok(OnDisk { commit, compacting: Mutex::new(()), next_sequence, policy, on_step, dir })
    }

    /// Commits a checkpoint; `published` is called with its manifest's version right after the commit point.
    pub(crate) fn commit(
        &self,
        checkpoint: &Checkpoint,
        journal: &Journal,
        published: &dyn Fn(u64),
    ) -> Result<CheckpointStats, StateError> {
        // Not under the lock: as long as this waits for space, the journal may ask for it (see `make_space`).
        journal.sync_up_to(checkpoint.journal_position)?;
        self.step(CommitStep::JournalSynced);
        let mut commit = self.lock();
        let result = self.commit_locked(&mut commit, checkpoint, journal.shared(), published);
        let no_space = matches!(result, Err(StateError::DiskFull { .. }));
        if no_space {
            tolerate(self.clean_up_keeping(&mut commit, journal.shared(), 1))?;
        }
        journal.shared().checkpoint_waits(no_space);
        result
    }

    fn commit_locked(
        &self,
        commit: &mut CommitState,
        checkpoint: &Checkpoint,
        journal: &Shared,
        published: &dyn Fn(u64),
    ) -> Result<CheckpointStats, StateError> {
        let start = Instant::now();
        let Checkpoint { epoch, incarnation, journal_position, ref blocks, ref payload } = *checkpoint;
        let mut written = NewRuns { disk: self, runs: vec![], keep: false };
        for (worker, blocks) in blocks.iter().enumerate() {
            written.write(epoch, worker as u32, blocks)?;
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
        let (runs, payload, previous_hash) = (live.references(), payload.clone(), String::new());
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
        published(version);
        self.step(CommitStep::FactsWritten);
        tolerate(self.clean_up(commit, journal))?;
        stats.duration = start.elapsed();
        Ok(stats)
    }

    /// Deletes what no kept manifest needs. On a full disk only the newest is kept: room to go on is worth more than a
    /// second copy of what is safe.
    fn clean_up(&self, commit: &mut CommitState, journal: &Shared) -> Result<(), StateError> {
        let keep = if journal.disk_full() { 1 } else { MANIFESTS_KEPT };
        self.clean_up_keeping(commit, journal, keep)
    }

    fn clean_up_keeping(&self, commit: &mut CommitState, journal: &Shared, keep: usize) -> Result<(), StateError> {
        commit.manifests.prune(keep)?;
        self.step(CommitStep::ManifestsPruned);
        let kept = commit.manifests.kept();
        let oldest = &kept[0];
        let named: BTreeSet<&str> = kept.iter().flat_map(|m| &m.runs).map(|run| run.file.as_str()).collect();
        let (files, runs) = (self.dir.files(), self.dir.runs());
        for (file, path, _) in files.list_files(&runs)? {
            let Some(name) = RunName::parse(&file) else { continue };
            let pending = commit.in_flight.as_ref() == Some(&file);
            if name.epoch <= oldest.epoch && !named.contains(file.as_str()) && !pending {
                files.remove_file(&path)?;
            }
        }
        files.sync_dir(&runs)?;
        self.step(CommitStep::RunsCollected);
        journal.truncate_before(oldest.journal_position + 1)?;
        if keep < MANIFESTS_KEPT {
            journal.begin_segment_after(oldest.journal_position + 1);
        }
        self.step(CommitStep::JournalTruncated);
        Ok(())
    }

    /// The disk is full: deletes everything but the newest checkpoint and what the journal has beyond it. A commit that
    /// is under way does so itself when it meets the same.
    pub(crate) fn make_space(&self, journal: &Shared) {
        let Ok(mut commit) = self.commit.try_lock() else { return };
        if let Err(error) = tolerate(self.clean_up_keeping(&mut commit, journal, 1)) {
            tracing::error!(%error, "removals may not be durable");
        }
    }

    /// Merges the tables that the policy names, if any; the next commit publishes the result.
    pub(crate) fn compact(&self) -> Result<Option<CompactionStats>, StateError> {
        let _one_at_a_time = self.compacting.lock().expect("a compaction's panic ends the process's checkpoints");
        let (snapshot, tables, name) = {
            let mut commit = self.lock();
            if commit.compacted.is_some() {
                return Ok(None);
            }
            let tables = commit.live.tables_to_compact(&self.policy);
            if tables.is_empty() {
                return Ok(None);
            }
            let name = self.next_run(commit.manifests.newest().epoch, RunName::COMPACTION);
            commit.in_flight = Some(name.file_name());
            (commit.live.clone(), tables, name)
        };
        let result = compaction::run(self.dir.files(), &self.dir.runs(), &snapshot, &tables, name);
        let mut commit = self.lock();
        let compacted = result.inspect_err(|_| commit.in_flight = None)?;
        let stats = compacted.stats;
        commit.compacted = Some(compacted);
        Ok(Some(stats))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, CommitState> {
        self.commit.lock().expect("a panic inside a commit ends the process's checkpoints")
    }

    fn next_run(&self, epoch: Epoch, writer: u32) -> RunName {
        RunName { epoch, writer, sequence: self.next_sequence.fetch_add(1, Ordering::Relaxed) }
    }

    fn step(&self, step: CommitStep) {
        if let Some(on_step) = &self.on_step {
            on_step(step);
        }
    }
}

/// Old files that can't be removed stop nothing; a failed sync does.
fn tolerate(cleaned_up: Result<(), StateError>) -> Result<(), StateError> {
    match cleaned_up {
        Err(error @ StateError::SyncFailed { .. }) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "old files could not be removed, the next checkpoint will try again");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The runs of a checkpoint being written; removed again if it fails before the commit point.
struct NewRuns<'a> {
    disk: &'a OnDisk,
    runs: Vec<WrittenRun>,
    keep: bool,
}

impl NewRuns<'_> {
    fn write(&mut self, epoch: Epoch, worker: u32, blocks: &[StateBlock]) -> Result<(), StateError> {
        if blocks.iter().all(|block| block.num_rows() == 0) {
            return Ok(());
        }
        assert!(worker < RunName::COMPACTION, "far fewer workers than that");
        let mut writer =
            RunWriter::create(self.disk.dir.files(), &self.disk.dir.runs(), self.disk.next_run(epoch, worker))?;
        for block in blocks {
            writer.write_block(block.clone())?;
        }
        if !writer.is_empty() {
            self.runs.push(writer.finish()?);
            self.disk.step(CommitStep::RunWritten);
        }
        Ok(())
    }
}

impl Drop for NewRuns<'_> {
    fn drop(&mut self) {
        if !self.keep {
            for run in &self.runs {
                // Best effort: unnamed runs are collected by age anyway.
                let _ = self.disk.dir.files().remove_file(&self.disk.dir.runs().join(&run.run.file));
            }
        }
    }
}
