//! The epoch clock: one thread that turns input into epochs.
//!
//! Idle: the first input opens an epoch at once. Busy: while epochs are in flight input collects, so batches grow with
//! load. No timer on the data path. The clock's state and its loop stand here; what it is told in `messages.rs`, making an
//! epoch in `epoch.rs`, sources in `sources.rs`, dataflows in `dataflows.rs`, marking checkpoints in `checkpoint.rs`.

mod checkpoint;
mod dataflows;
mod epoch;
mod messages;
mod sources;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use dataflow::Runtime;
use state::DurableStore;
use tokio::sync::oneshot;
use types::{Epoch, ObjectId};

pub use messages::{ClockMessage, ClockStart, JoinPoint, Readable, SourceEntry, TableRows, TableWrite};

use crate::checkpoint::Checkpointer;
use crate::feed::FeedChunk;
use crate::oracle::Oracle;
use crate::time::now_us;
use dataflows::Dataflow;
use sources::Source;

pub struct Clock {
    receiver: Receiver<ClockMessage>,
    runtime: Arc<Runtime>,
    oracle: Arc<Oracle>,
    store: DurableStore,
    checkpointer: Arc<Checkpointer>,
    start: ClockStart,
    epoch: Epoch,
    wall_time_us: i64,
    table_position: u64,
    table_watermarks: BTreeMap<ObjectId, i64>,
    sources: BTreeMap<ObjectId, Source>,
    dataflows: BTreeMap<ObjectId, Dataflow>,
    chunks: Vec<FeedChunk>,
    markers: Vec<Sender<()>>,
    writes: VecDeque<TableWrite>,
    barriers: Vec<oneshot::Sender<Epoch>>,
    deadlines: BTreeMap<ObjectId, i64>,
    next_worker: usize,
    checkpoint_running: bool,
    checkpoint_wanted: Vec<oneshot::Sender<()>>,
    last_checkpoint: Instant,
    /// Epochs opened or catalog changed since the last checkpoint.
    dirty: bool,
    /// Fed since the last checkpoint.
    input_bytes: usize,
    /// Rows of the journal are still being replayed: a checkpoint now would claim rows that are in no epoch yet.
    recovering: bool,
    shutdown: Option<oneshot::Sender<()>>,
}

impl Clock {
    pub fn new(
        receiver: Receiver<ClockMessage>,
        runtime: Arc<Runtime>,
        oracle: Arc<Oracle>,
        store: DurableStore,
        checkpointer: Arc<Checkpointer>,
        start: ClockStart,
    ) -> Clock {
        Clock {
            receiver,
            runtime,
            oracle,
            store,
            checkpointer,
            epoch: start.epoch,
            wall_time_us: start.wall_time_us,
            table_position: start.table_position,
            table_watermarks: start.table_watermarks.clone(),
            start,
            sources: BTreeMap::new(),
            dataflows: BTreeMap::new(),
            chunks: vec![],
            markers: vec![],
            writes: VecDeque::new(),
            barriers: vec![],
            deadlines: BTreeMap::new(),
            next_worker: 0,
            checkpoint_running: false,
            checkpoint_wanted: vec![],
            last_checkpoint: Instant::now(),
            dirty: false,
            input_bytes: 0,
            recovering: true,
            shutdown: None,
        }
    }

    /// Runs until `Shutdown`.
    pub fn run(mut self) {
        loop {
            match self.receiver.recv_timeout(self.sleep()) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(message) = self.receiver.try_recv() {
                self.handle(message);
            }
            if let Some(reply) = self.shutdown.take() {
                self.finish();
                // Who waits may open the directory again: it must be let go by then.
                drop(self);
                let _ = reply.send(());
                return;
            }
            while self.wants_epoch() && self.has_credit() {
                self.open_epoch();
            }
        }
    }

    fn sleep(&self) -> Duration {
        let mut sleep = Duration::from_secs(3600);
        if self.dirty && !self.checkpoint_running {
            sleep = sleep.min(self.start.checkpoint_interval.saturating_sub(self.last_checkpoint.elapsed()));
        }
        if let Some(at) = self.deadlines.values().min() {
            sleep = sleep.min(Duration::from_micros((at - now_us()).max(0) as u64));
        }
        sleep.max(Duration::from_micros(50))
    }

    fn handle(&mut self, message: ClockMessage) {
        match message {
            ClockMessage::Chunk(chunk) => self.chunks.push(chunk),
            ClockMessage::SourceFailed { source, error } => {
                if let Some(source) = self.sources.get(&source) {
                    source.entry.stats.fail(error);
                }
            }
            ClockMessage::Marker(marker) => self.markers.push(marker),
            ClockMessage::Table(write) => self.writes.push_back(write),
            ClockMessage::Durable | ClockMessage::Sealed => {}
            ClockMessage::Recovered => self.recovering = false,
            ClockMessage::AddSource(entry) => {
                self.sources.insert(entry.source, Source { entry: *entry, feed: None });
            }
            ClockMessage::SetFeed { source, feed } => {
                if let Some(source) = self.sources.get_mut(&source) {
                    source.feed = Some(feed);
                }
            }
            ClockMessage::StopFeed { source } => self.stop_feed(source),
            ClockMessage::RemoveSource { source } => self.remove_source(source),
            ClockMessage::Create { create, readable, temporary } => self.create(*create, readable, temporary),
            ClockMessage::Failed { dataflow } => {
                if let Some(dataflow) = self.dataflows.get_mut(&dataflow) {
                    dataflow.failed = true;
                }
                self.checkpointer.give_up(dataflow);
            }
            ClockMessage::Histories { dataflow, reply } => {
                let _ = reply.send(self.histories(dataflow));
            }
            ClockMessage::Join { dataflow, reply } => self.join(dataflow, &reply),
            ClockMessage::Attached { dataflow } => self.oracle.set_attached(dataflow),
            ClockMessage::Drop { dataflow, reply } => self.drop_dataflow(dataflow, reply),
            ClockMessage::CatalogChanged { catalog, position } => {
                self.start.catalog = catalog;
                self.start.catalog_position = position;
                self.dirty = true;
            }
            ClockMessage::Deadline { dataflow, at_us } => {
                self.deadlines.insert(dataflow, at_us);
            }
            ClockMessage::CheckpointDone => {
                self.checkpoint_running = false;
                self.last_checkpoint = Instant::now();
            }
            ClockMessage::CheckpointNow { reply } => {
                self.checkpoint_wanted.push(reply);
                self.dirty = true;
            }
            ClockMessage::Barrier { reply } => self.barriers.push(reply),
            ClockMessage::Shutdown { reply } => self.shutdown = Some(reply),
        }
    }

    /// Stops the feeds; what they have delivered is in epochs or is read again.
    fn finish(&mut self) {
        let ids: Vec<ObjectId> = self.sources.keys().copied().collect();
        ids.into_iter().for_each(|id| self.remove_source(id));
        self.runtime.shutdown();
    }
}
