//! What the driver needs of the world: workers, oracle, journal, checkpoint writer, clock. The engine implements it on
//! its threads, the simulation on a pretended world.

use tokio::sync::oneshot;
use types::{Epoch, EpochRecord, ObjectId, SqlError};

use crate::machine::{CheckpointPlan, EpochEntry, History, Now};

/// None of these waits; they are called in the order of the machine's effects.
pub trait Ports: Send + Sized + 'static {
    type History: History;
    /// A version of the catalog, as checkpoints have it.
    type Catalog: Send;
    /// A graph to be built.
    type Dataflow: Send;
    /// Rows of one relation on their way to a worker.
    type Batch: Send;
    /// What is kept of a source beside the machine's knowledge.
    type Source: Send;

    fn now(&self) -> Now;
    /// How far the journal is on disk.
    fn durable(&self) -> u64;
    fn workers(&self) -> usize;
    /// Relation, the relations it reads, number of operators.
    fn describe(dataflow: &Self::Dataflow) -> (ObjectId, Vec<ObjectId>, usize);

    /// Journals the entries; for each, `Message::Logged` follows in the order of the journal. An error: only so many of
    /// them, from the first on, are written.
    fn log(
        &mut self,
        entries: Vec<EpochEntry<<Self::History as History>::Event>>,
        urgent: bool,
    ) -> Result<(), (usize, SqlError)>;
    fn log_failed(&mut self, error: &SqlError);

    fn opened(&mut self, epoch: Epoch, concerned: &[ObjectId], rows: usize);
    fn acknowledge(&mut self, epoch: Epoch);
    fn feed(&mut self, worker: usize, epoch: Epoch, batch: Self::Batch);
    fn advance(&mut self, record: EpochRecord, concerned: Vec<ObjectId>);

    fn build(
        &mut self,
        dataflow: Self::Dataflow,
        relation: ObjectId,
        sealed: Epoch,
        readable_from: Epoch,
        attached: bool,
    );
    fn hold(&mut self, relation: ObjectId, at: Epoch);
    fn set_attached(&mut self, relation: ObjectId);
    fn remove(&mut self, relation: ObjectId);
    /// The relation has failed, by itself or because of one that it reads.
    fn give_up(&mut self, relation: ObjectId, because: ObjectId);

    fn catalog_changed(&mut self, catalog: Self::Catalog, position: u64);
    /// `waiting` are answered when it is on disk.
    fn checkpoint(&mut self, plan: CheckpointPlan<Self::History>, waiting: Vec<oneshot::Sender<()>>);
    fn add_source(&mut self, source: ObjectId, kept: Self::Source);
    fn remove_source(&mut self, source: ObjectId);
    fn source_failed(&mut self, source: ObjectId, error: SqlError);
    fn shut_down(&mut self);
}

/// The epoch that took a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Entered {
    pub epoch: Epoch,
    pub wall_time_us: i64,
    /// The source's, after the chunk.
    pub watermark: Option<i64>,
}

/// Whoever reads a source for the clock.
pub trait StopFeed: Send {
    /// Nothing of it comes any more. Must not wait for the feed.
    fn stop(self: Box<Self>);
}
