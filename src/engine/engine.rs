//! The engine: what is shared by all sessions, and its life from open to shutdown. Recovery is `recovery/`.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use catalog::{Catalog, CatalogChange};
use dataflow::{Event, Runtime};
use futures::future::BoxFuture;
use state::{DurableStore, Journal};
use tokio::sync::oneshot;
use types::{MemoryBudget, ObjectId, SqlError, SqlState, ToSqlState};

use crate::advisory::AdvisoryLocks;
use crate::checkpoint::Checkpointer;
use crate::clock::{ClockMessage, TableWrite};
use crate::config::EngineConfig;
use crate::failures::{self, Failures};
use crate::feed::FeedThreads;
use crate::gate::JournalGate;
use crate::jobs::Jobs;
use crate::late_counts::LateCounts;
use crate::locks::Locks;
use crate::log::{CatalogEntry, KIND_CATALOG};
use crate::outside::OutsideChecks;
use crate::rebuild::Request;
use crate::recovery;
use crate::relation::{Relation, SourceRuntime};
use crate::session::Session;
use crate::sessions::SessionRegistry;
use crate::tables::{RecentChanges, TableLines};
use crate::time::now_us;
use coordinator::oracle::Oracle;

/// A running database. Cheap to clone; the last clone does not stop it, [`Engine::shutdown`] does.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub store: DurableStore,
    pub gate: Arc<JournalGate>,
    pub runtime: Arc<Runtime>,
    pub oracle: Arc<Oracle>,
    pub checkpointer: Arc<Checkpointer>,
    pub failures: Failures,
    pub clock: Sender<ClockMessage>,
    pub budget: MemoryBudget,
    pub catalog: Mutex<Arc<Catalog>>,
    pub relations: Mutex<HashMap<ObjectId, Arc<Relation>>>,
    pub sources: Mutex<BTreeMap<ObjectId, Arc<SourceRuntime>>>,
    /// One catalog change at a time.
    pub ddl: tokio::sync::Mutex<()>,
    pub lines: TableLines,
    pub locks: Arc<Locks>,
    pub recent: Arc<RecentChanges>,
    pub jobs: Jobs,
    pub sessions: Arc<SessionRegistry>,
    pub advisory: Arc<AdvisoryLocks>,
    /// CPU-bound reads run here, never on the caller's runtime.
    pub queries: Mutex<Option<tokio::runtime::Runtime>>,
    pub query_handle: tokio::runtime::Handle,
    /// The next object id; ids of dropped or failed objects are not given out again.
    pub next_id: std::sync::atomic::AtomicU32,
    /// Late rows of tables.
    pub late: Arc<LateCounts>,
    pub feed_threads: FeedThreads,
    /// Looks at the outside world that may hang, so many at once.
    pub outside: OutsideChecks,
    pub started_us: i64,
    pub ready: std::sync::atomic::AtomicBool,
}

impl Engine {
    /// Opens the database: restores catalog, plans, state and offsets, then goes on where it was.
    ///
    /// Errors: 55006 if another process has the directory; XX001 if its files don't verify; 58030 for I/O.
    pub async fn open(config: EngineConfig) -> Result<Engine, SqlError> {
        let open = tokio::task::spawn_blocking(move || recovery::open(config));
        open.await.map_err(|e| SqlError::internal(format!("opening failed: {e}")))?
    }

    pub fn session(&self, user: &str, database: &str, parameters: Vec<(String, String)>) -> Result<Session, SqlError> {
        Session::new(self.clone(), user, database, parameters)
    }

    /// Serves a cancel request of the wire; says nothing of the outcome.
    pub fn cancel(&self, session: u32, key: &[u8]) {
        self.shared.sessions.cancel_with_key(session, key);
    }

    /// Recovered and serving reads.
    pub fn ready(&self) -> bool {
        self.shared.ready.load(std::sync::atomic::Ordering::Acquire)
    }

    /// What cannot be used although reads are served: failed relations and stopped sources, a line each.
    pub fn degraded(&self) -> Vec<String> {
        failures::degraded(&self.shared)
    }

    /// Checkpoints, stops sources and workers. Sessions must be gone or will see 57P01.
    pub fn shutdown(&self) -> BoxFuture<'static, ()> {
        let shared = self.shared.clone();
        Box::pin(async move {
            shared.checkpointer.leave();
            if let Some(job) = &*shared.failures.job.lock().expect("not poisoned") {
                job.cancel();
            }
            let (reply, done) = oneshot::channel();
            if shared.failures.rebuild.send(Request::Stop(reply)).is_ok() {
                // What is being built again is begun anew by the next start.
                let _ = done.await;
            }
            let (reply, done) = oneshot::channel();
            if shared.clock.send(ClockMessage::CheckpointNow { reply }).is_ok() {
                // A checkpoint that fails has been logged; everything is in the journal then.
                let _ = done.await;
            }
            let (reply, done) = oneshot::channel();
            if shared.clock.send(ClockMessage::Shutdown { reply }).is_ok() {
                let _ = done.await;
            }
            shared.checkpointer.stop();
            if let Some(queries) = shared.queries.lock().expect("not poisoned").take() {
                queries.shutdown_background();
            }
        })
    }

    /// Bytes in use against the memory budget: (used, limit).
    pub fn memory(&self) -> (usize, usize) {
        (self.shared.budget.used_bytes(), self.shared.budget.limit_bytes())
    }
}

impl Shared {
    pub fn journal(&self) -> &Journal {
        self.store.journal()
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.lock().expect("not poisoned").clone()
    }

    pub fn relation(&self, id: ObjectId) -> Option<Arc<Relation>> {
        self.relations.lock().expect("not poisoned").get(&id).cloned()
    }

    pub fn source(&self, id: ObjectId) -> Option<Arc<SourceRuntime>> {
        self.lock_sources().get(&id).cloned()
    }

    /// A source whose rows nobody keeps: readers read it, where those of a table with a connector read the table.
    pub fn unstored_source(&self, id: ObjectId) -> Option<Arc<SourceRuntime>> {
        self.source(id).filter(|_| self.relation(id).is_none())
    }

    pub fn lock_sources(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Arc<SourceRuntime>>> {
        self.sources.lock().expect("not poisoned")
    }

    pub fn allocate_id(&self) -> ObjectId {
        ObjectId(self.next_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// Journals catalog changes, waits until they are durable, then shows them to everyone. The caller holds `ddl`.
    pub fn change_catalog(&self, changes: Vec<CatalogChange>) -> Result<(), SqlError> {
        let mut next = (*self.catalog()).clone();
        changes.iter().cloned().for_each(|change| next.apply(change));
        let next = Arc::new(next);
        let bytes = serde_json::to_vec(&CatalogEntry { changes }).expect("a catalog change has a JSON form");
        let sent = next.clone();
        let position = self
            .gate
            .append(self.journal(), &self.clock, KIND_CATALOG, &bytes, |position| ClockMessage::CatalogChanged {
                catalog: sent,
                position,
            })
            .and_then(|position| self.journal().sync_up_to(position).map(|()| position))
            .map_err(|e| e.to_sql_error())?;
        tracing::debug!(position, "catalog changed");
        *self.catalog.lock().expect("not poisoned") = next;
        Ok(())
    }

    /// Sends rows of a table towards the next epoch; see `tables/`.
    pub fn append_rows(
        &self,
        kind: u8,
        payload: &[u8],
        write: impl FnOnce(u64) -> TableWrite,
    ) -> Result<u64, SqlError> {
        self.gate
            .append(self.journal(), &self.clock, kind, payload, |position| write(position).into())
            .map_err(|e| e.to_sql_error())
    }

    /// Refuses work that would grow state while the budget is exceeded.
    pub fn check_memory(&self) -> Result<(), SqlError> {
        if !self.budget.exceeded() {
            return Ok(());
        }
        Err(self.memory_error())
    }

    /// 53200, naming what grew most.
    pub fn memory_error(&self) -> SqlError {
        let catalog = self.catalog();
        let mut by_relation: BTreeMap<ObjectId, u64> = BTreeMap::new();
        for ((relation, _), reading) in self.runtime.stats().read() {
            *by_relation.entry(relation).or_default() += reading.state_bytes;
        }
        let largest = by_relation.into_iter().max_by_key(|(_, bytes)| *bytes);
        let (used, limit) = (self.budget.used_bytes(), self.budget.limit_bytes());
        let error = SqlError::new(SqlState::OutOfMemory, "memory limit reached, ingestion is paused");
        let error = match largest.and_then(|(id, bytes)| catalog.get(id).map(|o| (o.clone(), bytes))) {
            Some((object, bytes)) => error.with_detail(format!(
                "{used} of {limit} bytes are in use; {} \"{}\" holds {bytes}.",
                object.kind_name(),
                object.name
            )),
            None => error.with_detail(format!("{used} of {limit} bytes are in use.")),
        };
        error.with_hint("Drop or bound the view (see EXPLAIN CREATE MATERIALIZED VIEW), or raise --memory-limit.")
    }
}

/// Routes what workers report: progress to the oracle, cuts to the checkpointer, failures to both and to the clock.
pub(crate) fn event_handler(failures: Failures, checkpointer: Arc<Checkpointer>) -> Arc<dyn Fn(Event) + Send + Sync> {
    let Failures { oracle, clock, engine, .. } = failures.clone();
    Arc::new(move |event| match event {
        Event::Sealed { dataflow, epoch } => {
            let complete = oracle.sealed(dataflow, epoch);
            let shared = engine();
            if let Some(shared) = &shared {
                shared.recent.sealed(dataflow, epoch);
            }
            if let Some(relation) = shared.and_then(|shared| shared.relation(dataflow)) {
                relation.retention.release(&relation.shards, &oracle, epoch, complete, now_us());
            }
            // Errors mean the clock has stopped: then nobody waits for it.
            let _ = clock.send(ClockMessage::Sealed { dataflow, epoch });
        }
        Event::Cut { dataflow, operator, worker, epoch, cut } => {
            checkpointer.cut(dataflow, operator, worker, epoch, cut);
        }
        Event::Deadline { dataflow, operator, worker, at_us } => {
            let _ = clock.send(ClockMessage::Deadline { dataflow, operator, worker, at_us });
        }
        Event::Failed { dataflow, operator, error } => {
            let failed = failures.mark(dataflow, operator, &error);
            failed.iter().for_each(|id| checkpointer.give_up(*id));
            failures.tell(dataflow);
        }
    })
}

/// A channel to the clock that exists before the clock does.
pub(crate) fn clock_channel() -> (Sender<ClockMessage>, std::sync::mpsc::Receiver<ClockMessage>) {
    channel()
}
