//! Run files: immutable, checksummed, compressed Arrow; one per worker and checkpoint, or the result of a compaction.
//!
//! ```text
//! header: magic "HWRUN001" | format u32 | epoch u64 | writer u32 | sequence u64 | crc u32
//! blocks: one Arrow IPC stream each (LZ4 where it helps)
//! footer: JSON array of BlockInfo (offset, length, crc of each block, …)
//! tail:   footer length u32 | footer crc u32 | crc u32 of everything before | magic "HWRUNEND"
//! ```
//! Every byte is under some checksum or is compared, so any damage is noticed. Names are never given out twice.

mod encoding;
mod reader;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use serde::{Deserialize, Serialize};
use types::Epoch;

use crate::{BlockKind, TableId};

pub use reader::RunReader;
pub(crate) use stream::BlockStream;
#[cfg(test)]
pub(crate) use writer::MERGED_ROWS_MAX;
pub use writer::{RunWriter, WrittenRun};

const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"HWRUN001";
const END_MAGIC: &[u8; 8] = b"HWRUNEND";
const HEADER_BYTES: usize = 36;
const TAIL_BYTES: usize = 20;

/// Identity of a run, and its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunName {
    pub epoch: Epoch,
    /// Worker index, or [`RunName::COMPACTION`].
    pub writer: u32,
    /// Counts the runs of a data directory.
    pub sequence: u64,
}

impl RunName {
    /// The writer of compacted runs.
    pub const COMPACTION: u32 = 9_999;

    pub fn file_name(&self) -> String {
        format!("{:010}-{:04}-{:010}.run", self.epoch, self.writer, self.sequence)
    }

    /// `None` if `name` is not the name of a run.
    pub fn parse(name: &str) -> Option<RunName> {
        let mut parts = name.strip_suffix(".run")?.splitn(3, '-');
        let (epoch, writer) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let sequence = parts.next()?.parse().ok()?;
        Some(RunName { epoch, writer, sequence })
    }
}

/// A block within a run, as the footer describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockInfo {
    #[serde(flatten)]
    pub id: TableId,
    pub kind: BlockKind,
    pub vnode_columns: Vec<usize>,
    pub offset: u64,
    /// Encoded bytes.
    pub length: u64,
    pub crc: u32,
    pub rows: u64,
    /// Holds everything about its table: nothing older is needed.
    pub base: bool,
}
