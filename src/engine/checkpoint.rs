//! Checkpoints: collects the cuts of all operators at one epoch and commits them with everything that must move
//! together: offsets, admission logs, watermarks, catalog, table positions.
//!
//! A named thread encodes and writes; operators have gone on long before. One checkpoint at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use catalog::Catalog;
use connectors::admission::Admission;
use operators::{Cut, TableKind};
use serde::{Deserialize, Serialize};
use state::{BlockKind, Checkpoint, CheckpointStats, DurableStore, StateBlock, StateError};
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tokio::sync::oneshot;
use types::{Epoch, Incarnation, MemoryUse, ObjectId};

use crate::clock::ClockMessage;
use crate::history::SourceHistory;
use crate::source_stats::PersistedCounters;

/// The engine's part of a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointPayload {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub wall_time_us: i64,
    /// Table writes and catalog changes at or below this journal position are inside the checkpoint.
    pub table_position: u64,
    pub table_watermarks: BTreeMap<ObjectId, i64>,
    /// Late rows of tables.
    #[serde(default)]
    pub table_late: BTreeMap<ObjectId, u64>,
    pub catalog: Catalog,
    /// Journal position of the last catalog change in `catalog`.
    pub catalog_position: u64,
    /// Relations whose state is in the checkpoint. Others of the catalog are rebuilt.
    pub dataflows: Vec<ObjectId>,
    pub sources: BTreeMap<ObjectId, SourcePayload>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourcePayload {
    pub history: SourceHistory,
    pub admission: Option<Admission>,
    pub watermark: Option<i64>,
    pub ended: bool,
    pub counters: PersistedCounters,
}

pub struct CheckpointRequest {
    pub payload: CheckpointPayload,
    /// Operators per dataflow: so many cuts come from each worker.
    pub dataflows: BTreeMap<ObjectId, usize>,
    pub replies: Vec<oneshot::Sender<()>>,
}

/// A finished checkpoint, for `hw_catalog.checkpoints`.
#[derive(Debug, Clone)]
pub struct CheckpointRecord {
    pub epoch: Epoch,
    pub finished_us: i64,
    pub stats: CheckpointStats,
}

enum Message {
    Begin(Box<CheckpointRequest>),
    Cut { dataflow: ObjectId, operator: u32, worker: usize, epoch: Epoch, cut: Cut },
    Forget(ObjectId),
    GiveUp(ObjectId),
    Stop,
}

/// The engine's end of the checkpoint thread.
pub struct Checkpointer {
    sender: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    leaving: Arc<AtomicBool>,
    finished: Arc<Mutex<Vec<CheckpointRecord>>>,
}

/// Records kept for `hw_catalog.checkpoints`.
const RECORDS_KEPT: usize = 100;
/// Of the checkpoint thread, on the scale of the crate (half of 100 is the usual one); niceness 10 on Linux.
const PRIORITY: u8 = 22;
/// Pause between attempts while the disk is full.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);

impl Checkpointer {
    /// `memory` counts the cuts until they are on disk: their operators have handed them over.
    pub fn start(
        store: DurableStore,
        workers: usize,
        clock: Sender<ClockMessage>,
        memory: MemoryUse,
    ) -> Arc<Checkpointer> {
        let (sender, receiver) = channel();
        let finished: Arc<Mutex<Vec<CheckpointRecord>>> = Arc::default();
        let records = finished.clone();
        let leaving: Arc<AtomicBool> = Arc::default();
        let told = leaving.clone();
        let thread = std::thread::Builder::new()
            .name("hw-checkpoint".into())
            .spawn(move || {
                step_back();
                let (pending, given_up) = (None, false);
                Writer { receiver, store, workers, clock, records, leaving: told, given_up, pending, memory }.run()
            })
            .expect("a thread can be started");
        Arc::new(Checkpointer { sender, thread: Mutex::new(Some(thread)), leaving, finished })
    }

    pub fn begin(&self, request: CheckpointRequest) {
        self.send(Message::Begin(Box::new(request)));
    }

    pub fn cut(&self, dataflow: ObjectId, operator: u32, worker: usize, epoch: Epoch, cut: Cut) {
        self.send(Message::Cut { dataflow, operator, worker, epoch, cut });
    }

    /// A dropped relation sends no more cuts and its state may go.
    pub fn forget(&self, relation: ObjectId) {
        self.send(Message::Forget(relation));
    }

    /// A failed relation leaves the running checkpoint; a restart builds it anew.
    pub fn give_up(&self, relation: ObjectId) {
        self.send(Message::GiveUp(relation));
    }

    pub fn finished(&self) -> Vec<CheckpointRecord> {
        self.finished.lock().expect("not poisoned").clone()
    }

    /// The process is about to leave: from now on a checkpoint that finds no space is given up.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub fn stop(&self) {
        self.send(Message::Stop);
        if let Some(thread) = self.thread.lock().expect("not poisoned").take() {
            // A panic there has been logged by the panic hook.
            let _ = thread.join();
        }
    }

    fn send(&self, message: Message) {
        // After `stop` nothing is written any more.
        let _ = self.sender.send(message);
    }
}

/// Writing and merging may take all of a core for seconds: epochs, reads and subscriptions go first.
fn step_back() {
    let priority = ThreadPriorityValue::try_from(PRIORITY).expect("it is on the scale");
    if let Err(error) = set_current_thread_priority(ThreadPriority::Crossplatform(priority)) {
        tracing::debug!(?error, "checkpoints are written with the priority of everything else");
    }
}

struct Pending {
    request: CheckpointRequest,
    /// Cuts still missing per dataflow.
    missing: BTreeMap<ObjectId, usize>,
    /// Per worker, in order of arrival.
    blocks: Vec<Vec<StateBlock>>,
}

struct Writer {
    receiver: Receiver<Message>,
    store: DurableStore,
    workers: usize,
    clock: Sender<ClockMessage>,
    records: Arc<Mutex<Vec<CheckpointRecord>>>,
    leaving: Arc<AtomicBool>,
    /// A checkpoint was left out at the end: no other may follow.
    given_up: bool,
    pending: Option<Pending>,
    memory: MemoryUse,
}

impl Writer {
    fn run(mut self) {
        while let Ok(message) = self.receiver.recv() {
            match message {
                Message::Begin(request) => self.begin(*request),
                Message::Cut { dataflow, operator, worker, epoch, cut } => {
                    self.take_cut(dataflow, operator, worker, epoch, cut);
                }
                Message::Forget(relation) => {
                    self.store.drop_relations(&[relation]);
                    self.leave_out(relation);
                }
                Message::GiveUp(relation) => self.leave_out(relation),
                Message::Stop => return,
            }
            self.commit_if_complete();
        }
    }

    /// Takes a relation out of the running checkpoint.
    fn leave_out(&mut self, relation: ObjectId) {
        if let Some(pending) = &mut self.pending {
            pending.missing.remove(&relation);
            pending.blocks.iter_mut().for_each(|b| b.retain(|block| block.relation != relation));
            pending.request.payload.dataflows.retain(|id| *id != relation);
            self.memory.set(pending.blocks.iter().flatten().map(StateBlock::memory_bytes).sum());
        }
    }

    fn begin(&mut self, request: CheckpointRequest) {
        assert!(self.pending.is_none(), "one checkpoint at a time");
        let missing = request.dataflows.iter().map(|(id, n)| (*id, n * self.workers)).filter(|(_, n)| *n > 0);
        let missing = missing.collect();
        self.pending = Some(Pending { request, missing, blocks: vec![vec![]; self.workers] });
    }

    fn take_cut(&mut self, dataflow: ObjectId, operator: u32, worker: usize, epoch: Epoch, cut: Cut) {
        let Some(pending) = &mut self.pending else { return };
        assert_eq!(pending.request.payload.epoch, epoch, "a cut belongs to the running checkpoint");
        let Some(missing) = pending.missing.get_mut(&dataflow) else { return };
        *missing -= 1;
        if *missing == 0 {
            pending.missing.remove(&dataflow);
        }
        for table in cut.gather().expect("rows that went into a state can be read back") {
            let block = StateBlock {
                relation: dataflow,
                operator,
                table: table.table,
                kind: match table.kind {
                    TableKind::Keyed { key_columns } => BlockKind::Keyed { key_columns },
                    TableKind::Multiset => BlockKind::Multiset,
                },
                vnode_columns: table.vnode_columns,
                batches: table.batches,
            };
            self.memory.set(self.memory.bytes() + block.memory_bytes());
            pending.blocks[worker].push(block);
        }
    }

    /// Commits, waiting for space on a full disk: the blocks are held, reads go on, writes are refused by the journal.
    /// `None`: the process leaves before there is space.
    fn commit(&self, checkpoint: &Checkpoint) -> Result<Option<CheckpointStats>, StateError> {
        loop {
            match self.store.commit_checkpoint(checkpoint.clone()) {
                Err(StateError::DiskFull { .. }) if self.leaving.load(Ordering::Acquire) => {
                    tracing::error!("disk full: leaving without a last checkpoint; the journal has everything");
                    return Ok(None);
                }
                Err(StateError::DiskFull { .. }) => {
                    tracing::error!("disk full: the checkpoint waits for space");
                    std::thread::sleep(DISK_FULL_PAUSE);
                }
                result => return result.map(Some),
            }
        }
    }

    fn commit_if_complete(&mut self) {
        if self.pending.as_ref().is_none_or(|p| !p.missing.is_empty()) {
            return;
        }
        let Pending { request, blocks, .. } = self.pending.take().expect("just checked");
        if self.given_up {
            return;
        }
        let payload = &request.payload;
        let checkpoint = Checkpoint {
            epoch: payload.epoch,
            incarnation: payload.incarnation,
            journal_position: payload.table_position,
            blocks,
            payload: serde_json::to_value(payload).expect("a payload has a JSON form"),
        };
        match self.commit(&checkpoint) {
            // What was cut is lost to later checkpoints, so none is written any more. Who waits learns by a dropped reply.
            Ok(None) => {
                self.given_up = true;
                let _ = self.clock.send(ClockMessage::CheckpointDone);
                return;
            }
            Ok(Some(stats)) => {
                tracing::debug!(epoch = payload.epoch, bytes = stats.bytes_written, "committed checkpoint");
                let mut records = self.records.lock().expect("not poisoned");
                records.push(CheckpointRecord { epoch: payload.epoch, finished_us: crate::time::now_us(), stats });
                let excess = records.len().saturating_sub(RECORDS_KEPT);
                records.drain(..excess);
            }
            // What was cut is lost to later checkpoints, so none may follow: the journal still has everything.
            Err(error) => {
                tracing::error!(error = %error, "checkpoint failed; stopping so that a restart recovers from the last one");
                std::process::abort();
            }
        }
        for reply in request.replies {
            let _ = reply.send(());
        }
        drop(checkpoint);
        self.memory.set(0);
        let _ = self.clock.send(ClockMessage::CheckpointDone);
        if let Err(error) = self.store.compact_once() {
            tracing::warn!(error = %error, "compaction failed");
        }
    }
}
