//! One CSV or JSON-lines file, read block by block from any record on. Knows about bytes and offsets; what a record is,
//! the decoder knows.

use std::fs::File;

use super::content::Content;
use super::{PartitionReader, Step};
use crate::format::TextDecoder;
use crate::format::rows::RowBuilder;
use crate::{Chunk, ConnectorError};

/// Bytes read at once, at most and at least.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;
const BLOCK_BYTES_MIN: usize = 16 * 1024;
/// A longer record is not one: the file is something else.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Which part of a file is read.
pub(super) struct Range {
    pub from: u64,
    pub until: Option<u64>,
    pub follow: bool,
}

pub(super) struct TextPartition {
    partition: String,
    path: String,
    content: Content,
    decoder: Box<dyn TextDecoder>,
    rows: RowBuilder,
    /// Read up to here, as if the file ended.
    until: Option<u64>,
    follow: bool,
    /// Where the next chunk starts.
    from: u64,
    /// File offset of `buffer[start]`; everything before is decoded.
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    begun: bool,
    /// False when decoding again can give nothing before more bytes are read.
    untried: bool,
}

impl TextPartition {
    pub fn new(
        partition: &str,
        path: &str,
        content: Content,
        decoder: Box<dyn TextDecoder>,
        rows: RowBuilder,
        range: Range,
    ) -> Self {
        let Range { from, until, follow } = range;
        TextPartition {
            partition: partition.to_string(),
            path: path.to_string(),
            content,
            decoder,
            rows,
            until,
            follow,
            from,
            offset: from,
            buffer: vec![],
            start: 0,
            end: 0,
            begun: false,
            untried: false,
        }
    }

    /// Reads byte-order mark and header from the start of the file. False if they aren't complete yet.
    pub fn begin(&mut self) -> Result<bool, ConnectorError> {
        let mut head = vec![0; BLOCK_BYTES_MIN];
        let mut filled = 0;
        let prologue = loop {
            let read = self.content.read_at(&mut head[filled..], filled as u64)?;
            filled += read;
            let complete = read == 0 && !self.may_grow();
            let bytes = &head[..filled];
            let mark = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
            let undecided = filled < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(bytes) && !complete;
            let length = if undecided { None } else { self.decoder.begin(&bytes[mark..], complete)? };
            match length {
                Some(length) => break mark + length,
                None if read == 0 => return Ok(false),
                None if filled == head.len() => head.resize(self.larger(head.len())?, 0),
                None => {}
            }
        };
        self.offset = self.offset.max(prologue as u64);
        self.begun = true;
        Ok(true)
    }

    /// Decodes what is buffered. `None` if that gave nothing.
    fn decode(&mut self, complete: bool, rows_max: usize) -> Option<Chunk> {
        let input = &self.buffer[self.start..self.end];
        let used = self.decoder.decode(input, self.offset, complete, rows_max, &mut self.rows);
        self.start += used;
        self.offset += used as u64;
        self.untried = self.rows.row_count() + self.rows.errors.len() >= rows_max;
        (self.offset > self.from).then(|| {
            let from = std::mem::replace(&mut self.from, self.offset);
            let (rows, positions, errors) = self.rows.finish();
            let partition = self.partition.clone();
            Chunk { partition, from, to: self.offset, rows, positions, errors, bytes: self.offset - from }
        })
    }

    /// Reads the next block behind what is buffered. False at the end of the file, or at `until`.
    fn fill(&mut self) -> Result<bool, ConnectorError> {
        let pending = self.end - self.start;
        let at = self.offset + pending as u64;
        let length = self.content.length()?;
        if length.is_some_and(|length| length < self.until.unwrap_or(at).max(at)) {
            return Err(self.lost());
        }
        let end = self.until.or(length);
        let left = end.map_or(BLOCK_BYTES_MAX as u64, |end| end.saturating_sub(at));
        if left == 0 {
            // A quiet file holds no memory.
            if pending == 0 {
                (self.buffer, self.start, self.end) = (vec![], 0, 0);
            }
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, pending);
        let block = usize::try_from(left).unwrap_or(usize::MAX).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        if self.buffer.len() < block {
            self.buffer.resize(block, 0);
        }
        if self.end == self.buffer.len() {
            let larger = self.larger(self.buffer.len())?;
            self.buffer.resize(larger, 0);
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len() - self.end);
        let target = &mut self.buffer[self.end..self.end + room];
        let read = self.content.read_at(target, at)?;
        if read == 0 && self.until.is_some() {
            return Err(self.lost());
        }
        self.end += read;
        self.untried = read > 0;
        Ok(read > 0)
    }

    fn larger(&self, size: usize) -> Result<usize, ConnectorError> {
        if size >= RECORD_BYTES_MAX {
            let reason = format!("The record at byte {} is longer than {RECORD_BYTES_MAX} bytes", self.offset);
            return Err(ConnectorError::Corrupt { path: self.path.clone(), format: "text", reason });
        }
        Ok(size * 2)
    }

    fn lost(&self) -> ConnectorError {
        let position = self.until.unwrap_or(self.from);
        ConnectorError::HistoryLost { partition: self.partition.clone(), position }
    }

    /// More bytes may come behind those that are there.
    fn may_grow(&self) -> bool {
        self.follow && self.until.is_none() && self.content.may_grow()
    }
}

impl PartitionReader for TextPartition {
    fn read(&mut self, rows_max: usize) -> Result<Step, ConnectorError> {
        if !self.begun && !self.begin()? {
            return Ok(Step::Pending);
        }
        loop {
            if self.untried
                && let Some(chunk) = self.decode(false, rows_max)
            {
                return Ok(Step::Chunk(chunk));
            }
            if self.fill()? {
                continue;
            }
            if self.may_grow() {
                return Ok(Step::Pending);
            }
            if self.until.is_none() && self.content.may_grow() && self.content.length()?.is_none() {
                return Err(self.content.cut_short());
            }
            // No bytes follow: what is left is a record also without a line end.
            return Ok(match self.decode(true, rows_max) {
                Some(chunk) => Step::Chunk(chunk),
                None => Step::End,
            });
        }
    }

    fn complete(&mut self) {
        self.follow = false;
    }

    fn file(&self) -> Option<&File> {
        Some(self.content.file())
    }
}
