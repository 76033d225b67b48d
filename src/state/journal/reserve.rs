//! The reserve: disk space set aside so that entries already queued can still be written when the disk is full.
//!
//! Queued entries get one half, a checkpoint the other: it lets the journal be cut. It is taken back in shares, each
//! only if as much again stays free: so writing goes on as soon as there is room for a share, and the reserve never
//! takes the space that it is meant to keep for others.

use std::path::PathBuf;

use crate::StateError;
use crate::disk::{Access, Entry, Files};

/// What is taken back at a time.
const SHARE_BYTES: u64 = 1024 * 1024;

pub(super) struct Reserve {
    files: Files,
    path: PathBuf,
    bytes: u64,
    held: u64,
}

impl Reserve {
    /// Takes the space if it isn't taken already. A disk without room for it starts with less.
    pub(super) fn open(files: Files, path: PathBuf, bytes: u64) -> Result<Reserve, StateError> {
        let held = match files.entry(&path)? {
            Some(Entry::File { bytes: present }) if present <= bytes => present,
            _ => 0,
        };
        let mut reserve = Reserve { files, path, bytes, held };
        while !reserve.is_complete() && reserve.grow()? {}
        if !reserve.is_complete() {
            tracing::warn!(bytes, held = reserve.held, "no space for all of the disk reserve");
        }
        Ok(reserve)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.held >= self.bytes
    }

    /// Takes a share more; false if there is no room for it and as much again.
    pub(super) fn grow(&mut self) -> Result<bool, StateError> {
        let share = SHARE_BYTES.min(self.bytes - self.held);
        match self.extend(self.held, 2 * share) {
            Ok(()) => {}
            Err(StateError::DiskFull { .. }) => {
                self.shrink(self.held)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        self.shrink(self.held + share)?;
        self.held += share;
        Ok(true)
    }

    /// Writes `bytes` behind the first `from`. Incompressible ones: file systems that compress would otherwise set
    /// nothing aside.
    fn extend(&self, from: u64, bytes: u64) -> Result<(), StateError> {
        let file = match self.files.exists(&self.path)? && from > 0 {
            true => self.files.open(&self.path, Access::Write)?,
            false => self.files.create(&self.path)?,
        };
        let mut block = vec![0u8; 64 * 1024];
        let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ from;
        let mut written = 0;
        while written < bytes {
            for word in block.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let n = (bytes - written).min(block.len() as u64);
            file.write_at(&block[..n as usize], from + written)?;
            written += n;
        }
        match file.sync() {
            // Not part of any promise: a file system may find out only now that there is no room.
            Err(StateError::SyncFailed { path, source }) => Err(StateError::io("sync", &path, source)),
            other => other,
        }
    }

    fn shrink(&self, bytes: u64) -> Result<(), StateError> {
        match self.files.exists(&self.path)? {
            true => self.files.open(&self.path, Access::Write)?.set_len(bytes),
            false => Ok(()),
        }
    }

    /// Gives the half for entries back; true if there was any to give.
    pub(super) fn release_half(&mut self) -> bool {
        self.release(self.bytes / 2)
    }

    /// Gives back all that is left.
    pub(super) fn release_all(&mut self) -> bool {
        self.release(0)
    }

    fn release(&mut self, keep: u64) -> bool {
        let given = self.held > keep && self.shrink(keep).is_ok();
        self.held = self.held.min(keep);
        given
    }
}
