//! One partition of a followed source: which file it is, how far it was read, and what became of it.

use std::path::Path;
use std::time::Instant;

use super::identity::{FileId, Head, Identity};
use super::listing::missing_or_io;
use super::text_file::Range;
use super::{FileConfig, PartitionReader};
use crate::{Backoff, ConnectorError, KnownPartition};

/// What became of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// More may come.
    Open,
    /// Nothing more will come; not yet reported, since no other partition is open.
    Finished,
    /// Finished, and reported.
    Ended,
    /// Damaged, or not what was read: not tried again.
    Failed,
}

pub(super) struct Followed {
    pub name: String,
    pub state: State,
    pub position: u64,
    /// Where its file stands, or stood when it was seen last.
    pub path: String,
    /// It is among the listed files.
    pub listed: bool,
    pub id: Option<FileId>,
    pub identity: Option<Identity>,
    /// The identity has changed since it was reported.
    pub unreported: bool,
    pub reader: Option<Box<dyn PartitionReader>>,
    /// It waits for its turn.
    pub ready: bool,
    pub backoff: Backoff,
    /// After a failure: when it is tried again.
    pub retry_at: Option<Instant>,
    /// Read to its end, since then without news.
    pub quiet_since: Option<Instant>,
    /// Length of a finished file that must not change.
    pub finished_length: Option<u64>,
}

impl Followed {
    /// A file seen for the first time.
    pub fn new(name: String, path: &str, id: FileId, head: &Head) -> Followed {
        let identity = (!head.is_empty()).then(|| Identity::new(id, head, path));
        Followed {
            unreported: identity.is_some(),
            identity,
            id: Some(id),
            listed: true,
            ..Followed::bare(name, path.to_string(), 0)
        }
    }

    /// One that was read before, whose file is not found yet.
    pub fn known(name: &str, known: &KnownPartition, position: u64) -> Followed {
        let identity = known.identity.as_deref().and_then(Identity::parse);
        let path = identity.as_ref().map_or_else(|| name.to_string(), |identity| identity.origin.clone());
        let state = if known.ended { State::Ended } else { State::Open };
        Followed { identity, state, ..Followed::bare(name.to_string(), path, position) }
    }

    fn bare(name: String, path: String, position: u64) -> Followed {
        Followed {
            backoff: Backoff::new(&name),
            name,
            path,
            position,
            state: State::Open,
            listed: false,
            id: None,
            identity: None,
            unreported: false,
            reader: None,
            ready: false,
            retry_at: None,
            quiet_since: None,
            finished_length: None,
        }
    }

    /// Its file is this one from now on, at `path`.
    pub fn take_on(&mut self, path: &str, id: FileId, head: &Head) {
        let origin = self.identity.take().map_or_else(|| self.name.clone(), |identity| identity.origin);
        self.id = Some(id);
        self.path = path.to_string();
        self.listed = true;
        self.reader = None;
        self.identity = (!head.is_empty()).then(|| Identity::new(id, head, &origin));
        self.unreported = self.identity.is_some();
        (self.state, self.finished_length) = (State::Open, None);
    }

    /// Its file has more of a beginning than is known of it.
    pub fn look_at_head(&mut self) -> std::io::Result<()> {
        let Some((id, file)) = self.id.zip(self.reader.as_ref().and_then(|reader| reader.file())) else {
            return Ok(());
        };
        if self.identity.as_ref().is_some_and(Identity::is_final) {
            return Ok(());
        }
        let known = self.identity.as_ref().map_or(0, |identity| identity.head_length);
        if file.metadata()?.len() <= known {
            return Ok(());
        }
        let head = Head::read(file)?;
        let origin = self.identity.as_ref().map_or(&self.path, |identity| &identity.origin);
        self.identity = Some(Identity::new(id, &head, origin));
        self.unreported = true;
        Ok(())
    }

    /// The open file does not begin as it did: it was emptied and written anew.
    pub fn begins_otherwise(&self) -> bool {
        let file = self.reader.as_ref().and_then(|reader| reader.file());
        let Some((identity, file)) = self.identity.as_ref().zip(file) else { return false };
        Head::read(file).is_ok_and(|head| !identity.begins(&head))
    }

    /// The file has no name any more; `None` if it is not open.
    pub fn is_deleted(&self) -> Option<bool> {
        use std::os::unix::fs::MetadataExt;
        let file = self.reader.as_ref()?.file()?;
        file.metadata().ok().map(|metadata| metadata.nlink() == 0)
    }

    /// Nothing more will come of it.
    pub fn finish(&mut self) {
        if self.state == State::Open {
            self.state = State::Finished;
        }
        self.reader = None;
        self.finished_length =
            std::fs::metadata(&self.path).ok().filter(|m| self.id == Some(FileId::of(m))).map(|m| m.len());
    }

    pub fn fail(&mut self) {
        (self.state, self.reader, self.retry_at) = (State::Failed, None, None);
    }

    /// Opens its file where reading stopped. Errors: `FileNotFound` also if another file stands at its path by now.
    pub fn open(&mut self, config: &FileConfig, projection: &[usize]) -> Result<(), ConnectorError> {
        if self.reader.is_some() {
            return Ok(());
        }
        let range = Range { from: self.position, until: None, follow: true };
        let reader = config.partition(&self.name, &self.path, range, projection)?;
        // Of a file that is only opened when it is read: the one that stands there now.
        let metadata = reader.file().map_or_else(|| std::fs::metadata(&self.path), |file| file.metadata());
        let metadata = metadata.map_err(|error| missing_or_io(Path::new(&self.path), error))?;
        if self.id != Some(FileId::of(&metadata)) {
            return Err(ConnectorError::FileNotFound { path: self.path.clone() });
        }
        self.reader = Some(reader);
        Ok(())
    }

    pub fn lost(&self) -> ConnectorError {
        ConnectorError::HistoryLost { partition: self.name.clone(), position: self.position }
    }
}
