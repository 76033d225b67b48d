//! Starting the engine's threads and rooms, with nothing in them yet.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, Weak};

use coordinator::oracle::Oracle;
use dataflow::Runtime;
use state::{DurableStore, Recovered};
use types::limits::{CHECKPOINT_INPUT_BYTES, CHECKPOINT_INPUT_PART};
use types::{Epoch, MemoryBudget, SqlError, ToSqlState};

use super::{Beyond, INCARNATION_GAP};
use crate::caught::or_stop;
use crate::checkpoint::{CheckpointPayload, Checkpointer, CheckpointerStart};
use crate::clock::{self, ClockMessage, EnginePorts, PortsStart};
use crate::config::EngineConfig;
use crate::engine::{Engine, Shared, clock_channel, event_handler};
use crate::failures::Failures;
use crate::gate::JournalGate;
use crate::late_counts::LateCounts;
use crate::rebuild;
use crate::sessions::SessionRegistry;
use crate::time::now_us;

/// Threads for ad-hoc reads beside the caller's runtime.
const QUERY_THREADS_MIN: usize = 2;

/// The engine, for those who are started before it.
type Slot = Arc<Mutex<Option<Weak<Shared>>>>;

/// Starts threads with nothing in them yet.
pub(super) fn start(
    config: EngineConfig,
    store: DurableStore,
    beyond: &Beyond,
    recovered: &Recovered,
) -> Result<Engine, SqlError> {
    let payload = &beyond.payload;
    // Relations that never became part of the catalog may have left state: their ids are not given out again.
    let leftover = recovered.state.relations().into_iter().map(|id| id.0 + 1).max().unwrap_or(0);
    let budget = MemoryBudget::new(config.memory_limit_bytes);
    let fresh = payload.incarnation == 0;
    let epoch = if fresh { payload.epoch } else { beyond.last_epoch + INCARNATION_GAP };
    let oracle = Oracle::new(epoch);
    let (clock_sender, clock_receiver) = clock_channel();
    let slot = Slot::default();
    let failures = start_rebuilds(&oracle, &clock_sender, &slot)?;
    let checkpointer = Checkpointer::start(CheckpointerStart {
        store: store.clone(),
        workers: config.workers,
        failures: failures.clone(),
        last: payload.clone(),
        memory: budget.account(),
    });
    let events = event_handler(failures.clone(), checkpointer.clone());
    let runtime = Runtime::start(config.workers, budget.clone(), events).map_err(|e| e.to_sql_error())?;
    let runtime = Arc::new(runtime);
    let wake = Mutex::new(clock_sender.clone());
    store.journal().subscribe(Box::new(move |_| {
        let _ = wake.lock().expect("not poisoned").send(ClockMessage::Durable);
    }));
    let gate = Arc::new(JournalGate::default());
    let late = Arc::new(LateCounts::restored(payload.table_late.clone()));
    let clock_start = clock_start(&config, payload, epoch);
    let ports = EnginePorts::new(PortsStart {
        runtime: runtime.clone(),
        oracle: oracle.clone(),
        store: store.clone(),
        gate: gate.clone(),
        checkpointer: checkpointer.clone(),
        late: late.clone(),
        clock: clock_sender.clone(),
        catalog: Arc::new(payload.catalog.clone()),
        catalog_position: payload.catalog_position,
    });
    let driver = coordinator::Driver::new(clock_start, ports);
    start_thread("hw-clock", move || or_stop("hw-clock", || clock::run(driver, clock_receiver)))?;
    let queries = query_threads()?;
    let shared = Arc::new(Shared {
        store,
        gate,
        runtime,
        oracle,
        checkpointer,
        failures,
        clock: clock_sender,
        budget,
        catalog: Mutex::new(Arc::new(payload.catalog.clone())),
        relations: Mutex::default(),
        sources: Mutex::default(),
        ddl: tokio::sync::Mutex::new(()),
        lines: Default::default(),
        locks: Arc::default(),
        recent: Arc::default(),
        jobs: Default::default(),
        sessions: Arc::new(SessionRegistry::new(config.sessions)),
        advisory: Arc::default(),
        query_handle: queries.handle().clone(),
        queries: Mutex::new(Some(queries)),
        next_id: payload.catalog.next_id.max(leftover).into(),
        late,
        feed_threads: Default::default(),
        outside: Default::default(),
        started_us: now_us(),
        ready: false.into(),
    });
    *slot.lock().expect("not poisoned") = Some(Arc::downgrade(&shared));
    Ok(Engine { shared })
}

fn clock_start(config: &EngineConfig, payload: &CheckpointPayload, epoch: Epoch) -> coordinator::Start {
    coordinator::Start {
        epoch,
        incarnation: payload.incarnation + 1,
        wall_time_us: payload.wall_time_us,
        table_position: payload.table_position,
        table_watermarks: payload.table_watermarks.clone(),
        checkpoint_interval: config.checkpoint_interval,
        checkpoint_input_bytes: (config.memory_limit_bytes / CHECKPOINT_INPUT_PART).min(CHECKPOINT_INPUT_BYTES),
    }
}

fn query_threads() -> Result<tokio::runtime::Runtime, SqlError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, |n| n.get()).max(QUERY_THREADS_MIN))
        .thread_name("hw-query")
        .enable_all()
        .build()
        .map_err(|e| SqlError::internal(format!("cannot start query threads: {e}")))
}

/// The thread that builds failed views again, and the book of failures that asks it to.
fn start_rebuilds(oracle: &Arc<Oracle>, clock: &Sender<ClockMessage>, slot: &Slot) -> Result<Failures, SqlError> {
    let slot = slot.clone();
    let lookup = move || slot.lock().expect("not poisoned").as_ref().and_then(|weak| weak.upgrade());
    let (rebuild, requests) = std::sync::mpsc::channel();
    let failures = Failures {
        oracle: oracle.clone(),
        clock: clock.clone(),
        rebuild,
        engine: Arc::new(lookup),
        book: Arc::default(),
        job: Arc::default(),
    };
    let lookup = failures.engine.clone();
    start_thread("hw-rebuild", move || rebuild::run(&requests, &lookup))?;
    Ok(failures)
}

fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), SqlError> {
    let started = std::thread::Builder::new().name(name.into()).spawn(body);
    started.map(drop).map_err(|e| SqlError::internal(format!("cannot start a thread: {e}")))
}
