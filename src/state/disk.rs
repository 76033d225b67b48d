//! Durable file primitives: the few ways in which this crate changes a directory.
//! Invariant: a name is only relied upon after its file and then its directory are synced.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StateError;

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

/// Makes creations, renames and removals in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StateError> {
    let opened = File::open(dir).map_err(|e| StateError::io("open directory", dir, e))?;
    opened.sync_all().map_err(|e| StateError::sync(dir, e))
}

/// Creates `dir` (mode 0700), and the directories above it, if they are missing; durably.
pub(crate) fn create_dir(dir: &Path) -> Result<(), StateError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StateError::io("create directory", dir, error))
        }
        _ => sync_dir(parent),
    }
}

/// A new file for writing, mode 0600; whatever had the name before is emptied.
pub(crate) fn create_file(path: &Path) -> Result<File, StateError> {
    let opened = OpenOptions::new().create(true).truncate(true).write(true).read(true).mode(0o600).open(path);
    opened.map_err(|e| StateError::io("create", path, e))
}

/// The name a file has until it is complete.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".tmp");
    name.into()
}

/// Gives the complete and synced `temporary(path)` its name, durably.
pub(crate) fn publish(path: &Path) -> Result<(), StateError> {
    fs::rename(temporary(path), path).map_err(|e| StateError::io("rename", path, e))?;
    sync_dir(path.parent().expect("our files lie in a directory"))
}

/// Writes a whole file under its temporary name and publishes it: afterwards it is there, complete, for good.
pub(crate) fn write_file(path: &Path, parts: &[&[u8]]) -> Result<(), StateError> {
    let temporary = temporary(path);
    let mut file = create_file(&temporary)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part));
    if let Err(error) = written {
        // Best effort: a leftover is removed at the next start.
        let _ = fs::remove_file(&temporary);
        return Err(StateError::io("write", &temporary, error));
    }
    file.sync_all().map_err(|e| StateError::sync(&temporary, e))?;
    publish(path)
}

/// Plain files of `dir` as (name, path), sorted by name.
pub(crate) fn list_files(dir: &Path) -> Result<Vec<(String, PathBuf)>, StateError> {
    let mut files = vec![];
    for entry in fs::read_dir(dir).map_err(|e| StateError::io("read directory", dir, e))? {
        let entry = entry.map_err(|e| StateError::io("read directory", dir, e))?;
        let is_file = entry.file_type().map_err(|e| StateError::io("read directory", dir, e))?.is_file();
        if let (true, Ok(name)) = (is_file, entry.file_name().into_string()) {
            files.push((name, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// Removes leftovers of interrupted writes: nothing names them.
pub(crate) fn remove_temporaries(dir: &Path) -> Result<(), StateError> {
    for (name, path) in list_files(dir)? {
        if name.ends_with(".tmp") {
            fs::remove_file(&path).map_err(|e| StateError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    fs::read(path).map_err(|e| StateError::io("read", path, e))
}
