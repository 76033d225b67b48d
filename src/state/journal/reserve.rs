//! The reserve: disk space set aside so that entries already queued can still be written when the disk is full.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::{StateError, disk};

pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    held: bool,
}

impl Reserve {
    /// Takes the space if it isn't taken already. A disk without room for it starts without.
    pub(super) fn open(path: PathBuf, bytes: u64) -> Result<Reserve, StateError> {
        let mut reserve = Reserve { path, bytes, held: false };
        match reserve.acquire() {
            Ok(()) => {}
            Err(StateError::DiskFull { .. }) => tracing::warn!(bytes, "no space for the disk reserve"),
            Err(error) => return Err(error),
        }
        Ok(reserve)
    }

    pub(super) fn acquire(&mut self) -> Result<(), StateError> {
        let present = fs::metadata(&self.path).is_ok_and(|m| m.len() == self.bytes);
        if !present && let Err(error) = self.write() {
            // A half-written reserve would only take the space that others need.
            let _ = fs::remove_file(&self.path);
            return Err(error);
        }
        self.held = true;
        Ok(())
    }

    /// Incompressible bytes: file systems that compress would otherwise set nothing aside.
    fn write(&self) -> Result<(), StateError> {
        let mut file = disk::create_file(&self.path)?;
        let mut block = vec![0u8; 64 * 1024];
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut left = self.bytes;
        while left > 0 {
            for word in block.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let n = left.min(block.len() as u64);
            file.write_all(&block[..n as usize]).map_err(|e| StateError::io("write", &self.path, e))?;
            left -= n;
        }
        // Not part of any promise: a lost reserve is taken again at the next start.
        file.sync_all().map_err(|e| StateError::io("sync", &self.path, e))
    }

    /// Gives the space back; true if there was any to give.
    pub(super) fn release(&mut self) -> bool {
        std::mem::take(&mut self.held) && fs::remove_file(&self.path).is_ok()
    }
}
