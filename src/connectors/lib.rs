//! Sources: bytes from outside → Arrow columns, with exact positions.
//!
//! A connector is configured once ([`SourceConfig`]), then opened as often as needed at any recorded position
//! ([`SourceConfig::open`]): the shared feed, a backfill and a replay after a crash are the same code with other
//! offsets. Readers run on a thread of their own and may block. Lateness is decided in [`admission`], not here.

pub mod admission;
mod datagen;
mod error;
mod file;
mod format;
mod generator;
mod nexmark;
mod options;
mod registry;
mod retry;
mod source;
#[cfg(test)]
mod testing;

pub use error::ConnectorError;
pub use options::{Freshness, IdleAdvance, SourceOptions, parse_duration_us};
pub use registry::{ColumnSpec, ConfiguredSource, FormatSpec, configure};
pub use retry::Backoff;
pub use source::{
    Chunk, KnownPartition, KnownPartitions, Offsets, OpenRequest, PartitionState, ReadEvent, RecordError, Retry,
    SourceConfig, SourceReader, Trouble,
};
