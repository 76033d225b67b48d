//! Writing the journal: takes what is queued, writes it with one call, syncs once. One step at a time, without waiting:
//! the thread (`thread.rs`) or a simulation decides when.
//!
//! While the disk is full the group that doesn't fit is kept and tried again; nothing that has a position is dropped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::marks::{self, ENTRIES_AT, Marks};
use super::replay::{JournalEnd, OpenSegment};
use super::reserve::Reserve;
use super::segment::{self, SegmentHeader};
use super::{Queue, Shared};
use crate::StateError;
use crate::disk::{Access, Files, OpenFile};

pub(super) struct JournalCore {
    files: Files,
    dir: PathBuf,
    segment_bytes: u64,
    reserve: Option<Reserve>,
    shared: Arc<Shared>,
    segment: Segment,
    /// A group that waits for space.
    pending: Option<Group>,
}

/// The segment being written. Everything before `length` is durable.
struct Segment {
    file: OpenFile,
    first_position: u64,
    length: u64,
    marks: Marks,
    /// The newest mark is written, but not synced.
    mark_pending: bool,
}

/// Encoded entries that are written and synced together.
struct Group {
    bytes: Vec<u8>,
    /// Of the last entry.
    position: u64,
    /// What was durable before.
    durable: u64,
}

/// What became of one attempt to write a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalStep {
    /// Everything up to this position is durable.
    Written(u64),
    /// Nothing is queued.
    Idle,
    /// The disk is full; what is queued is kept, new entries are refused.
    NoSpace,
}

impl Segment {
    /// A new, empty, durable segment, of which the one before knows.
    fn create(files: &Files, dir: &Path, header: SegmentHeader) -> Result<Segment, StateError> {
        let marks = Marks::new(header.salt, header.first_position - 1);
        let file = files.create(&dir.join(segment::file_name(header.first_position)))?;
        file.write_at(&header.head(&marks), 0)?;
        file.sync()?;
        files.sync_dir(dir)?;
        marks::link_previous(files, dir, header.first_position)?;
        let (first_position, length) = (header.first_position, ENTRIES_AT as u64);
        Ok(Segment { file, first_position, length, marks, mark_pending: false })
    }

    fn entry_bytes(&self) -> u64 {
        self.length - ENTRIES_AT as u64
    }

    /// Writes and syncs `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        if let Err(error) = self.file.write_at(bytes, self.length) {
            // Take back what was written, so that the file ends with what is durable; and have it so, for what is
            // written there next must find nothing.
            self.file.set_len(self.length)?;
            self.file.sync()?;
            return Err(error);
        }
        self.sync()?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Notes that everything up to `position` is durable; what notes it is so after the next sync.
    fn acknowledge(&mut self, position: u64) -> Result<(), StateError> {
        self.mark_pending = true;
        match self.marks.acknowledge(&self.file, position) {
            // A file system that never overwrites needs space even for this; the next mark says more.
            Err(StateError::DiskFull { .. }) => Ok(()),
            other => other,
        }
    }

    fn sync(&mut self) -> Result<(), StateError> {
        self.file.sync()?;
        self.mark_pending = false;
        Ok(())
    }
}

impl JournalCore {
    pub(super) fn open(
        files: Files,
        dir: &Path,
        end: JournalEnd,
        segment_bytes: u64,
        reserve: Option<Reserve>,
        shared: Arc<Shared>,
    ) -> Result<JournalCore, StateError> {
        let segment = match end.open_segment {
            Some(OpenSegment { path, header, marks: Some(marks), length }) => {
                let file = files.open(&path, Access::Write)?;
                Segment { file, first_position: header.first_position, length, marks, mark_pending: false }
            }
            Some(OpenSegment { marks: None, .. }) | None => {
                let header = SegmentHeader::new(files.disk().salt(), end.position + 1, end.chain);
                Segment::create(&files, dir, header)?
            }
        };
        shared.lock().segment = segment.first_position;
        Ok(JournalCore { files, dir: dir.into(), segment_bytes, reserve, shared, segment, pending: None })
    }

    /// Writes what is queued, with one sync, and tells those who wait for it. Errors are fatal.
    pub(super) fn write_group(&mut self) -> Result<JournalStep, StateError> {
        self.give_reserve_to_checkpoint();
        loop {
            let group = self.pending.take().or_else(|| take_group(&mut self.shared.lock()));
            let attempt = match &group {
                Some(group) => self.write(group),
                None => self.begin_segment_if_asked(),
            };
            match (attempt, group) {
                (Ok(()), Some(group)) => {
                    self.publish(group.position);
                    self.regain_space()?;
                    return Ok(JournalStep::Written(group.position));
                }
                (Ok(()), None) => {
                    self.regain_space()?;
                    return Ok(JournalStep::Idle);
                }
                (Err(StateError::DiskFull { path }), group) => {
                    self.pending = group;
                    self.note_full(&path);
                    if !self.reserve.as_mut().is_some_and(Reserve::release_half) {
                        return Ok(JournalStep::NoSpace);
                    }
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    fn write(&mut self, group: &Group) -> Result<(), StateError> {
        let asked = self.shared.lock().begin_segment && self.segment.entry_bytes() > 0;
        if asked || self.segment.entry_bytes() >= self.segment_bytes {
            self.begin_segment(group.durable + 1, segment::previous_of(&group.bytes))?;
        }
        let salt = self.segment.marks.salt();
        let mut bytes = segment::batch_mark(group.durable, salt);
        let mark_bytes = bytes.len();
        bytes.extend_from_slice(&group.bytes);
        segment::salt_entries(&mut bytes[mark_bytes..], salt);
        self.segment.append(&bytes)?;
        self.segment.acknowledge(group.position)
    }

    fn publish(&self, position: u64) {
        {
            let mut queue = self.shared.lock();
            assert!(position > queue.durable, "a group has entries");
            queue.durable = position;
        }
        self.shared.progress.notify_all();
        self.shared.notify(position);
    }

    fn begin_segment_if_asked(&mut self) -> Result<(), StateError> {
        let (asked, durable, position, chain) = {
            let queue = self.shared.lock();
            (queue.begin_segment, queue.durable, queue.position, queue.chain)
        };
        // Otherwise the next group does it.
        if asked && durable == position && self.segment.entry_bytes() > 0 {
            self.begin_segment(position + 1, chain)?;
        }
        Ok(())
    }

    fn begin_segment(&mut self, first_position: u64, chain: u32) -> Result<(), StateError> {
        let header = SegmentHeader::new(self.files.disk().salt(), first_position, chain);
        self.segment = Segment::create(&self.files, &self.dir, header)?;
        let mut queue = self.shared.lock();
        queue.segment = first_position;
        queue.begin_segment = false;
        Ok(())
    }

    fn note_full(&self, path: &Path) {
        let mut queue = self.shared.lock();
        if !queue.disk_full {
            tracing::error!(path = %path.display(), "disk full, new entries are refused until there is space");
        }
        queue.disk_full = true;
        drop(queue);
        self.shared.progress.notify_all();
    }

    fn give_reserve_to_checkpoint(&mut self) {
        if self.shared.lock().checkpoint_waits
            && let Some(reserve) = &mut self.reserve
            && reserve.release_all()
        {
            tracing::warn!("disk full, the reserve is left to the checkpoint that lets the journal be cut");
        }
    }

    /// After a full disk: once a share of the reserve fits again, entries are accepted again. The rest of it is taken
    /// step by step.
    fn regain_space(&mut self) -> Result<(), StateError> {
        if self.shared.lock().checkpoint_waits {
            return Ok(());
        }
        if let Some(reserve) = &mut self.reserve
            && !reserve.is_complete()
            && !reserve.grow()?
        {
            return Ok(());
        }
        let mut queue = self.shared.lock();
        if queue.disk_full {
            tracing::info!("disk has space again");
            queue.disk_full = false;
        }
        Ok(())
    }

    /// A group was taken and doesn't fit.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn reserve_is_complete(&self) -> bool {
        self.reserve.as_ref().is_none_or(Reserve::is_complete)
    }

    /// The mark of what was acknowledged last is not durable yet.
    pub(super) fn mark_pending(&self) -> bool {
        self.segment.mark_pending
    }

    pub(super) fn sync_mark(&mut self) -> Result<(), StateError> {
        self.segment.sync()
    }

    /// States that everything before is durable: damage to the last entries is then no torn tail.
    pub(super) fn write_closing_mark(&mut self) -> Result<(), StateError> {
        let durable = self.shared.lock().durable;
        match self.segment.append(&segment::batch_mark(durable, self.segment.marks.salt())) {
            // The mark is a courtesy.
            Err(StateError::DiskFull { .. }) => Ok(()),
            other => other,
        }
    }
}

fn take_group(queue: &mut Queue) -> Option<Group> {
    queue.urgent = false;
    if queue.bytes.is_empty() {
        return None;
    }
    queue.taken = queue.position;
    Some(Group { bytes: std::mem::take(&mut queue.bytes), position: queue.position, durable: queue.durable })
}
