//! The seam to the file system: everything this crate does on disk goes through [`Disk`], so that the same code runs
//! on a real one and on one that forgets ([`testing::SimulatedDisk`](crate::testing::SimulatedDisk)).
//!
//! `files.rs` builds on it the few ways in which this crate changes a directory; `real.rs` is `std::fs`. The facts
//! store (sled) has its own way to the disk and is not behind the seam.

mod files;
mod real;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::StateError;

pub(crate) use files::{Files, OpenFile, temporary};
pub use real::RealDisk;

/// A file system. Nothing is durable before it is synced: contents by the file's sync, names by their directory's.
pub trait Disk: Send + Sync {
    /// A new, empty file of that name, mode 0600, for reading and writing; an old one is emptied. Symbolic links are
    /// not followed.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// An existing file; symbolic links are not followed.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Replaces what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// A new directory, mode 0700.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// What has that name; `None`: nothing.
    fn entry(&self, path: &Path) -> io::Result<Option<Entry>>;

    /// Names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Entry)>>;

    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks the file `path` (created if need be) until the result is dropped or the process ends. `None`: somebody
    /// else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;

    /// Who may do what with a directory (or what a symbolic link to it leads to); `None`: such a disk doesn't know.
    fn permissions(&self, dir: &Path) -> io::Result<Option<Permissions>>;

    fn set_permissions(&self, dir: &Path, mode: u32) -> io::Result<()>;

    /// A number unlike those given before, on this disk or another.
    fn salt(&self) -> u32;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// It belongs to the user that this process runs as.
    pub ours: bool,
    /// The nine bits.
    pub mode: u32,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    File {
        bytes: u64,
    },
    Directory,
    /// A symbolic link, a socket, …
    Other,
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Bytes read; fewer than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`. After an error a part of them may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    fn set_len(&self, bytes: u64) -> io::Result<()>;

    fn length(&self) -> io::Result<u64>;

    /// Makes the contents durable, and the length.
    fn sync(&self) -> io::Result<()>;
}

/// Called when a sync failed: what was written before may be lost although a later sync succeeds, so the process
/// must end. Tests inject a handler that returns.
pub type FatalHandler = Arc<dyn Fn(&StateError) + Send + Sync>;

/// Logs and aborts the process.
pub(crate) fn abort_on_fatal() -> FatalHandler {
    Arc::new(|error| {
        let cause = std::error::Error::source(error).map(|e| e.to_string()).unwrap_or_default();
        tracing::error!(%error, cause, "sync failed, stopping so that nothing is acknowledged that is not on disk");
        std::process::abort()
    })
}
