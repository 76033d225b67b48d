//! Merging what checkpoints have written, on a thread of its own, `hw-compact`: it takes as long as reading and writing
//! what is merged, and the next checkpoint must not wait for that. The one after publishes the result.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use state::DurableStore;

use crate::priority;

/// The thread; dropping it waits for the merge that is under way.
pub(crate) struct Compactor {
    /// `None` only while it is dropped.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Compactor {
    pub(crate) fn start(store: DurableStore) -> Compactor {
        let (wake, asked) = sync_channel(1);
        let work = move || {
            priority::step_back();
            while asked.recv().is_ok() {
                if let Err(error) = store.compact_once() {
                    tracing::warn!(error = %error, "compaction failed");
                }
            }
        };
        let spawned = std::thread::Builder::new().name("hw-compact".into()).spawn(work);
        Compactor { wake: Some(wake), thread: Some(spawned.expect("a thread can be started")) }
    }

    /// A checkpoint was committed: there may be something to merge.
    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: it looks again anyway, when the merge under way is done.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been logged by the panic hook.
            let _ = thread.join();
        }
    }
}
