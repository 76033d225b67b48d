//! Reading and writing a block batch by batch, for merges of tables that are larger than memory should hold twice.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;

use super::BlockInfo;
use crate::StateError;

/// Bytes read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// The batches of a block in order. Its checksum is verified with the last one: what was made of the others may not be
/// used if that fails.
pub(crate) struct BlockStream {
    path: PathBuf,
    info: BlockInfo,
    batches: StreamReader<BufReader<Section>>,
    rows: u64,
    done: bool,
}

impl BlockStream {
    pub fn open(path: &Path, file: &File, info: &BlockInfo) -> Result<BlockStream, StateError> {
        let file = file.try_clone().map_err(|e| StateError::io("open", path, e))?;
        let section = Section { file, at: info.offset, left: info.length, crc: crc32fast::Hasher::new() };
        let batches = StreamReader::try_new(BufReader::with_capacity(READ_BYTES, section), None)?;
        Ok(BlockStream { path: path.into(), info: info.clone(), batches, rows: 0, done: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rest of the block's bytes, its checksum and its number of rows.
    fn verify(&mut self) -> Result<(), StateError> {
        let rest = self.batches.get_mut();
        io::copy(rest, &mut io::sink()).map_err(|e| StateError::io("read", &self.path, e))?;
        let crc = self.batches.get_ref().get_ref().crc.clone().finalize();
        if crc != self.info.crc || self.rows != self.info.rows {
            return Err(StateError::corrupt(&self.path, "a block does not verify"));
        }
        Ok(())
    }
}

impl Iterator for BlockStream {
    type Item = Result<RecordBatch, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.batches.next() {
            Some(Ok(batch)) => {
                self.rows += batch.num_rows() as u64;
                Some(Ok(batch))
            }
            Some(Err(error)) => {
                self.done = true;
                Some(Err(error.into()))
            }
            None => {
                self.done = true;
                self.verify().err().map(Err)
            }
        }
    }
}

/// A part of a file, with the checksum of what was read of it.
struct Section {
    file: File,
    at: u64,
    left: u64,
    crc: crc32fast::Hasher,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.crc.update(&buffer[..read]);
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
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
