//! Facts in sled 0.34.7, made durable from outside.
//!
//! As shipped, sled's `flush` doesn't sync its files on Linux, so a power cut takes acknowledged facts back. Here
//! every write ends with a sync of all its files and directories and is then read back; values are small, so that
//! sled never puts one into a file of its own; each value carries magic, version, length and a checksum.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{FactWrite, StateBackend, check_sizes};
use crate::StateError;
use crate::disk::Files;

const MAGIC: u8 = 0xF5;
const VERSION: u8 = 1;
/// magic, version, length u32, crc u32 over key and value.
const ENVELOPE_BYTES: usize = 10;
/// How long a database just closed may stay locked, and how often to look.
const UNLOCK_TIMEOUT: Duration = Duration::from_secs(5);
const UNLOCK_RETRY: Duration = Duration::from_millis(2);
/// Is in the directory once the empty database is durable; before that no fact is stored.
const CREATED: &str = "created";
/// sled uses about ten times as much.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// One sled database in its own directory. Writers take turns.
pub struct SledBackend {
    /// Always there until dropped.
    db: Option<::sled::Db>,
    /// sled has panicked: it is not asked any more.
    broken: AtomicBool,
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
        let created = path.join(CREATED);
        let is_new = !created.exists();
        if is_new && path.exists() {
            // sled's own creation, interrupted, may never open again; nothing has been stored there.
            std::fs::remove_dir_all(path).map_err(|e| StateError::io("remove", path, e))?;
        }
        Files::real().create_dir(path)?;
        remove_unfinished_snapshots(path)?;
        if sync {
            // What a killed process has written may only be in the page cache; sled is about to build on it.
            sync_tree(path)?;
        }
        let config = ::sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = open_unlocked(&config).map_err(|e| failed(path, e))?;
        let (broken, writer) = (AtomicBool::new(false), Mutex::new(()));
        let backend = SledBackend { db: Some(db), broken, path: path.into(), sync, writer };
        backend.ask(|db| db.flush())?;
        backend.sync()?;
        if is_new {
            Files::real().write_file(&created, &[])?;
        }
        Ok(backend)
    }

    /// Calls sled, which panics on some I/O errors.
    fn ask<T>(&self, question: impl FnOnce(&::sled::Db) -> ::sled::Result<T>) -> Result<T, StateError> {
        let broken = || StateError::FactsBroken { reason: "sled has panicked".into() };
        if self.broken.load(Ordering::Acquire) {
            return Err(broken());
        }
        let db = self.db.as_ref().expect("the database is there until dropped");
        match catch_unwind(AssertUnwindSafe(|| question(db))) {
            Ok(answer) => answer.map_err(|e| failed(&self.path, e)),
            Err(_panic) => {
                self.broken.store(true, Ordering::Release);
                Err(broken())
            }
        }
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
        self.ask(|db| db.get(key))?.map(|stored| self.decode(key, &stored)).transpose()
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
        self.ask(|db| db.apply_batch(batch).and_then(|()| db.flush()))?;
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
        let stored: Vec<_> = self.ask(|db| db.scan_prefix(prefix).collect())?;
        stored.iter().map(|(key, stored)| Ok((key.to_vec(), self.decode(key, stored)?))).collect()
    }

    fn verify(&self) -> Result<(), StateError> {
        self.scan(&[]).map(drop)
    }
}

impl Drop for SledBackend {
    fn drop(&mut self) {
        if self.broken.load(Ordering::Acquire) {
            // Closing it would flush, and panic or hang again; everything acknowledged is on disk.
            std::mem::forget(self.db.take());
        }
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

/// A database closed a moment ago in this process may still be locked: sled's threads let go of it later. Another
/// process can't be the holder, for ours holds the data directory.
fn open_unlocked(config: &::sled::Config) -> ::sled::Result<::sled::Db> {
    let start = Instant::now();
    loop {
        match config.open() {
            Err(::sled::Error::Io(error))
                if error.to_string().starts_with("could not acquire lock") && start.elapsed() < UNLOCK_TIMEOUT =>
            {
                std::thread::sleep(UNLOCK_RETRY);
            }
            opened => return opened,
        }
    }
}

/// Removes snapshots that a crash has interrupted: sled would take them for the newest and refuse to open, although
/// it keeps the one before until the new one has its final name.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StateError> {
    for (name, path, _) in Files::real().list_files(dir)? {
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
    Files::real().sync_dir(dir)
}
