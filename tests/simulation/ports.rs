//! The world as the coordinator's driver meets it: a stepped worker, a journal in memory, a time that the scheduler
//! moves. Messages to the clock queue up here, in the order of the journal.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use coordinator::oracle::Oracle;
use coordinator::{CheckpointPlan, EpochEntry, Message, Now, Ports};
use dataflow::{CreateDataflow, FeedBatch, NodeKind, Runtime};
use tokio::sync::oneshot;
use types::{Epoch, EpochRecord, ObjectId, SqlError, SqlState};

use crate::disk::{Disk, Entry, Event, Events};

pub type Clock = Message<SimulatedPorts>;

/// What all simulated parts share.
pub struct Shared {
    pub now_us: i64,
    pub disk: Disk,
    /// To the clock, in order.
    pub inbox: VecDeque<Clock>,
    /// Checkpoints that were begun.
    pub begun: Vec<(CheckpointPlan<Events>, Vec<oneshot::Sender<()>>)>,
    /// Which epoch a journaled write entered.
    pub entered: Vec<(u64, Epoch)>,
    /// What the source did, by epoch.
    pub moved: Vec<(Epoch, Vec<Event>)>,
    pub catalog: BTreeSet<ObjectId>,
    pub catalog_position: u64,
    /// Relations whose state a checkpoint must not have any more.
    pub gone: Vec<ObjectId>,
}

pub type SharedHandle = Arc<Mutex<Shared>>;

pub fn lock(shared: &SharedHandle) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nothing panics under it but a failed check")
}

impl Shared {
    /// Journals an entry and tells the clock, as one.
    pub fn append(&mut self, entry: &Entry, message: impl FnOnce(u64) -> Clock) -> Option<u64> {
        let position = self.disk.append(entry, false)?;
        self.inbox.push_back(message(position));
        Some(position)
    }
}

/// Rows on their way, and the journal position they come from.
pub struct Batch {
    pub position: Option<u64>,
    pub batch: FeedBatch,
}

pub struct SimulatedPorts {
    pub shared: SharedHandle,
    pub runtime: Arc<Runtime>,
    pub oracle: Arc<Oracle>,
}

impl Ports for SimulatedPorts {
    type History = Events;
    type Catalog = BTreeSet<ObjectId>;
    type Dataflow = Box<CreateDataflow>;
    type Batch = Batch;
    type Source = ();

    fn now(&self) -> Now {
        let wall_us = lock(&self.shared).now_us;
        Now { wall_us, elapsed: Duration::from_micros(wall_us as u64) }
    }

    fn durable(&self) -> u64 {
        lock(&self.shared).disk.durable()
    }

    fn workers(&self) -> usize {
        self.runtime.workers()
    }

    fn describe(create: &Box<CreateDataflow>) -> (ObjectId, Vec<ObjectId>, usize) {
        let operators = create.graph.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Operator(_))).count();
        (create.graph.relation, create.graph.inputs(), operators)
    }

    fn log(&mut self, entries: Vec<EpochEntry<Event>>, urgent: bool) -> Result<(), (usize, SqlError)> {
        let mut shared = lock(&self.shared);
        for (written, entry) in entries.into_iter().enumerate() {
            let epoch = entry.epoch;
            let Some(position) = shared.disk.append(&Entry::of_epoch(entry), !urgent) else {
                return Err((written, SqlError::new(SqlState::DiskFull, "no space")));
            };
            shared.inbox.push_back(Message::Logged { epoch, position });
        }
        Ok(())
    }

    fn log_failed(&mut self, _error: &SqlError) {}

    fn opened(&mut self, epoch: Epoch, concerned: &[ObjectId], rows: usize) {
        self.oracle.open(epoch, concerned, rows);
    }

    fn acknowledge(&mut self, epoch: Epoch) {
        self.oracle.acknowledge(epoch);
    }

    fn feed(&mut self, worker: usize, epoch: Epoch, batch: Batch) {
        if let Some(position) = batch.position {
            lock(&self.shared).entered.push((position, epoch));
        }
        self.runtime.feed(worker, epoch, batch.batch);
    }

    fn advance(&mut self, record: EpochRecord, concerned: Vec<ObjectId>) {
        self.runtime.advance(Arc::new(record), Arc::new(concerned));
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
        if !self.oracle.add(relation, inputs, sealed, readable_from, attached) {
            return;
        }
        self.runtime.create(*create);
        if attached {
            self.runtime.attach(relation);
        }
    }

    fn hold(&mut self, relation: ObjectId, at: Epoch) {
        self.runtime.hold(relation);
        self.oracle.join(relation, at);
    }

    fn set_attached(&mut self, relation: ObjectId) {
        self.oracle.set_attached(relation);
    }

    fn remove(&mut self, relation: ObjectId) {
        self.oracle.remove(relation);
        self.runtime.drop_dataflow(relation);
        lock(&self.shared).gone.push(relation);
    }

    fn give_up(&mut self, relation: ObjectId, because: ObjectId) {
        if let Some(error) = self.oracle.failure(because) {
            self.oracle.fail(relation, &error);
        }
        self.runtime.drop_dataflow(relation);
        lock(&self.shared).gone.push(relation);
    }

    fn catalog_changed(&mut self, catalog: BTreeSet<ObjectId>, position: u64) {
        let mut shared = lock(&self.shared);
        shared.catalog = catalog;
        shared.catalog_position = position;
    }

    fn checkpoint(&mut self, plan: CheckpointPlan<Events>, waiting: Vec<oneshot::Sender<()>>) {
        lock(&self.shared).begun.push((plan, waiting));
    }

    fn add_source(&mut self, _source: ObjectId, _kept: ()) {}

    fn remove_source(&mut self, _source: ObjectId) {}

    fn source_failed(&mut self, _source: ObjectId, _error: SqlError) {}

    fn shut_down(&mut self) {}
}
