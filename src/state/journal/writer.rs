//! The journal's thread: takes everything queued, writes it with one call, syncs once, wakes all waiters.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::marks::{self, ENTRIES_AT, Marks};
use super::replay::{JournalEnd, OpenSegment};
use super::reserve::Reserve;
use super::segment::{self, SegmentHeader};
use super::{JournalOptions, Queue, Shared};
use crate::{StateError, disk};

/// Longest time an entry appended lazily, or the mark of what was acknowledged last, waits for a sync.
const LAZY_SYNC: Duration = Duration::from_millis(100);
/// Lazily appended bytes that start a sync.
const LAZY_BYTES_MAX: usize = 1024 * 1024;
/// Time between attempts while the disk is full.
const SPACE_RETRY: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    dir: PathBuf,
    options: JournalOptions,
    reserve: Option<Reserve>,
    shared: Arc<Shared>,
    segment: Segment,
}

/// The segment being written. Everything before `length` is durable.
struct Segment {
    path: PathBuf,
    file: File,
    salt: u32,
    first_position: u64,
    length: u64,
    marks: Marks,
    /// The newest mark is written, but not synced.
    mark_pending: bool,
}

impl Segment {
    /// A new, empty, durable segment, of which the one before knows.
    fn create(dir: &Path, header: SegmentHeader) -> Result<Segment, StateError> {
        let path = dir.join(segment::file_name(header.first_position));
        let marks = Marks::new(header.salt, header.first_position - 1);
        let file = disk::create_file(&path)?;
        let written = file.write_all_at(&header.head(&marks), 0);
        written.map_err(|e| StateError::io("write", &path, e))?;
        file.sync_all().map_err(|e| StateError::sync(&path, e))?;
        disk::sync_dir(dir)?;
        marks::link_previous(dir, header.first_position)?;
        let SegmentHeader { salt, first_position, .. } = header;
        Ok(Segment { path, file, salt, first_position, length: ENTRIES_AT as u64, marks, mark_pending: false })
    }

    fn entry_bytes(&self) -> u64 {
        self.length - ENTRIES_AT as u64
    }

    /// Notes that everything up to `position` is durable; what notes it is so after the next sync.
    fn acknowledge(&mut self, position: u64) -> Result<(), StateError> {
        self.mark_pending = true;
        match self.marks.acknowledge(&self.file, &self.path, position) {
            // A file system that never overwrites needs space even for this; the next mark says more.
            Err(StateError::DiskFull { .. }) => Ok(()),
            other => other,
        }
    }

    fn sync(&mut self) -> Result<(), StateError> {
        self.file.sync_data().map_err(|e| StateError::sync(&self.path, e))?;
        self.mark_pending = false;
        Ok(())
    }
}

enum Work {
    /// Encoded entries, the position of the last, and what was durable before.
    Batch {
        bytes: Vec<u8>,
        position: u64,
        durable: u64,
    },
    /// Nothing came after the last batch: its mark is to be synced.
    Mark,
    Close,
}

impl Writer {
    pub(super) fn open(
        dir: &Path,
        end: JournalEnd,
        options: JournalOptions,
        reserve: Option<Reserve>,
        shared: Arc<Shared>,
    ) -> Result<Writer, StateError> {
        let segment = match end.open_segment {
            Some(OpenSegment { path, header, marks: Some(marks), length }) => {
                let opened = File::options().read(true).write(true).open(&path);
                let file = opened.map_err(|e| StateError::io("open", &path, e))?;
                let SegmentHeader { salt, first_position, .. } = header;
                Segment { path, file, salt, first_position, length, marks, mark_pending: false }
            }
            Some(OpenSegment { marks: None, .. }) | None => {
                Segment::create(dir, SegmentHeader::new(salt(), end.position + 1, end.chain))?
            }
        };
        shared.lock().segment = segment.first_position;
        Ok(Writer { dir: dir.into(), options, reserve, shared, segment })
    }

    pub(super) fn run(mut self) {
        loop {
            let done = match self.next_work() {
                Work::Batch { bytes, position, durable } => self.write_batch(bytes, position, durable),
                Work::Mark => self.segment.sync(),
                Work::Close => {
                    let closed = self.write_closing_mark();
                    self.finish(closed);
                    return;
                }
            };
            if done.is_err() {
                self.finish(done);
                return;
            }
        }
    }

    /// Stops the journal; a failed sync, and every other error here, is fatal unless the journal was closing.
    fn finish(&self, result: Result<(), StateError>) {
        if let Err(error) = result
            && !matches!(error, StateError::JournalStopped)
        {
            (self.options.on_fatal)(&error);
        }
        self.shared.lock().stopped = true;
        self.shared.progress.notify_all();
    }

    fn next_work(&self) -> Work {
        let mut queue = self.shared.lock();
        loop {
            let due = queue.urgent || queue.closing || queue.bytes.len() > LAZY_BYTES_MAX;
            if due && !queue.bytes.is_empty() {
                return take_batch(&mut queue);
            }
            if queue.closing {
                return Work::Close;
            }
            if queue.bytes.is_empty() {
                queue.urgent = false;
            }
            if queue.bytes.is_empty() && !self.segment.mark_pending {
                queue = self.shared.work.wait(queue).expect("no code panics while holding the journal's queue");
                continue;
            }
            let waited = self.shared.work.wait_timeout(queue, LAZY_SYNC);
            let (guard, timeout) = waited.expect("no code panics while holding the journal's queue");
            queue = guard;
            match (timeout.timed_out(), queue.bytes.is_empty()) {
                (true, true) => return Work::Mark,
                (true, false) => return take_batch(&mut queue),
                (false, _) => {}
            }
        }
    }

    fn write_batch(&mut self, mut bytes: Vec<u8>, position: u64, durable: u64) -> Result<(), StateError> {
        if self.segment.entry_bytes() >= self.options.segment_bytes {
            self.roll(&bytes, durable)?;
        }
        segment::salt_entries(&mut bytes, self.segment.salt);
        bytes.splice(0..0, segment::batch_mark(durable, self.segment.salt));
        self.with_space(|writer| writer.write(&bytes))?;
        self.segment.length += bytes.len() as u64;
        self.segment.acknowledge(position)?;
        {
            let mut queue = self.shared.lock();
            assert!(position > queue.durable, "a batch has entries");
            queue.durable = position;
        }
        self.shared.progress.notify_all();
        self.shared.notify(position);
        self.regain_space()
    }

    /// Starts the next segment; `bytes` begin with its first entry.
    fn roll(&mut self, bytes: &[u8], durable: u64) -> Result<(), StateError> {
        let chain = segment::previous_of(bytes);
        let header = SegmentHeader::new(salt(), durable + 1, chain);
        let dir = self.dir.clone();
        self.with_space(|writer| {
            writer.segment = Segment::create(&dir, header)?;
            Ok(())
        })?;
        self.shared.lock().segment = self.segment.first_position;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let Segment { path, file, length, .. } = &self.segment;
        if let Err(error) = file.write_all_at(bytes, *length) {
            // Take back what was written, so that the file ends with what is durable.
            file.set_len(*length).map_err(|e| StateError::io("truncate", path, e))?;
            return Err(StateError::io("write", path, error));
        }
        self.segment.sync()
    }

    /// Repeats `attempt` while the disk is full: first with the reserve's space, then whenever there may be some.
    /// Meanwhile new entries are refused. Gives up only when the journal is closed.
    fn with_space(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<(), StateError>) -> Result<(), StateError> {
        loop {
            match attempt(self) {
                Err(StateError::DiskFull { path }) => {
                    let released = self.reserve.as_mut().is_some_and(Reserve::release);
                    let mut queue = self.shared.lock();
                    if !queue.disk_full {
                        tracing::error!(path = %path.display(), "disk full, new entries are refused until there is space");
                    }
                    queue.disk_full = true;
                    self.shared.progress.notify_all();
                    if released {
                        continue;
                    }
                    if queue.closing {
                        return Err(StateError::JournalStopped);
                    }
                    let waited = self.shared.work.wait_timeout(queue, SPACE_RETRY);
                    drop(waited.expect("no code panics while holding the journal's queue"));
                }
                other => return other,
            }
        }
    }

    /// After a full disk: once the reserve fits again, entries are accepted again.
    fn regain_space(&mut self) -> Result<(), StateError> {
        while self.shared.lock().disk_full {
            let regained = match &mut self.reserve {
                Some(reserve) => reserve.acquire(),
                None => Ok(()),
            };
            match regained {
                Ok(()) => {
                    tracing::info!("disk has space again");
                    self.shared.lock().disk_full = false;
                }
                Err(StateError::DiskFull { .. }) => {
                    let queue = self.shared.lock();
                    if queue.closing || !queue.bytes.is_empty() {
                        return Ok(());
                    }
                    let waited = self.shared.work.wait_timeout(queue, SPACE_RETRY);
                    drop(waited.expect("no code panics while holding the journal's queue"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// States that everything before is durable: damage to the last entries is then no torn tail.
    fn write_closing_mark(&mut self) -> Result<(), StateError> {
        let durable = self.shared.lock().durable;
        let mark = segment::batch_mark(durable, self.segment.salt);
        match self.write(&mark) {
            // The mark is a courtesy.
            Err(StateError::DiskFull { .. }) => Ok(()),
            other => other,
        }
    }
}

fn take_batch(queue: &mut Queue) -> Work {
    queue.urgent = false;
    queue.taken = queue.position;
    Work::Batch { bytes: std::mem::take(&mut queue.bytes), position: queue.position, durable: queue.durable }
}

/// Not a secret; only different from other segments'.
fn salt() -> u32 {
    RandomState::new().hash_one(std::time::SystemTime::now()) as u32
}
