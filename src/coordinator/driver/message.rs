//! What the driver is told, and by whom: feeds bring chunks, statements bring table writes and dataflows, workers what
//! they sealed. Here replies and rows still travel along; the machine sees neither.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;

use tokio::sync::oneshot;
use types::{Epoch, ObjectId, SqlError};

use super::ports::{Ports, StopFeed};
use super::{EnterChunk, JoinPointOf};
use crate::machine::{History, Readable, SourceOptions, SourceState};

pub enum Message<P: Ports> {
    Chunk(SourceChunk<P>),
    SourceFailed {
        source: ObjectId,
        error: SqlError,
    },
    /// Answered once all messages before this one have been put into epochs.
    Marker(Sender<()>),
    Table(TableWrite<P::Batch>),
    /// The journal synced; durable table writes may enter.
    Durable,
    /// Epochs up to `epoch` are in the journal; sent in the order of the journal.
    Logged {
        epoch: Epoch,
        position: u64,
    },
    AddSource {
        entry: Box<SourceEntry<P::History>>,
        kept: P::Source,
    },
    /// A source's feed was started: it is stopped with the source.
    SetFeed {
        source: ObjectId,
        feed: Box<dyn StopFeed>,
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
        dataflow: P::Dataflow,
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
        reply: Sender<BTreeMap<ObjectId, P::History>>,
    },
    /// The dataflow takes part in epochs from the next one on; answers where that is.
    Join {
        dataflow: ObjectId,
        reply: Sender<JoinPointOf<P>>,
    },
    Attached {
        dataflow: ObjectId,
    },
    Drop {
        dataflow: ObjectId,
        reply: oneshot::Sender<()>,
    },
    CatalogChanged {
        catalog: P::Catalog,
        position: u64,
    },
    Sealed {
        dataflow: ObjectId,
        epoch: Epoch,
    },
    Deadline {
        dataflow: ObjectId,
        operator: u32,
        worker: usize,
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

/// What a feed brought, after admission.
pub struct SourceChunk<P: Ports> {
    pub source: ObjectId,
    /// Relations that get rows of it.
    pub relations: BTreeSet<ObjectId>,
    pub rows: usize,
    pub bytes: usize,
    pub events: Vec<<P::History as History>::Event>,
    /// See [`Chunk::repeats`](crate::machine::Chunk).
    pub repeats: Option<usize>,
    pub admission: Option<<P::History as History>::Admission>,
    pub watermark: i64,
    pub ended: bool,
    pub enter: EnterChunk<P>,
}

/// A journaled write on its way into an epoch; atomic over tables.
pub struct TableWrite<B> {
    pub position: u64,
    pub tables: Vec<TableRows<B>>,
    pub reply: Option<oneshot::Sender<Epoch>>,
}

pub struct TableRows<B> {
    pub table: ObjectId,
    /// What these rows alone say about the table's watermark, if it has one.
    pub watermark: Option<i64>,
    pub rows: usize,
    pub bytes: usize,
    pub batch: B,
}

/// What the clock knows of a source.
pub struct SourceEntry<H: History> {
    pub source: ObjectId,
    pub state: SourceState<H>,
    pub options: SourceOptions,
}
