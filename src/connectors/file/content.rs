//! The bytes of one file by offset: as they are, or decompressed. An offset into a compressed file counts decompressed
//! bytes; going back, or opening it further on, reads it from its start again.
//!
//! Nothing here can block for ever: only regular files are opened, and asked for without waiting for a writer.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::listing::missing_or_io;
use crate::ConnectorError;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// Decompressed and thrown away at once on the way to an offset.
const SKIPPED_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

pub(super) struct Content {
    path: String,
    file: File,
    compression: Compression,
    /// Of a compressed file: the decoder and how far it has come.
    stream: Option<(Box<dyn Read + Send>, u64)>,
    /// The compressed data end in the middle.
    incomplete: bool,
}

/// Opens a regular file for reading. Errors: `FileNotFound`, `NotRegular`, `Io`.
pub(super) fn open_regular(path: &str) -> Result<File, ConnectorError> {
    let failed = |error| missing_or_io(Path::new(path), error);
    check_regular(path, &std::fs::metadata(path).map_err(failed)?)?;
    // It may have been replaced since: a pipe without a writer must not hold us, and is not read.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    check_regular(path, &file.metadata().map_err(failed)?)?;
    Ok(file)
}

pub(super) fn check_regular(path: &str, metadata: &Metadata) -> Result<(), ConnectorError> {
    let file_type = metadata.file_type();
    let kind = match file_type {
        regular if regular.is_file() => return Ok(()),
        directory if directory.is_dir() => "a directory",
        pipe if pipe.is_fifo() => "a named pipe",
        socket if socket.is_socket() => "a socket",
        device if device.is_char_device() => "a character device",
        device if device.is_block_device() => "a block device",
        _ => "a special file",
    };
    Err(ConnectorError::NotRegular { path: path.to_string(), kind })
}

/// What the first bytes say, or the name while there are none.
fn detect(file: &File, path: &str) -> std::io::Result<Compression> {
    let mut head = [0; ZSTD.len()];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(match &head[..filled] {
        gzip if gzip.starts_with(GZIP) => Compression::Gzip,
        zstd if zstd.starts_with(ZSTD) => Compression::Zstd,
        [] if path.ends_with(".gz") => Compression::Gzip,
        [] if path.ends_with(".zst") => Compression::Zstd,
        _ => Compression::None,
    })
}

impl Content {
    /// `compression`: `None` finds out.
    pub fn open(path: &str, compression: Option<Compression>) -> Result<Content, ConnectorError> {
        let file = open_regular(path)?;
        let compression = match compression {
            Some(compression) => compression,
            None => detect(&file, path).map_err(|source| io(path, source))?,
        };
        Ok(Content { path: path.to_string(), file, compression, stream: None, incomplete: false })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether more bytes may come: a compressed file is whole once its data end as they should.
    pub fn may_grow(&self) -> bool {
        self.compression == Compression::None || self.incomplete
    }

    /// Length, if it is known without reading all of it.
    pub fn length(&self) -> Result<Option<u64>, ConnectorError> {
        match self.compression {
            Compression::None => Ok(Some(self.file.metadata().map_err(|source| io(&self.path, source))?.len())),
            Compression::Gzip | Compression::Zstd => Ok(None),
        }
    }

    /// Reads some bytes at `offset`; none at the end.
    /// Errors: `HistoryLost` if a compressed file ends before `offset`, `Corrupt` if its data are damaged.
    pub fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, ConnectorError> {
        if self.compression == Compression::None {
            return self.file.read_at(buffer, offset).map_err(|source| io(&self.path, source));
        }
        self.skip_to(offset)?;
        let read = self.decompress(buffer)?;
        Ok(read)
    }

    fn skip_to(&mut self, offset: u64) -> Result<(), ConnectorError> {
        if self.stream.as_ref().is_none_or(|(_, at)| *at > offset) {
            self.stream = Some((self.decoder()?, 0));
        }
        let mut skipped = [0; SKIPPED_BYTES];
        loop {
            let at = self.stream.as_ref().map_or(0, |(_, at)| *at);
            let left = usize::try_from(offset - at).unwrap_or(usize::MAX).min(skipped.len());
            if left == 0 {
                return Ok(());
            }
            if self.decompress(&mut skipped[..left])? == 0 && !self.incomplete {
                return Err(ConnectorError::HistoryLost { partition: self.path.clone(), position: offset });
            }
            if self.incomplete {
                return Ok(());
            }
        }
    }

    /// The next decompressed bytes; none at the end, and where the data end in the middle.
    fn decompress(&mut self, buffer: &mut [u8]) -> Result<usize, ConnectorError> {
        let Some((decoder, at)) = &mut self.stream else { return Ok(0) };
        match decoder.read(buffer) {
            Ok(read) => {
                *at += read as u64;
                self.incomplete = false;
                Ok(read)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                // More may have been written when it is looked at again.
                (self.stream, self.incomplete) = (None, true);
                Ok(0)
            }
            Err(error) if error.raw_os_error().is_some() => Err(io(&self.path, error)),
            Err(error) => Err(self.corrupt(error.to_string())),
        }
    }

    /// Of a file that is not written to any more: it ends in the middle.
    pub fn cut_short(&self) -> ConnectorError {
        self.corrupt("It ends in the middle of its compressed data".into())
    }

    fn corrupt(&self, reason: String) -> ConnectorError {
        let format = match self.compression {
            Compression::None => "text",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        };
        ConnectorError::Corrupt { path: self.path.clone(), format, reason }
    }

    fn decoder(&self) -> Result<Box<dyn Read + Send>, ConnectorError> {
        let input = At { file: self.file.try_clone().map_err(|source| io(&self.path, source))?, offset: 0 };
        Ok(match self.compression {
            Compression::None => unreachable!("plain files are read as they are"),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(input))),
            Compression::Zstd => {
                Box::new(zstd::stream::read::Decoder::new(input).map_err(|source| io(&self.path, source))?)
            }
        })
    }
}

/// A file read in order, by offsets of its own.
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

fn io(path: &str, source: std::io::Error) -> ConnectorError {
    ConnectorError::Io { path: path.to_string(), source }
}
