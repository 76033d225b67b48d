//! Cancelling from another connection: who is running under which key.
//!
//! A cancel reaches only a statement that runs at that moment; one that comes too late is forgotten, never kept for
//! the next statement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// Secret of protocol 3.0, bytes.
pub const SECRET_BYTES_3_0: usize = 4;
/// Secret of protocol 3.2, bytes.
pub const SECRET_BYTES_3_2: usize = 32;

/// All sessions that can be cancelled.
#[derive(Debug, Default)]
pub struct CancelRegistry {
    sessions: Mutex<HashMap<i32, Entry>>,
}

#[derive(Debug)]
struct Entry {
    secret: Vec<u8>,
    cancel: Arc<Notify>,
}

/// A session's place in the registry, given up when dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<CancelRegistry>,
    pub pid: i32,
    pub secret: Vec<u8>,
    /// `notify_waiters` on each cancel request: it reaches the running statement or nobody.
    pub cancel: Arc<Notify>,
}

impl CancelRegistry {
    /// Adds a session with a fresh random secret.
    pub fn register(self: &Arc<Self>, pid: i32, secret_bytes: usize) -> Registration {
        let random: [u8; SECRET_BYTES_3_2] = rand::random();
        let secret = random[..secret_bytes].to_vec();
        let cancel = Arc::new(Notify::new());
        let entry = Entry { secret: secret.clone(), cancel: cancel.clone() };
        let previous = self.sessions.lock().expect("no panic while the registry is locked").insert(pid, entry);
        assert!(previous.is_none(), "process ids of open sessions are unique");
        Registration { registry: self.clone(), pid, secret, cancel }
    }

    /// Cancels what the session runs, if the secret is right. Says nothing either way, as Postgres.
    pub fn cancel(&self, pid: i32, secret: &[u8]) {
        let sessions = self.sessions.lock().expect("no panic while the registry is locked");
        if let Some(entry) = sessions.get(&pid).filter(|entry| same(&entry.secret, secret)) {
            entry.cancel.notify_waiters();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions.lock().expect("no panic while the registry is locked").remove(&self.pid);
    }
}

/// Compares without telling by its duration where the difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
