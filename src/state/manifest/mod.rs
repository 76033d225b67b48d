//! Manifests: which runs, up to which journal position, make up the state as of an epoch. The commit point.
//!
//! `manifests/NNNNNNNNNN` holds one manifest each, chained by hash to the one before; `CURRENT-A` and `CURRENT-B`
//! alternate in naming the newest. A slot is overwritten only while the other names a valid manifest. The last
//! `limits::MANIFESTS_KEPT` stay, with their runs, so that damage to the newest costs a longer replay and no data.

mod current;
mod file;
mod store;

use serde::{Deserialize, Serialize};
use types::{Epoch, Incarnation, ObjectId};

pub use store::ManifestStore;

/// Whether a file of that name is a manifest.
pub(crate) fn is_file_name(name: &str) -> bool {
    file::parse_file_name(name).is_some()
}

/// The state as of one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Counts commits; never repeated within a data directory.
    pub version: u64,
    pub incarnation: Incarnation,
    pub epoch: Epoch,
    /// Journal entries up to and including this position are part of the state.
    pub journal_position: u64,
    /// In order of application.
    pub runs: Vec<RunRef>,
    /// The engine's: source offsets, admission, catalog, clock.
    pub payload: serde_json::Value,
    /// Hash of the manifest before, 32 hex digits; zeros for the first.
    pub previous_hash: String,
}

/// A run file that belongs to a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    /// File name within `runs/`.
    pub file: String,
    pub epoch: Epoch,
    /// CRC32 of the whole file, and its length.
    pub crc: u32,
    pub bytes: u64,
    /// Relations with live blocks in it, ascending.
    pub relations: Vec<ObjectId>,
    /// Indices of blocks that later runs replace or whose relation was dropped, ascending.
    pub dead: Vec<u32>,
}

impl Manifest {
    /// True for the one that creation of the directory writes, before any checkpoint.
    pub fn is_initial(&self) -> bool {
        self.epoch == 0 && self.runs.is_empty() && self.payload.is_null()
    }
}
