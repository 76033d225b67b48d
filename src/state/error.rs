//! What can go wrong with durable state, and what the client is told.

use std::io;
use std::path::{Path, PathBuf};

use types::{SqlState, ToSqlState};

/// Errors of the state crate.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("could not {action} \"{}\"", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// What was written may be lost although a later sync succeeds: stops the process (see [`crate::FatalHandler`]).
    #[error("could not sync \"{}\"", path.display())]
    SyncFailed { path: PathBuf, source: io::Error },
    /// No space left; what was acknowledged is safe, what is new is refused until there is space.
    #[error("could not write to \"{}\": no space left on device", path.display())]
    DiskFull { path: PathBuf },
    /// A directory without a database, but not an empty one.
    #[error("directory \"{}\" exists but is not empty", path.display())]
    NotOurs { path: PathBuf, name: String },
    #[error("data directory \"{}\" has invalid permissions", path.display())]
    Permissions { path: PathBuf, mode: u32 },
    #[error("data directory \"{}\" has wrong ownership", path.display())]
    Ownership { path: PathBuf },
    #[error("data directory \"{}\" is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("\"{}\" has format version {found}, this release reads up to {known}", path.display())]
    NewerFormat { path: PathBuf, found: u32, known: u32 },
    /// Files of ours, but nothing that says what they mean.
    #[error("data directory \"{}\" has no valid manifest", path.display())]
    NoValidManifest { path: PathBuf, reason: String },
    #[error("\"{}\" is corrupted: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    /// Entries that were acknowledged are missing or don't verify.
    #[error("journal \"{}\" is corrupted: {reason}", path.display())]
    JournalDamaged { path: PathBuf, reason: String },
    #[error("journal entry of {bytes} bytes exceeds the limit of {limit} bytes")]
    EntryTooLarge { bytes: usize, limit: usize },
    #[error("fact of {bytes} bytes exceeds the limit of {limit} bytes")]
    FactTooLarge { bytes: usize, limit: usize },
    /// The journal has met a fatal error or was closed; nothing more can become durable.
    #[error("the journal has stopped")]
    JournalStopped,
    #[error("facts store failed")]
    Facts(#[source] sled::Error),
    #[error("facts store failed: {reason}")]
    FactsBroken { reason: String },
    #[error("state could not be encoded or decoded")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("manifest could not be encoded or decoded")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Types(#[from] types::TypesError),
}

impl StateError {
    /// Wraps an I/O error; a full disk becomes [`StateError::DiskFull`].
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StateError::DiskFull { path: path.into() },
            _ => StateError::Io { action, path: path.into(), source },
        }
    }

    pub(crate) fn sync(path: &Path, source: io::Error) -> Self {
        StateError::SyncFailed { path: path.into(), source }
    }

    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        StateError::Corrupt { path: path.into(), reason: reason.into() }
    }

    /// True if a previous checkpoint may still be good although this one is not.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            StateError::Corrupt { .. } | StateError::NoValidManifest { .. } => true,
            StateError::Arrow(_) | StateError::Json(_) => true,
            StateError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
            }
            // Older checkpoints need more of the journal, not less.
            StateError::JournalDamaged { .. }
            | StateError::NotOurs { .. }
            | StateError::Permissions { .. }
            | StateError::Ownership { .. }
            | StateError::SyncFailed { .. }
            | StateError::DiskFull { .. }
            | StateError::InUse { .. }
            | StateError::NewerFormat { .. }
            | StateError::EntryTooLarge { .. }
            | StateError::FactTooLarge { .. }
            | StateError::JournalStopped
            | StateError::Facts(_)
            | StateError::FactsBroken { .. }
            | StateError::Types(_) => false,
        }
    }
}

impl ToSqlState for StateError {
    fn sql_state(&self) -> SqlState {
        match self {
            StateError::Io { .. } | StateError::SyncFailed { .. } => SqlState::IoError,
            StateError::Facts(_) | StateError::FactsBroken { .. } => SqlState::IoError,
            StateError::DiskFull { .. } => SqlState::DiskFull,
            StateError::InUse { .. } => SqlState::ObjectInUse,
            StateError::NotOurs { .. } => SqlState::ObjectNotInPrerequisiteState,
            StateError::Permissions { .. } | StateError::Ownership { .. } => SqlState::ObjectNotInPrerequisiteState,
            StateError::NewerFormat { .. } => SqlState::ObjectNotInPrerequisiteState,
            StateError::NoValidManifest { .. } | StateError::Corrupt { .. } => SqlState::DataCorrupted,
            StateError::JournalDamaged { .. } => SqlState::DataCorrupted,
            StateError::EntryTooLarge { .. } | StateError::FactTooLarge { .. } => SqlState::ProgramLimitExceeded,
            StateError::JournalStopped => SqlState::IoError,
            StateError::Arrow(_) | StateError::Json(_) => SqlState::InternalError,
            StateError::Types(error) => error.sql_state(),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            StateError::NoValidManifest { reason, .. } => Some(format!("{reason} Nothing was changed or deleted.")),
            StateError::NotOurs { name, .. } => Some(format!("It contains \"{name}\", and no database.")),
            StateError::Permissions { mode, .. } => {
                Some(format!("Other users may write to it: its permissions are {mode:04o}."))
            }
            StateError::JournalDamaged { .. } => Some("Nothing was changed or deleted.".into()),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            StateError::DiskFull { .. } => Some("Free some space; writing resumes by itself.".into()),
            StateError::InUse { .. } => Some("Stop the other process or choose another --data-dir.".into()),
            StateError::NotOurs { .. } => Some("Empty it, or choose another --data-dir.".into()),
            StateError::Permissions { .. } => Some("Permissions should be u=rwx (0700) or u=rwx,g=rx (0750).".into()),
            StateError::Ownership { .. } => {
                Some("The server must be started by the user that owns the data directory.".into())
            }
            StateError::NewerFormat { .. } => Some("Start the release that wrote it, or a later one.".into()),
            StateError::NoValidManifest { .. } | StateError::Corrupt { .. } => {
                Some("Restore the directory from a backup, or start with another --data-dir.".into())
            }
            StateError::JournalDamaged { .. } => Some(
                "Restore the directory from a backup; or start with --accept-data-loss, which goes on without what is \
                 missing and keeps the damaged files beside."
                    .into(),
            ),
            StateError::EntryTooLarge { .. } => Some("Write the rows with several statements.".into()),
            _ => None,
        }
    }
}
