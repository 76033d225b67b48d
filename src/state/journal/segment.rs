//! The format of a journal segment: how entries look as bytes. Reading decides nothing about damage; `replay.rs` does.
//!
//! File: header (a sector of its own), marks and link (`marks.rs`), then entries. Little endian.
//! ```text
//! segment header: magic "HWJRNL01" | format u32 | salt u32 | first position u64 | chain u32 | crc u32
//! entry:          magic u16 | kind u8 | length u32 | position u64 | previous u32 | payload crc u32 | crc u32 | payload
//! ```
//! An entry's crc covers its header and is seeded with the segment's salt; `previous` repeats the crc of the entry
//! before, so entries can neither be swapped nor come from another file. Kind 0 is a batch mark: it stands in front of
//! every write, `position` says how far the journal was durable then, and it is outside the chain.
//! In format 1 entries followed the header immediately; it is read, but not written.

use std::path::Path;

use super::marks::{ENTRIES_AT, Marks};
use crate::StateError;

pub(super) const FORMAT: u32 = 2;
/// The format without marks.
const FORMAT_UNMARKED: u32 = 1;
pub(super) const SEGMENT_HEADER_BYTES: usize = 32;
/// Smallest unit that a disk writes as a whole.
pub(super) const SECTOR_BYTES: usize = 512;
pub(super) const ENTRY_HEADER_BYTES: usize = 27;
/// Kind of a batch mark.
pub(super) const BATCH: u8 = 0;
const SEGMENT_MAGIC: &[u8; 8] = b"HWJRNL01";
const ENTRY_MAGIC: [u8; 2] = [0xD7, 0x4A];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Random: entries of other segments and journals don't verify here.
    pub(super) salt: u32,
    pub(super) first_position: u64,
    /// Crc of the entry before the first.
    pub(super) chain: u32,
    /// False: of the format before there were marks.
    pub(super) marked: bool,
}

impl SegmentHeader {
    pub(super) fn new(salt: u32, first_position: u64, chain: u32) -> Self {
        SegmentHeader { salt, first_position, chain, marked: true }
    }

    /// Everything in front of the first entry.
    pub(super) fn head(&self, marks: &Marks) -> Vec<u8> {
        let mut head = vec![0; ENTRIES_AT];
        head[..SEGMENT_HEADER_BYTES].copy_from_slice(&self.encode());
        marks.encode(&mut head);
        head
    }

    /// Where the entries begin.
    pub(super) fn entries_at(&self) -> usize {
        if self.marked { ENTRIES_AT } else { SEGMENT_HEADER_BYTES }
    }

    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let format = if self.marked { FORMAT } else { FORMAT_UNMARKED };
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&format.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_position.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are no valid header. Errors: `NewerFormat`.
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Option<Self>, StateError> {
        let Some(bytes) = bytes.get(..SEGMENT_HEADER_BYTES) else { return Ok(None) };
        if &bytes[..8] != SEGMENT_MAGIC || crc32fast::hash(&bytes[..28]) != u32_at(bytes, 28) {
            return Ok(None);
        }
        let found = u32_at(bytes, 8);
        if found > FORMAT {
            return Err(StateError::NewerFormat { path: path.into(), found, known: FORMAT });
        }
        let (salt, first_position, chain) = (u32_at(bytes, 12), u64_at(bytes, 16), u32_at(bytes, 24));
        Ok(Some(SegmentHeader { salt, first_position, chain, marked: found > FORMAT_UNMARKED }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub(super) kind: u8,
    pub(super) length: u32,
    pub(super) position: u64,
    pub(super) previous: u32,
    pub(super) payload_crc: u32,
}

impl EntryHeader {
    /// Appends the header without its salt-dependent crc and returns the chain value.
    ///
    /// The chain is the crc of the fields alone: entries are queued before it is known which segment they go to.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&ENTRY_MAGIC);
        out.push(self.kind);
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        let chain = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&chain.to_le_bytes());
        chain
    }

    /// The header at the start of `bytes` and its chain value; `None` if it doesn't verify.
    pub(super) fn decode(bytes: &[u8], salt: u32) -> Option<(Self, u32)> {
        let bytes = bytes.get(..ENTRY_HEADER_BYTES)?;
        if bytes[..2] != ENTRY_MAGIC {
            return None;
        }
        let chain = crc32fast::hash(&bytes[..23]);
        if chain ^ salt != u32_at(bytes, 23) {
            return None;
        }
        let (length, position) = (u32_at(bytes, 3), u64_at(bytes, 7));
        let (previous, payload_crc) = (u32_at(bytes, 15), u32_at(bytes, 19));
        Some((EntryHeader { kind: bytes[2], length, position, previous, payload_crc }, chain))
    }

    pub(super) fn total_bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.length as usize
    }
}

/// The chain value that the first of these encoded entries continues.
pub(super) fn previous_of(bytes: &[u8]) -> u32 {
    u32_at(bytes, 15)
}

/// Ties queued entries to the segment they are written to: their header crcs get its salt.
pub(super) fn salt_entries(bytes: &mut [u8], salt: u32) {
    let mut at = 0;
    while at < bytes.len() {
        let length = u32_at(bytes, at + 3) as usize;
        let crc = u32_at(bytes, at + 23) ^ salt;
        bytes[at + 23..at + 27].copy_from_slice(&crc.to_le_bytes());
        at += ENTRY_HEADER_BYTES + length;
    }
}

/// A batch mark: the journal was durable up to `durable` when it was written.
pub(super) fn batch_mark(durable: u64, salt: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_HEADER_BYTES);
    let payload_crc = crc32fast::hash(&[]);
    EntryHeader { kind: BATCH, length: 0, position: durable, previous: 0, payload_crc }.encode(&mut bytes);
    salt_entries(&mut bytes, salt);
    bytes
}

pub(super) fn file_name(first_position: u64) -> String {
    format!("{first_position:010}.log")
}

/// The first position a file name states, if it is a segment's.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
