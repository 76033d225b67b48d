//! The journal: one ordered, durable log of DDL, table rows and epoch records.
//!
//! Entries queue under a lock; one thread, `hw-journal`, writes and syncs whatever is queued, so any number of waiters
//! share one sync. On disk: `segment.rs` (format of entries), `marks.rs` (what was acknowledged), `replay.rs` and
//! `scan.rs` (reading, torn tails, damage), `aside.rs` (accepting damage), `writer.rs` (the thread).
//! Invariants: positions have no gaps; nothing is durable before everything ahead of it; an entry that got a position
//! is written sooner or later unless the process ends (a full disk refuses new ones, it never drops queued ones).

mod aside;
#[cfg(test)]
mod loss_tests;
mod marks;
mod replay;
mod reserve;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::StateError;
use crate::disk::{self, FatalHandler};

use replay::ReplayOptions;
use reserve::Reserve;
use segment::EntryHeader;
use writer::Writer;

/// Largest payload of one entry.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A segment without entries is not longer: head and closing mark.
pub(crate) const EMPTY_SEGMENT_BYTES: u64 = (marks::ENTRIES_AT + segment::ENTRY_HEADER_BYTES) as u64;
/// Queued bytes above which `append` waits for the writer.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One entry read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    pub position: u64,
    /// The engine's; 0 is reserved.
    pub kind: u8,
    pub payload: Vec<u8>,
}

#[derive(Clone)]
pub struct JournalOptions {
    /// Start an empty journal if there is none; otherwise that is `JournalDamaged`.
    pub create: bool,
    /// Go on without entries that are missing or damaged, instead of refusing.
    pub accept_data_loss: bool,
    /// A segment that has reached this many bytes is followed by a new one.
    pub segment_bytes: u64,
    /// A file of so many bytes that is given up when the disk is full, so that queued entries still get through.
    pub reserve: Option<(PathBuf, u64)>,
    pub on_fatal: FatalHandler,
}

impl Default for JournalOptions {
    fn default() -> Self {
        let segment_bytes = 64 * 1024 * 1024;
        let (accept_data_loss, on_fatal) = (false, disk::abort_on_fatal());
        JournalOptions { create: true, accept_data_loss, segment_bytes, reserve: None, on_fatal }
    }
}

/// The open journal. All methods may be called from any thread.
pub struct Journal {
    shared: Arc<Shared>,
    /// `None`: nothing is kept (the in-memory variant); every entry counts as durable at once.
    dir: Option<PathBuf>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those who wait for durability or for room in the queue.
    progress: Condvar,
    subscribers: Mutex<Vec<Box<dyn Fn(u64) + Send>>>,
}

#[derive(Default)]
struct Queue {
    /// Encoded entries not yet taken by the writer.
    bytes: Vec<u8>,
    /// Newest entry appended.
    position: u64,
    /// Checksum of that entry, which the next one repeats.
    chain: u32,
    /// Newest entry that the writer has taken.
    taken: u64,
    durable: u64,
    /// First position of the segment being written. It is durable itself.
    segment: u64,
    /// Someone waits for what is queued.
    urgent: bool,
    disk_full: bool,
    /// A fatal error was met, or the journal is being closed.
    stopped: bool,
    closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no code panics while holding the journal's queue")
    }
}

impl Journal {
    /// Opens the journal in `dir`, or creates it. Entries above `after` go to `on_entry`, in order.
    ///
    /// A torn tail (what a power cut leaves of writes that were never acknowledged) is cut off. `JournalDamaged`: what
    /// was acknowledged above `after` is missing or doesn't verify, wherever the journal begins or ends.
    pub fn open(
        dir: &Path,
        after: u64,
        options: JournalOptions,
        on_entry: &mut dyn FnMut(JournalEntry) -> Result<(), StateError>,
    ) -> Result<Journal, StateError> {
        disk::create_dir(dir)?;
        let replay_options =
            ReplayOptions { after, create: options.create, accept_data_loss: options.accept_data_loss };
        let end = replay::replay(dir, replay_options, on_entry)?;
        let reserve = options.reserve.clone().map(|(path, bytes)| Reserve::open(path, bytes)).transpose()?;
        let position = end.position;
        let queue = Queue { position, chain: end.chain, taken: position, durable: position, ..Queue::default() };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            progress: Condvar::new(),
            subscribers: Mutex::new(vec![]),
        });
        let writer = Writer::open(dir, end, options, reserve, shared.clone())?;
        let spawned = std::thread::Builder::new().name("hw-journal".into()).spawn(move || writer.run());
        let thread = spawned.map_err(|e| StateError::io("start a thread for", dir, e))?;
        Ok(Journal { shared, dir: Some(dir.into()), thread: Some(thread) })
    }

    /// A journal that keeps nothing.
    pub fn in_memory() -> Journal {
        let shared = Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            subscribers: Mutex::new(vec![]),
        };
        Journal { shared: Arc::new(shared), dir: None, thread: None }
    }

    /// Queues an entry and wakes the writer. Returns its position; it is durable once
    /// [`sync_up_to`](Self::sync_up_to) returns or a subscriber hears of that position.
    ///
    /// Errors: `DiskFull` while the disk is full (nothing is queued), `EntryTooLarge`, `JournalStopped`.
    pub fn append(&self, kind: u8, payload: &[u8]) -> Result<u64, StateError> {
        self.queue(kind, payload, true)
    }

    /// Like [`append`](Self::append), without hurry: carried by the next sync, at the latest after 100 ms.
    pub fn append_lazy(&self, kind: u8, payload: &[u8]) -> Result<u64, StateError> {
        self.queue(kind, payload, false)
    }

    fn queue(&self, kind: u8, payload: &[u8], urgent: bool) -> Result<u64, StateError> {
        assert_ne!(kind, segment::BATCH, "kind 0 is the journal's own");
        if payload.len() > ENTRY_BYTES_MAX {
            return Err(StateError::EntryTooLarge { bytes: payload.len(), limit: ENTRY_BYTES_MAX });
        }
        let payload_crc = crc32fast::hash(payload);
        let mut queue = self.shared.lock();
        let Some(dir) = &self.dir else {
            queue.position += 1;
            queue.durable = queue.position;
            let position = queue.position;
            drop(queue);
            self.shared.notify(position);
            return Ok(position);
        };
        while queue.bytes.len() > QUEUE_BYTES_MAX && !queue.stopped && !queue.disk_full {
            queue = self.shared.progress.wait(queue).expect("no code panics while holding the journal's queue");
        }
        if queue.stopped {
            return Err(StateError::JournalStopped);
        }
        if queue.disk_full {
            return Err(StateError::DiskFull { path: dir.clone() });
        }
        // The first entry of a batch wakes the writer in any case: it starts the clock of the lazy ones.
        let wake = queue.bytes.is_empty() || (urgent && !queue.urgent);
        queue.urgent |= urgent;
        queue.position += 1;
        let length = payload.len() as u32;
        let header = EntryHeader { kind, length, position: queue.position, previous: queue.chain, payload_crc };
        queue.chain = header.encode(&mut queue.bytes);
        queue.bytes.extend_from_slice(payload);
        if wake {
            self.shared.work.notify_one();
        }
        Ok(queue.position)
    }

    /// Blocks until every entry up to `position` is on disk. While the disk is full it waits for space.
    ///
    /// Errors: `JournalStopped` after a fatal error or close.
    pub fn sync_up_to(&self, position: u64) -> Result<(), StateError> {
        let mut queue = self.shared.lock();
        assert!(position <= queue.position, "only appended entries can be waited for");
        while queue.durable < position {
            if queue.stopped {
                return Err(StateError::JournalStopped);
            }
            if position > queue.taken && !queue.urgent {
                queue.urgent = true;
                self.shared.work.notify_one();
            }
            queue = self.shared.progress.wait(queue).expect("no code panics while holding the journal's queue");
        }
        Ok(())
    }

    /// Position of the newest entry, durable or not; 0 if there never was one.
    pub fn position(&self) -> u64 {
        self.shared.lock().position
    }

    /// Every entry up to here survives a power cut.
    pub fn durable_position(&self) -> u64 {
        self.shared.lock().durable
    }

    /// Calls `on_durable` with the durable position after every sync, on the journal's thread: it must be quick.
    pub fn subscribe(&self, on_durable: Box<dyn Fn(u64) + Send>) {
        self.shared.subscribers.lock().expect("subscribers don't panic").push(on_durable);
    }

    /// True while appends are refused for lack of space.
    pub fn disk_full(&self) -> bool {
        self.shared.lock().disk_full
    }

    /// Deletes segments that hold only entries below `position`.
    pub fn truncate_before(&self, position: u64) -> Result<(), StateError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        // A segment that is just being begun takes no other's place yet.
        let begun = self.shared.lock().segment;
        replay::remove_segments_before(dir, position.min(begun))
    }
}

impl Shared {
    fn notify(&self, durable: u64) {
        for subscriber in self.subscribers.lock().expect("subscribers don't panic").iter() {
            subscriber(durable);
        }
    }
}

impl Drop for Journal {
    /// Writes and syncs what is queued, then ends the thread.
    fn drop(&mut self) {
        {
            let mut queue = self.shared.lock();
            queue.closing = true;
            self.shared.work.notify_one();
        }
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported by the panic hook; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}
