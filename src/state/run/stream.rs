//! Reading and writing a block batch by batch: neither a merge nor a restart holds a large table's bytes beside its rows.

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;

use super::BlockInfo;
use crate::StateError;
use crate::disk::{DiskFile, OpenFile};

/// Bytes read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// The batches of a block in order. Its checksum was verified at opening: what is decoded is what was written.
pub(crate) struct BlockStream {
    path: PathBuf,
    /// Number in its run, for messages.
    index: usize,
    expected_rows: u64,
    batches: StreamReader<BufReader<Section>>,
    rows: u64,
}

impl BlockStream {
    pub fn open(file: &OpenFile, index: usize, info: &BlockInfo) -> Result<BlockStream, StateError> {
        let path = file.path();
        let io = |e| StateError::io("read", path, e);
        let section = || Section { file: file.raw().clone(), at: info.offset, left: info.length };
        let mut hasher = Hashed(crc32fast::Hasher::new());
        io::copy(&mut BufReader::with_capacity(READ_BYTES, section()), &mut hasher).map_err(io)?;
        if hasher.0.finalize() != info.crc {
            return Err(StateError::corrupt(path, format!("block {index} does not verify")));
        }
        let batches = StreamReader::try_new(BufReader::with_capacity(READ_BYTES, section()), None)?;
        Ok(BlockStream { path: path.into(), index, expected_rows: info.rows, batches, rows: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check_rows(&self) -> Result<(), StateError> {
        let (index, rows, expected) = (self.index, self.rows, self.expected_rows);
        if rows == expected {
            return Ok(());
        }
        let reason = format!("block {index} has {rows} rows, the footer says {expected}");
        Err(StateError::corrupt(&self.path, reason))
    }
}

impl Iterator for BlockStream {
    type Item = Result<RecordBatch, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.next() {
            Some(batch) => {
                self.rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
                Some(batch.map_err(StateError::from))
            }
            None => self.check_rows().err().map(Err),
        }
    }
}

/// A part of a file.
struct Section {
    file: Arc<dyn DiskFile>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Takes in bytes for their checksum alone.
struct Hashed(crc32fast::Hasher);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes bytes on to `write`, with their checksum; remembers its error, which Arrow's writer would hide.
pub(super) struct Sink<W> {
    pub write: W,
    pub length: u64,
    pub crc: crc32fast::Hasher,
    pub failed: Option<StateError>,
}

impl<W: FnMut(&[u8]) -> Result<(), StateError>> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = (self.write)(bytes) {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        self.crc.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
