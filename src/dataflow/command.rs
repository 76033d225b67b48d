//! What the engine tells the workers, and what they report. Every worker gets the same commands in the same order
//! (batches excepted: a batch goes to one worker), so all build the same dataflows and seal the same epochs.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use operators::arrangement::Shard;
use operators::{Cut, OperatorError};
use types::{DeltaBatch, Epoch, EpochRecord, ErrorDelta, ObjectId};

use crate::DataflowGraph;

/// Rows of a relation, and which of its columns they are: column `columns[i]` of the relation is batch column i.
#[derive(Clone)]
pub struct FeedBatch {
    pub relation: ObjectId,
    pub columns: Arc<Vec<usize>>,
    pub rows: DeltaBatch,
    pub errors: Vec<ErrorDelta>,
}

/// State to restore: per operator id the batches of each of its tables, oldest first.
pub type RestoredState = HashMap<u32, Vec<RestoredBatch>>;

#[derive(Clone)]
pub struct RestoredBatch {
    pub table: u16,
    pub vnode_columns: Vec<usize>,
    pub batch: RecordBatch,
}

#[derive(Clone)]
pub struct CreateDataflow {
    pub graph: Arc<DataflowGraph>,
    /// The readable shards of the graph's relation, by worker.
    pub shards: Arc<Vec<Arc<Shard>>>,
    pub start: Start,
}

#[derive(Clone)]
pub enum Start {
    /// Empty state. Inputs that are relations kept by a dataflow start with a snapshot of it; inputs that are fed
    /// from outside start detached (private feed) until `Attach`.
    Fresh,
    /// State as of `epoch`; all inputs attached.
    Restored { epoch: Epoch, state: Arc<RestoredState> },
}

#[derive(Clone)]
pub(crate) enum Command {
    Create(Box<CreateDataflow>),
    /// Shared feed: to every attached dataflow that reads the relation.
    Feed {
        epoch: Epoch,
        batch: FeedBatch,
    },
    /// Private feed of one dataflow that is catching up.
    FeedPrivate {
        dataflow: ObjectId,
        epoch: Epoch,
        batch: FeedBatch,
    },
    /// The dataflow takes part in shared epochs from here on, but its shared commands wait for `Attach`.
    Hold {
        dataflow: ObjectId,
    },
    /// Private feeds are over: what was held follows, then the shared feed.
    Attach {
        dataflow: ObjectId,
    },
    /// Opens an epoch that concerns these dataflows; all its feeds have been sent.
    Advance {
        record: Arc<EpochRecord>,
        dataflows: Arc<Vec<ObjectId>>,
    },
    /// The same for one dataflow that is catching up; not part of the shared order.
    AdvancePrivate {
        dataflow: ObjectId,
        record: Arc<EpochRecord>,
    },
    Drop {
        dataflow: ObjectId,
    },
    Shutdown,
}

/// Reports from the workers, delivered on worker threads: receivers must be quick.
#[derive(Debug)]
pub enum Event {
    /// All workers have sealed all epochs of this dataflow up to and including `epoch`.
    Sealed { dataflow: ObjectId, epoch: Epoch },
    /// One operator's cut at a checkpoint epoch. Every operator of every worker sends one, unless its dataflow fails.
    Cut { dataflow: ObjectId, operator: u32, worker: usize, epoch: Epoch, cut: Cut },
    /// An operator wants an epoch at this wall-clock time although nothing may arrive. Takes the place of what it wanted
    /// before.
    Deadline { dataflow: ObjectId, operator: u32, worker: usize, at_us: i64 },
    /// The dataflow stopped: an operator panicked, an invariant broke or a limit was met. Sent before anything that
    /// would have needed what is missing now; possibly once per operator and worker.
    Failed { dataflow: ObjectId, operator: u32, error: OperatorError },
}
