//! Reading a run: the footer at opening, blocks on demand, every checksum verified.

use std::path::Path;

use super::{BlockInfo, BlockStream, END_MAGIC, FORMAT, HEADER_BYTES, MAGIC, RunName, TAIL_BYTES, writer};
use crate::disk::{Access, Files, OpenFile};
use crate::{RunRef, StateBlock, StateError};

/// Bytes read at once to verify a file.
const VERIFY_BYTES: u64 = 1024 * 1024;

/// An open run. Blocks may be read from several threads.
pub struct RunReader {
    file: OpenFile,
    bytes: u64,
    crc: u32,
    blocks: Vec<BlockInfo>,
}

impl RunReader {
    /// Opens a run and verifies header, footer and tail; blocks are verified when they are read.
    pub(crate) fn open(files: &Files, path: &Path) -> Result<RunReader, StateError> {
        let file = files.open(path, Access::Read)?;
        let bytes = file.length()?;
        let mut reader = RunReader { file, bytes, crc: 0, blocks: vec![] };
        if bytes < (HEADER_BYTES + TAIL_BYTES) as u64 {
            return Err(reader.corrupt("the file is too short"));
        }
        reader.check_header()?;
        reader.read_footer()?;
        Ok(reader)
    }

    /// Like [`open`](Self::open), for a run that a manifest names: also its length and checksum must be as stated
    /// there, and the whole file is read and verified.
    pub(crate) fn open_verified(files: &Files, runs: &Path, run: &RunRef) -> Result<RunReader, StateError> {
        let reader = RunReader::open(files, &runs.join(&run.file))?;
        if reader.bytes != run.bytes || reader.crc != run.crc {
            return Err(reader.corrupt("it is not the file that the manifest names"));
        }
        reader.verify()?;
        Ok(reader)
    }

    /// What the run holds, in order of application.
    pub fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads block `index`.
    pub fn read_block(&self, index: usize) -> Result<StateBlock, StateError> {
        let batches = self.stream_block(index)?.collect::<Result<_, _>>()?;
        let info = &self.blocks[index];
        let (id, kind, vnode_columns) = (info.id, info.kind, info.vnode_columns.clone());
        let (relation, operator, table) = (id.relation, id.operator, id.table);
        Ok(StateBlock { relation, operator, table, kind, vnode_columns, batches })
    }

    /// Block `index` batch by batch; its checksum is verified first.
    pub(crate) fn stream_block(&self, index: usize) -> Result<BlockStream, StateError> {
        BlockStream::open(&self.file, index, &self.blocks[index])
    }

    /// Reads the whole file and compares its checksum.
    pub fn verify(&self) -> Result<(), StateError> {
        let mut hasher = crc32fast::Hasher::new();
        let end = self.bytes - (END_MAGIC.len() + 4) as u64;
        let mut at = 0;
        while at < end {
            let part = self.read_at(at, VERIFY_BYTES.min(end - at) as usize)?;
            hasher.update(&part);
            at += part.len() as u64;
        }
        if hasher.finalize() == self.crc { Ok(()) } else { Err(self.corrupt("the checksum of the file is wrong")) }
    }

    fn check_header(&self) -> Result<(), StateError> {
        let header = self.read_at(0, HEADER_BYTES)?;
        let crc = u32::from_le_bytes(header[HEADER_BYTES - 4..].try_into().expect("four bytes"));
        if &header[..8] != MAGIC || crc32fast::hash(&header[..HEADER_BYTES - 4]) != crc {
            return Err(self.corrupt("the header does not verify"));
        }
        let found = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
        if found > FORMAT {
            return Err(StateError::NewerFormat { path: self.file.path().into(), found, known: FORMAT });
        }
        let name = self.file.path().file_name().and_then(|n| n.to_str()).and_then(RunName::parse);
        if name.is_none_or(|name| writer::header(name) != header) {
            return Err(self.corrupt("the header belongs to another file name"));
        }
        Ok(())
    }

    fn read_footer(&mut self) -> Result<(), StateError> {
        let tail = self.read_at(self.bytes - TAIL_BYTES as u64, TAIL_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(tail[at..at + 4].try_into().expect("four bytes"));
        let footer_bytes = u64::from(word(0));
        if &tail[12..] != END_MAGIC || footer_bytes > self.bytes - (HEADER_BYTES + TAIL_BYTES) as u64 {
            return Err(self.corrupt("the tail does not verify"));
        }
        let start = self.bytes - TAIL_BYTES as u64 - footer_bytes;
        let footer = self.read_at(start, footer_bytes as usize)?;
        if crc32fast::hash(&footer) != word(4) {
            return Err(self.corrupt("the footer does not verify"));
        }
        self.crc = word(8);
        self.blocks = serde_json::from_slice(&footer)?;
        let mut at = HEADER_BYTES as u64;
        for block in &self.blocks {
            if block.offset != at {
                return Err(self.corrupt("the footer leaves gaps"));
            }
            at = at.saturating_add(block.length);
        }
        if at != start { Err(self.corrupt("the footer leaves gaps")) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, StateError> {
        self.file.read_exact_at(offset, length)
    }

    fn corrupt(&self, reason: &str) -> StateError {
        StateError::corrupt(self.file.path(), reason)
    }
}
