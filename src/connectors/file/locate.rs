//! Where the file of a known partition stands now: under its name, or wherever a rotation has put it.

use std::path::Path;

use super::FileConfig;
use super::content::open_regular;
use super::identity::{FileId, Head, Identity};
use super::listing::siblings;
use crate::ConnectorError;

/// A file found at a path.
pub(super) struct Found {
    pub path: String,
    pub id: FileId,
    pub head: Head,
    pub length: u64,
}

impl Found {
    pub fn at(path: &str) -> Result<Found, ConnectorError> {
        let file = open_regular(path)?;
        let io = |source| ConnectorError::Io { path: path.to_string(), source };
        let metadata = file.metadata().map_err(io)?;
        let head = Head::read(&file).map_err(io)?;
        Ok(Found { path: path.to_string(), id: FileId::of(&metadata), head, length: metadata.len() })
    }

    /// The same inode, with what was there.
    pub fn is(&self, identity: &Identity) -> bool {
        self.id == identity.file && identity.begins(&self.head)
    }
}

/// The path of the partition's file. Errors: `HistoryLost` if no file is it.
pub(super) fn path_of(
    config: &FileConfig,
    partition: &str,
    identity: Option<&str>,
    position: u64,
) -> Result<String, ConnectorError> {
    let lost = || ConnectorError::HistoryLost { partition: partition.to_string(), position };
    let Some(identity) = identity.and_then(Identity::parse) else {
        // Known by its name only. What nothing was read of cannot be lost.
        let there = position == 0 || Path::new(partition).exists();
        return if there { Ok(partition.to_string()) } else { Err(lost()) };
    };
    let beside = siblings(Path::new(&identity.origin)).into_iter().filter_map(|path| Some(path.to_str()?.to_string()));
    let candidates: Vec<String> = std::iter::once(identity.origin.clone())
        .chain(config.listing.list().unwrap_or_default())
        .chain(beside)
        .collect();
    // A cheap look first: most candidates are other files.
    let same = |path: &&String| std::fs::metadata(path).is_ok_and(|found| FileId::of(&found) == identity.file);
    let renamed = candidates.iter().filter(same).filter_map(|path| Found::at(path).ok());
    if let Some(found) = renamed.into_iter().find(|found| found.is(&identity)) {
        return Ok(found.path);
    }
    let alike = |found: &Found| {
        let convincing = identity.is_convincing() || (found.path == identity.origin && identity.head_length > 0);
        convincing && identity.begins(&found.head)
    };
    let copied = candidates.iter().filter_map(|path| Found::at(path).ok()).find(alike);
    copied.map(|found| found.path).ok_or_else(lost)
}
