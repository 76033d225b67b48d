//! What the coordinator's driver acts on in a real server: timely's workers, the oracle, the journal, the checkpoint
//! thread, the machine's clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use catalog::Catalog;
use coordinator::{CheckpointPlan, EpochEntry, History, Now, Ports};
use dataflow::{CreateDataflow, FeedBatch, NodeKind, Runtime};
use state::DurableStore;
use tokio::sync::oneshot;
use types::{Epoch, EpochRecord, ObjectId, SqlError, ToSqlState};

use super::ClockMessage;
use crate::checkpoint::{CheckpointPayload, CheckpointRequest, Checkpointer, SourcePayload};
use crate::gate::JournalGate;
use crate::history::{HistoryEvent, SourceHistory};
use crate::late_counts::LateCounts;
use crate::log::{EpochEntry as LoggedEpoch, KIND_EPOCH};
use crate::source_stats::SourceStats;
use crate::time::now_us;
use coordinator::oracle::Oracle;

impl History for SourceHistory {
    type Event = HistoryEvent;
    type Admission = connectors::admission::Admission;

    fn push(&mut self, event: HistoryEvent) {
        SourceHistory::push(self, event);
    }
}

/// The rooms that the clock acts on.
pub struct PortsStart {
    pub runtime: Arc<Runtime>,
    pub oracle: Arc<Oracle>,
    pub store: DurableStore,
    pub gate: Arc<JournalGate>,
    pub checkpointer: Arc<Checkpointer>,
    pub late: Arc<LateCounts>,
    /// To itself: what it journals is heard of in the order of the journal.
    pub clock: Sender<ClockMessage>,
    pub catalog: Arc<Catalog>,
    pub catalog_position: u64,
}

pub struct EnginePorts {
    at: PortsStart,
    sources: BTreeMap<ObjectId, Arc<SourceStats>>,
    started: Instant,
}

impl EnginePorts {
    pub fn new(at: PortsStart) -> EnginePorts {
        EnginePorts { at, sources: BTreeMap::new(), started: Instant::now() }
    }

    fn sources_of(&self, plan: &CheckpointPlan<SourceHistory>) -> BTreeMap<ObjectId, SourcePayload> {
        let payload = |(id, state): (&ObjectId, &coordinator::SourceState<SourceHistory>)| {
            let counters = self.sources.get(id).map(|stats| stats.persisted()).unwrap_or_default();
            let (history, admission) = (state.history.clone(), state.admission.clone());
            let (watermark, ended, pending) = (state.watermark, state.ended, state.pending.iter().cloned().collect());
            (*id, SourcePayload { history, admission, watermark, ended, counters, pending })
        };
        plan.sources.iter().map(payload).collect()
    }
}

impl Ports for EnginePorts {
    type History = SourceHistory;
    type Catalog = Arc<Catalog>;
    type Dataflow = Box<CreateDataflow>;
    type Batch = FeedBatch;
    type Source = Arc<SourceStats>;

    fn now(&self) -> Now {
        Now { wall_us: now_us(), elapsed: self.started.elapsed() }
    }

    fn durable(&self) -> u64 {
        self.at.store.journal().durable_position()
    }

    fn workers(&self) -> usize {
        self.at.runtime.workers()
    }

    fn describe(create: &Box<CreateDataflow>) -> (ObjectId, Vec<ObjectId>, usize) {
        let operators = create.graph.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Operator(_))).count();
        (create.graph.relation, create.graph.inputs(), operators)
    }

    fn log(&mut self, entries: Vec<EpochEntry<HistoryEvent>>, urgent: bool) -> Result<(), (usize, SqlError)> {
        for (written, entry) in entries.into_iter().enumerate() {
            let EpochEntry { epoch, incarnation, wall_time_us, table_position, sources } = entry;
            let entry = LoggedEpoch { epoch, incarnation, wall_time_us, table_position, sources };
            let bytes = serde_json::to_vec(&entry).expect("an epoch entry has a JSON form");
            let (gate, journal) = (&self.at.gate, self.at.store.journal());
            let logged = |position| ClockMessage::Logged { epoch, position };
            let appended = match urgent {
                true => gate.append(journal, &self.at.clock, KIND_EPOCH, &bytes, logged),
                false => gate.append_lazy(journal, &self.at.clock, KIND_EPOCH, &bytes, logged),
            };
            appended.map_err(|e| (written, e.to_sql_error()))?;
        }
        Ok(())
    }

    fn log_failed(&mut self, error: &SqlError) {
        tracing::warn!(error = %error.message, "cannot log epoch records, they are kept for the next attempt");
    }

    fn opened(&mut self, epoch: Epoch, concerned: &[ObjectId], rows: usize) {
        self.at.oracle.open(epoch, concerned, rows);
    }

    fn acknowledge(&mut self, epoch: Epoch) {
        self.at.oracle.acknowledge(epoch);
    }

    fn feed(&mut self, worker: usize, epoch: Epoch, batch: FeedBatch) {
        self.at.runtime.feed(worker, epoch, batch);
    }

    fn advance(&mut self, record: EpochRecord, concerned: Vec<ObjectId>) {
        self.at.runtime.advance(Arc::new(record), Arc::new(concerned));
    }

    fn build(
        &mut self,
        create: Box<CreateDataflow>,
        relation: ObjectId,
        sealed: Epoch,
        readable_from: Epoch,
        attached: bool,
    ) {
        let inputs = create.graph.inputs().into_iter().filter(|input| *input != relation).collect();
        if !self.at.oracle.add(relation, inputs, sealed, readable_from, attached) {
            return;
        }
        self.at.checkpointer.admit(relation);
        self.at.runtime.create(*create);
        if attached {
            self.at.runtime.attach(relation);
        }
    }

    fn hold(&mut self, relation: ObjectId, at: Epoch) {
        self.at.runtime.hold(relation);
        self.at.oracle.join(relation, at);
    }

    fn set_attached(&mut self, relation: ObjectId) {
        self.at.oracle.set_attached(relation);
    }

    fn remove(&mut self, relation: ObjectId) {
        self.at.oracle.remove(relation);
        self.at.checkpointer.forget(relation);
        self.at.runtime.drop_dataflow(relation);
    }

    fn give_up(&mut self, relation: ObjectId, because: ObjectId) {
        // Both know already what a worker has reported (`failures.rs`).
        if let Some(error) = self.at.oracle.failure(because) {
            self.at.oracle.fail(relation, &error);
        }
        self.at.checkpointer.give_up(relation);
        self.at.runtime.drop_dataflow(relation);
    }

    fn catalog_changed(&mut self, catalog: Arc<Catalog>, position: u64) {
        self.at.catalog = catalog;
        self.at.catalog_position = position;
    }

    fn checkpoint(&mut self, plan: CheckpointPlan<SourceHistory>, waiting: Vec<oneshot::Sender<()>>) {
        let payload = CheckpointPayload {
            epoch: plan.epoch,
            incarnation: plan.incarnation,
            wall_time_us: plan.wall_time_us,
            table_position: plan.position,
            table_late: self.at.late.settle(plan.position),
            catalog: (*self.at.catalog).clone(),
            catalog_position: self.at.catalog_position,
            dataflows: plan.dataflows.keys().copied().collect(),
            held_back: BTreeMap::new(),
            sources: self.sources_of(&plan),
            table_watermarks: plan.table_watermarks,
        };
        self.at.checkpointer.begin(CheckpointRequest { payload, dataflows: plan.dataflows, replies: waiting });
    }

    fn add_source(&mut self, source: ObjectId, stats: Arc<SourceStats>) {
        self.sources.insert(source, stats);
    }

    fn remove_source(&mut self, source: ObjectId) {
        self.sources.remove(&source);
    }

    fn source_failed(&mut self, source: ObjectId, error: SqlError) {
        if let Some(stats) = self.sources.get(&source) {
            stats.fail(error);
        }
    }

    fn shut_down(&mut self) {
        self.at.runtime.shutdown();
    }
}
