//! The epoch clock: one thread that turns input into epochs.
//!
//! Idle: the first input opens an epoch at once. Busy: while epochs are in flight input collects, so batches grow with
//! load. No timer on the data path. The clock is the only sender of structural commands to the workers, hence all of
//! them build the same dataflows at the same place in the order of epochs.
//!
//! Table writes enter in journal order and only when durable; chunks of replayable sources at once, their record being
//! logged behind (`freshness = 'bound'` sources: logged and synced first).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use catalog::Catalog;
use connectors::admission::Admission;
use dataflow::{CreateDataflow, DataflowGraph, FeedBatch, Runtime};
use state::DurableStore;
use tokio::sync::oneshot;
use types::{DeltaBatch, Epoch, EpochRecord, Incarnation, ObjectId, SqlError, WATERMARK_END, Watermarks, limits};

use crate::checkpoint::{CheckpointPayload, CheckpointRequest, Checkpointer, SourcePayload};
use crate::feed::{FeedChunk, FeedHandle};
use crate::gate::JournalGate;
use crate::history::{HistoryEvent, SourceHistory};
use crate::log::{EpochEntry, KIND_EPOCH};
use crate::oracle::Oracle;
use crate::source_stats::SourceStats;
use crate::time::now_us;

/// Rows in flight at which no further epoch is opened.
const ROWS_IN_FLIGHT_MAX: usize = 8 * limits::BATCH_ROWS_MAX;

pub enum ClockMessage {
    Chunk(FeedChunk),
    SourceFailed {
        source: ObjectId,
        error: SqlError,
    },
    /// All messages before this one have been put into epochs when the marker is dropped or answered.
    Marker(Sender<()>),
    Table(TableWrite),
    /// The journal synced; durable table writes may enter.
    Durable,
    AddSource(Box<SourceEntry>),
    /// A source's feed was started: the clock stops it with the source.
    SetFeed {
        source: ObjectId,
        feed: FeedHandle,
    },
    RemoveSource {
        source: ObjectId,
    },
    /// `temporary`: its state is not part of checkpoints.
    Create {
        create: Box<CreateDataflow>,
        readable: Readable,
        temporary: bool,
    },
    /// A dataflow stopped; it takes part in nothing any more.
    /// All journaled rows beyond the checkpoint have been sent again: from here on checkpoints may be taken.
    Recovered,
    Failed {
        dataflow: ObjectId,
    },
    /// How far the sources behind a dataflow have been read.
    Histories {
        dataflow: ObjectId,
        reply: Sender<BTreeMap<ObjectId, SourceHistory>>,
    },
    /// The dataflow takes part in epochs from the next one on; answers where that is.
    Join {
        dataflow: ObjectId,
        reply: Sender<JoinPoint>,
    },
    Attached {
        dataflow: ObjectId,
    },
    Drop {
        dataflow: ObjectId,
        reply: oneshot::Sender<()>,
    },
    CatalogChanged {
        catalog: Arc<Catalog>,
        position: u64,
    },
    Sealed,
    Deadline {
        dataflow: ObjectId,
        at_us: i64,
    },
    CheckpointDone,
    CheckpointNow {
        reply: oneshot::Sender<()>,
    },
    /// An empty epoch that waits for everything before it (FLUSH).
    Barrier {
        reply: oneshot::Sender<Epoch>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// A journaled write on its way into an epoch; atomic over tables.
pub struct TableWrite {
    pub position: u64,
    pub writes: Vec<TableRows>,
    pub reply: Option<oneshot::Sender<Epoch>>,
}

pub struct TableRows {
    pub table: ObjectId,
    pub columns: Arc<Vec<usize>>,
    pub rows: DeltaBatch,
    /// What these rows alone say about the table's watermark, if it has one.
    pub watermark: Option<i64>,
}

/// From when a new relation can be read.
pub enum Readable {
    /// As soon as the epoch after creation is sealed.
    AtOnce,
    /// After `Join`: it is catching up.
    AfterJoin,
    /// As restored.
    Restored(Epoch),
}

/// Where a catching-up dataflow meets the shared feed: it delivers what lies up to here privately.
pub struct JoinPoint {
    pub record: EpochRecord,
    pub histories: BTreeMap<ObjectId, SourceHistory>,
}

/// What the clock knows of a source.
pub struct SourceEntry {
    pub source: ObjectId,
    pub history: SourceHistory,
    /// As of `history`; `None` until the feed has brought something.
    pub admission: Option<Admission>,
    pub watermark: Option<i64>,
    pub has_time: bool,
    pub ended: bool,
    /// `freshness = 'bound'`.
    pub bound: bool,
    pub stats: Arc<SourceStats>,
}

struct Source {
    entry: SourceEntry,
    feed: Option<FeedHandle>,
}

struct Dataflow {
    graph: Arc<DataflowGraph>,
    /// External inputs reached through any number of relations.
    roots: BTreeSet<ObjectId>,
    joined: bool,
    temporary: bool,
    failed: bool,
}

/// Everything the clock starts from.
pub struct ClockStart {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub wall_time_us: i64,
    pub table_position: u64,
    pub table_watermarks: BTreeMap<ObjectId, i64>,
    pub catalog: Arc<Catalog>,
    pub catalog_position: u64,
    pub checkpoint_interval: Duration,
    pub gate: Arc<JournalGate>,
}

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

    fn remove_source(&mut self, id: ObjectId) {
        self.chunks.retain(|chunk| chunk.source != id);
        if let Some(source) = self.sources.remove(&id)
            && let Some(feed) = source.feed
        {
            feed.stop();
        }
    }

    fn create(&mut self, create: CreateDataflow, readable: Readable, temporary: bool) {
        let id = create.graph.relation;
        let mut roots = BTreeSet::new();
        for input in create.graph.inputs() {
            match self.dataflows.get(&input) {
                Some(upstream) if input != id => roots.extend(upstream.roots.iter().copied()),
                _ => {
                    roots.insert(input);
                }
            }
        }
        let (sealed, from, joined) = match readable {
            Readable::AtOnce => (0, self.epoch + 1, true),
            Readable::AfterJoin => (0, Epoch::MAX, false),
            Readable::Restored(epoch) => (epoch, epoch, true),
        };
        if let Readable::AtOnce = readable {
            // The next epoch concerns it whatever that epoch brings: its snapshot is sealed there.
            self.deadlines.insert(id, now_us());
        }
        self.oracle.add(id, sealed, from, joined);
        self.dataflows.insert(id, Dataflow { graph: create.graph.clone(), roots, joined, temporary, failed: false });
        self.runtime.create(create);
        if joined {
            self.runtime.attach(id);
        }
    }

    fn join(&mut self, id: ObjectId, reply: &Sender<JoinPoint>) {
        // Chunks that wait here were decoded before the new reader's columns were asked for.
        if !self.chunks.is_empty() {
            self.open_epoch();
        }
        let Some(dataflow) = self.dataflows.get_mut(&id) else { return };
        dataflow.joined = true;
        self.runtime.hold(id);
        self.oracle.join(id, self.epoch);
        let histories = self.histories(id);
        let record = EpochRecord::new(self.epoch, self.wall_time_us, self.watermarks());
        let _ = reply.send(JoinPoint { record, histories });
    }

    fn histories(&self, dataflow: ObjectId) -> BTreeMap<ObjectId, SourceHistory> {
        let roots = self.dataflows.get(&dataflow).map(|d| &d.roots).into_iter().flatten();
        roots.filter_map(|r| self.sources.get(r).map(|s| (*r, s.entry.history.clone()))).collect()
    }

    fn drop_dataflow(&mut self, id: ObjectId, reply: oneshot::Sender<()>) {
        self.dataflows.remove(&id);
        self.deadlines.remove(&id);
        self.table_watermarks.remove(&id);
        for write in &mut self.writes {
            write.writes.retain(|rows| rows.table != id);
        }
        self.oracle.remove(id);
        self.checkpointer.forget(id);
        self.runtime.drop_dataflow(id);
        let _ = reply.send(());
    }

    fn watermarks(&self) -> Watermarks {
        let mut watermarks = Watermarks::default();
        for (id, source) in &self.sources {
            if let Some(watermark) = source.entry.watermark {
                watermarks.set(*id, watermark);
            }
        }
        for (id, watermark) in &self.table_watermarks {
            watermarks.set(*id, *watermark);
        }
        watermarks
    }

    fn checkpoint_due(&self) -> bool {
        let due = self.last_checkpoint.elapsed() >= self.start.checkpoint_interval;
        self.dirty && !self.recovering && !self.checkpoint_running && (due || !self.checkpoint_wanted.is_empty())
    }

    fn wants_epoch(&self) -> bool {
        let durable = self.store.journal().durable_position();
        let now = now_us();
        !self.chunks.is_empty()
            || !self.markers.is_empty()
            || !self.barriers.is_empty()
            || self.writes.front().is_some_and(|w| w.position <= durable)
            || self.deadlines.values().any(|at| *at <= now)
            || self.checkpoint_due()
    }

    fn has_credit(&self) -> bool {
        let (epochs, rows) = self.oracle.in_flight();
        epochs < limits::EPOCHS_IN_FLIGHT_MAX && rows < ROWS_IN_FLIGHT_MAX
    }

    /// Puts everything that waits into one epoch and sends it to the workers.
    fn open_epoch(&mut self) {
        // Before anything is decided: what is taken in here may open epochs itself, drop dataflows, ask for barriers.
        let drained = self.checkpoint_due().then(|| self.take_in_journaled());
        let position = drained.filter(|_| !self.checkpoint_running);
        let epoch = self.epoch + 1;
        self.wall_time_us = now_us().max(self.wall_time_us + 1);
        let mut touched: BTreeSet<ObjectId> = BTreeSet::new();
        let mut logged: BTreeMap<ObjectId, Vec<HistoryEvent>> = BTreeMap::new();
        let chunks = std::mem::take(&mut self.chunks);
        let bound = chunks.iter().any(|c| self.sources.get(&c.source).is_some_and(|s| s.entry.bound));
        let mut batches: Vec<FeedBatch> = vec![];
        for chunk in chunks {
            self.take_chunk(chunk, &mut touched, &mut logged, &mut batches);
        }
        let replies = self.take_writes(&mut touched, &mut batches);
        self.log_epoch(epoch, logged, bound);
        let now = self.wall_time_us;
        let due: Vec<ObjectId> = self.deadlines.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        due.iter().for_each(|id| {
            self.deadlines.remove(id);
        });
        let checkpoint = position.is_some();
        let concerned: Vec<ObjectId> = self
            .dataflows
            .iter()
            .filter(|(_, d)| d.joined && !d.failed)
            .filter(|(id, d)| checkpoint || due.contains(id) || d.roots.iter().any(|r| touched.contains(r)))
            .map(|(id, _)| *id)
            .collect();
        let rows = batches.iter().map(|b| b.rows.num_rows()).sum();
        self.epoch = epoch;
        self.oracle.open(epoch, &concerned, rows);
        let mut record = EpochRecord::new(epoch, self.wall_time_us, self.watermarks());
        if let Some(position) = position {
            record.checkpoint = true;
            self.begin_checkpoint(epoch, position, &concerned);
        }
        self.send_epoch(record, concerned, batches);
        self.answer(epoch, replies);
        self.dirty |= !checkpoint;
    }

    fn take_chunk(
        &mut self,
        chunk: FeedChunk,
        touched: &mut BTreeSet<ObjectId>,
        logged: &mut BTreeMap<ObjectId, Vec<HistoryEvent>>,
        batches: &mut Vec<FeedBatch>,
    ) {
        let Some(source) = self.sources.get_mut(&chunk.source) else { return };
        let entry = &mut source.entry;
        if chunk.admission.is_some() {
            entry.admission = chunk.admission;
        }
        for event in chunk.events {
            entry.history.push(event.clone());
            logged.entry(chunk.source).or_default().push(event);
        }
        entry.ended |= chunk.ended;
        if entry.has_time || chunk.ended {
            let before = entry.watermark.unwrap_or(types::WATERMARK_NONE);
            let after = if chunk.ended { WATERMARK_END } else { chunk.watermark };
            if after > before {
                entry.watermark = Some(after);
            }
        }
        entry.stats.record(&chunk.rows, chunk.late, chunk.bytes, entry.watermark, chunk.ended, chunk.errors);
        touched.insert(chunk.source);
        if chunk.rows.num_rows() > 0 {
            batches.push(FeedBatch {
                relation: chunk.source,
                columns: chunk.columns,
                rows: DeltaBatch::inserts(chunk.rows),
                errors: vec![],
            });
        }
    }

    /// Table writes whose journal entries are durable, in journal order.
    fn take_writes(
        &mut self,
        touched: &mut BTreeSet<ObjectId>,
        batches: &mut Vec<FeedBatch>,
    ) -> Vec<oneshot::Sender<Epoch>> {
        let durable = self.store.journal().durable_position();
        let mut replies = vec![];
        while self.writes.front().is_some_and(|w| w.position <= durable) {
            let write = self.writes.pop_front().expect("just seen");
            self.table_position = self.table_position.max(write.position);
            for TableRows { table, columns, rows, watermark } in write.writes {
                touched.insert(table);
                if let Some(watermark) = watermark {
                    let line = self.table_watermarks.entry(table).or_insert(watermark);
                    *line = watermark.max(*line);
                }
                batches.push(FeedBatch { relation: table, columns, rows, errors: vec![] });
            }
            replies.extend(write.reply);
        }
        replies
    }

    fn log_epoch(&mut self, epoch: Epoch, sources: BTreeMap<ObjectId, Vec<HistoryEvent>>, bound: bool) {
        if sources.is_empty() {
            return;
        }
        let entry = EpochEntry {
            epoch,
            incarnation: self.start.incarnation,
            wall_time_us: self.wall_time_us,
            table_position: self.table_position,
            sources,
        };
        let bytes = serde_json::to_vec(&entry).expect("an epoch entry has a JSON form");
        let logged = if bound {
            self.store
                .journal()
                .append(KIND_EPOCH, &bytes)
                .and_then(|position| self.store.journal().sync_up_to(position))
        } else {
            self.store.journal().append_lazy(KIND_EPOCH, &bytes).map(|_| ())
        };
        if let Err(error) = logged {
            // A full disk: epochs of replayable sources go on unlogged, a restart re-reads them.
            tracing::warn!(error = %error, epoch, "cannot log epoch record");
        }
    }

    fn send_epoch(&mut self, record: EpochRecord, concerned: Vec<ObjectId>, batches: Vec<FeedBatch>) {
        for batch in batches {
            self.runtime.feed(self.next_worker, record.epoch, batch);
            self.next_worker = (self.next_worker + 1) % self.runtime.workers();
        }
        self.runtime.advance(Arc::new(record), Arc::new(concerned));
    }

    fn answer(&mut self, epoch: Epoch, replies: Vec<oneshot::Sender<Epoch>>) {
        if !replies.is_empty() {
            self.oracle.acknowledge(epoch);
        }
        for reply in replies.into_iter().chain(self.barriers.drain(..)) {
            // A client that has gone does not wait for its answer.
            let _ = reply.send(epoch);
        }
        for marker in self.markers.drain(..) {
            let _ = marker.send(());
        }
    }

    /// Takes in all table writes and catalog changes up to the journal position that it gives.
    fn take_in_journaled(&mut self) -> u64 {
        let position = self.start.gate.position(self.store.journal());
        // Everything appended before has been sent.
        while let Ok(message) = self.receiver.try_recv() {
            self.handle(message);
        }
        position
    }

    /// `position`: up to there everything journaled has been taken in.
    fn begin_checkpoint(&mut self, epoch: Epoch, position: u64, concerned: &[ObjectId]) {
        // Writes that still wait are not part of this epoch.
        let settled = self.writes.front().map_or(position, |write| position.min(write.position - 1));
        self.checkpoint_running = true;
        self.last_checkpoint = Instant::now();
        self.dirty = false;
        let dataflows: BTreeMap<ObjectId, usize> = concerned
            .iter()
            .filter(|id| !self.dataflows[id].temporary)
            .map(|id| {
                let operators = |n: &&dataflow::Node| matches!(n.kind, dataflow::NodeKind::Operator(_));
                (*id, self.dataflows[id].graph.nodes.iter().filter(operators).count())
            })
            .collect();
        let sources = self.sources.iter().map(|(id, source)| {
            let entry = &source.entry;
            let payload = SourcePayload {
                history: entry.history.clone(),
                admission: entry.admission.clone(),
                watermark: entry.watermark,
                ended: entry.ended,
                counters: entry.stats.persisted(),
            };
            (*id, payload)
        });
        let payload = CheckpointPayload {
            epoch,
            incarnation: self.start.incarnation,
            wall_time_us: self.wall_time_us,
            table_position: settled,
            table_watermarks: self.table_watermarks.clone(),
            catalog: (*self.start.catalog).clone(),
            catalog_position: self.start.catalog_position,
            dataflows: dataflows.keys().copied().collect(),
            sources: sources.collect(),
        };
        let replies = std::mem::take(&mut self.checkpoint_wanted);
        self.checkpointer.begin(CheckpointRequest { payload, dataflows, replies });
    }

    /// Stops the feeds; what they have delivered is in epochs or is read again.
    fn finish(&mut self) {
        let ids: Vec<ObjectId> = self.sources.keys().copied().collect();
        ids.into_iter().for_each(|id| self.remove_source(id));
        self.runtime.shutdown();
    }
}
