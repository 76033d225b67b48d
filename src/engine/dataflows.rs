//! Bringing a dataflow to life: create it, let it catch up with what its sources have already delivered, join it to
//! the shared feed, wait until it is complete. Runs on blocking threads; every step can be abandoned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use dataflow::{CreateDataflow, DataflowGraph, FeedBatch, NodeKind, Start};
use tokio::sync::oneshot;
use types::{DeltaBatch, Epoch, EpochRecord, ObjectId, SqlError, SqlState, ToSqlState, Watermarks};

use crate::clock::{ClockMessage, JoinPoint, Readable};
use crate::engine::Shared;
use crate::feed::{self, FeedControl, FeedStart};
use crate::history::{HistoryCursor, Replayed, SourceHistory};
use crate::jobs::Job;
use crate::logged::LoggedSteps;
use crate::relation::{Relation, SourceRuntime};

/// Private epochs in flight while catching up.
const PRIVATE_EPOCHS_MAX: u64 = 8;
/// A catch-up round with fewer rows than this is followed by the join.
const JOIN_ROWS: u64 = 100_000;
/// After so many rounds the join comes anyway; what is left waits in the workers' queues.
const ROUNDS_MAX: usize = 8;
/// Pause between looks at a dataflow that is behind.
const POLL: Duration = Duration::from_micros(500);

/// Columns that a graph reads of each relation.
pub(crate) fn columns_read(graph: &DataflowGraph) -> BTreeMap<ObjectId, BTreeSet<usize>> {
    let mut read: BTreeMap<ObjectId, BTreeSet<usize>> = BTreeMap::new();
    for node in &graph.nodes {
        if let NodeKind::Input { relation, columns } = &node.kind {
            read.entry(*relation).or_default().extend(columns);
        }
    }
    read
}

/// Creates the dataflow of `graph`, catches up, and returns once it follows the shared feed.
/// On error or cancellation the dataflow is gone again.
///
/// `temporary`: it lives with a subscription and is not part of checkpoints.
pub(crate) fn build(
    shared: &Shared,
    graph: Arc<DataflowGraph>,
    job: &Job,
    temporary: bool,
) -> Result<Arc<Relation>, SqlError> {
    let id = graph.relation;
    let object = shared.catalog().get(id).cloned();
    let relation = Relation::new(graph.clone(), shared.runtime.workers(), object.as_deref());
    shared.relations.lock().expect("not poisoned").insert(id, relation.clone());
    let result = build_into(shared, &relation, job, temporary);
    if let Err(error) = result {
        remove(shared, id);
        return Err(error);
    }
    Ok(relation)
}

/// The same for a relation that is known already, and that is left as it is on error.
pub(crate) fn build_into(shared: &Shared, relation: &Relation, job: &Job, temporary: bool) -> Result<(), SqlError> {
    let sources: Vec<(Arc<SourceRuntime>, BTreeSet<usize>)> = columns_read(&relation.graph)
        .into_iter()
        .filter_map(|(id, columns)| {
            // A table with a connector reads it; whoever reads the table reads what it keeps.
            let source = if id == relation.id { shared.source(id) } else { shared.unstored_source(id) };
            source.map(|source| (source, columns))
        })
        .collect();
    // In the order of ids, as everybody does.
    let starting: Vec<_> = sources.iter().map(|(source, _)| source.starting.lock().expect("not poisoned")).collect();
    let unread = sources.iter().all(|(source, _)| !source.started());
    let readable = if unread { Readable::AtOnce } else { Readable::AfterJoin };
    let create = CreateDataflow { graph: relation.graph.clone(), shards: relation.shards.clone(), start: Start::Fresh };
    send(shared, ClockMessage::Create { dataflow: Box::new(create), readable, temporary })?;
    // Beside a source that runs already, one that begins now is caught up with as well: starting it only after catching
    // up with the other would keep everybody else who wants to read it waiting for that.
    for (source, columns) in &sources {
        start_feed(shared, source, columns, LoggedSteps::default(), None)?;
    }
    drop(starting);
    if !unread {
        for (source, columns) in &sources {
            widen(source, columns)?;
        }
        CatchUp::new(shared, relation.id, &sources, job).run()?;
    }
    Ok(())
}

/// Waits until the relation is complete: readable, and all bounded inputs behind it have ended and are in.
pub(crate) fn wait_complete(shared: &Shared, relation: &Relation, job: &Job) -> Result<(), SqlError> {
    let bounded = bounded_roots(shared, relation.id);
    loop {
        job.check()?;
        if let Some(failure) = shared.oracle.dataflow_failure(relation.id) {
            return Err(failure);
        }
        let readings: Vec<_> = bounded.iter().map(|source| (source, source.stats.read())).collect();
        if let Some((source, failure)) = readings.iter().find_map(|(s, r)| r.failure.clone().map(|f| (s, f))) {
            let message = format!("source \"{}\" stopped: {}", source.name, failure.message);
            return Err(SqlError { message, ..failure });
        }
        job.progress(readings.iter().map(|(_, r)| r.counters.rows).sum());
        if shared.budget.exceeded() {
            return Err(shared.memory_error());
        }
        if readings.iter().all(|(_, r)| r.ended) {
            break;
        }
        std::thread::sleep(POLL);
    }
    // The end of a source is known before its last epoch is open, and a dataflow that was just created before the clock
    // has heard of it: complete is what has sealed an epoch after both.
    wait_frontier(shared, relation.id, barrier(shared)?, job)?;
    // The pin raises the floor, so that every later read is at or above this epoch.
    let pin = shared.oracle.pin(&[relation.id]);
    wait_frontier(shared, relation.id, pin.epoch(), job)
}

/// Waits until the relation has sealed what it caught up with, or has failed.
pub(crate) fn wait_joined(shared: &Shared, relation: &Relation, job: &Job) -> Result<(), SqlError> {
    match wait_frontier(shared, relation.id, barrier(shared)?, job) {
        Err(_) if shared.oracle.dataflow_failure(relation.id).is_some() => Ok(()),
        joined => joined,
    }
}

/// An epoch that the clock opens from now on.
pub(crate) fn barrier(shared: &Shared) -> Result<Epoch, SqlError> {
    let (reply, epoch) = oneshot::channel();
    send(shared, ClockMessage::Barrier { reply })?;
    epoch.blocking_recv().map_err(|_| stopped())
}

fn wait_frontier(shared: &Shared, id: ObjectId, epoch: Epoch, job: &Job) -> Result<(), SqlError> {
    while let Some(frontier) = shared.oracle.dataflow_progress(id) {
        job.check()?;
        if frontier? >= epoch {
            break;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Bounded sources behind a relation, directly or through views.
fn bounded_roots(shared: &Shared, id: ObjectId) -> Vec<Arc<SourceRuntime>> {
    let mut open = vec![id];
    let mut seen = BTreeSet::new();
    let mut roots = vec![];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        match (shared.source(id), shared.relation(id)) {
            (Some(source), _) if source.config.bounded() => roots.push(source),
            (None, Some(relation)) => open.extend(relation.graph.inputs()),
            _ => {}
        }
    }
    roots
}

/// Starts the shared feed of a source that has had no reader.
pub(crate) fn start_feed(
    shared: &Shared,
    source: &Arc<SourceRuntime>,
    columns: &BTreeSet<usize>,
    logged: LoggedSteps,
    repeated: Option<std::sync::mpsc::Sender<()>>,
) -> Result<(), SqlError> {
    start_feed_at(shared, source, columns, Default::default(), source.new_admission(), logged, repeated)
}

/// Starts the shared feed where a checkpoint left it.
pub(crate) fn start_feed_at(
    shared: &Shared,
    source: &Arc<SourceRuntime>,
    columns: &BTreeSet<usize>,
    offsets: connectors::Offsets,
    admission: connectors::admission::Admission,
    logged: LoggedSteps,
    repeated: Option<std::sync::mpsc::Sender<()>>,
) -> Result<(), SqlError> {
    let mut feed = source.feed.lock().expect("not poisoned");
    if feed.control.is_some() {
        return Ok(());
    }
    let projection = source.projection(columns);
    let carried: BTreeSet<usize> = projection.iter().copied().collect();
    let start = FeedStart {
        source: source.id,
        name: source.name.clone(),
        config: source.config.clone(),
        admission,
        offsets,
        logged,
        repeated,
        columns: projection,
        time_column: source.watermark.as_ref().map(|w| w.column),
        keeper: source.keeper.clone(),
        stats: source.stats.clone(),
    };
    let handle = feed::start(start, shared.clock.clone(), shared.budget.clone(), &shared.feed_threads)?;
    feed.control = Some(handle.control.clone());
    feed.asked = carried.clone();
    feed.carried = carried;
    send(shared, ClockMessage::SetFeed { source: source.id, feed: Box::new(handle) })
}

/// Makes a running feed decode `columns` too, and waits until everything decoded before is in an epoch. That somebody
/// has asked for the columns is not enough: chunks without them may still be on their way.
fn widen(source: &SourceRuntime, columns: &BTreeSet<usize>) -> Result<(), SqlError> {
    let (marker, reached) = channel();
    let asked = {
        let mut feed = source.feed.lock().expect("not poisoned");
        if columns.is_subset(&feed.carried) {
            return Ok(());
        }
        feed.asked.extend(columns);
        let control = feed.control.as_ref().expect("the caller saw it started");
        // Sent under the lock: no later request asks for less.
        if control.send(FeedControl::Project { columns: feed.asked.iter().copied().collect(), marker }).is_err() {
            // The feed has failed or ended: nothing more will come, the history has everything.
            return Ok(());
        }
        feed.asked.clone()
    };
    // An error means the feed stopped before it answered; then, too, nothing more comes.
    if reached.recv().is_ok() {
        source.feed.lock().expect("not poisoned").carried.extend(asked);
    }
    Ok(())
}

/// Makes durable what the sources `ids` have brought into tables that stay: with the sources goes the history that
/// would bring it again. They are stopped first, so that nothing follows.
pub(crate) fn settle_kept(shared: &Shared, ids: &[ObjectId]) -> Result<(), SqlError> {
    let keepers: Vec<_> = ids.iter().filter(|id| shared.source(**id).is_some_and(|s| s.keeper.is_some())).collect();
    if keepers.is_empty() {
        return Ok(());
    }
    for id in keepers {
        send(shared, ClockMessage::StopFeed { source: *id })?;
    }
    let (reply, done) = oneshot::channel();
    send(shared, ClockMessage::CheckpointNow { reply })?;
    done.blocking_recv().map_err(|_| stopped())
}

/// Removes a dataflow and its relation. Readers that hold its pages keep them.
pub(crate) fn remove(shared: &Shared, id: ObjectId) {
    drop_dataflow(shared, id);
    shared.relations.lock().expect("not poisoned").remove(&id);
    shared.failures.book.remove(id);
    shared.oracle.forget(id);
}

/// Takes down the dataflow of a relation that stays.
pub(crate) fn drop_dataflow(shared: &Shared, id: ObjectId) {
    let (reply, done) = oneshot::channel();
    if shared.clock.send(ClockMessage::Drop { dataflow: id, reply }).is_ok() {
        let _ = done.blocking_recv();
    }
}

fn send(shared: &Shared, message: ClockMessage) -> Result<(), SqlError> {
    let stopping = |_| SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    shared.clock.send(message).map_err(stopping)
}

/// A new dataflow reads privately what its sources have delivered to others before.
struct CatchUp<'a> {
    shared: &'a Shared,
    dataflow: ObjectId,
    job: &'a Job,
    cursors: BTreeMap<ObjectId, HistoryCursor>,
    /// The source is the only input: its watermark may close windows while catching up. Beside a tapped relation it
    /// may not, because that relation's changes up to the join are applied at the join only.
    alone: bool,
    /// Last private epoch.
    epoch: Epoch,
    next_worker: usize,
}

impl<'a> CatchUp<'a> {
    fn new(
        shared: &'a Shared,
        dataflow: ObjectId,
        sources: &[(Arc<SourceRuntime>, BTreeSet<usize>)],
        job: &'a Job,
    ) -> Self {
        let cursors = sources.iter().map(|(source, columns)| {
            let projection = source.projection(columns);
            let mut admission = source.new_admission();
            source.place_time_column(&mut admission, &projection);
            let config = source.config.clone();
            (source.id, HistoryCursor::new(config, projection, Default::default(), admission))
        });
        let inputs = shared.relation(dataflow).map_or(0, |relation| relation.graph.inputs().len());
        CatchUp { shared, dataflow, job, cursors: cursors.collect(), alone: inputs == 1, epoch: 0, next_worker: 0 }
    }

    fn run(&mut self) -> Result<(), SqlError> {
        for _ in 0..ROUNDS_MAX {
            let (reply, answer) = channel();
            send(self.shared, ClockMessage::Histories { dataflow: self.dataflow, reply })?;
            let histories = answer.recv().map_err(|_| stopped())?;
            if self.round(&histories)? < JOIN_ROWS {
                break;
            }
        }
        let (reply, answer) = channel();
        send(self.shared, ClockMessage::Join { dataflow: self.dataflow, reply })?;
        let JoinPoint { record, histories } = answer.recv().map_err(|_| stopped())?;
        self.round(&histories)?;
        self.shared.runtime.advance_private(self.dataflow, Arc::new(record));
        self.shared.runtime.attach(self.dataflow);
        send(self.shared, ClockMessage::Attached { dataflow: self.dataflow })
    }

    /// Reads what the histories have beyond the cursors. Returns rows delivered.
    fn round(&mut self, histories: &BTreeMap<ObjectId, SourceHistory>) -> Result<u64, SqlError> {
        let mut rows_read = 0;
        let ids: Vec<ObjectId> = self.cursors.keys().copied().collect();
        for id in ids {
            let Some(history) = histories.get(&id) else { continue };
            let mut cursor = self.cursors.remove(&id).expect("listed");
            let columns = Arc::new(cursor.projection.clone());
            let mut stop = None;
            let advanced = cursor.advance(history, |replayed, admission| {
                let Replayed::Rows { rows, .. } = replayed else { return true };
                rows_read += rows.num_rows() as u64;
                let rows = DeltaBatch::inserts(rows);
                let batch = FeedBatch { relation: id, columns: columns.clone(), rows, errors: vec![] };
                match self.deliver(batch, id, admission.watermark()) {
                    Ok(()) => true,
                    Err(error) => {
                        stop = Some(error);
                        false
                    }
                }
            });
            self.cursors.insert(id, cursor);
            if let Some(error) = stop {
                return Err(error);
            }
            advanced.map_err(|failed| failed.error.to_sql_error())?;
        }
        Ok(rows_read)
    }

    fn deliver(&mut self, batch: FeedBatch, source: ObjectId, watermark: i64) -> Result<(), SqlError> {
        self.job.check()?;
        while self.shared.oracle.sealed_epoch(self.dataflow).unwrap_or(0) + PRIVATE_EPOCHS_MAX < self.epoch + 1 {
            self.job.check()?;
            if let Some(failure) = self.shared.oracle.dataflow_failure(self.dataflow) {
                return Err(failure);
            }
            if self.shared.budget.exceeded() {
                return Err(self.shared.memory_error());
            }
            std::thread::sleep(POLL);
        }
        self.epoch += 1;
        self.job.add_rows(batch.rows.num_rows() as u64);
        let runtime = &self.shared.runtime;
        runtime.feed_private(self.next_worker, self.dataflow, self.epoch, batch);
        self.next_worker = (self.next_worker + 1) % runtime.workers();
        let mut watermarks = Watermarks::default();
        if self.alone {
            watermarks.set(source, watermark);
        }
        let record = EpochRecord::new(self.epoch, self.epoch as i64, watermarks);
        runtime.advance_private(self.dataflow, Arc::new(record));
        Ok(())
    }
}

fn stopped() -> SqlError {
    SqlError::new(SqlState::AdminShutdown, "the server is shutting down")
}
