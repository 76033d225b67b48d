//! Facts in sled 0.34.7, made durable from outside.
//!
//! As shipped, sled's `flush` doesn't sync its files on Linux, so a power cut takes acknowledged facts back. Here
//! every write ends with a sync of all its files and directories and is then read back; values are small, so that
//! sled never puts one into a file of its own; each value carries magic, version, length and a checksum.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{FactWrite, StateBackend, check_sizes};
use crate::{StateError, disk};

const MAGIC: u8 = 0xF5;
const VERSION: u8 = 1;
/// magic, version, length u32, crc u32 over key and value.
const ENVELOPE_BYTES: usize = 10;
/// sled uses about ten times as much.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// One sled database in its own directory. Writers take turns.
pub struct SledBackend {
    db: ::sled::Db,
    path: PathBuf,
    /// Sync the files behind sled's back; only the measurement of what happens without turns it off.
    sync: bool,
    writer: Mutex<()>,
}

impl SledBackend {
    /// Opens or creates the database in `path`.
    ///
    /// sled may panic or hang on damaged files: the store's own opening guards against both.
    pub fn open(path: &Path) -> Result<SledBackend, StateError> {
        SledBackend::open_with(path, true)
    }

    /// Like [`open`](Self::open), trusting sled's own flush: not durable, for measurements.
    pub fn open_without_sync(path: &Path) -> Result<SledBackend, StateError> {
        SledBackend::open_with(path, false)
    }

    fn open_with(path: &Path, sync: bool) -> Result<SledBackend, StateError> {
        disk::create_dir(path)?;
        remove_unfinished_snapshots(path)?;
        if sync {
            // What a killed process has written may only be in the page cache; sled is about to build on it.
            sync_tree(path)?;
        }
        let config = ::sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = config.open().map_err(|e| failed(path, e))?;
        let backend = SledBackend { db, path: path.into(), sync, writer: Mutex::new(()) };
        backend.db.flush().map_err(|e| failed(path, e))?;
        backend.sync()?;
        Ok(backend)
    }

    fn sync(&self) -> Result<(), StateError> {
        if !self.sync {
            return Ok(());
        }
        sync_tree(&self.path)
    }

    fn decode(&self, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, StateError> {
        decode(key, stored).ok_or_else(|| {
            let key = String::from_utf8_lossy(key);
            StateError::corrupt(&self.path, format!("the value of fact \"{key}\" does not verify"))
        })
    }
}

impl StateBackend for SledBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.db.get(key).map_err(|e| failed(&self.path, e))?.map(|stored| self.decode(key, &stored)).transpose()
    }

    fn put_all(&self, writes: &[FactWrite]) -> Result<(), StateError> {
        check_sizes(writes)?;
        if writes.is_empty() {
            return Ok(());
        }
        let _turn = self.writer.lock().expect("writers don't panic");
        let mut batch = ::sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.as_slice(), encode(key, value)),
                None => batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(batch).map_err(|e| failed(&self.path, e))?;
        self.db.flush().map_err(|e| failed(&self.path, e))?;
        self.sync()?;
        for (key, value) in writes {
            if self.get(key)? != *value {
                let key = String::from_utf8_lossy(key);
                let reason = format!("fact \"{key}\" reads back differently after its write");
                return Err(StateError::FactsBroken { reason });
            }
        }
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        let pairs = self.db.scan_prefix(prefix).map(|pair| {
            let (key, stored) = pair.map_err(|e| failed(&self.path, e))?;
            Ok((key.to_vec(), self.decode(&key, &stored)?))
        });
        pairs.collect()
    }

    fn verify(&self) -> Result<(), StateError> {
        self.scan(&[]).map(drop)
    }
}

/// A full disk is told apart from a broken store.
fn failed(path: &Path, error: ::sled::Error) -> StateError {
    match error {
        ::sled::Error::Io(error) => StateError::io("use", path, error),
        other => StateError::Facts(other),
    }
}

fn encode(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(ENVELOPE_BYTES + value.len());
    stored.extend_from_slice(&[MAGIC, VERSION]);
    stored.extend_from_slice(&(value.len() as u32).to_le_bytes());
    stored.extend_from_slice(&checksum(key, value).to_le_bytes());
    stored.extend_from_slice(value);
    stored
}

fn decode(key: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    let (envelope, value) = stored.split_at_checked(ENVELOPE_BYTES)?;
    let length = u32::from_le_bytes(envelope[2..6].try_into().expect("four bytes"));
    let crc = u32::from_le_bytes(envelope[6..10].try_into().expect("four bytes"));
    let valid = envelope[..2] == [MAGIC, VERSION] && length as usize == value.len() && crc == checksum(key, value);
    valid.then(|| value.to_vec())
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(key.len() as u32).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// Removes snapshots that a crash has interrupted: sled would take them for the newest and refuse to open, although
/// it keeps the one before until the new one has its final name.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StateError> {
    for (name, path) in disk::list_files(dir)? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(&path).map_err(|e| StateError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// Syncs every file and directory below `dir`, then `dir`. Files that vanish meanwhile are sled's old snapshots.
fn sync_tree(dir: &Path) -> Result<(), StateError> {
    for entry in std::fs::read_dir(dir).map_err(|e| StateError::io("read directory", dir, e))? {
        let entry = entry.map_err(|e| StateError::io("read directory", dir, e))?;
        let path = entry.path();
        if path.is_dir() {
            sync_tree(&path)?;
            continue;
        }
        match File::open(&path) {
            Ok(file) => file.sync_all().map_err(|e| StateError::sync(&path, e))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StateError::io("open", &path, error)),
        }
    }
    disk::sync_dir(dir)
}
