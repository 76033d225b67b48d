//! Writing a run: blocks in, one durable file out.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::ipc::CompressionType;

use super::stream::Sink;
use super::{BlockInfo, END_MAGIC, FORMAT, HEADER_BYTES, MAGIC, RunName, encoding};
use crate::disk::{self, Files, OpenFile};
use crate::merge::merge_batches;
use crate::{RunRef, StateBlock, StateError};

/// Rows sorted and merged at a time.
pub(crate) const MERGED_ROWS_MAX: usize = 262_144;

/// Writes one run file. Dropped before [`finish`](Self::finish) it leaves nothing behind.
pub struct RunWriter {
    path: PathBuf,
    name: RunName,
    files: Files,
    file: OpenFile,
    crc: crc32fast::Hasher,
    length: u64,
    blocks: Vec<BlockInfo>,
    memory_bytes: u64,
    finished: bool,
}

/// What became of the blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenRun {
    pub run: RunRef,
    pub blocks: Vec<BlockInfo>,
    /// Arrow memory of the blocks as given, before merging and compression.
    pub memory_bytes: u64,
}

impl RunWriter {
    /// Starts `name` in the directory `runs`.
    pub(crate) fn create(files: &Files, runs: &Path, name: RunName) -> Result<RunWriter, StateError> {
        let path = runs.join(name.file_name());
        assert!(!files.exists(&path)?, "run names are never given out twice");
        let file = files.create(&disk::temporary(&path))?;
        let crc = crc32fast::Hasher::new();
        let (files, blocks) = (files.clone(), vec![]);
        let mut writer =
            RunWriter { path, name, files, file, crc, length: 0, blocks, memory_bytes: 0, finished: false };
        writer.write(&header(name))?;
        Ok(writer)
    }

    /// Appends a block, merged with itself: one row per key (keyed) or distinct row (multiset). A block of more than
    /// `MERGED_ROWS_MAX` rows becomes several, each merged alone, so that memory does not grow with the checkpoint.
    /// Blocks of which nothing is left are not written.
    pub fn write_block(&mut self, block: StateBlock) -> Result<(), StateError> {
        self.memory_bytes += block.memory_bytes() as u64;
        let (id, kind, vnode_columns) = (block.id(), block.kind, &block.vnode_columns);
        let info = || {
            let vnode_columns = vnode_columns.clone();
            BlockInfo { id, kind, vnode_columns, offset: 0, length: 0, crc: 0, rows: 0, base: false }
        };
        let (mut part, mut rows) = (vec![], 0);
        for batch in &block.batches {
            let mut start = 0;
            while start < batch.num_rows() {
                let length = (batch.num_rows() - start).min(MERGED_ROWS_MAX - rows);
                part.push(batch.slice(start, length));
                (start, rows) = (start + length, rows + length);
                if rows == MERGED_ROWS_MAX {
                    self.write_merged(info(), &merge_batches(kind, std::mem::take(&mut part))?)?;
                    rows = 0;
                }
            }
        }
        self.write_merged(info(), &merge_batches(kind, part)?)
    }

    /// Appends a merged block, batch by batch. `like`: one of the blocks it replaces; `base`: it holds everything about
    /// its table.
    pub(crate) fn write_sorted(
        &mut self,
        like: &BlockInfo,
        base: bool,
        mut batches: impl Iterator<Item = Result<RecordBatch, StateError>>,
    ) -> Result<(), StateError> {
        let Some(first) = batches.next().transpose()? else { return Ok(()) };
        let info = BlockInfo { base, ..like.clone() };
        let Some(second) = batches.next().transpose()? else {
            self.memory_bytes += first.get_array_memory_size() as u64;
            return self.write_merged(info, &[first]);
        };
        let (offset, mut rows, mut memory_bytes) = (self.length, 0, 0);
        let sink =
            Sink { write: |bytes: &[u8]| self.write(bytes), length: 0, crc: crc32fast::Hasher::new(), failed: None };
        let mut encoder = encoding::encoder(sink, &first.schema(), Some(CompressionType::LZ4_FRAME))?;
        for batch in [Ok(first), Ok(second)].into_iter().chain(batches) {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            memory_bytes += batch.get_array_memory_size() as u64;
            encoder.write(&batch).map_err(|error| encoder.get_mut().failed.take().unwrap_or(error.into()))?;
        }
        encoder.finish().map_err(|error| encoder.get_mut().failed.take().unwrap_or(error.into()))?;
        let Sink { length, crc, .. } = encoder.into_inner()?;
        self.memory_bytes += memory_bytes;
        self.blocks.push(BlockInfo { offset, length, crc: crc.finalize(), rows, ..info });
        Ok(())
    }

    fn write_merged(&mut self, info: BlockInfo, batches: &[RecordBatch]) -> Result<(), StateError> {
        if batches.is_empty() {
            return Ok(());
        }
        let bytes = encoding::encode(batches)?;
        let rows = batches.iter().map(|b| b.num_rows() as u64).sum();
        let (offset, length, crc) = (self.length, bytes.len() as u64, crc32fast::hash(&bytes));
        self.write(&bytes)?;
        self.blocks.push(BlockInfo { offset, length, crc, rows, ..info });
        Ok(())
    }

    /// True if no block was worth writing.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Completes the file: on return it has its name and is durable.
    pub fn finish(mut self) -> Result<WrittenRun, StateError> {
        let footer = serde_json::to_vec(&self.blocks)?;
        let mut tail = Vec::with_capacity(super::TAIL_BYTES);
        tail.extend_from_slice(&(footer.len() as u32).to_le_bytes());
        tail.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
        self.write(&footer)?;
        self.write(&tail)?;
        let crc = self.crc.clone().finalize();
        self.write(&crc.to_le_bytes())?;
        self.write(END_MAGIC)?;
        self.file.sync()?;
        self.files.publish(&self.path)?;
        self.finished = true;
        let mut relations: Vec<_> = self.blocks.iter().map(|b| b.id.relation).collect();
        relations.sort_unstable();
        relations.dedup();
        let (file, epoch, bytes) = (self.name.file_name(), self.name.epoch, self.length);
        let run = RunRef { file, epoch, crc, bytes, relations, dead: vec![] };
        Ok(WrittenRun { run, blocks: std::mem::take(&mut self.blocks), memory_bytes: self.memory_bytes })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.file.write_at(bytes, self.length)?;
        self.crc.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: the next start removes leftovers.
            let _ = self.files.remove_file(&disk::temporary(&self.path));
        }
    }
}

pub(super) fn header(name: RunName) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(&name.epoch.to_le_bytes());
    header.extend_from_slice(&name.writer.to_le_bytes());
    header.extend_from_slice(&name.sequence.to_le_bytes());
    let crc = crc32fast::hash(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    header
}
