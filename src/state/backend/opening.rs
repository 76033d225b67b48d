//! Opening the facts store safely: sled may panic, hang or come up with wrong values after a crash. Then its directory
//! is moved aside (never deleted) and an empty store takes its place, to be filled again from manifest and journal.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::{MemoryBackend, SledBackend, StateBackend};
use crate::StateError;
use crate::disk::Files;

/// sled opens a megabyte in milliseconds; whatever takes this long hangs.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// The store in `dir`, verified. If that fails, an empty one and the reason.
pub(crate) fn open_or_replace(dir: &Path) -> Result<(Box<dyn StateBackend>, Option<String>), StateError> {
    let reason = match open_guarded(dir) {
        Ok(backend) => return Ok((Box::new(backend), None)),
        Err(Failure::Environment(error)) => return Err(error),
        Err(Failure::Broken(reason)) => reason,
    };
    if dir.exists() {
        let aside = move_aside(dir)?;
        tracing::error!(reason, moved_to = %aside.display(), "facts store is broken, building it anew");
    }
    match open_guarded(dir) {
        Ok(backend) => Ok((Box::new(backend), Some(reason))),
        Err(Failure::Environment(error)) => Err(error),
        Err(Failure::Broken(again)) => {
            // Facts can be rebuilt at every start, so a store that can't even be created must not stop the server.
            tracing::error!(reason = again, "facts store cannot be created, keeping facts in memory");
            Ok((Box::new(MemoryBackend::new()), Some(reason)))
        }
    }
}

enum Failure {
    /// The store's contents are to blame.
    Broken(String),
    /// The disk is; a new store would fare no better.
    Environment(StateError),
}

fn open_guarded(dir: &Path) -> Result<SledBackend, Failure> {
    let (sender, receiver) = mpsc::channel();
    let path = dir.to_path_buf();
    let work = move || {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let backend = SledBackend::open(&path)?;
            backend.verify()?;
            Ok(backend)
        }));
        // Nobody listens any more after a timeout.
        let _ = sender.send(opened);
    };
    let spawned = std::thread::Builder::new().name("hw-facts-open".into()).spawn(work);
    spawned.map_err(|e| Failure::Environment(StateError::io("start a thread for", dir, e)))?;
    match receiver.recv_timeout(OPEN_TIMEOUT) {
        Ok(Ok(Ok(backend))) => Ok(backend),
        Ok(Ok(Err(error @ (StateError::SyncFailed { .. } | StateError::DiskFull { .. })))) => {
            Err(Failure::Environment(error))
        }
        Ok(Ok(Err(error))) => Err(Failure::Broken(describe(&error))),
        Ok(Err(_panic)) => Err(Failure::Broken("opening it panicked".into())),
        Err(_) => Err(Failure::Broken(format!("opening it took longer than {} s", OPEN_TIMEOUT.as_secs()))),
    }
}

fn describe(error: &StateError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Renames `dir` to the first free `dir.broken-<n>`, durably.
fn move_aside(dir: &Path) -> Result<PathBuf, StateError> {
    let name = dir.file_name().and_then(|n| n.to_str()).expect("the facts directory has a name");
    let parent = dir.parent().expect("the facts directory lies in the data directory");
    let mut candidates = (1..).map(|n| parent.join(format!("{name}.broken-{n}")));
    let aside = candidates.find(|path| !path.exists()).expect("numbers don't end");
    fs::rename(dir, &aside).map_err(|e| StateError::io("move aside", dir, e))?;
    Files::real().sync_dir(parent)?;
    Ok(aside)
}
