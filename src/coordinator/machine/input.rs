//! What the machine is told. Plain data: rows, graphs and who waits stay with the driver, by ticket.

use std::collections::BTreeSet;

use types::{Epoch, ObjectId};

use super::effect::SourceState;
use super::sources::SourceOptions;
use super::{History, Ticket};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input<H: History> {
    /// All that was at hand has been told; the journal is durable up to `durable`.
    Tick {
        durable: u64,
    },
    /// A source's feed brought rows or decisions.
    Chunk(Chunk<H>),
    /// A table write was journaled.
    Wrote(Write),
    /// A change of the catalog was journaled.
    CatalogChanged {
        position: u64,
    },
    /// Everything that was to be logged up to `epoch` is in the journal.
    Logged {
        epoch: Epoch,
        position: u64,
    },
    /// Of the last `Log` only the first `written` entries are in the journal (a full disk). Told before anything else.
    LogFailed {
        written: usize,
    },
    AddSource {
        source: ObjectId,
        state: SourceState<H>,
        options: SourceOptions,
    },
    /// Nothing of it comes any more; what waits is dropped.
    RemoveSource {
        source: ObjectId,
    },
    /// Answered once everything told before is in an epoch.
    Marker(Ticket),
    /// An empty epoch that waits for everything before it.
    Barrier(Ticket),
    Create(Create),
    /// How far the sources behind a dataflow have been read.
    Histories {
        dataflow: ObjectId,
        ticket: Ticket,
    },
    /// A dataflow that catches up takes part in epochs from the next one on.
    Join {
        dataflow: ObjectId,
        ticket: Ticket,
    },
    Attached {
        dataflow: ObjectId,
    },
    Drop {
        dataflow: ObjectId,
        ticket: Ticket,
    },
    /// All workers have sealed everything of a dataflow up to `epoch`.
    Sealed {
        dataflow: ObjectId,
        epoch: Epoch,
    },
    /// An operator wants an epoch at this time although nothing may arrive.
    Deadline {
        dataflow: ObjectId,
        operator: u32,
        worker: usize,
        at_us: i64,
    },
    /// A dataflow stopped; it takes part in nothing any more.
    Failed {
        dataflow: ObjectId,
    },
    /// All journaled rows beyond the checkpoint have been told again: from here on checkpoints may be taken.
    Recovered,
    CheckpointNow(Ticket),
    /// The running checkpoint is on disk, or was given up.
    CheckpointDone,
}

/// What a feed brought, after admission. Rows may be none: decisions and watermarks travel too.
#[derive(Debug, Clone)]
pub struct Chunk<H: History> {
    pub ticket: Ticket,
    pub source: ObjectId,
    /// Relations that get rows of it: the source, tables that keep what it leaves out.
    pub relations: BTreeSet<ObjectId>,
    pub rows: usize,
    pub bytes: usize,
    pub events: Vec<H::Event>,
    /// Nothing new: the events were logged before the restart. So many pending ones are through with this chunk.
    pub repeats: Option<usize>,
    /// As of the last event; `None` if unchanged.
    pub admission: Option<H::Admission>,
    pub watermark: i64,
    pub ended: bool,
}

/// A journaled write; atomic over tables.
#[derive(Debug, Clone)]
pub struct Write {
    pub ticket: Ticket,
    pub position: u64,
    /// Each table once, with what the rows alone say about its watermark.
    pub tables: Vec<(ObjectId, Option<i64>)>,
    pub rows: usize,
    pub bytes: usize,
    /// Somebody waits for the epoch.
    pub awaited: bool,
}

/// A dataflow to be built.
#[derive(Debug, Clone)]
pub struct Create {
    pub ticket: Ticket,
    pub relation: ObjectId,
    /// Relations that it reads; a table reads itself.
    pub inputs: Vec<ObjectId>,
    pub operators: usize,
    pub readable: Readable,
    /// Its state is not part of checkpoints.
    pub temporary: bool,
}

/// From when a new relation can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// As soon as the epoch after creation is sealed.
    AtOnce,
    /// After `Join`: it is catching up.
    AfterJoin,
    /// As restored.
    Restored(Epoch),
}
