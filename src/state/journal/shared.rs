//! What writers, waiters and the driver of the journal share: the queue, and what is told when the disk is full.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::replay;
use crate::StateError;
use crate::disk::Files;

pub(crate) struct Shared {
    /// `None`: nothing is kept (the in-memory variant); every entry counts as durable at once.
    pub(super) dir: Option<(Files, PathBuf)>,
    queue: Mutex<Queue>,
    /// Wakes the writer.
    pub(super) work: Condvar,
    /// Wakes those who wait for durability or for room in the queue.
    pub(super) progress: Condvar,
    pub(super) subscribers: Mutex<Vec<Box<dyn Fn(u64) + Send>>>,
    /// Asked for space while the disk is full.
    on_full: Mutex<Option<Box<dyn Fn(&Shared) + Send>>>,
}

#[derive(Default)]
pub(super) struct Queue {
    /// Encoded entries not yet taken by the writer.
    pub(super) bytes: Vec<u8>,
    /// Newest entry appended.
    pub(super) position: u64,
    /// Checksum of that entry, which the next one repeats.
    pub(super) chain: u32,
    /// Newest entry that the writer has taken.
    pub(super) taken: u64,
    pub(super) durable: u64,
    /// First position of the segment being written. It is durable itself.
    pub(super) segment: u64,
    /// The next write is to begin a new segment, so that this one may go.
    pub(super) begin_segment: bool,
    /// A checkpoint found no space: it gets the reserve, and nothing else takes space until it is committed.
    pub(super) checkpoint_waits: bool,
    /// Someone waits for what is queued.
    pub(super) urgent: bool,
    pub(super) disk_full: bool,
    /// A fatal error was met, or the journal is closed.
    pub(super) stopped: bool,
    pub(super) closing: bool,
}

impl Shared {
    pub(super) fn new(dir: Option<(Files, PathBuf)>, queue: Queue) -> Arc<Shared> {
        Arc::new(Shared {
            dir,
            queue: Mutex::new(queue),
            work: Condvar::new(),
            progress: Condvar::new(),
            subscribers: Mutex::new(vec![]),
            on_full: Mutex::new(None),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no code panics while holding the journal's queue")
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.progress.notify_all();
    }

    pub(super) fn notify(&self, durable: u64) {
        for subscriber in self.subscribers.lock().expect("subscribers don't panic").iter() {
            subscriber(durable);
        }
    }

    pub(crate) fn disk_full(&self) -> bool {
        self.lock().disk_full
    }

    /// Has `on_full` called when the disk is full, again and again until it is not, by whoever drives the journal.
    pub(crate) fn on_full(&self, on_full: Box<dyn Fn(&Shared) + Send>) {
        *self.on_full.lock().expect("asking for space doesn't panic") = Some(on_full);
    }

    pub(super) fn ask_for_space(&self) {
        if let Some(on_full) = &*self.on_full.lock().expect("asking for space doesn't panic") {
            on_full(self);
        }
    }

    /// Deletes segments that hold only entries below `position`.
    pub(crate) fn truncate_before(&self, position: u64) -> Result<(), StateError> {
        let Some((files, dir)) = &self.dir else { return Ok(()) };
        // A segment that is just being begun takes no other's place yet.
        let begun = self.lock().segment;
        replay::remove_segments_before(files, dir, position.min(begun))
    }

    /// Has the next write begin a new segment if there are entries below `position` in the open one, so that it can go.
    pub(crate) fn begin_segment_after(&self, position: u64) {
        let mut queue = self.lock();
        if queue.segment < position {
            queue.begin_segment = true;
            self.work.notify_one();
        }
    }

    /// A checkpoint found no space, or was committed after all. Until then it has the reserve, and new entries are
    /// refused: it is the journal that takes the space, and the checkpoint that lets it be cut.
    pub(crate) fn checkpoint_waits(&self, waits: bool) {
        let mut queue = self.lock();
        if queue.checkpoint_waits != waits {
            queue.checkpoint_waits = waits;
            queue.disk_full |= waits;
            self.work.notify_one();
        }
    }
}
