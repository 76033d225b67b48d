//! Follows files: what is appended and what appears is delivered as soon as the system says so, with a look around
//! once a second as safety net (links into other directories, network mounts).
//!
//! Files are known by what they are (`roster.rs`). A renamed file is followed on, and read to its end if its new name is
//! not among the followed ones; a file that got shorter was emptied, and what is written then is another partition. What
//! keeps one file from being read is told and concerns that file only.
//!
//! A partition that can deliver nothing more (a Parquet or compressed file read to its end, a deleted file) is reported
//! as ended only once another one is there: a followed source never ends, so at least one partition stays.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::followed::{Followed, State};
use super::identity::Identity;
use super::locate::{self, Found};
use super::roster::{Change, Roster};
use super::{FileConfig, Step, rows_max};
use crate::{ConnectorError, OpenRequest, PartitionState, ReadEvent, SourceReader, Trouble};

const LOOK_AROUND: Duration = Duration::from_secs(1);
/// Longer waits are cut, so that instants can't overflow.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// A file that was renamed out of what is followed may be written to for a while: it is at its end when this long
/// nothing came.
const UNLISTED_WAIT: Duration = Duration::from_secs(10);

pub(super) struct FollowReader {
    config: FileConfig,
    projection: Vec<usize>,
    rows_max: usize,
    roster: Roster,
    /// Partitions that may have something to read.
    ready: VecDeque<usize>,
    waiting_events: VecDeque<ReadEvent>,
    looked_around: Instant,
    /// A file does not stand where it was listed: look around at once.
    stale: bool,
    events: Receiver<notify::Result<notify::Event>>,
    /// Delivers into `events` while it lives.
    _watcher: RecommendedWatcher,
}

impl FollowReader {
    pub fn open(config: FileConfig, request: OpenRequest) -> Result<Self, ConnectorError> {
        let (base, recursive) = config.listing.watched();
        let (sender, events) = channel();
        let failed = |error: notify::Error| match error.kind {
            notify::ErrorKind::PathNotFound => ConnectorError::FileNotFound { path: base.display().to_string() },
            _ => ConnectorError::Io { path: base.display().to_string(), source: std::io::Error::other(error) },
        };
        let mut watcher = notify::recommended_watcher(move |event| drop(sender.send(event))).map_err(failed)?;
        let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        // Before listing, so that nothing falls in between.
        watcher.watch(&base, mode).map_err(failed)?;
        let mut reader = FollowReader {
            rows_max: rows_max(&request),
            projection: request.projection,
            roster: Roster::new(config.clone(), &request.from, &request.known),
            ready: VecDeque::new(),
            waiting_events: VecDeque::new(),
            looked_around: Instant::now(),
            stale: false,
            events,
            _watcher: watcher,
            config,
        };
        let known = reader.roster.partitions.len();
        let listed = match reader.config.listing.list() {
            // What was read may have been renamed, and its successor not be there yet.
            Err(ConnectorError::FileNotFound { .. }) if known > 0 && reader.config.listing.is_plain() => vec![],
            listed => listed?,
        };
        for change in reader.roster.take_in(listed, reader.looked_around) {
            // What is new is among the partitions from the beginning.
            if !matches!(change, Change::Added(index) if index >= known) {
                reader.tell(change);
            }
        }
        reader.place_missing();
        (0..reader.roster.partitions.len()).for_each(|index| reader.make_ready(index));
        Ok(reader)
    }

    /// Files that were read and are not listed: outside by another name, or gone.
    fn place_missing(&mut self) {
        for index in self.roster.unplaced() {
            let partition = &mut self.roster.partitions[index];
            let (name, position) = (partition.name.clone(), partition.position);
            let identity = partition.identity.as_ref().map(Identity::to_string);
            let found = locate::path_of(&self.config, &name, identity.as_deref(), position);
            match found.and_then(|path| Found::at(&path)) {
                Ok(found) if found.length >= position || position == 0 => self.roster.adopt(index, &found),
                // Nothing was read of it, nothing is missing.
                _ if position == 0 => partition.finish(),
                Ok(_) | Err(_) => {
                    let error = partition.lost();
                    self.give_up(index, error);
                }
            }
        }
    }

    fn list_new(&mut self) -> Result<(), ConnectorError> {
        let listed = match self.config.listing.list() {
            // All that was followed is renamed or deleted; another one may come.
            Err(ConnectorError::FileNotFound { .. }) if self.config.listing.is_plain() => vec![],
            Err(error @ ConnectorError::NotRegular { .. }) => {
                let path = self.config.listing.path().to_string();
                let open = |p: &Followed| p.path == path && p.state != State::Failed;
                if let Some(index) = self.roster.partitions.iter().position(open) {
                    self.give_up(index, error);
                }
                vec![]
            }
            listed => listed?,
        };
        for change in self.roster.take_in(listed, Instant::now()) {
            self.tell(change);
            if let Change::Added(index) = change {
                self.make_ready(index);
            }
        }
        self.place_missing();
        Ok(())
    }

    fn tell(&mut self, change: Change) {
        match change {
            Change::Added(index) => {
                let name = self.roster.partitions[index].name.clone();
                self.waiting_events.push_back(ReadEvent::PartitionAdded(name));
            }
            Change::Altered(index) => {
                let error = self.roster.partitions[index].lost();
                self.give_up(index, error);
            }
            Change::Emptied(index) => self.note_emptied(index, None),
        }
    }

    fn note_emptied(&mut self, index: usize, by: Option<usize>) {
        let Followed { name, position, path, .. } = &self.roster.partitions[index];
        let next = by.map(|by| format!(" as \"{}\"", self.roster.partitions[by].name)).unwrap_or_default();
        let reason = format!(
            "\"{path}\" was emptied after {position} bytes of it had been read; what had been appended behind them is not \
             read, what is written now is{next}"
        );
        self.waiting_events.push_back(ReadEvent::Noted { partition: name.clone(), position: *position, reason });
    }

    /// This partition is not read any more.
    fn give_up(&mut self, index: usize, error: ConnectorError) {
        let partition = &mut self.roster.partitions[index];
        if partition.state == State::Failed {
            return;
        }
        partition.fail();
        let trouble = Trouble { partition: partition.name.clone(), error, retry: None };
        self.waiting_events.push_back(ReadEvent::PartitionTroubled(trouble));
    }

    fn look_around(&mut self) -> Result<(), ConnectorError> {
        self.looked_around = Instant::now();
        self.list_new()?;
        (0..self.roster.partitions.len()).for_each(|index| self.make_ready(index));
        Ok(())
    }

    fn make_ready(&mut self, index: usize) {
        let partition = &mut self.roster.partitions[index];
        let due = partition.retry_at.is_none_or(|at| at <= Instant::now());
        if partition.state == State::Open && partition.id.is_some() && due && !partition.ready {
            partition.ready = true;
            self.ready.push_back(index);
        }
    }

    /// Reads ready partitions in turn until one has something to tell.
    fn read_ready(&mut self) -> Option<ReadEvent> {
        while let Some(index) = self.ready.pop_front() {
            // Also when reading fails: the next look around tries again, it never goes quiet.
            self.roster.partitions[index].ready = false;
            match self.read(index) {
                Ok(Step::Chunk(chunk)) => {
                    let partition = &mut self.roster.partitions[index];
                    partition.position = chunk.to;
                    partition.quiet_since = None;
                    self.make_ready(index);
                    self.recovered(index);
                    self.waiting_events.push_back(ReadEvent::Chunk(chunk));
                }
                Ok(Step::Pending) => {
                    self.recovered(index);
                    self.at_end(index);
                }
                Ok(Step::End) => {
                    self.recovered(index);
                    self.roster.partitions[index].finish();
                }
                Err(error) => self.failed(index, error),
            }
            if let Some(event) = self.waiting_events.pop_front() {
                return Some(event);
            }
        }
        None
    }

    fn read(&mut self, index: usize) -> Result<Step, ConnectorError> {
        let partition = &mut self.roster.partitions[index];
        partition.open(&self.config, &self.projection)?;
        if partition.begins_otherwise() {
            return Err(partition.lost());
        }
        let path = partition.path.clone();
        partition.look_at_head().map_err(|source| ConnectorError::Io { path, source })?;
        // Who reads the log must know where to look before it hears of rows.
        if std::mem::take(&mut partition.unreported)
            && let Some(identity) = &partition.identity
        {
            let (partition, identity) = (partition.name.clone(), identity.to_string());
            self.waiting_events.push_back(ReadEvent::PartitionIdentified { partition, identity });
        }
        partition.reader.as_mut().expect("opened above").read(self.rows_max)
    }

    fn recovered(&mut self, index: usize) {
        let partition = &mut self.roster.partitions[index];
        partition.retry_at = None;
        if partition.backoff.succeed() {
            self.waiting_events.push_back(ReadEvent::PartitionRecovered(partition.name.clone()));
        }
    }

    /// All that is there now is read. Will more come?
    fn at_end(&mut self, index: usize) {
        let partition = &mut self.roster.partitions[index];
        let quiet = partition.quiet_since.get_or_insert_with(Instant::now).elapsed();
        let left = !partition.listed && quiet >= UNLISTED_WAIT;
        let gone = partition.is_deleted().unwrap_or_else(|| !Path::new(&partition.path).exists());
        if (left || gone)
            && let Some(reader) = &mut partition.reader
        {
            reader.complete();
            partition.ready = true;
            self.ready.push_back(index);
        }
    }

    fn failed(&mut self, index: usize, error: ConnectorError) {
        let partition = &mut self.roster.partitions[index];
        match error {
            // What stands there now isn't what was read, but goes on from its start.
            ConnectorError::HistoryLost { .. } if partition.reader.as_ref().is_some_and(|r| r.file().is_some()) => {
                let renewed = self.roster.renew(index);
                self.note_emptied(index, Some(renewed));
                self.tell(Change::Added(renewed));
                self.make_ready(renewed);
            }
            // Renamed or deleted since it was listed: the next look finds it, or that it is gone.
            ConnectorError::FileNotFound { .. } if partition.reader.is_none() => self.stale = true,
            error if error.may_pass() => {
                let retry = partition.backoff.fail();
                partition.retry_at = Some(Instant::now() + retry.wait);
                partition.reader = None;
                let trouble = Trouble { partition: partition.name.clone(), error, retry: Some(retry) };
                self.waiting_events.push_back(ReadEvent::PartitionTroubled(trouble));
            }
            error => self.give_up(index, error),
        }
    }

    /// Reports a finished partition, never the last one.
    fn report_ended(&mut self) -> Option<ReadEvent> {
        let partitions = &mut self.roster.partitions;
        if partitions.iter().filter(|p| matches!(p.state, State::Open | State::Finished)).count() < 2 {
            return None;
        }
        let partition = partitions.iter_mut().find(|p| p.state == State::Finished)?;
        partition.state = State::Ended;
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
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => true,
            EventKind::Any | EventKind::Modify(_) | EventKind::Other => false,
        };
        let may_add = may_add || event.paths.iter().any(|path| self.roster.is_undecided(path));
        // Before the listing moves the names.
        let indices: Vec<usize> = event.paths.iter().filter_map(|path| self.roster.index_of(path)).collect();
        if may_add {
            self.list_new()?;
        }
        let now = event.paths.iter().filter_map(|path| self.roster.index_of(path));
        for index in indices.into_iter().chain(now.collect::<Vec<_>>()) {
            self.make_ready(index);
        }
        Ok(())
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
            if let Some(event) = self.read_ready() {
                return Ok(event);
            }
            if let Some(event) = self.report_ended() {
                return Ok(event);
            }
            let now = Instant::now();
            let next_look = self.looked_around + LOOK_AROUND;
            if now >= next_look || std::mem::take(&mut self.stale) {
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
        let state = |p: &Followed| PartitionState {
            name: p.name.clone(),
            position: p.position,
            ended: p.state == State::Ended,
        };
        self.roster.partitions.iter().map(state).collect()
    }
}
