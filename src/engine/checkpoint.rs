//! Checkpoints: collects the cuts of all operators at one epoch and commits them with everything that must move
//! together: offsets, admission logs, watermarks, catalog, table positions.
//!
//! A named thread encodes and writes; operators have gone on long before. One checkpoint at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use catalog::{Catalog, CatalogObject, ObjectBody};
use connectors::admission::Admission;
use operators::{Cut, TableKind, guarded};
use serde::{Deserialize, Serialize};
use state::{BlockKind, Checkpoint, CheckpointStats, DurableStore, StateBlock, StateError};
use tokio::sync::oneshot;
use types::{Epoch, Incarnation, MemoryUse, ObjectId};

use crate::caught::or_stop;
use crate::checkpoint_records::{CheckpointRecord, CheckpointRecords};
use crate::clock::ClockMessage;
use crate::compaction::Compactor;
use crate::failures::Failures;
use crate::history::{HistoryEvent, SourceHistory};
use crate::priority;
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
    /// Relations whose state is in the checkpoint. Other views of the catalog are rebuilt.
    pub dataflows: Vec<ObjectId>,
    /// Failed tables: what is stored of them is older than the checkpoint.
    #[serde(default)]
    pub held_back: BTreeMap<ObjectId, HeldBack>,
    pub sources: BTreeMap<ObjectId, SourcePayload>,
}

/// How far a failed table is stored. What came later stands in the journal, which is kept from there on; a restart takes
/// both and tries again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldBack {
    pub settled: Settled,
    /// Of a table with a connector.
    pub source: Option<SourcePayload>,
}

/// Up to where a table's rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub epoch: Epoch,
    /// Of the journal.
    pub table_position: u64,
}

impl CheckpointPayload {
    /// Up to where the rows of `table` are part of what is stored.
    pub fn settled(&self, table: ObjectId) -> Settled {
        let all = Settled { epoch: self.epoch, table_position: self.table_position };
        self.held_back.get(&table).map_or(all, |held_back| held_back.settled)
    }

    /// A restart needs the journal's entries above this position.
    pub fn needed_from(&self) -> u64 {
        let held_back = self.held_back.values().map(|held_back| held_back.settled.table_position);
        held_back.fold(self.table_position, u64::min)
    }

    /// Notes how far the failed tables among those that are left out are stored. `last`: the checkpoint before.
    fn hold_back(&mut self, failed: &BTreeSet<ObjectId>, last: &CheckpointPayload) {
        let tables = self.catalog.objects.values().filter(|object| matches!(object.body, ObjectBody::Table(_)));
        for id in tables.map(|object| object.id).filter(|id| !self.dataflows.contains(id)) {
            let before = last.held_back.get(&id).cloned();
            let held_back = before.or_else(|| {
                let source = last.sources.get(&id).filter(|_| last.dataflows.contains(&id)).cloned();
                failed.contains(&id).then(|| HeldBack { settled: last.settled(id), source })
            });
            self.held_back.extend(held_back.map(|held_back| (id, held_back)));
        }
    }

    /// A failed table whose rows come beside those of a source: where that is read again, all of it is.
    fn failed_keeper(&self, failed: &BTreeSet<ObjectId>) -> Option<&CatalogObject> {
        let sources = self.catalog.objects.values().filter_map(|object| match &object.body {
            ObjectBody::Source(body) => Some(body),
            ObjectBody::Table(table) => table.source.as_ref(),
            ObjectBody::View { .. } | ObjectBody::MaterializedView(_) => None,
        });
        let kept = sources.flat_map(|body| body.keeps.ids()).find(|id| failed.contains(id));
        self.catalog.get(kept?).map(|object| &**object)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourcePayload {
    pub history: SourceHistory,
    pub admission: Option<Admission>,
    pub watermark: Option<i64>,
    pub ended: bool,
    pub counters: PersistedCounters,
    /// Logged after `history`, with the time of their epochs: not repeated yet when the checkpoint was taken.
    #[serde(default)]
    pub pending: Vec<(i64, HistoryEvent)>,
}

pub struct CheckpointRequest {
    pub payload: CheckpointPayload,
    /// Operators per dataflow: so many cuts come from each worker.
    pub dataflows: BTreeMap<ObjectId, usize>,
    pub replies: Vec<oneshot::Sender<()>>,
}

enum Message {
    Begin(Box<CheckpointRequest>),
    Cut { dataflow: ObjectId, operator: u32, worker: usize, epoch: Epoch, cut: Cut },
    Forget(ObjectId),
    GiveUp(ObjectId),
    Admit(ObjectId),
    Stop,
}

/// What the checkpoint thread starts from.
pub(crate) struct CheckpointerStart {
    pub store: DurableStore,
    pub workers: usize,
    pub failures: Failures,
    /// The newest checkpoint.
    pub last: CheckpointPayload,
    /// Counts the cuts until they are on disk: their operators have handed them over.
    pub memory: MemoryUse,
}

/// The engine's end of the checkpoint thread.
pub struct Checkpointer {
    sender: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    leaving: Arc<AtomicBool>,
    finished: CheckpointRecords,
}

/// Pause between attempts while the disk is full.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);

impl Checkpointer {
    pub(crate) fn start(start: CheckpointerStart) -> Arc<Checkpointer> {
        let (sender, receiver) = channel();
        let finished = CheckpointRecords::default();
        let leaving: Arc<AtomicBool> = Arc::default();
        let (records, told) = (finished.clone(), leaving.clone());
        let thread = std::thread::Builder::new()
            .name("hw-checkpoint".into())
            .spawn(move || {
                priority::step_back();
                or_stop("hw-checkpoint", || Writer::new(receiver, start, records, told).run());
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

    /// A failed relation leaves the running checkpoint and is not part of later ones: what is stored of it stays.
    pub fn give_up(&self, relation: ObjectId) {
        self.send(Message::GiveUp(relation));
    }

    /// A relation is part of checkpoints from now on, whatever became of a dataflow that kept it before.
    pub fn admit(&self, relation: ObjectId) {
        self.send(Message::Admit(relation));
    }

    pub fn finished(&self) -> Vec<CheckpointRecord> {
        self.finished.read()
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
    failures: Failures,
    records: CheckpointRecords,
    leaving: Arc<AtomicBool>,
    /// A checkpoint was left out: no other may follow.
    given_up: bool,
    /// Relations whose dataflow has failed.
    failed: BTreeSet<ObjectId>,
    last: CheckpointPayload,
    pending: Option<Pending>,
    compactor: Compactor,
    memory: MemoryUse,
}

impl Writer {
    fn new(
        receiver: Receiver<Message>,
        start: CheckpointerStart,
        records: CheckpointRecords,
        leaving: Arc<AtomicBool>,
    ) -> Writer {
        let CheckpointerStart { store, workers, failures, last, memory } = start;
        let (given_up, failed, pending, compactor) = (false, BTreeSet::new(), None, Compactor::start(store.clone()));
        Writer {
            receiver,
            store,
            workers,
            failures,
            records,
            leaving,
            given_up,
            failed,
            last,
            pending,
            compactor,
            memory,
        }
    }

    fn run(mut self) {
        while let Ok(message) = self.receiver.recv() {
            match message {
                Message::Begin(request) => self.begin(*request),
                Message::Cut { dataflow, operator, worker, epoch, cut } => {
                    self.take_cut(dataflow, operator, worker, epoch, cut);
                }
                Message::Forget(relation) => {
                    self.store.drop_relations(&[relation]);
                    self.failed.remove(&relation);
                    self.leave_out(relation);
                }
                Message::GiveUp(relation) => {
                    self.failed.insert(relation);
                    self.leave_out(relation);
                }
                Message::Admit(relation) => {
                    self.failed.remove(&relation);
                }
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
        let CheckpointRequest { mut payload, mut dataflows, replies } = request;
        // The clock may not have heard of a failure yet.
        dataflows.retain(|id, _| !self.failed.contains(id));
        payload.dataflows.retain(|id| !self.failed.contains(id));
        let request = CheckpointRequest { payload, dataflows, replies };
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
        let tables = match guarded(|| cut.gather()) {
            Ok(tables) => tables,
            Err(error) => {
                let failed = self.failures.mark(dataflow, operator, &error);
                self.failed.extend(&failed);
                failed.iter().for_each(|id| self.leave_out(*id));
                self.failures.tell(dataflow);
                return;
            }
        };
        let pending = self.pending.as_mut().expect("it is being collected");
        for table in tables {
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
        let Pending { mut request, blocks, .. } = self.pending.take().expect("just checked");
        if let Some(table) = request.payload.failed_keeper(&self.failed).filter(|_| !self.given_up) {
            tracing::error!(
                table = table.name,
                "no checkpoint is taken while this table has failed: the journal grows"
            );
            self.given_up = true;
        }
        if self.given_up {
            let _ = self.failures.clock.send(ClockMessage::CheckpointDone);
            return;
        }
        request.payload.hold_back(&self.failed, &self.last);
        let payload = &request.payload;
        let checkpoint = Checkpoint {
            epoch: payload.epoch,
            incarnation: payload.incarnation,
            journal_position: payload.needed_from(),
            blocks,
            payload: serde_json::to_value(payload).expect("a payload has a JSON form"),
        };
        match self.commit(&checkpoint) {
            // What was cut is lost to later checkpoints, so none is written any more. Who waits learns by a dropped reply.
            Ok(None) => {
                self.given_up = true;
                let _ = self.failures.clock.send(ClockMessage::CheckpointDone);
                return;
            }
            Ok(Some(stats)) => self.records.push(payload.epoch, stats),
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
        self.last = request.payload;
        self.memory.set(0);
        let _ = self.failures.clock.send(ClockMessage::CheckpointDone);
        self.compactor.wake();
    }
}
