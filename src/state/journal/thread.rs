//! The journal's thread, `hw-journal`: waits until something is due and has it written.

use std::sync::Arc;
use std::sync::{Condvar, MutexGuard};
use std::time::Duration;

use super::core::{JournalCore, JournalStep};
use super::{Queue, Shared};
use crate::StateError;
use crate::disk::FatalHandler;

/// Longest time an entry appended lazily, or the mark of what was acknowledged last, waits for a sync.
const LAZY_SYNC: Duration = Duration::from_millis(100);
/// Lazily appended bytes that start a sync.
const LAZY_BYTES_MAX: usize = 1024 * 1024;
/// Time between attempts while the disk is full.
const SPACE_RETRY: Duration = Duration::from_millis(500);
/// Time between attempts to take the rest of the reserve.
const RESERVE_RETRY: Duration = Duration::from_secs(10);

enum Work {
    Group,
    /// Nothing came after the last group: its mark is to be synced.
    Mark,
    Close,
}

/// Runs until the journal is closed or meets an error.
pub(super) fn run(mut core: JournalCore, shared: Arc<Shared>, on_fatal: FatalHandler) {
    let result = work(&mut core, &shared);
    if let Err(error) = &result {
        on_fatal(error);
    }
    shared.stop();
}

fn work(core: &mut JournalCore, shared: &Shared) -> Result<(), StateError> {
    loop {
        match next_work(core, shared) {
            Work::Group => {
                if core.write_group()? == JournalStep::NoSpace {
                    shared.ask_for_space();
                    let queue = shared.lock();
                    if queue.closing {
                        return Ok(());
                    }
                    drop(wait(&shared.work, queue, SPACE_RETRY));
                } else if shared.lock().disk_full {
                    shared.ask_for_space();
                }
            }
            Work::Mark => core.sync_mark()?,
            Work::Close => return core.write_closing_mark(),
        }
    }
}

fn next_work(core: &JournalCore, shared: &Shared) -> Work {
    let mut queue = shared.lock();
    loop {
        let due = queue.urgent || queue.closing || queue.bytes.len() > LAZY_BYTES_MAX;
        if core.has_pending() || (due && !queue.bytes.is_empty()) {
            return Work::Group;
        }
        if queue.closing {
            return Work::Close;
        }
        let idle = queue.bytes.is_empty();
        if idle {
            queue.urgent = false;
        }
        let timeout = if !idle || core.mark_pending() {
            LAZY_SYNC
        } else if queue.disk_full {
            SPACE_RETRY
        } else if !core.reserve_is_complete() {
            RESERVE_RETRY
        } else {
            queue = shared.work.wait(queue).expect("no code panics while holding the journal's queue");
            continue;
        };
        let (guard, timed_out) = wait(&shared.work, queue, timeout);
        queue = guard;
        if timed_out {
            return if queue.bytes.is_empty() && core.mark_pending() { Work::Mark } else { Work::Group };
        }
    }
}

fn wait<'a>(condvar: &Condvar, queue: MutexGuard<'a, Queue>, timeout: Duration) -> (MutexGuard<'a, Queue>, bool) {
    let waited = condvar.wait_timeout(queue, timeout);
    let (queue, result) = waited.expect("no code panics while holding the journal's queue");
    (queue, result.timed_out())
}
