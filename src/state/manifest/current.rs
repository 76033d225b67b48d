//! `CURRENT-A` and `CURRENT-B`: which manifest is the newest. Overwriting one of them is the commit point.
//!
//! ```text
//! magic "HWCURR01" | version u64 | epoch u64 | hash (16 bytes) | crc u32       44 bytes: within one sector
//! ```

use std::path::{Path, PathBuf};

use types::Epoch;

use super::file::Hash;
use crate::StateError;
use crate::disk::{Access, Files};

const MAGIC: &[u8; 8] = b"HWCURR01";
const BYTES: usize = 44;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    A,
    B,
}

impl Slot {
    pub(super) const BOTH: [Slot; 2] = [Slot::A, Slot::B];

    pub(super) fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Slot::A => "CURRENT-A",
            Slot::B => "CURRENT-B",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) version: u64,
    pub(super) epoch: Epoch,
    pub(super) hash: Hash,
}

/// What the slot says; `None` if it is missing or doesn't verify (torn by a power cut, or damaged).
pub(super) fn read(files: &Files, dir: &Path, slot: Slot) -> Result<Option<Current>, StateError> {
    let path = slot.path(dir);
    if !files.exists(&path)? {
        return Ok(None);
    }
    let bytes = files.read(&path)?;
    if bytes.len() != BYTES || &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..40]).to_le_bytes() != bytes[40..] {
        return Ok(None);
    }
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let hash = Hash::from_le_bytes(bytes[24..40].try_into().expect("sixteen bytes"));
    Ok(Some(Current { version: word(8), epoch: word(16), hash }))
}

/// Overwrites the slot, durably.
pub(super) fn write(files: &Files, dir: &Path, slot: Slot, current: Current) -> Result<(), StateError> {
    let path = slot.path(dir);
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&current.version.to_le_bytes());
    bytes.extend_from_slice(&current.epoch.to_le_bytes());
    bytes.extend_from_slice(&current.hash.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    if !files.exists(&path)? {
        return files.write_file(&path, &[&bytes]);
    }
    let file = files.open(&path, Access::Write)?;
    file.write_at(&bytes, 0)?;
    file.sync()
}

/// Makes what the slots say durable: after a killed process it may only be in the page cache.
pub(super) fn sync(files: &Files, dir: &Path) -> Result<(), StateError> {
    for path in Slot::BOTH.map(|slot| slot.path(dir)) {
        if files.exists(&path)? {
            files.open(&path, Access::Write)?.sync()?;
        }
    }
    Ok(())
}
