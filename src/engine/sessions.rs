//! All open sessions: how many there may be, what others see of each, and how one is told to cancel or to end.
//!
//! The one place that knows who is connected: limits, `pg_stat_activity`, cancel requests, `pg_cancel_backend` and
//! `pg_terminate_backend` all go through it. A session is listed exactly as long as its [`Registration`] lives.
//! Acting on the signals is the front end's: it drops the statement's future, or the session.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use types::{SqlError, SqlState};

use crate::api::TransactionStatus;
use crate::time::now_us;

/// Users for whom the last places are kept. Without roles everybody may do everything; these two are who an
/// administrator connects as, so applications should use another name.
const SUPERUSERS: [&str; 2] = ["highwater", "postgres"];

/// How many sessions there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// `max_connections`.
    pub sessions_max: usize,
    /// `superuser_reserved_connections`: of those, left to superusers.
    pub reserved: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits { sessions_max: 100, reserved: 3 }
    }
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    Idle,
    Active,
    IdleInTransaction,
    IdleInFailedTransaction,
}

impl SessionState {
    /// The word of `pg_stat_activity`.
    pub fn name(self) -> &'static str {
        match self {
            SessionState::Idle => "idle",
            SessionState::Active => "active",
            SessionState::IdleInTransaction => "idle in transaction",
            SessionState::IdleInFailedTransaction => "idle in transaction (aborted)",
        }
    }
}

/// What others may see of a session.
#[derive(Debug, Clone)]
pub struct SessionReading {
    pub id: u32,
    pub user: String,
    pub application: String,
    pub started_us: i64,
    /// What runs, or ran last.
    pub query: String,
    pub query_started_us: Option<i64>,
    pub state: SessionState,
    pub state_changed_us: i64,
    /// Counts its statements.
    statements: u64,
    transaction: TransactionStatus,
}

/// How others reach a session.
#[derive(Debug, Default)]
pub struct Signals {
    cancel: Notify,
    /// A commit of the session cannot be taken back any more.
    committing: AtomicBool,
    ended: watch::Sender<bool>,
}

impl Signals {
    /// Waits for a request to cancel what runs. It reaches who has called this before, polled or not; one that finds
    /// nothing running is forgotten, never kept for the next statement.
    pub fn cancelled(&self) -> Notified<'_> {
        self.cancel.notified()
    }

    /// Whether the statement that runs is past the point where it could be cancelled: an error would say that nothing has
    /// happened, so its outcome is to be waited for.
    pub fn committing(&self) -> bool {
        self.committing.load(Ordering::Acquire)
    }

    /// From here on the session commits, until the guard is dropped.
    pub(crate) fn commit(self: Arc<Self>) -> Committing {
        self.committing.store(true, Ordering::Release);
        Committing(self)
    }

    /// Waits for the order to end the session.
    pub async fn ended(&self) {
        // The sender is `self`.
        let _ = self.ended.subscribe().wait_for(|&ended| ended).await;
    }
}

/// A commit that is under way.
pub(crate) struct Committing(Arc<Signals>);

impl Drop for Committing {
    fn drop(&mut self) {
        self.0.committing.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct Entry {
    reading: SessionReading,
    signals: Arc<Signals>,
    /// What a cancel request must know. Empty: none has been agreed on.
    key: Vec<u8>,
    /// Closed when the session is gone.
    open: watch::Sender<()>,
}

/// All open sessions.
#[derive(Debug, Default)]
pub struct SessionRegistry {
    limits: SessionLimits,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    open: BTreeMap<u32, Entry>,
    last_id: u32,
}

/// A session's place in the registry, given up when dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<SessionRegistry>,
    id: u32,
    signals: Arc<Signals>,
}

impl SessionRegistry {
    pub fn new(limits: SessionLimits) -> Self {
        SessionRegistry { limits, sessions: Mutex::default() }
    }

    pub fn limits(&self) -> SessionLimits {
        self.limits
    }

    /// Lists a new session under a fresh id.
    ///
    /// Errors: 53300 if there is no place for this user.
    pub fn register(self: &Arc<Self>, user: &str) -> Result<Registration, SqlError> {
        let mut sessions = self.lock();
        self.limits.check(sessions.open.len(), user)?;
        // Ids stay positive as the 32-bit process ids of the wire; one that is still in use after going round is skipped.
        let mut id = sessions.last_id;
        loop {
            id = if id >= i32::MAX as u32 { 1 } else { id + 1 };
            if !sessions.open.contains_key(&id) {
                break;
            }
        }
        let now = now_us();
        let reading = SessionReading {
            id,
            user: user.to_string(),
            application: String::new(),
            started_us: now,
            query: String::new(),
            query_started_us: None,
            state: SessionState::Idle,
            state_changed_us: now,
            statements: 0,
            transaction: TransactionStatus::Idle,
        };
        let signals = Arc::new(Signals::default());
        sessions.last_id = id;
        sessions
            .open
            .insert(id, Entry { reading, signals: signals.clone(), key: vec![], open: watch::Sender::new(()) });
        Ok(Registration { registry: self.clone(), id, signals })
    }

    /// Ascending by id.
    pub fn read(&self) -> Vec<SessionReading> {
        self.lock().open.values().map(|entry| entry.reading.clone()).collect()
    }

    /// Serves a cancel request: cancels what the session runs if the key is right. Says nothing either way, as Postgres.
    pub fn cancel_with_key(&self, id: u32, key: &[u8]) {
        if let Some(entry) = self.lock().open.get(&id).filter(|entry| !key.is_empty() && same(&entry.key, key)) {
            entry.signals.cancel.notify_waiters();
        }
    }

    /// Cancels what the session runs; false if there is no such session.
    pub(crate) fn cancel(&self, id: u32) -> bool {
        self.lock().open.get(&id).map(|entry| entry.signals.cancel.notify_waiters()).is_some()
    }

    /// Orders the session to end, and gives what waits until it has; `None` if there is no such session.
    pub(crate) fn end(&self, id: u32) -> Option<impl Future<Output = ()> + use<>> {
        let sessions = self.lock();
        let entry = sessions.open.get(&id)?;
        entry.signals.ended.send_replace(true);
        let mut open = entry.open.subscribe();
        Some(async move { while open.changed().await.is_ok() {} })
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().expect("not poisoned")
    }
}

impl SessionLimits {
    /// Whether one more may come when `open` are there. Worded as in Postgres.
    fn check(&self, open: usize, user: &str) -> Result<(), SqlError> {
        let full = |message| Err(SqlError::new(SqlState::TooManyConnections, message));
        if open >= self.sessions_max {
            return full("sorry, too many clients already");
        }
        if open + self.reserved >= self.sessions_max && !SUPERUSERS.contains(&user) {
            return full("remaining connection slots are reserved for non-replication superuser connections");
        }
        Ok(())
    }
}

impl Registration {
    /// Backend process id as clients see it.
    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn signals(&self) -> Arc<Signals> {
        self.signals.clone()
    }

    /// What a cancel request must know from here on.
    pub fn set_cancel_key(&self, key: Vec<u8>) {
        if let Some(entry) = self.registry.lock().open.get_mut(&self.id) {
            entry.key = key;
        }
    }

    pub(crate) fn set_application(&self, application: String) {
        self.update(|reading| reading.application = application);
    }

    /// In which state the session is when nothing runs.
    pub(crate) fn set_transaction(&self, transaction: TransactionStatus) {
        self.update(|reading| {
            reading.transaction = transaction;
            if reading.state != SessionState::Active {
                reading.rest();
            }
        });
    }

    /// A statement starts; it runs until what this returns is dropped, or another one starts.
    pub(crate) fn start(&self, text: &str) -> Running {
        let mut number = 0;
        self.update(|reading| {
            let now = now_us();
            reading.statements += 1;
            reading.query = text.to_string();
            reading.query_started_us = Some(now);
            reading.state = SessionState::Active;
            reading.state_changed_us = now;
            number = reading.statements;
        });
        Running { registry: self.registry.clone(), session: self.id, number }
    }

    fn update(&self, change: impl FnOnce(&mut SessionReading)) {
        if let Some(entry) = self.registry.lock().open.get_mut(&self.id) {
            change(&mut entry.reading);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().open.remove(&self.id);
    }
}

/// Marks a session as active.
#[derive(Debug)]
pub(crate) struct Running {
    registry: Arc<SessionRegistry>,
    session: u32,
    number: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut sessions = self.registry.lock();
        let entry = sessions.open.get_mut(&self.session);
        if let Some(entry) = entry.filter(|entry| entry.reading.statements == self.number) {
            entry.reading.rest();
        }
    }
}

impl SessionReading {
    fn rest(&mut self) {
        let state = match self.transaction {
            TransactionStatus::Idle => SessionState::Idle,
            TransactionStatus::InTransaction => SessionState::IdleInTransaction,
            TransactionStatus::Failed => SessionState::IdleInFailedTransaction,
        };
        if self.state != state {
            self.state = state;
            self.state_changed_us = now_us();
        }
    }
}

/// Compares without telling by its duration where the difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn registry(sessions_max: usize, reserved: usize) -> Arc<SessionRegistry> {
        Arc::new(SessionRegistry::new(SessionLimits { sessions_max, reserved }))
    }

    fn refusal(registered: Result<Registration, SqlError>) -> String {
        let error = registered.expect_err("there is no place");
        assert_eq!(error.state, SqlState::TooManyConnections);
        error.message
    }

    #[test]
    fn the_last_places_are_left_to_superusers() {
        let registry = registry(3, 1);
        let first = registry.register("ann").unwrap();
        let _second = registry.register("ann").unwrap();
        let reserved = "remaining connection slots are reserved for non-replication superuser connections";
        assert_eq!(refusal(registry.register("ann")), reserved);
        let third = registry.register("highwater").unwrap();
        for user in ["ann", "highwater", "postgres"] {
            assert_eq!(refusal(registry.register(user)), "sorry, too many clients already");
        }
        drop(first);
        assert_eq!(refusal(registry.register("ann")), reserved, "a superuser's session counts as well");
        drop(third);
        registry.register("ann").unwrap();
    }

    #[test]
    fn a_cancel_request_needs_the_key_and_finds_only_what_runs() {
        let registry = registry(2, 0);
        let session = registry.register("ann").unwrap();
        let signals = session.signals();
        let mut cancelled = std::pin::pin!(signals.cancelled());
        registry.cancel_with_key(session.id(), &[]);
        session.set_cancel_key(vec![1, 2, 3, 4]);
        for wrong in [&[1, 2, 3, 5][..], &[1, 2, 3], &[]] {
            registry.cancel_with_key(session.id(), wrong);
        }
        registry.cancel_with_key(session.id() + 1, &[1, 2, 3, 4]);
        assert!(cancelled.as_mut().now_or_never().is_none());
        registry.cancel_with_key(session.id(), &[1, 2, 3, 4]);
        assert!(cancelled.now_or_never().is_some());
        assert!(signals.cancelled().now_or_never().is_none(), "it is not kept for the next statement");
    }

    #[test]
    fn who_ends_a_session_can_wait_until_it_is_gone() {
        let registry = registry(1, 0);
        let session = registry.register("ann").unwrap();
        let signals = session.signals();
        assert!(signals.ended().now_or_never().is_none());
        assert!(registry.end(session.id() + 1).is_none() && !registry.cancel(session.id() + 1));
        let mut gone = std::pin::pin!(registry.end(session.id()).expect("it is there"));
        assert!(signals.ended().now_or_never().is_some(), "also for who looks later");
        assert!(gone.as_mut().now_or_never().is_none());
        drop(session);
        assert!(gone.now_or_never().is_some());
    }

    #[test]
    fn a_session_is_active_until_its_newest_statement_ends() {
        let registry = registry(1, 0);
        let session = registry.register("ann").unwrap();
        let state = || registry.read()[0].state;
        assert_eq!(state(), SessionState::Idle);
        let first = session.start("BEGIN");
        session.set_transaction(TransactionStatus::InTransaction);
        let second = session.start("SELECT 1");
        drop(first);
        assert_eq!(state(), SessionState::Active);
        drop(second);
        assert_eq!(state(), SessionState::IdleInTransaction);
        session.set_transaction(TransactionStatus::Failed);
        assert_eq!(state(), SessionState::IdleInFailedTransaction);
        drop(session);
        assert!(registry.read().is_empty());
    }
}
