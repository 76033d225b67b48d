//! Reading the journal at start, and telling a torn tail from damage.
//!
//! A power cut may leave any mixture of old and new sectors of the last, unacknowledged write. Old content there is
//! nothing (the file ends) or zeros, for segments only grow. So a bad entry is a torn tail if the file ends inside it
//! or if one of its sectors is all zero, and if no later batch mark says that it had been durable. Everything else is
//! damage to data that may have been acknowledged, and is refused.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::JournalEntry;
use super::segment::{self, BATCH, ENTRY_HEADER_BYTES, EntryHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::{StateError, disk};

/// Smallest unit that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// Where the journal ends, and the segment that goes on.
pub(super) struct JournalEnd {
    pub(super) position: u64,
    pub(super) chain: u32,
    /// `None`: the journal is empty.
    pub(super) open_segment: Option<OpenSegment>,
}

pub(super) struct OpenSegment {
    pub(super) path: PathBuf,
    pub(super) salt: u32,
    pub(super) length: u64,
}

type OnEntry<'a> = dyn FnMut(JournalEntry) -> Result<(), StateError> + 'a;

/// Reads all segments that may hold entries above `after`; see [`Journal::open`](super::Journal::open).
pub(super) fn replay(
    dir: &Path,
    after: u64,
    create: bool,
    on_entry: &mut OnEntry<'_>,
) -> Result<JournalEnd, StateError> {
    let mut segments = list_segments(dir)?;
    remove_torn_creation(dir, &mut segments)?;
    if segments.is_empty() {
        if after > 0 || !create {
            return Err(StateError::corrupt(dir, format!("the journal is missing, entries after {after} are needed")));
        }
        return Ok(JournalEnd { position: 0, chain: 0, open_segment: None });
    }
    let Some(start) = segments.iter().rposition(|(first, _)| *first <= after + 1) else {
        let reason = format!("the journal begins at entry {}, entry {} is missing", segments[0].0, after + 1);
        return Err(StateError::corrupt(dir, reason));
    };
    let mut end: Option<JournalEnd> = None;
    for (index, (first, path)) in segments.iter().enumerate().skip(start) {
        let last = index == segments.len() - 1;
        end = Some(SegmentScan::begin(path, *first, end)?.run(after, last, on_entry)?);
    }
    let end = end.expect("there is at least one segment");
    if end.position < after {
        let reason = format!("the journal ends at entry {}, the manifest needs entry {after}", end.position);
        return Err(StateError::corrupt(dir, reason));
    }
    if let Some(open) = &end.open_segment {
        // What was read may only be in the page cache, if the last process was killed.
        sync_file(&open.path)?;
    }
    Ok(end)
}

/// Deletes segments all of whose entries are below `position`; never the last one.
pub(super) fn remove_segments_before(dir: &Path, position: u64) -> Result<(), StateError> {
    let segments = list_segments(dir)?;
    for pair in segments.windows(2) {
        let ((_, path), (next_first, _)) = (&pair[0], &pair[1]);
        if *next_first > position {
            break;
        }
        fs::remove_file(path).map_err(|e| StateError::io("remove", path, e))?;
        // One by one and in order: a crash must not leave a gap.
        disk::sync_dir(dir)?;
    }
    Ok(())
}

fn list_segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StateError> {
    let files = disk::list_files(dir)?.into_iter();
    let mut segments: Vec<_> =
        files.filter_map(|(name, path)| Some((segment::parse_file_name(&name)?, path))).collect();
    segments.sort();
    Ok(segments)
}

/// A segment's header is synced before its first entry is written, so one without holds nothing.
fn remove_torn_creation(dir: &Path, segments: &mut Vec<(u64, PathBuf)>) -> Result<(), StateError> {
    let Some((_, path)) = segments.last() else { return Ok(()) };
    let length = fs::metadata(path).map_err(|e| StateError::io("read", path, e))?.len();
    if length > SEGMENT_HEADER_BYTES as u64 {
        return Ok(());
    }
    let bytes = disk::read(path)?;
    if bytes.len() < SEGMENT_HEADER_BYTES || bytes.iter().all(|b| *b == 0) {
        fs::remove_file(path).map_err(|e| StateError::io("remove", path, e))?;
        disk::sync_dir(dir)?;
        segments.pop();
    }
    Ok(())
}

fn sync_file(path: &Path) -> Result<(), StateError> {
    let file = File::options().write(true).open(path).map_err(|e| StateError::io("open", path, e))?;
    file.sync_all().map_err(|e| StateError::sync(path, e))
}

/// One segment being read.
struct SegmentScan<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    salt: u32,
    /// Position and chain value of the entry read last.
    position: u64,
    chain: u32,
    offset: usize,
}

enum Next {
    Entry(EntryHeader, u32),
    Mark,
    End,
    /// Nothing valid here; the header, if that at least verified.
    Bad(Option<EntryHeader>),
}

impl<'a> SegmentScan<'a> {
    /// Reads the file and checks that it continues `before`.
    fn begin(path: &'a Path, first: u64, before: Option<JournalEnd>) -> Result<Self, StateError> {
        let bytes = disk::read(path)?;
        let header = SegmentHeader::decode(path, &bytes)?;
        let header = header.ok_or_else(|| StateError::corrupt(path, "the header's checksum is wrong"))?;
        if header.first_position != first {
            let reason = format!("the file is named {first} but begins with entry {}", header.first_position);
            return Err(StateError::corrupt(path, reason));
        }
        if let Some(before) = before
            && (before.position + 1 != first || before.chain != header.chain)
        {
            return Err(StateError::corrupt(path, format!("it does not continue entry {}", before.position)));
        }
        let (salt, chain) = (header.salt, header.chain);
        Ok(SegmentScan { path, bytes, salt, position: first - 1, chain, offset: SEGMENT_HEADER_BYTES })
    }

    fn run(mut self, after: u64, last: bool, on_entry: &mut OnEntry<'_>) -> Result<JournalEnd, StateError> {
        loop {
            match self.next()? {
                Next::Mark => self.offset += ENTRY_HEADER_BYTES,
                Next::Entry(header, chain) => {
                    let payload = self.offset + ENTRY_HEADER_BYTES..self.offset + header.total_bytes();
                    self.offset = payload.end;
                    (self.position, self.chain) = (header.position, chain);
                    if header.position > after {
                        let (position, kind) = (header.position, header.kind);
                        on_entry(JournalEntry { position, kind, payload: self.bytes[payload].to_vec() })?;
                    }
                }
                Next::End => break,
                Next::Bad(header) if last && self.is_torn_tail(header) => {
                    self.cut()?;
                    break;
                }
                Next::Bad(_) => {
                    let reason = format!("entry {} at byte {} does not verify", self.position + 1, self.offset);
                    return Err(StateError::corrupt(self.path, reason));
                }
            }
        }
        let open = OpenSegment { path: self.path.into(), salt: self.salt, length: self.offset as u64 };
        Ok(JournalEnd { position: self.position, chain: self.chain, open_segment: Some(open) })
    }

    fn next(&self) -> Result<Next, StateError> {
        let rest = &self.bytes[self.offset..];
        if rest.is_empty() {
            return Ok(Next::End);
        }
        let Some((header, chain)) = EntryHeader::decode(rest, self.salt) else { return Ok(Next::Bad(None)) };
        if header.kind == BATCH {
            return Ok(Next::Mark);
        }
        // The header verifies, so these are no torn bytes: someone has taken or moved entries.
        if header.position != self.position + 1 || header.previous != self.chain {
            let reason = format!("entry {} does not follow entry {}", header.position, self.position);
            return Err(StateError::corrupt(self.path, reason));
        }
        match rest.get(ENTRY_HEADER_BYTES..header.total_bytes()) {
            Some(payload) if crc32fast::hash(payload) == header.payload_crc => Ok(Next::Entry(header, chain)),
            _ => Ok(Next::Bad(Some(header))),
        }
    }

    fn is_torn_tail(&self, header: Option<EntryHeader>) -> bool {
        if self.later_mark_covers(self.position + 1) {
            return false;
        }
        let end = self.offset + header.map_or(ENTRY_HEADER_BYTES, |h| h.total_bytes());
        if end > self.bytes.len() {
            return true;
        }
        let mut start = self.offset;
        while start < end {
            let next = (start / SECTOR_BYTES + 1) * SECTOR_BYTES;
            if self.bytes[start..next.min(self.bytes.len())].iter().all(|b| *b == 0) {
                return true;
            }
            start = next;
        }
        false
    }

    /// Whether a batch mark behind the bad entry says that entry `position` was durable when the mark was written.
    fn later_mark_covers(&self, position: u64) -> bool {
        let rest = &self.bytes[self.offset..];
        (1..rest.len()).any(|at| {
            let found = EntryHeader::decode(&rest[at..], self.salt);
            found.is_some_and(|(header, _)| header.kind == BATCH && header.position >= position)
        })
    }

    /// Cuts the file off at the current offset, durably.
    fn cut(&self) -> Result<(), StateError> {
        let dropped = self.bytes.len() - self.offset;
        tracing::warn!(path = %self.path.display(), entry = self.position + 1, dropped, "cut a torn tail off the journal");
        let file = File::options().write(true).open(self.path).map_err(|e| StateError::io("open", self.path, e))?;
        file.set_len(self.offset as u64).map_err(|e| StateError::io("truncate", self.path, e))?;
        file.sync_all().map_err(|e| StateError::sync(self.path, e))
    }
}
