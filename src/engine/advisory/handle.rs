//! Waiting for advisory locks: the lock table behind a mutex, and a channel for each request that waits.
//!
//! A wait that is dropped (cancel, timeout, a client that left) takes its request back; one that was granted at that very
//! moment is let go again, as nobody has heard of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use types::limits::ADVISORY_LOCKS_MAX;
use types::{SqlError, SqlState};

use super::table::{AdvisoryError, AdvisoryTable, Answer, Key, LockReading, Mode, Scope, Ticket, Wanted};

/// All advisory locks of the server.
#[derive(Debug, Default)]
pub struct AdvisoryLocks {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    table: AdvisoryTable,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

impl Inner {
    fn wake(&mut self, granted: Vec<Ticket>) {
        for ticket in granted {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Who has gone meanwhile lets go what it was given.
                let _ = waiting.send(());
            }
        }
    }
}

impl AdvisoryLocks {
    pub fn open(&self, session: u32) {
        self.lock_table().table.open(session);
    }

    /// The session has ended.
    pub fn close(&self, session: u32) {
        let mut inner = self.lock_table();
        let granted = inner.table.close(session);
        inner.wake(granted);
    }

    /// The number of the session's transaction, which its locks name.
    pub fn transaction(&self, session: u32) -> u64 {
        self.lock_table().table.transaction(session)
    }

    pub fn end_transaction(&self, session: u32) {
        let mut inner = self.lock_table();
        let granted = inner.table.end_transaction(session);
        inner.wake(granted);
    }

    /// Where the session's transaction may roll back to.
    pub fn mark(&self, session: u32) -> usize {
        self.lock_table().table.mark(session)
    }

    pub fn roll_back(&self, session: u32, mark: usize) {
        let mut inner = self.lock_table();
        let granted = inner.table.roll_back(session, mark);
        inner.wake(granted);
    }

    /// Takes a lock if that needs no waiting.
    pub fn try_lock(&self, wanted: Wanted) -> Result<bool, SqlError> {
        self.lock_table().table.take(wanted).map_err(refused)
    }

    /// Takes a lock, waiting for those who hold it.
    ///
    /// Errors: 40P01 if waiting would never end, 55P03 if it lasted longer than `timeout`, 53200 if too many are held.
    pub async fn lock(self: Arc<Self>, wanted: Wanted, timeout: Option<Duration>) -> Result<(), SqlError> {
        let Some(waiting) = self.request(wanted)? else { return Ok(()) };
        match timeout {
            Some(timeout) => tokio::time::timeout(timeout, waiting.granted())
                .await
                .map_err(|_| SqlError::new(SqlState::LockNotAvailable, "canceling statement due to lock timeout"))?,
            None => waiting.granted().await,
        }
    }

    fn request(self: &Arc<Self>, wanted: Wanted) -> Result<Option<Waiting>, SqlError> {
        let mut inner = self.lock_table();
        match inner.table.request(wanted).map_err(refused)? {
            Answer::Granted => Ok(None),
            Answer::Waiting(ticket) => {
                let (grant, granted) = oneshot::channel();
                inner.waiting.insert(ticket, grant);
                Ok(Some(Waiting { locks: self.clone(), ticket, wanted, granted, delivered: false }))
            }
        }
    }

    /// False if the session does not hold it so.
    pub fn unlock(&self, session: u32, key: Key, mode: Mode) -> bool {
        let mut inner = self.lock_table();
        let granted = inner.table.unlock(session, key, mode);
        let held = granted.is_some();
        inner.wake(granted.unwrap_or_default());
        held
    }

    pub fn unlock_all(&self, session: u32) {
        let mut inner = self.lock_table();
        let granted = inner.table.unlock_all(session);
        inner.wake(granted);
    }

    /// Everything held and waited for.
    pub fn read(&self) -> Vec<LockReading> {
        self.lock_table().table.read()
    }

    /// Sessions that this one waits for, ascending.
    pub fn blockers(&self, session: u32) -> Vec<u32> {
        let blockers = self.lock_table().table.blockers(session);
        let mut blockers: Vec<u32> = blockers.into_iter().map(|(blocker, _, _)| blocker).collect();
        blockers.sort_unstable();
        blockers.dedup();
        blockers
    }

    fn lock_table(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("the lock table does not panic")
    }
}

/// A request that waits; taken back when dropped.
struct Waiting {
    locks: Arc<AdvisoryLocks>,
    ticket: Ticket,
    wanted: Wanted,
    granted: oneshot::Receiver<()>,
    delivered: bool,
}

impl Waiting {
    async fn granted(mut self) -> Result<(), SqlError> {
        // The sender goes unused only with the session.
        (&mut self.granted).await.map_err(|_| refused(AdvisoryError::Ended))?;
        self.delivered = true;
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.delivered {
            return;
        }
        let Wanted { session, key, mode, scope } = self.wanted;
        let mut inner = self.locks.lock_table();
        let granted = match (inner.waiting.remove(&self.ticket), scope) {
            (Some(_), _) => inner.table.cancel(session, self.ticket),
            (None, Scope::Session) => inner.table.unlock(session, key, mode).unwrap_or_default(),
            // It goes with its transaction.
            (None, Scope::Transaction(_)) => vec![],
        };
        inner.wake(granted);
    }
}

fn refused(error: AdvisoryError) -> SqlError {
    match error {
        AdvisoryError::Deadlock(circle) => {
            SqlError::new(SqlState::DeadlockDetected, "deadlock detected").with_detail(told(&circle))
        }
        AdvisoryError::TooMany => SqlError::new(SqlState::OutOfMemory, "out of shared memory")
            .with_detail(format!("{ADVISORY_LOCKS_MAX} advisory locks are held."))
            .with_hint("Unlock what is not needed any more."),
        // Who asked has gone: nobody reads this.
        AdvisoryError::Ended => SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request"),
    }
}

/// The circle, as Postgres tells it.
fn told(circle: &[(u32, Key, Mode)]) -> String {
    let line = |(at, (session, key, mode)): (usize, &(u32, Key, Mode))| {
        let blocker = circle[(at + 1) % circle.len()].0;
        let (class, object, form) = key.parts();
        format!(
            "Process {session} waits for {} on advisory lock [{},{class},{object},{form}]; blocked by process {blocker}.",
            mode.name(),
            crate::system::DATABASE_OID,
        )
    };
    circle.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}
