//! Jobs: statements that build something for longer than a moment. Visible in `hw_catalog.jobs`, cancellable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use types::{SqlError, SqlState};

use crate::time::now_us;

/// One running job; removed from the list when the last clone of the handle is dropped.
#[derive(Clone)]
pub struct Job {
    inner: Arc<JobInner>,
}

struct JobInner {
    id: u32,
    description: String,
    started_us: i64,
    rows: AtomicU64,
    cancelled: AtomicBool,
    list: Arc<Mutex<BTreeMap<u32, std::sync::Weak<JobInner>>>>,
}

/// A reading of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReading {
    pub id: u32,
    pub description: String,
    pub started_us: i64,
    pub rows: u64,
}

/// All running jobs.
#[derive(Default)]
pub struct Jobs {
    list: Arc<Mutex<BTreeMap<u32, std::sync::Weak<JobInner>>>>,
    next: AtomicU64,
    finished: tokio::sync::Notify,
}

impl Jobs {
    pub fn start(&self, description: impl Into<String>) -> Job {
        let id = self.next.fetch_add(1, Ordering::Relaxed) as u32 + 1;
        let inner = Arc::new(JobInner {
            id,
            description: description.into(),
            started_us: now_us(),
            rows: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            list: self.list.clone(),
        });
        self.list.lock().expect("not poisoned").insert(id, Arc::downgrade(&inner));
        Job { inner }
    }

    pub fn read(&self) -> Vec<JobReading> {
        let list = self.list.lock().expect("not poisoned");
        let jobs = list.values().filter_map(|job| job.upgrade());
        jobs.map(|job| JobReading {
            id: job.id,
            description: job.description.clone(),
            started_us: job.started_us,
            rows: job.rows.load(Ordering::Relaxed),
        })
        .collect()
    }

    /// False if there is no such job.
    pub fn cancel(&self, id: u32) -> bool {
        let job = self.list.lock().expect("not poisoned").get(&id).and_then(|job| job.upgrade());
        job.inspect(|job| job.cancelled.store(true, Ordering::Relaxed)).is_some()
    }

    pub fn notify_finished(&self) {
        self.finished.notify_waiters();
    }

    /// Waits until no job runs.
    pub async fn wait_all(&self) {
        loop {
            let finished = self.finished.notified();
            if self.read().is_empty() {
                return;
            }
            finished.await;
        }
    }
}

impl Job {
    pub fn id(&self) -> u32 {
        self.inner.id
    }

    /// 57014 once the job was cancelled.
    pub fn check(&self) -> Result<(), SqlError> {
        if self.inner.cancelled.load(Ordering::Relaxed) {
            return Err(SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request"));
        }
        Ok(())
    }

    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::Relaxed);
    }

    /// Sets the number of rows read so far.
    pub fn progress(&self, rows: u64) {
        self.inner.rows.fetch_max(rows, Ordering::Relaxed);
    }

    pub fn add_rows(&self, rows: u64) {
        self.inner.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn rows(&self) -> u64 {
        self.inner.rows.load(Ordering::Relaxed)
    }
}

impl Drop for JobInner {
    fn drop(&mut self) {
        self.list.lock().expect("not poisoned").remove(&self.id);
    }
}
