//! The threads of all feeds. They end by themselves once their feed is stopped, which a read that hangs (a network mount
//! that has gone) may delay for ever: so many of those are borne, then no feed is started any more.

use std::sync::Mutex;
use std::thread::JoinHandle;

use types::{SqlError, SqlState, limits};

#[derive(Debug, Default)]
pub struct FeedThreads {
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl FeedThreads {
    /// Errors: 53000 at the limit.
    pub fn start(&self, source: &str, run: impl FnOnce() + Send + 'static) -> Result<(), SqlError> {
        let mut running = self.running.lock().expect("not poisoned");
        reap(&mut running);
        if running.len() >= limits::FEED_THREADS_MAX {
            let message = format!("cannot read source \"{source}\": {} sources are being read", running.len());
            let hint = "Sources that were dropped while a read of theirs hangs count until it ends.";
            return Err(SqlError::new(SqlState::InsufficientResources, message).with_hint(hint));
        }
        let spawned = std::thread::Builder::new().name(format!("hw-src-{source}")).spawn(run);
        let failed = |error| {
            SqlError::new(
                SqlState::InsufficientResources,
                format!("cannot start a thread for source \"{source}\": {error}"),
            )
        };
        running.push(spawned.map_err(failed)?);
        Ok(())
    }

    /// Those that have not ended.
    pub fn count(&self) -> usize {
        let mut running = self.running.lock().expect("not poisoned");
        reap(&mut running);
        running.len()
    }
}

/// Takes leave of those that have ended. Their failures were told by themselves.
fn reap(running: &mut Vec<JoinHandle<()>>) {
    let (ended, alive) = std::mem::take(running).into_iter().partition(|thread| thread.is_finished());
    *running = alive;
    let ended: Vec<JoinHandle<()>> = ended;
    ended.into_iter().for_each(|thread| drop(thread.join()));
}
