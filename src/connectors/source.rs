//! The contract between a connector and the feed that drives it.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use types::SqlState;

use crate::ConnectorError;

/// Positions by partition name. The unit is the connector's (bytes, rows, sequence numbers); 0 is the start;
/// a position names the first thing not yet read. Partition names are unique within a source and stable.
pub type Offsets = BTreeMap<String, u64>;

/// A partition that was read before, as its source's log knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownPartition {
    /// By what the connector finds it again although its name may stand for something else by now.
    pub identity: Option<String>,
    /// Nothing more was expected of it.
    pub ended: bool,
}

/// Known partitions by name.
pub type KnownPartitions = BTreeMap<String, KnownPartition>;

/// A validated source: connector, options, format, declared columns. Cheap to clone, no resources held.
pub trait SourceConfig: Send + Sync + std::fmt::Debug {
    /// Name of the connector, for messages.
    fn connector(&self) -> &str;

    /// All declared columns that come from the connector, in declaration order.
    fn schema(&self) -> SchemaRef;

    /// True if the input ends by itself (files that aren't followed, a generator with an event limit).
    fn bounded(&self) -> bool;

    /// True if any recorded position can be opened again. All connectors of this crate today.
    fn replayable(&self) -> bool {
        true
    }

    /// Checks the outside world at CREATE time: missing file, unreadable directory.
    fn validate(&self) -> Result<(), ConnectorError>;

    fn open(&self, request: OpenRequest) -> Result<Box<dyn SourceReader>, ConnectorError>;
}

/// Where to read, how far, and what.
#[derive(Debug, Clone, Default)]
pub struct OpenRequest {
    /// Partitions not named start at 0.
    pub from: Offsets,
    pub known: KnownPartitions,
    /// Read exactly up to these positions, only these partitions, then `End`. `None`: as long as there is input.
    pub until: Option<Offsets>,
    /// Columns to decode, indices into `schema()`, ascending. The watermark column is always among them.
    pub projection: Vec<usize>,
    /// Rows per chunk at most; 0 = the connector's choice (8,192 to 65,536).
    pub chunk_rows_max: usize,
}

/// Reads one source. Owned by one thread; may block in `next` only up to `wait`.
pub trait SourceReader: Send {
    /// The next event. Returns as soon as there is one; `Idle` after `wait` without any.
    ///
    /// An error means the whole source: nothing is lost, but this reader is done for. If the error `may_pass`, another one
    /// opened where this one stood goes on exactly there. What concerns one partition is an event.
    fn next(&mut self, wait: Duration) -> Result<ReadEvent, ConnectorError>;

    /// Known partitions and where they stand. All partitions known at open are listed from the beginning.
    fn partitions(&self) -> Vec<PartitionState>;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    pub name: String,
    pub position: u64,
    /// Will never deliver again.
    pub ended: bool,
}

#[derive(Debug)]
pub enum ReadEvent {
    Chunk(Chunk),
    /// A partition that was not known at open, or had ended and goes on.
    PartitionAdded(String),
    /// By what the partition is found again from now on: for `OpenRequest::known`.
    PartitionIdentified {
        partition: String,
        identity: String,
    },
    /// This partition will never deliver again.
    PartitionEnded(String),
    /// This partition cannot be read now, or not any more; the others can.
    PartitionTroubled(Trouble),
    /// What troubled this partition is over.
    PartitionRecovered(String),
    /// Nothing is wrong with the source, but data may have passed by unseen.
    Noted {
        partition: String,
        position: u64,
        reason: String,
    },
    /// Nothing came within the wait.
    Idle,
    /// All partitions ended (bounded input) or `until` is reached.
    End,
}

/// What keeps one partition from being read.
#[derive(Debug)]
pub struct Trouble {
    pub partition: String,
    pub error: ConnectorError,
    /// `None`: it is not tried again.
    pub retry: Option<Retry>,
}

/// A read that failed and is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Failures in a row.
    pub attempts: u32,
    /// From now until the next try.
    pub wait: Duration,
}

/// Consecutive rows of one partition: positions [from, to).
#[derive(Debug)]
pub struct Chunk {
    pub partition: String,
    pub from: u64,
    pub to: u64,
    /// Columns of the projection, in that order.
    pub rows: RecordBatch,
    /// Position of each row (its start), same length as `rows`: what the admission log and error tables name.
    pub positions: Vec<u64>,
    /// Malformed records in [from, to).
    pub errors: Vec<RecordError>,
    /// Raw bytes read, for metrics.
    pub bytes: u64,
}

/// A record that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordError {
    pub position: u64,
    pub state: SqlState,
    pub reason: String,
    /// At most `limits::SOURCE_ERROR_BYTES_MAX`.
    pub raw: Vec<u8>,
}
