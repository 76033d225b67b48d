//! Follows files: what is appended and what appears is delivered as soon as the system says so, with a look around
//! once a second as safety net (links into other directories, network mounts).
//!
//! A partition that can deliver nothing more (a Parquet file read to its end, a deleted file) is reported as ended only
//! once another one is there: a followed source never ends, so at least one partition stays.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{FileConfig, PartitionReader, Step, rows_max};
use crate::{ConnectorError, OpenRequest, PartitionState, ReadEvent, SourceReader};

const LOOK_AROUND: Duration = Duration::from_secs(1);
/// Longer waits are cut, so that instants can't overflow.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

pub(super) struct FollowReader {
    config: FileConfig,
    projection: Vec<usize>,
    rows_max: usize,
    /// In order of appearance; never removed.
    partitions: Vec<Followed>,
    by_path: HashMap<PathBuf, usize>,
    /// Partitions that may have something to read.
    ready: VecDeque<usize>,
    waiting_events: VecDeque<ReadEvent>,
    looked_around: Instant,
    events: Receiver<notify::Result<notify::Event>>,
    /// Delivers into `events` while it lives.
    _watcher: RecommendedWatcher,
}

struct Followed {
    name: String,
    position: u64,
    reader: Option<Box<dyn PartitionReader>>,
    ready: bool,
    /// Nothing more will come.
    finished: bool,
    /// Finished because its name is gone.
    deleted: bool,
    /// What a finished file was.
    identity: Option<(u64, u64, u64)>,
    /// Finished, and reported.
    ended: bool,
}

impl Followed {
    /// Its name is listed. What stands under the name of a deleted file that was read is not its continuation.
    /// Gives whether it must be announced again.
    fn came_back(&mut self) -> Result<bool, ConnectorError> {
        if !self.deleted {
            return Ok(false);
        }
        if self.position > 0 {
            return Err(self.lost());
        }
        (self.finished, self.deleted, self.identity) = (false, false, None);
        Ok(std::mem::take(&mut self.ended))
    }

    /// It was read to its end and may have changed since: then it isn't what was read.
    fn check_finished(&mut self) -> Result<(), ConnectorError> {
        if self.deleted {
            return Ok(());
        }
        match identity(&self.name) {
            None => self.deleted = true,
            same if same == self.identity => {}
            _ => return Err(self.lost()),
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.finished = true;
        self.reader = None;
        self.identity = identity(&self.name);
        self.deleted = self.identity.is_none();
    }

    fn lost(&self) -> ConnectorError {
        ConnectorError::HistoryLost { partition: self.name.clone(), position: self.position }
    }
}

/// Device, inode and length; `None` if there is no such file.
fn identity(path: &str) -> Option<(u64, u64, u64)> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino(), m.len()))
}

impl FollowReader {
    pub fn open(config: FileConfig, request: OpenRequest) -> Result<Self, ConnectorError> {
        // Says what is missing better than the watcher would.
        config.listing.list()?;
        let (base, recursive) = config.listing.watched();
        let (sender, events) = channel();
        let failed = |error: notify::Error| ConnectorError::Io {
            path: base.display().to_string(),
            source: std::io::Error::other(error),
        };
        let mut watcher = notify::recommended_watcher(move |event| drop(sender.send(event))).map_err(failed)?;
        let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        // Before listing, so that nothing falls in between.
        watcher.watch(&base, mode).map_err(failed)?;
        let mut reader = FollowReader {
            rows_max: rows_max(&request),
            projection: request.projection,
            partitions: vec![],
            by_path: HashMap::new(),
            ready: VecDeque::new(),
            waiting_events: VecDeque::new(),
            looked_around: Instant::now(),
            events,
            _watcher: watcher,
            config,
        };
        reader.list(&request.from)?;
        let known = |name: &String| reader.partitions.iter().any(|p| p.name == *name);
        if let Some((name, position)) = request.from.iter().find(|(name, p)| **p > 0 && !known(name)) {
            return Err(ConnectorError::HistoryLost { partition: name.clone(), position: *position });
        }
        Ok(reader)
    }

    /// Adds the files that aren't known yet; gives their indices.
    fn list(&mut self, from: &BTreeMap<String, u64>) -> Result<std::ops::Range<usize>, ConnectorError> {
        let known = self.partitions.len();
        for name in self.config.listing.list()? {
            let path = std::path::absolute(&name).unwrap_or_else(|_| PathBuf::from(&name));
            if let Some(index) = self.by_path.get(&path) {
                let partition = &mut self.partitions[*index];
                if partition.came_back()? {
                    self.waiting_events.push_back(ReadEvent::PartitionAdded(partition.name.clone()));
                }
                continue;
            }
            let index = self.partitions.len();
            self.by_path.insert(path, index);
            let position = from.get(&name).copied().unwrap_or(0);
            self.ready.push_back(index);
            self.partitions.push(Followed {
                name,
                position,
                reader: None,
                ready: true,
                finished: false,
                deleted: false,
                identity: None,
                ended: false,
            });
        }
        Ok(known..self.partitions.len())
    }

    /// Reports files that have appeared since.
    fn list_new(&mut self) -> Result<(), ConnectorError> {
        let listed = match self.list(&BTreeMap::new()) {
            // All that was followed is deleted; it may come back.
            Err(ConnectorError::FileNotFound { .. }) => return Ok(()),
            listed => listed?,
        };
        for index in listed {
            self.waiting_events.push_back(ReadEvent::PartitionAdded(self.partitions[index].name.clone()));
        }
        Ok(())
    }

    fn look_around(&mut self) -> Result<(), ConnectorError> {
        self.looked_around = Instant::now();
        self.list_new()?;
        (0..self.partitions.len()).try_for_each(|index| self.make_ready(index))
    }

    fn make_ready(&mut self, index: usize) -> Result<(), ConnectorError> {
        let partition = &mut self.partitions[index];
        if partition.finished {
            return partition.check_finished();
        }
        if !partition.ready {
            partition.ready = true;
            self.ready.push_back(index);
        }
        Ok(())
    }

    /// Reads ready partitions in turn until one has a chunk.
    fn read_ready(&mut self) -> Result<Option<ReadEvent>, ConnectorError> {
        while let Some(index) = self.ready.pop_front() {
            let partition = &mut self.partitions[index];
            // Also when reading fails: the next look around fails again, it never goes quiet.
            partition.ready = false;
            if partition.reader.is_none() {
                let (name, position) = (&partition.name, partition.position);
                match self.config.partition(name, position, None, &self.projection) {
                    Ok(reader) => partition.reader = Some(reader),
                    // Gone again before it was read.
                    Err(ConnectorError::FileNotFound { .. }) => {
                        partition.finish();
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            match partition.reader.as_mut().expect("opened above").read(self.rows_max)? {
                Step::Chunk(chunk) => {
                    partition.position = chunk.to;
                    partition.ready = true;
                    self.ready.push_back(index);
                    return Ok(Some(ReadEvent::Chunk(chunk)));
                }
                Step::Pending => {}
                Step::End => partition.finish(),
            }
        }
        Ok(None)
    }

    /// Reports a finished partition, never the last one.
    fn report_ended(&mut self) -> Option<ReadEvent> {
        if self.partitions.iter().filter(|p| !p.ended).count() < 2 {
            return None;
        }
        let partition = self.partitions.iter_mut().find(|p| p.finished && !p.ended)?;
        partition.ended = true;
        Some(ReadEvent::PartitionEnded(partition.name.clone()))
    }

    /// Also while there is plenty to read: new files must be noticed, and the queue must not grow.
    fn take_events(&mut self) -> Result<(), ConnectorError> {
        while let Ok(event) = self.events.try_recv() {
            self.on_event(event)?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: notify::Result<notify::Event>) -> Result<(), ConnectorError> {
        let Ok(event) = event else { return self.look_around() };
        if event.need_rescan() {
            return self.look_around();
        }
        let may_add = match event.kind {
            // Our own opening and reading, too.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return Ok(()),
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) => true,
            EventKind::Any | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => false,
        };
        if may_add {
            self.list_new()?;
        }
        for path in &event.paths {
            if let Some(index) = self.index_of(path) {
                self.make_ready(index)?;
            }
        }
        Ok(())
    }

    fn index_of(&self, path: &Path) -> Option<usize> {
        self.by_path.get(path).copied().or_else(|| self.by_path.get(&std::path::absolute(path).ok()?).copied())
    }
}

impl SourceReader for FollowReader {
    fn next(&mut self, wait: Duration) -> Result<ReadEvent, ConnectorError> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            self.take_events()?;
            if let Some(event) = self.waiting_events.pop_front() {
                return Ok(event);
            }
            if let Some(event) = self.read_ready()? {
                return Ok(event);
            }
            if let Some(event) = self.report_ended() {
                return Ok(event);
            }
            let now = Instant::now();
            let next_look = self.looked_around + LOOK_AROUND;
            if now >= next_look {
                self.look_around()?;
                continue;
            }
            match self.events.recv_timeout(deadline.min(next_look).saturating_duration_since(now)) {
                Ok(event) => self.on_event(event)?,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => return Ok(ReadEvent::Idle),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ConnectorError::Internal { message: "the file watcher stopped".into() });
                }
            }
        }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        let state = |p: &Followed| PartitionState { name: p.name.clone(), position: p.position, ended: p.ended };
        self.partitions.iter().map(state).collect()
    }
}
