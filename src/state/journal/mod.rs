//! The journal: one ordered, durable log of DDL, table rows and epoch records.
//!
//! Entries queue under a lock; one thread, `hw-journal`, writes and syncs whatever is queued, so any number of waiters
//! share one sync. Writing is `core.rs`, a machine without a thread; `thread.rs` drives it, or the caller does
//! ([`Drive::ByHand`]), as a simulation must. On disk: `segment.rs` (format of entries), `marks.rs` (what was
//! acknowledged), `replay.rs` and `scan.rs` (reading, torn tails, damage), `aside.rs` (accepting damage).
//! Invariants: positions have no gaps; nothing is durable before everything ahead of it; an entry that got a position
//! is written sooner or later unless the process ends (a full disk refuses new ones, it never drops queued ones).

mod aside;
mod core;
#[cfg(test)]
mod loss_tests;
mod marks;
mod replay;
mod reserve;
mod scan;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod thread;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::StateError;
use crate::disk::{self, FatalHandler, Files};

use self::core::JournalCore;
pub use self::core::JournalStep;
use replay::ReplayOptions;
use reserve::Reserve;
use segment::EntryHeader;
use shared::Queue;
pub(crate) use shared::Shared;

/// Largest payload of one entry.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A segment without entries is not longer: head and closing mark.
pub(crate) const EMPTY_SEGMENT_BYTES: u64 = (marks::ENTRIES_AT + segment::ENTRY_HEADER_BYTES) as u64;
/// Queued bytes above which `append` waits for the writer.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Whether a file of that name is a segment.
pub(crate) fn is_segment_name(name: &str) -> bool {
    segment::parse_file_name(name).is_some()
}

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
    pub drive: Drive,
}

/// Who writes what is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// A thread of the journal's, as soon as there is something.
    Thread,
    /// Whoever calls [`Journal::write_group`]; waiting for an entry to be durable does so too.
    ByHand,
}

impl Default for JournalOptions {
    fn default() -> Self {
        let segment_bytes = types::limits::JOURNAL_SEGMENT_BYTES;
        let (accept_data_loss, on_fatal, drive) = (false, disk::abort_on_fatal(), Drive::Thread);
        JournalOptions { create: true, accept_data_loss, segment_bytes, reserve: None, on_fatal, drive }
    }
}

/// The open journal. All methods may be called from any thread.
pub struct Journal {
    shared: Arc<Shared>,
    driver: Driver,
    on_fatal: FatalHandler,
}

enum Driver {
    /// Nobody: there is nothing to write, or the thread has ended.
    None,
    Thread(JoinHandle<()>),
    ByHand(Box<Mutex<JournalCore>>),
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
        Journal::open_on(&Files::real(), dir, after, options, on_entry)
    }

    pub(crate) fn open_on(
        files: &Files,
        dir: &Path,
        after: u64,
        options: JournalOptions,
        on_entry: &mut dyn FnMut(JournalEntry) -> Result<(), StateError>,
    ) -> Result<Journal, StateError> {
        files.create_dir(dir)?;
        let replay_options =
            ReplayOptions { after, create: options.create, accept_data_loss: options.accept_data_loss };
        let end = replay::replay(files, dir, replay_options, on_entry)?;
        let open_reserve = |(path, bytes)| Reserve::open(files.clone(), path, bytes);
        let reserve = options.reserve.map(open_reserve).transpose()?;
        let position = end.position;
        let queue = Queue { position, chain: end.chain, taken: position, durable: position, ..Queue::default() };
        let shared = Shared::new(Some((files.clone(), dir.into())), queue);
        let core = JournalCore::open(files.clone(), dir, end, options.segment_bytes, reserve, shared.clone())?;
        let on_fatal = options.on_fatal;
        let driver = match options.drive {
            Drive::ByHand => Driver::ByHand(Box::new(Mutex::new(core))),
            Drive::Thread => {
                let (shared, on_fatal) = (shared.clone(), on_fatal.clone());
                let run = move || thread::run(core, shared, on_fatal);
                let spawned = std::thread::Builder::new().name("hw-journal".into()).spawn(run);
                Driver::Thread(spawned.map_err(|e| StateError::io("start a thread for", dir, e))?)
            }
        };
        Ok(Journal { shared, driver, on_fatal })
    }

    /// A journal that keeps nothing.
    pub fn in_memory() -> Journal {
        let (shared, on_fatal) = (Shared::new(None, Queue::default()), disk::abort_on_fatal());
        Journal { shared, driver: Driver::None, on_fatal }
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
        let Some((_, dir)) = &self.shared.dir else {
            queue.position += 1;
            queue.durable = queue.position;
            let position = queue.position;
            drop(queue);
            self.shared.notify(position);
            return Ok(position);
        };
        while queue.bytes.len() > QUEUE_BYTES_MAX && !queue.stopped && !queue.disk_full {
            if let Driver::ByHand(_) = self.driver {
                drop(queue);
                self.write_group()?;
                queue = self.shared.lock();
                continue;
            }
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

    /// Blocks until every entry up to `position` is on disk. While the disk is full it waits for space; driven by hand
    /// that is `DiskFull`.
    ///
    /// Errors: `JournalStopped` after a fatal error or close.
    pub fn sync_up_to(&self, position: u64) -> Result<(), StateError> {
        let mut queue = self.shared.lock();
        assert!(position <= queue.position, "only appended entries can be waited for");
        while queue.durable < position {
            if queue.stopped {
                return Err(StateError::JournalStopped);
            }
            if let (Driver::ByHand(_), Some((_, dir))) = (&self.driver, &self.shared.dir) {
                drop(queue);
                if self.write_group()? == JournalStep::NoSpace {
                    return Err(StateError::DiskFull { path: dir.clone() });
                }
                queue = self.shared.lock();
                continue;
            }
            if position > queue.taken && !queue.urgent {
                queue.urgent = true;
                self.shared.work.notify_one();
            }
            queue = self.shared.progress.wait(queue).expect("no code panics while holding the journal's queue");
        }
        Ok(())
    }

    /// Driven by hand: writes and syncs what is queued, if anything. Errors are fatal and stop the journal, as in the
    /// thread. Panics if a thread drives the journal.
    pub fn write_group(&self) -> Result<JournalStep, StateError> {
        self.by_hand(|core, shared| {
            let step = core.write_group()?;
            if step == JournalStep::NoSpace || shared.lock().disk_full {
                shared.ask_for_space();
            }
            Ok(step)
        })
    }

    /// Driven by hand: makes the mark of what was acknowledged last durable, which the next group would do as well.
    pub fn sync_mark(&self) -> Result<(), StateError> {
        self.by_hand(|core, _| if core.mark_pending() { core.sync_mark() } else { Ok(()) })
    }

    fn by_hand<T>(
        &self,
        act: impl FnOnce(&mut JournalCore, &Shared) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let Driver::ByHand(core) = &self.driver else { panic!("a thread drives this journal") };
        let mut core = core.lock().expect("no code panics while writing the journal");
        if self.shared.lock().stopped {
            return Err(StateError::JournalStopped);
        }
        act(&mut core, &self.shared).inspect_err(|error| {
            (self.on_fatal)(error);
            self.shared.stop();
        })
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
        self.shared.disk_full()
    }

    /// Deletes segments that hold only entries below `position`.
    pub fn truncate_before(&self, position: u64) -> Result<(), StateError> {
        self.shared.truncate_before(position)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
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
        match std::mem::replace(&mut self.driver, Driver::None) {
            Driver::None => {}
            // A panic there was already reported by the panic hook; there is nobody left to tell.
            Driver::Thread(thread) => drop(thread.join()),
            Driver::ByHand(core) => {
                let Ok(mut core) = core.into_inner() else { return };
                if !self.shared.lock().stopped {
                    // Whoever drives it has been told of errors; what is queued still was acknowledged to nobody.
                    let _ = core.write_group().and_then(|_| core.write_closing_mark());
                }
            }
        }
    }
}
