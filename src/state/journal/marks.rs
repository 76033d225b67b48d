//! What a segment says beside its entries: how far they were acknowledged, and whether another segment follows.
//!
//! Both stand in sectors of their own in front of the entries, so that losing the end of the file can't take them
//! along. Two slots for the mark, written in turn; one sector for the link. Each: position u64 | crc u32, zeros after.
//!
//! A mark is written when the sync of a group has returned, before anybody is told, and reaches the disk with the sync
//! of the next group or after a moment of quiet. So it never says too much, and after a power cut it lacks at most the
//! last group; after a killed process, nothing.

use std::path::Path;

use super::replay::list_segments;
use super::segment::{SECTOR_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::StateError;
use crate::disk::{Access, Files, OpenFile};

/// Where the entries of a segment begin: behind the header's sector, two marks and the link.
pub(super) const ENTRIES_AT: usize = 4 * SECTOR_BYTES;
const SLOTS: [usize; 2] = [SECTOR_BYTES, 2 * SECTOR_BYTES];
const LINK_AT: usize = 3 * SECTOR_BYTES;
const MARK_BYTES: usize = 12;

const _: () = assert!(SEGMENT_HEADER_BYTES <= SECTOR_BYTES);

/// The marks of a segment that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    salt: u32,
    /// Every entry up to here was acknowledged.
    pub(super) acknowledged: u64,
    /// Another segment follows.
    pub(super) continued: bool,
    /// Slot of the newest mark; the other one is overwritten next.
    slot: usize,
}

impl Marks {
    /// Those of an empty segment.
    pub(super) fn new(salt: u32, acknowledged: u64) -> Marks {
        Marks { salt, acknowledged, continued: false, slot: 0 }
    }

    pub(super) fn salt(&self) -> u32 {
        self.salt
    }

    /// Writes them into the first [`ENTRIES_AT`] bytes of a new segment.
    pub(super) fn encode(&self, head: &mut [u8]) {
        for at in SLOTS {
            head[at..at + MARK_BYTES].copy_from_slice(&encode(self.acknowledged, self.salt));
        }
    }

    /// Reads those of a segment. `Err`: why they can't be believed.
    pub(super) fn decode(head: &[u8], salt: u32) -> Result<Marks, &'static str> {
        let head = head.get(..ENTRIES_AT).ok_or("it ends before its first entry")?;
        let marks = SLOTS.map(|at| decode(&head[at..], salt));
        let (slot, acknowledged) = match marks {
            [Some(first), Some(second)] if first >= second => (0, first),
            [_, Some(second)] => (1, second),
            [Some(first), None] => (0, first),
            [None, None] => return Err("its marks of what was acknowledged do not verify"),
        };
        let link = &head[LINK_AT..LINK_AT + MARK_BYTES];
        let continued = link.iter().any(|byte| *byte != 0);
        if continued && decode(link, salt).is_none() {
            return Err("its link to the next segment does not verify");
        }
        Ok(Marks { salt, acknowledged, continued, slot })
    }

    /// Notes that everything up to `position` is acknowledged. Not synced here.
    pub(super) fn acknowledge(&mut self, file: &OpenFile, position: u64) -> Result<(), StateError> {
        let slot = 1 - self.slot;
        file.write_at(&encode(position, self.salt), SLOTS[slot] as u64)?;
        (self.slot, self.acknowledged) = (slot, position);
        Ok(())
    }
}

/// Those of the segment at `path`; `None` if it has none or they don't verify.
pub(super) fn read(files: &Files, path: &Path) -> Result<Option<Marks>, StateError> {
    let mut head = vec![0; ENTRIES_AT];
    let read = files.open(path, Access::Read)?.read_at(&mut head, 0)?;
    head.truncate(read);
    let header = SegmentHeader::decode(path, &head)?.filter(|header| header.marked);
    Ok(header.and_then(|header| Marks::decode(&head, header.salt).ok()))
}

/// Has the segment before the one that begins with entry `first` say, durably, that another follows: from then on a
/// journal without it is damaged.
pub(super) fn link_previous(files: &Files, dir: &Path, first: u64) -> Result<(), StateError> {
    let segments = list_segments(files, dir)?;
    let Some((_, path)) = segments.iter().rev().find(|(position, _)| *position < first) else { return Ok(()) };
    let Some(marks) = read(files, path)?.filter(|marks| !marks.continued) else { return Ok(()) };
    let file = files.open(path, Access::Write)?;
    file.write_at(&encode(first, marks.salt), LINK_AT as u64)?;
    file.sync()
}

fn encode(position: u64, salt: u32) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    bytes[..8].copy_from_slice(&position.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..8]) ^ salt;
    bytes[8..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], salt: u32) -> Option<u64> {
    let position = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    (bytes[..MARK_BYTES] == encode(position, salt)).then_some(position)
}
