//! The group of worker threads, seen from the engine.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};

use operators::guarded;
use types::{Epoch, EpochRecord, MemoryBudget, ObjectId};

use crate::command::{Command, CreateDataflow, Event, FeedBatch};
use crate::pace::Pace;
use crate::stats::StatsRegistry;
use crate::worker::{self, WorkerContext};

#[derive(Debug, thiserror::Error)]
pub enum DataflowError {
    #[error("cannot start worker threads: {reason}")]
    Start { reason: String },
}

impl types::ToSqlState for DataflowError {
    fn sql_state(&self) -> types::SqlState {
        match self {
            DataflowError::Start { .. } => types::SqlState::InsufficientResources,
        }
    }
}

/// W worker threads. Commands are sent from one thread at a time (the epoch clock), in one order for all workers.
pub struct Runtime {
    commands: Vec<Sender<Command>>,
    /// None if the workers are stepped by hand.
    threads: Vec<Thread>,
    stats: StatsRegistry,
    joined: Mutex<Option<JoinHandle<()>>>,
}

impl Runtime {
    /// Starts `workers` threads. `events` is called on worker threads and must not block.
    pub fn start(
        workers: usize,
        budget: MemoryBudget,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Runtime, DataflowError> {
        let stats = StatsRegistry::default();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| channel()).unzip();
        let receivers = Arc::new(Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>()));
        let config = timely::Config {
            communication: match workers {
                1 => timely::CommunicationConfig::Thread,
                n => timely::CommunicationConfig::Process(n),
            },
            worker: timely::WorkerConfig::default(),
        };
        let shared = stats.clone();
        let guards = timely::execute(config, move |worker| {
            let commands = receivers.lock().expect("taken once per worker")[worker.index()].take();
            let context = WorkerContext {
                commands: commands.expect("one receiver per worker"),
                events: events.clone(),
                stats: shared.clone(),
                budget: budget.clone(),
                pace: Pace::default(),
            };
            // Operators have walls of their own: what comes as far as this is the worker's. Its peers wait for it, and
            // would for ever: what is durable is on disk.
            if let Err(error) = guarded(|| {
                worker::run(worker, context);
                Ok(())
            }) {
                tracing::error!(error = %error, "a worker thread panicked; stopping so that a restart recovers");
                std::process::abort();
            }
        })
        .map_err(|reason| DataflowError::Start { reason })?;
        let threads = guards.guards().iter().map(|g| g.thread().clone()).collect();
        let joined = std::thread::Builder::new()
            .name("hw-workers-join".into())
            .spawn(move || {
                for result in guards.join() {
                    if let Err(reason) = result {
                        tracing::error!(reason, "a worker thread panicked outside of its turns");
                        std::process::abort();
                    }
                }
            })
            .map_err(|e| DataflowError::Start { reason: e.to_string() })?;
        Ok(Runtime { commands: senders, threads, stats, joined: Mutex::new(Some(joined)) })
    }

    /// A runtime without threads, for one worker that is stepped by hand (`stepped.rs`).
    pub(crate) fn of_one(commands: Sender<Command>, stats: StatsRegistry) -> Runtime {
        Runtime { commands: vec![commands], threads: vec![], stats, joined: Mutex::default() }
    }

    pub fn workers(&self) -> usize {
        self.commands.len()
    }

    pub fn stats(&self) -> &StatsRegistry {
        &self.stats
    }

    pub fn create(&self, create: CreateDataflow) {
        self.broadcast(|| Command::Create(Box::new(create.clone())));
    }

    /// Gives a batch of the shared feed to one worker.
    pub fn feed(&self, worker: usize, epoch: Epoch, batch: FeedBatch) {
        self.send(worker, Command::Feed { epoch, batch });
    }

    pub fn feed_private(&self, worker: usize, dataflow: ObjectId, epoch: Epoch, batch: FeedBatch) {
        self.send(worker, Command::FeedPrivate { dataflow, epoch, batch });
    }

    /// See `Join` in the clock: shared commands for this dataflow queue up until `attach`.
    pub fn hold(&self, dataflow: ObjectId) {
        self.broadcast(|| Command::Hold { dataflow });
    }

    pub fn attach(&self, dataflow: ObjectId) {
        self.broadcast(|| Command::Attach { dataflow });
    }

    /// Opens an epoch for the dataflows it concerns; feeds of this epoch must have been sent.
    pub fn advance(&self, record: Arc<EpochRecord>, dataflows: Arc<Vec<ObjectId>>) {
        self.broadcast(|| Command::Advance { record: record.clone(), dataflows: dataflows.clone() });
    }

    pub fn advance_private(&self, dataflow: ObjectId, record: Arc<EpochRecord>) {
        self.broadcast(|| Command::AdvancePrivate { dataflow, record: record.clone() });
    }

    pub fn drop_dataflow(&self, dataflow: ObjectId) {
        self.broadcast(|| Command::Drop { dataflow });
    }

    /// Ends the workers and waits for them.
    pub fn shutdown(&self) {
        self.broadcast(|| Command::Shutdown);
        let handle = self.joined.lock().expect("not poisoned").take();
        if let Some(handle) = handle {
            // A panicking worker aborts the process before this could return an error.
            let _ = handle.join();
        }
    }

    fn broadcast(&self, command: impl Fn() -> Command) {
        (0..self.commands.len()).for_each(|worker| self.send(worker, command()));
    }

    fn send(&self, worker: usize, command: Command) {
        // A worker that is gone has aborted the process, or is shutting down.
        let _ = self.commands[worker].send(command);
        if let Some(thread) = self.threads.get(worker) {
            thread.unpark();
        }
    }
}
