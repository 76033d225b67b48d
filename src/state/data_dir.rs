//! The data directory as a whole: its lock, its format version, and whether it may be used at all.
//!
//! `FORMAT` is written last when a directory is created: with it there must be a valid manifest; without it there may
//! be nothing but what an interrupted creation leaves.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::journal::EMPTY_SEGMENT_BYTES;
use crate::{RunName, StateError, disk};

const FORMAT: u32 = 1;
/// An exclusively held data directory.
pub struct DataDir {
    path: PathBuf,
    fresh: bool,
    /// Locked as long as this is open; the kernel unlocks it when the process ends, however it ends.
    _lock: File,
}

impl DataDir {
    /// Opens `path`, or creates it (mode 0700).
    ///
    /// Errors: `InUse` if another process holds it, `NewerFormat`, `Corrupt` if the format file is damaged,
    /// `NoValidManifest` if there are files of ours but the format file is missing.
    pub fn open(path: &Path) -> Result<DataDir, StateError> {
        disk::create_dir(path)?;
        let lock = lock(path)?;
        let format = path.join("FORMAT");
        let fresh = !format.exists();
        if fresh {
            refuse_orphans(path)?;
        } else {
            check_format(&format)?;
        }
        for dir in ["journal", "runs", "manifests"].map(|name| path.join(name)) {
            if fresh {
                disk::create_dir(&dir)?;
            } else if dir.is_dir() {
                disk::remove_temporaries(&dir)?;
            }
        }
        disk::remove_temporaries(path)?;
        Ok(DataDir { path: path.into(), fresh, _lock: lock })
    }

    /// True until [`complete`](Self::complete): nothing was ever stored here.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Ends the creation, durably.
    pub(crate) fn complete(&mut self) -> Result<(), StateError> {
        disk::write_file(&self.path.join("FORMAT"), &[format_text().as_bytes()])?;
        self.fresh = false;
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    pub(crate) fn facts(&self) -> PathBuf {
        self.path.join("facts")
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.path.join("RESERVE")
    }
}

fn lock(path: &Path) -> Result<File, StateError> {
    let name = path.join("LOCK");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let file = opened.map_err(|e| StateError::io("open", &name, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(StateError::io("lock", &name, error)),
    }
}

fn format_text() -> String {
    format!("highwater data directory\nformat {FORMAT}\n")
}

fn check_format(path: &Path) -> Result<(), StateError> {
    let bytes = disk::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let version = text.strip_prefix("highwater data directory\nformat ").and_then(|rest| rest.strip_suffix('\n'));
    match version.and_then(|version| version.parse::<u32>().ok()) {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(StateError::NewerFormat { path: path.into(), found, known: FORMAT }),
        _ => Err(StateError::corrupt(path, "it does not state a format version")),
    }
}

/// Without a format file, only the remains of an interrupted creation may be here.
fn refuse_orphans(path: &Path) -> Result<(), StateError> {
    let orphan = |name: &str| StateError::NoValidManifest {
        path: path.into(),
        reason: format!("The file FORMAT is missing although there is \"{name}\"."),
    };
    let list = |name: &str| {
        let dir = path.join(name);
        if dir.is_dir() { disk::list_files(&dir) } else { Ok(vec![]) }
    };
    if let Some((name, _)) = list("runs")?.iter().find(|(name, _)| RunName::parse(name).is_some()) {
        return Err(orphan(name));
    }
    let manifests = list("manifests")?;
    let later = |name: &str| name.parse::<u64>().is_ok_and(|version| version > 1);
    if let Some((name, _)) = manifests.iter().find(|(name, _)| later(name)) {
        return Err(orphan(name));
    }
    for (name, segment) in list("journal")? {
        let length = fs::metadata(&segment).map_err(|e| StateError::io("read", &segment, e))?.len();
        if length > EMPTY_SEGMENT_BYTES {
            return Err(orphan(&name));
        }
    }
    Ok(())
}
