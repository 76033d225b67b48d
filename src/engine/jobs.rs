//! Jobs: statements that build something for longer than a moment. Visible in `hw_catalog.jobs`, cancellable. How the
//! newest ones ended stays visible until the server stops.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use types::{ObjectId, SqlError, SqlState};

use crate::time::now_us;

/// One running job; removed from the list when the last clone of the handle is dropped.
#[derive(Clone)]
pub struct Job {
    inner: Arc<JobInner>,
}

struct JobInner {
    id: u32,
    description: String,
    /// What is being built.
    object: Option<ObjectId>,
    started_us: i64,
    rows: AtomicU64,
    cancelled: AtomicBool,
    list: Arc<Mutex<BTreeMap<u32, std::sync::Weak<JobInner>>>>,
    finished: Arc<tokio::sync::Notify>,
}

/// A reading of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReading {
    pub id: u32,
    pub description: String,
    pub started_us: i64,
    pub rows: u64,
    pub state: JobState,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Running,
    Finished,
    Failed,
    Cancelled,
    /// The server stopped before it was done, and nobody had been told that it would go on.
    Removed,
}

impl JobState {
    pub fn name(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Finished => "finished",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Removed => "removed",
        }
    }
}

/// Ended jobs that are remembered.
const ENDED_MAX: usize = 100;

/// All running jobs, and how the newest ones ended.
#[derive(Default)]
pub struct Jobs {
    list: Arc<Mutex<BTreeMap<u32, std::sync::Weak<JobInner>>>>,
    ended: Mutex<VecDeque<JobReading>>,
    next: AtomicU64,
    finished: Arc<tokio::sync::Notify>,
}

impl Jobs {
    pub fn start(&self, description: impl Into<String>) -> Job {
        self.start_for(description, None)
    }

    /// A job that builds `object`.
    pub fn start_for(&self, description: impl Into<String>, object: Option<ObjectId>) -> Job {
        let id = self.next.fetch_add(1, Ordering::Relaxed) as u32 + 1;
        let inner = Arc::new(JobInner {
            id,
            description: description.into(),
            object,
            started_us: now_us(),
            rows: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            list: self.list.clone(),
            finished: self.finished.clone(),
        });
        self.list.lock().expect("not poisoned").insert(id, Arc::downgrade(&inner));
        Job { inner }
    }

    /// The running ones.
    pub fn read(&self) -> Vec<JobReading> {
        let list = self.list.lock().expect("not poisoned");
        list.values().filter_map(|job| job.upgrade()).map(|job| job.read()).collect()
    }

    /// How the newest ones ended, oldest first.
    pub fn ended(&self) -> Vec<JobReading> {
        self.ended.lock().expect("not poisoned").iter().cloned().collect()
    }

    /// Takes the job off the list and remembers how it ended.
    pub fn end(&self, job: Job, result: &Result<(), SqlError>) {
        let cancelled = job.inner.cancelled.load(Ordering::Relaxed);
        let (state, error) = match result {
            Ok(()) => (JobState::Finished, None),
            Err(_) if cancelled => (JobState::Cancelled, None),
            Err(error) => (JobState::Failed, Some(error.message.clone())),
        };
        self.list.lock().expect("not poisoned").remove(&job.id());
        self.remember(JobReading { state, error, ..job.inner.read() });
        self.finished.notify_waiters();
    }

    /// A job of before the restart that was not taken up again.
    pub fn removed(&self, description: String, started_us: i64) {
        let id = self.next.fetch_add(1, Ordering::Relaxed) as u32 + 1;
        let error = Some("the server stopped before it was complete".to_string());
        self.remember(JobReading { id, description, started_us, rows: 0, state: JobState::Removed, error });
    }

    fn remember(&self, reading: JobReading) {
        let mut ended = self.ended.lock().expect("not poisoned");
        if ended.len() == ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back(reading);
    }

    /// False if there is no such job.
    pub fn cancel(&self, id: u32) -> bool {
        let job = self.list.lock().expect("not poisoned").get(&id).and_then(|job| job.upgrade());
        job.inspect(|job| job.cancelled.store(true, Ordering::Relaxed)).is_some()
    }

    /// Cancels whatever builds this object.
    pub fn cancel_building(&self, object: ObjectId) {
        let list = self.list.lock().expect("not poisoned");
        let jobs = list.values().filter_map(|job| job.upgrade());
        jobs.filter(|job| job.object == Some(object)).for_each(|job| job.cancelled.store(true, Ordering::Relaxed));
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

impl JobInner {
    fn read(&self) -> JobReading {
        JobReading {
            id: self.id,
            description: self.description.clone(),
            started_us: self.started_us,
            rows: self.rows.load(Ordering::Relaxed),
            state: JobState::Running,
            error: None,
        }
    }
}

impl Drop for JobInner {
    fn drop(&mut self) {
        self.list.lock().expect("not poisoned").remove(&self.id);
        self.finished.notify_waiters();
    }
}
