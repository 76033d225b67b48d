//! Reading one segment, and telling a torn tail from damage.
//!
//! A power cut may leave any mixture of old and new sectors of the last, unacknowledged write. Old content there is
//! nothing (the file ends) or zeros, for segments only grow. So a bad entry is a torn tail if the file ends inside it
//! or if one of its sectors is all zero, and if neither the segment's marks nor a later batch mark say that it had been
//! durable. Everything else is damage to data that may have been acknowledged. So is a segment that ends too early.

use std::path::Path;

use super::JournalEntry;
use super::marks::Marks;
use super::replay::{JournalEnd, OnEntry, OpenSegment};
use super::segment::{BATCH, ENTRY_HEADER_BYTES, EntryHeader, SECTOR_BYTES, SegmentHeader};
use crate::StateError;
use crate::disk::Files;

/// One segment, read.
pub(super) struct Scanned {
    /// Up to where it is good; `None`: not even its header is.
    pub(super) end: Option<JournalEnd>,
    pub(super) rest: Rest,
}

/// What follows the last good entry.
pub(super) enum Rest {
    Nothing,
    /// So many bytes of a write that was never acknowledged.
    Torn(usize),
    /// Acknowledged entries are missing or damaged: why.
    Damaged(String),
}

/// Reads the segment at `path`, which must begin with entry `first` and continue `before`. Entries above `after` go to
/// `on_entry`. Only the `last` segment may have a torn tail.
pub(super) fn scan(
    files: &Files,
    path: &Path,
    first: u64,
    before: Option<&JournalEnd>,
    after: u64,
    last: bool,
    on_entry: &mut OnEntry<'_>,
) -> Result<Scanned, StateError> {
    let bytes = files.read(path)?;
    let unusable = |reason: String| Ok(Scanned { end: None, rest: Rest::Damaged(reason) });
    let Some(header) = SegmentHeader::decode(path, &bytes)? else {
        return unusable("its header does not verify".into());
    };
    if header.first_position != first {
        return unusable(format!("the file is named {first} but begins with entry {}", header.first_position));
    }
    if let Some(before) = before
        && (before.position + 1 != first || before.chain != header.chain)
    {
        return unusable(format!("it does not continue entry {}", before.position));
    }
    let marks = if header.marked { Marks::decode(&bytes, header.salt).map(Some) } else { Ok(None) };
    let marks = match marks {
        Ok(marks) => marks,
        Err(reason) => return unusable(reason.into()),
    };
    let (chain, offset) = (header.chain, header.entries_at());
    SegmentScan { path, bytes, header, marks, position: first - 1, chain, offset }.run(after, last, on_entry)
}

/// The segment being read.
struct SegmentScan<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    header: SegmentHeader,
    marks: Option<Marks>,
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
    /// Valid, but not what follows.
    Foreign(EntryHeader),
}

impl SegmentScan<'_> {
    fn run(mut self, after: u64, last: bool, on_entry: &mut OnEntry<'_>) -> Result<Scanned, StateError> {
        let rest = loop {
            match self.next() {
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
                Next::End => break self.at_end(last),
                Next::Bad(header) if last && self.is_torn_tail(header) => {
                    break Rest::Torn(self.bytes.len() - self.offset);
                }
                Next::Bad(_) => {
                    break Rest::Damaged(self.describe_damage());
                }
                Next::Foreign(header) => {
                    break Rest::Damaged(format!("entry {} does not follow entry {}", header.position, self.position));
                }
            }
        };
        let open =
            OpenSegment { path: self.path.into(), header: self.header, marks: self.marks, length: self.offset as u64 };
        let end = JournalEnd { position: self.position, chain: self.chain, open_segment: Some(open) };
        Ok(Scanned { end: Some(end), rest })
    }

    fn next(&self) -> Next {
        let rest = &self.bytes[self.offset..];
        if rest.is_empty() {
            return Next::End;
        }
        let Some((header, chain)) = EntryHeader::decode(rest, self.header.salt) else { return Next::Bad(None) };
        if header.kind == BATCH {
            return Next::Mark;
        }
        // The header verifies, so these are no torn bytes: someone has taken or moved entries.
        if header.position != self.position + 1 || header.previous != self.chain {
            return Next::Foreign(header);
        }
        match rest.get(ENTRY_HEADER_BYTES..header.total_bytes()) {
            Some(payload) if crc32fast::hash(payload) == header.payload_crc => Next::Entry(header, chain),
            _ => Next::Bad(Some(header)),
        }
    }

    fn describe_damage(&self) -> String {
        let (entry, acknowledged) = (self.position + 1, self.acknowledged());
        let lost = if acknowledged < entry { String::new() } else { format!(", {acknowledged} were acknowledged") };
        format!("entry {entry} at byte {} does not verify{lost}", self.offset)
    }

    /// The file ends after a good entry: is that all there was?
    fn at_end(&self, last: bool) -> Rest {
        let acknowledged = self.acknowledged();
        if self.position < acknowledged {
            let first = self.position + 1;
            return Rest::Damaged(format!("entries {first} to {acknowledged} were acknowledged and are missing"));
        }
        if last && self.marks.is_some_and(|marks| marks.continued) {
            return Rest::Damaged(format!("the segment that followed entry {} is missing", self.position));
        }
        Rest::Nothing
    }

    fn acknowledged(&self) -> u64 {
        self.marks.map_or(0, |marks| marks.acknowledged)
    }

    fn is_torn_tail(&self, header: Option<EntryHeader>) -> bool {
        let continued = self.marks.is_some_and(|marks| marks.continued);
        if continued || self.position < self.acknowledged() || self.later_mark_covers(self.position + 1) {
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
            let found = EntryHeader::decode(&rest[at..], self.header.salt);
            found.is_some_and(|(header, _)| header.kind == BATCH && header.position >= position)
        })
    }
}
