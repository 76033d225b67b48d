//! What the machine wants done, in the order in which it has to be done.

use std::collections::{BTreeMap, VecDeque};

use types::{Epoch, EpochRecord, Incarnation, ObjectId};

use super::{History, Ticket};

#[derive(Debug, Clone)]
pub enum Effect<H: History> {
    /// Journal these epochs. `urgent`: the last of them waits until that is durable. Answered by `Logged` or `LogFailed`.
    Log {
        entries: Vec<EpochEntry<H::Event>>,
        urgent: bool,
    },
    /// The epoch exists: it concerns these dataflows and carries so many rows.
    Opened {
        epoch: Epoch,
        concerned: Vec<ObjectId>,
        rows: usize,
    },
    /// Operators will cut their state after this epoch; write it together with the plan.
    Checkpoint(CheckpointPlan<H>),
    /// Give a chunk's rows to the workers in this epoch, whose time is `wall_time_us`; the feed may go on.
    FeedChunk {
        ticket: Ticket,
        source: ObjectId,
        epoch: Epoch,
        wall_time_us: i64,
        /// Of the source, after the chunk.
        watermark: Option<i64>,
    },
    /// A chunk of a source that is gone.
    ForgetChunk(Ticket),
    /// Give a write's rows of these tables to the workers.
    FeedWrite {
        ticket: Ticket,
        epoch: Epoch,
        tables: Vec<ObjectId>,
    },
    /// All feeds of the epoch are out.
    Advance {
        record: EpochRecord,
        concerned: Vec<ObjectId>,
    },
    /// Readers from now on see at least this epoch: somebody was told of it.
    Acknowledge(Epoch),
    /// To a writer, or to who waits for a barrier.
    Epoch {
        ticket: Ticket,
        epoch: Epoch,
    },
    /// To who set a marker, dropped a dataflow.
    Done(Ticket),
    Histories {
        ticket: Ticket,
        histories: BTreeMap<ObjectId, H>,
    },
    /// Build it. `sealed`: complete up to there; `readable_from`: the first epoch at which it can be read.
    Build {
        ticket: Ticket,
        relation: ObjectId,
        sealed: Epoch,
        readable_from: Epoch,
        attached: bool,
    },
    /// From the next epoch on the dataflow takes part; what is shared waits until its private feed is through.
    Hold {
        relation: ObjectId,
        at: Epoch,
    },
    Joined {
        ticket: Ticket,
        point: JoinPoint<H>,
    },
    /// There is nothing to answer any more: the reply is dropped.
    Unanswered(Ticket),
    /// It follows the shared feed.
    SetAttached(ObjectId),
    /// Take it down and forget its state.
    Remove(ObjectId),
    /// It stopped, by itself or because what it reads did: it leaves the running checkpoint.
    GiveUp {
        relation: ObjectId,
        because: ObjectId,
    },
}

/// An epoch's record in the journal: which inputs it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEntry<E> {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub wall_time_us: i64,
    /// Journal position of the last table write in this or an earlier epoch.
    pub table_position: u64,
    pub sources: BTreeMap<ObjectId, Vec<E>>,
}

/// Where a catching-up dataflow meets the shared feed: it delivers what lies up to here privately.
#[derive(Debug, Clone)]
pub struct JoinPoint<H> {
    pub record: EpochRecord,
    pub histories: BTreeMap<ObjectId, H>,
}

/// A source as a checkpoint has it.
#[derive(Debug, Clone)]
pub struct SourceState<H: History> {
    pub history: H,
    pub admission: Option<H::Admission>,
    pub watermark: Option<i64>,
    pub ended: bool,
    /// Logged after `history` and not repeated since the restart, oldest first, each with its epoch's time. They are in
    /// the journal or in the checkpoint already: they are not logged again, and a checkpoint takes along what is left.
    pub pending: VecDeque<(i64, H::Event)>,
}

/// The clock's part of a checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointPlan<H: History> {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub wall_time_us: i64,
    /// Table writes and catalog changes at or below this journal position are inside.
    pub position: u64,
    pub table_watermarks: BTreeMap<ObjectId, i64>,
    /// Dataflows whose state is in it, with the number of their operators: so many cuts come from each worker.
    pub dataflows: BTreeMap<ObjectId, usize>,
    pub sources: BTreeMap<ObjectId, SourceState<H>>,
    /// Who wants to know when it is on disk.
    pub waiting: Vec<Ticket>,
}
