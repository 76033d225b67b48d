//! The data directory as a whole: who may read it, its lock, its format version, and whether it may be used at all.
//!
//! `FORMAT` is written last when a directory is created: with it there must be a valid manifest; without it there may
//! be nothing but what an interrupted creation leaves. Nothing is written before that is known.

use std::path::{Path, PathBuf};

use crate::disk::{Entry, Files};
use crate::journal::{self, EMPTY_SEGMENT_BYTES};
use crate::manifest;
use crate::{RunName, StateError};

const FORMAT: u32 = 1;
/// Permissions that let others change what is stored, and read it.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS_READ: u32 = 0o005;

/// An exclusively held data directory.
pub struct DataDir {
    files: Files,
    path: PathBuf,
    fresh: bool,
    /// Locked as long as this is there.
    _lock: Box<dyn Send + Sync>,
}

impl DataDir {
    /// Opens `path`, or creates it (mode 0700).
    ///
    /// Errors: `InUse` if another process holds it, `NewerFormat`, `Corrupt` if the format file is damaged,
    /// `NoValidManifest` if there are files of ours but the format file is missing, `NotOurs` if there are others',
    /// `Permissions`, `Ownership`.
    pub(crate) fn open(files: &Files, path: &Path) -> Result<DataDir, StateError> {
        files.create_dir(path)?;
        check_permissions(files, path)?;
        check_contents(files, path)?;
        let lock = lock(files, path)?;
        // Once more: until now another process may have been at it.
        let fresh = check_contents(files, path)?;
        for dir in ["journal", "runs", "manifests"].map(|name| path.join(name)) {
            if fresh {
                files.create_dir(&dir)?;
            } else if files.is_dir(&dir)? {
                files.remove_temporaries(&dir)?;
            }
        }
        files.remove_temporaries(path)?;
        Ok(DataDir { files: files.clone(), path: path.into(), fresh, _lock: lock })
    }

    /// True until [`complete`](Self::complete): nothing was ever stored here.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Ends the creation, durably.
    pub(crate) fn complete(&mut self) -> Result<(), StateError> {
        self.files.write_file(&self.path.join("FORMAT"), &[format_text().as_bytes()])?;
        self.fresh = false;
        Ok(())
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
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

fn lock(files: &Files, path: &Path) -> Result<Box<dyn Send + Sync>, StateError> {
    let name = path.join("LOCK");
    let locked = files.disk().lock(&name).map_err(|e| StateError::io("lock", &name, e))?;
    locked.ok_or_else(|| StateError::InUse { path: path.into() })
}

fn format_text() -> String {
    format!("highwater data directory\nformat {FORMAT}\n")
}

fn check_format(files: &Files, path: &Path) -> Result<(), StateError> {
    let bytes = files.read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let version = text.strip_prefix("highwater data directory\nformat ").and_then(|rest| rest.strip_suffix('\n'));
    match version.and_then(|version| version.parse::<u32>().ok()) {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(StateError::NewerFormat { path: path.into(), found, known: FORMAT }),
        _ => Err(StateError::corrupt(path, "it does not state a format version")),
    }
}

/// As Postgres has it: nobody else may write here. What others may read is closed to them.
fn check_permissions(files: &Files, path: &Path) -> Result<(), StateError> {
    let Some(permissions) = files.disk().permissions(path).map_err(|e| StateError::io("read", path, e))? else {
        return Ok(());
    };
    if !permissions.ours {
        return Err(StateError::Ownership { path: path.into() });
    }
    if permissions.mode & OTHERS_WRITE != 0 {
        return Err(StateError::Permissions { path: path.into(), mode: permissions.mode });
    }
    if permissions.mode & OTHERS_READ != 0 {
        let mode = permissions.mode & !(OTHERS_WRITE | OTHERS_READ);
        tracing::warn!(path = %path.display(), "others could read the data directory: now they can't");
        files.disk().set_permissions(path, mode).map_err(|e| StateError::io("set permissions of", path, e))?;
    }
    Ok(())
}

/// Whether the directory is fresh: nothing was ever stored here.
fn check_contents(files: &Files, path: &Path) -> Result<bool, StateError> {
    let format = path.join("FORMAT");
    if files.exists(&format)? {
        check_format(files, &format)?;
        return Ok(false);
    }
    refuse_orphans(files, path)?;
    refuse_foreign(files, path)?;
    Ok(true)
}

/// Without a format file, there may be nothing that is none of ours.
fn refuse_foreign(files: &Files, path: &Path) -> Result<(), StateError> {
    let list = |dir: &Path| files.disk().list(dir).map_err(|e| StateError::io("read directory", dir, e));
    let foreign = |name: String| Err(StateError::NotOurs { path: path.into(), name });
    for (name, entry) in list(path)? {
        let known: fn(&str) -> bool = match (&*name, entry) {
            ("journal", Entry::Directory) => |name| journal::is_segment_name(name),
            ("runs", Entry::Directory) => |name| RunName::parse(name).is_some(),
            ("manifests", Entry::Directory) => |name| manifest::is_file_name(name),
            // What the file system's own repairs find. Facts are only begun when the creation is complete.
            ("lost+found", Entry::Directory) => continue,
            ("LOCK" | "RESERVE" | "CURRENT-A" | "CURRENT-B", Entry::File { .. }) => continue,
            ("FORMAT.tmp" | "CURRENT-A.tmp" | "CURRENT-B.tmp", Entry::File { .. }) => continue,
            _ => return foreign(name),
        };
        for (inner, _) in list(&path.join(&name))? {
            if !known(inner.strip_suffix(".tmp").unwrap_or(&inner)) {
                return foreign(format!("{name}/{inner}"));
            }
        }
    }
    Ok(())
}

/// Without a format file, only the remains of an interrupted creation may be here.
fn refuse_orphans(files: &Files, path: &Path) -> Result<(), StateError> {
    let orphan = |name: &str| StateError::NoValidManifest {
        path: path.into(),
        reason: format!("The file FORMAT is missing although there is \"{name}\"."),
    };
    let list = |name: &str| {
        let dir = path.join(name);
        if files.is_dir(&dir)? { files.list_files(&dir) } else { Ok(vec![]) }
    };
    if let Some((name, ..)) = list("runs")?.iter().find(|(name, ..)| RunName::parse(name).is_some()) {
        return Err(orphan(name));
    }
    let manifests = list("manifests")?;
    let later = |name: &str| name.parse::<u64>().is_ok_and(|version| version > 1);
    if let Some((name, ..)) = manifests.iter().find(|(name, ..)| later(name)) {
        return Err(orphan(name));
    }
    for (name, _, bytes) in list("journal")? {
        if bytes > EMPTY_SEGMENT_BYTES {
            return Err(orphan(&name));
        }
    }
    Ok(())
}
