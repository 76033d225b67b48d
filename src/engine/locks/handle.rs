//! Waiting for locks: the lock table behind a mutex, and a channel for each request that waits.
//!
//! A request that is dropped while it waits (cancel, timeout, a client that left) is taken back by its guard; what it was
//! granted in the last moment belongs to its transaction and goes with that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use coordinator::locks::{LockReading, LockTable, Mode, OwnerId, Request, Resource, Ticket};
use tokio::sync::oneshot;
use types::limits::LOCKS_MAX;
use types::{SqlState, ToSqlState};

/// All locks of the database.
#[derive(Default)]
pub struct Locks {
    inner: Mutex<Inner>,
    last_owner: AtomicU64,
}

#[derive(Default)]
struct Inner {
    table: LockTable,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// The session behind each owner.
    sessions: HashMap<OwnerId, u32>,
}

impl Inner {
    fn wake(&mut self, granted: Vec<Ticket>) {
        for ticket in granted {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Who has gone meanwhile takes its request back, or ends with its transaction.
                let _ = waiting.send(());
            }
        }
    }
}

/// Why a lock was not given.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("deadlock detected")]
    Deadlock { detail: String },
    #[error("canceling statement due to lock timeout")]
    Timeout,
    #[error("out of shared memory")]
    TooMany,
}

impl ToSqlState for LockError {
    fn sql_state(&self) -> SqlState {
        match self {
            LockError::Deadlock { .. } => SqlState::DeadlockDetected,
            LockError::Timeout => SqlState::LockNotAvailable,
            LockError::TooMany => SqlState::OutOfMemory,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            LockError::Deadlock { detail } => Some(detail.clone()),
            LockError::Timeout => None,
            LockError::TooMany => Some(format!("Open transactions hold {LOCKS_MAX} locks on rows and tables.")),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            LockError::Deadlock { .. } | LockError::Timeout => None,
            LockError::TooMany => Some("Write fewer rows in one transaction.".into()),
        }
    }
}

impl Locks {
    /// A transaction of `session` that will lock.
    pub fn owner(self: &Arc<Self>, session: u32) -> Owner {
        let id = self.last_owner.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().sessions.insert(id, session);
        Owner { locks: self.clone(), id }
    }

    /// Everything held and waited for, each with its session.
    pub fn read(&self) -> Vec<(u32, LockReading)> {
        let inner = self.lock();
        let session = |owner| inner.sessions.get(&owner).copied().unwrap_or_default();
        inner.table.read().into_iter().map(|reading| (session(reading.owner), reading)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("the lock table does not panic")
    }
}

/// One transaction's locks; all of them are let go when it is dropped.
pub struct Owner {
    locks: Arc<Locks>,
    id: OwnerId,
}

impl Owner {
    /// Takes the locks one after the other. True if one of them had to be waited for.
    ///
    /// Errors: 40P01 if waiting would never end, 55P03 if it lasted longer than `timeout`, 53200 if too many are held.
    pub async fn lock(&self, resources: &[(Resource, Mode)], timeout: Option<Duration>) -> Result<bool, LockError> {
        let (mut waited, mut rest) = (false, resources);
        while let Some(request) = self.take(&mut rest)? {
            waited = true;
            request.granted(timeout).await?;
        }
        Ok(waited)
    }

    /// Takes what can be taken at once; the request that waits, with what comes after it in `rest`.
    fn take(&self, rest: &mut &[(Resource, Mode)]) -> Result<Option<Waiting<'_>>, LockError> {
        let mut inner = self.locks.lock();
        while let Some(((resource, mode), after)) = rest.split_first() {
            *rest = after;
            match inner.table.request(self.id, *resource, *mode) {
                Request::Granted => {}
                Request::Waiting(ticket) => {
                    let (grant, granted) = oneshot::channel();
                    inner.waiting.insert(ticket, grant);
                    return Ok(Some(Waiting { locks: &self.locks, ticket, resource: *resource, granted }));
                }
                Request::Deadlock(circle) => return Err(LockError::Deadlock { detail: told(&inner, &circle) }),
                Request::TooMany => return Err(LockError::TooMany),
            }
        }
        Ok(None)
    }

    /// Where to release to.
    pub fn mark(&self) -> usize {
        self.locks.lock().table.mark(self.id)
    }

    /// Lets go what was taken since `mark`.
    pub fn release_since(&self, mark: usize) {
        let mut inner = self.locks.lock();
        let granted = inner.table.release_since(self.id, mark);
        inner.wake(granted);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.release_since(0);
        self.locks.lock().sessions.remove(&self.id);
    }
}

/// A request that waits; taken back when dropped.
struct Waiting<'a> {
    locks: &'a Locks,
    ticket: Ticket,
    resource: Resource,
    granted: oneshot::Receiver<()>,
}

impl Waiting<'_> {
    async fn granted(mut self, timeout: Option<Duration>) -> Result<(), LockError> {
        let granted = &mut self.granted;
        let answer = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, granted).await.map_err(|_| LockError::Timeout)?,
            None => granted.await,
        };
        answer.expect("a waiting request keeps its sender until it is granted or taken back");
        Ok(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.locks.lock();
        inner.waiting.remove(&self.ticket);
        let granted = inner.table.cancel(self.ticket, self.resource);
        inner.wake(granted);
    }
}

/// The circle, as Postgres tells it.
fn told(inner: &Inner, circle: &[(OwnerId, Resource)]) -> String {
    let session = |owner: &OwnerId| inner.sessions.get(owner).copied().unwrap_or_default();
    let line = |(position, (owner, resource)): (usize, &(OwnerId, Resource))| {
        let (next, _) = &circle[(position + 1) % circle.len()];
        let kind = match resource {
            Resource::Table(table) | Resource::Line(table) => format!("relation {table}"),
            Resource::Row(table, _) => format!("a row of relation {table}"),
        };
        format!("Process {} waits for {kind}; blocked by process {}.", session(owner), session(next))
    };
    circle.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}
