//! What the clock is told, and by whom it is answered: feeds bring chunks, statements bring table writes and
//! dataflows, workers bring what they sealed. Plain data; what it does to the clock stands in the files beside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use catalog::Catalog;
use connectors::admission::Admission;
use dataflow::CreateDataflow;
use tokio::sync::oneshot;
use types::{DeltaBatch, Epoch, EpochRecord, Incarnation, ObjectId, SqlError};

use crate::feed::{FeedChunk, FeedHandle};
use crate::gate::JournalGate;
use crate::history::SourceHistory;
use crate::late_counts::LateCounts;
use crate::source_stats::SourceStats;

pub enum ClockMessage {
    Chunk(FeedChunk),
    SourceFailed {
        source: ObjectId,
        error: SqlError,
    },
    /// All messages before this one have been put into epochs when the marker is dropped or answered.
    Marker(Sender<()>),
    Table(TableWrite),
    /// The journal synced; durable table writes may enter.
    Durable,
    AddSource(Box<SourceEntry>),
    /// A source's feed was started: the clock stops it with the source.
    SetFeed {
        source: ObjectId,
        feed: FeedHandle,
    },
    /// Nothing more is read; what was read stays part of the source's history.
    StopFeed {
        source: ObjectId,
    },
    RemoveSource {
        source: ObjectId,
    },
    /// `temporary`: its state is not part of checkpoints.
    Create {
        create: Box<CreateDataflow>,
        readable: Readable,
        temporary: bool,
    },
    /// All journaled rows beyond the checkpoint have been sent again: from here on checkpoints may be taken.
    Recovered,
    /// A dataflow stopped; it takes part in nothing any more.
    Failed {
        dataflow: ObjectId,
    },
    /// How far the sources behind a dataflow have been read.
    Histories {
        dataflow: ObjectId,
        reply: Sender<BTreeMap<ObjectId, SourceHistory>>,
    },
    /// The dataflow takes part in epochs from the next one on; answers where that is.
    Join {
        dataflow: ObjectId,
        reply: Sender<JoinPoint>,
    },
    Attached {
        dataflow: ObjectId,
    },
    Drop {
        dataflow: ObjectId,
        reply: oneshot::Sender<()>,
    },
    CatalogChanged {
        catalog: Arc<Catalog>,
        position: u64,
    },
    Sealed,
    Deadline {
        dataflow: ObjectId,
        at_us: i64,
    },
    CheckpointDone,
    CheckpointNow {
        reply: oneshot::Sender<()>,
    },
    /// An empty epoch that waits for everything before it (FLUSH).
    Barrier {
        reply: oneshot::Sender<Epoch>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// A journaled write on its way into an epoch; atomic over tables.
pub struct TableWrite {
    pub position: u64,
    pub writes: Vec<TableRows>,
    pub reply: Option<oneshot::Sender<Epoch>>,
}

pub struct TableRows {
    pub table: ObjectId,
    pub columns: Arc<Vec<usize>>,
    pub rows: DeltaBatch,
    /// What these rows alone say about the table's watermark, if it has one.
    pub watermark: Option<i64>,
}

/// From when a new relation can be read.
pub enum Readable {
    /// As soon as the epoch after creation is sealed.
    AtOnce,
    /// After `Join`: it is catching up.
    AfterJoin,
    /// As restored.
    Restored(Epoch),
}

/// Where a catching-up dataflow meets the shared feed: it delivers what lies up to here privately.
pub struct JoinPoint {
    pub record: EpochRecord,
    pub histories: BTreeMap<ObjectId, SourceHistory>,
}

/// What the clock knows of a source.
pub struct SourceEntry {
    pub source: ObjectId,
    pub history: SourceHistory,
    /// As of `history`; `None` until the feed has brought something.
    pub admission: Option<Admission>,
    pub watermark: Option<i64>,
    pub has_time: bool,
    pub ended: bool,
    /// `freshness = 'bound'`.
    pub bound: bool,
    pub stats: Arc<SourceStats>,
}

/// Everything the clock starts from.
pub struct ClockStart {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub wall_time_us: i64,
    pub table_position: u64,
    pub table_watermarks: BTreeMap<ObjectId, i64>,
    pub catalog: Arc<Catalog>,
    pub catalog_position: u64,
    pub checkpoint_interval: Duration,
    /// Bytes of input after which one starts earlier.
    pub checkpoint_input_bytes: usize,
    pub gate: Arc<JournalGate>,
    pub late: Arc<LateCounts>,
}
