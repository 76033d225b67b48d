//! The epoch clock as a machine: `step(now, input)` changes its state and says what is to be done.
//!
//! Idle: the first input opens an epoch at the next `Tick`. Busy: while epochs are in flight input collects, so batches
//! grow with load. What it is told stands in `input.rs`, what it wants done in `effect.rs`; making an epoch in
//! `epoch.rs`, what of it is logged in `log.rs`, sources in `sources.rs`, dataflows and their credit in `dataflows.rs`,
//! marking checkpoints in `checkpoint.rs`. It never waits: what has to wait is state.

mod checkpoint;
mod dataflows;
mod effect;
mod epoch;
mod input;
mod log;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use types::{Epoch, Incarnation, ObjectId};

use checkpoint::Checkpoints;
use dataflows::Dataflow;
use log::Log;

pub use effect::{CheckpointPlan, Effect, EpochEntry, JoinPoint, SourceState};
pub use input::{Chunk, Create, Input, Readable, Write};
pub use sources::SourceOptions;

/// Stands for something that the driver keeps: a chunk's rows, a graph, somebody who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The time of a step: the machine has no clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Wall clock, microseconds since the Unix epoch; may jump.
    pub wall_us: i64,
    /// Since the start; never goes back.
    pub elapsed: Duration,
}

/// The log of one source: how far it was read and what was decided, in order.
pub trait History: Default + Clone + Debug + Send {
    /// One thing that happened.
    type Event: Clone + Debug + Send;
    /// What decides which rows come in, as of the last event.
    type Admission: Clone + Debug + Send;

    fn push(&mut self, event: Self::Event);
}

/// Where a machine starts.
#[derive(Debug, Clone)]
pub struct Start {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub wall_time_us: i64,
    /// Table writes up to this journal position are in the restored state.
    pub table_position: u64,
    pub table_watermarks: BTreeMap<ObjectId, i64>,
    pub checkpoint_interval: Duration,
    /// Bytes of input after which a checkpoint starts earlier.
    pub checkpoint_input_bytes: usize,
}

pub struct Machine<H: History> {
    incarnation: Incarnation,
    epoch: Epoch,
    wall_time_us: i64,
    /// Newest table write in this or an earlier epoch.
    table_position: u64,
    table_watermarks: BTreeMap<ObjectId, i64>,
    /// Everything journaled up to here has been told: entries are told in the order of their positions.
    heard: u64,
    durable: u64,
    sources: BTreeMap<ObjectId, sources::Source<H>>,
    dataflows: BTreeMap<ObjectId, Dataflow>,
    /// Wall-clock times at which an operator (dataflow, operator, worker) wants an epoch; its last word counts.
    deadlines: BTreeMap<(ObjectId, u32, usize), i64>,
    chunks: Vec<Chunk<H>>,
    writes: VecDeque<Write>,
    markers: Vec<Ticket>,
    barriers: Vec<Ticket>,
    /// Dataflows that join once the chunks before them are in an epoch.
    joins: Vec<(ObjectId, Ticket)>,
    checkpoints: Checkpoints,
    log: Log<H>,
    /// Rows of the journal are still being replayed: a checkpoint now would claim rows that are in no epoch yet.
    recovering: bool,
    effects: Vec<Effect<H>>,
}

impl<H: History> Machine<H> {
    pub fn new(start: Start) -> Machine<H> {
        Machine {
            incarnation: start.incarnation,
            epoch: start.epoch,
            wall_time_us: start.wall_time_us,
            table_position: start.table_position,
            table_watermarks: start.table_watermarks,
            heard: start.table_position,
            durable: start.table_position,
            sources: BTreeMap::new(),
            dataflows: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            chunks: vec![],
            writes: VecDeque::new(),
            markers: vec![],
            barriers: vec![],
            joins: vec![],
            checkpoints: Checkpoints::new(start.checkpoint_interval, start.checkpoint_input_bytes),
            log: Log::default(),
            recovering: true,
            effects: vec![],
        }
    }

    /// Takes in what happened. Effects are to be carried out in order, before the next step.
    pub fn step(&mut self, now: Now, input: Input<H>) -> Vec<Effect<H>> {
        match input {
            Input::Tick { durable } => self.tick(now, durable),
            Input::Chunk(chunk) => self.chunks.push(chunk),
            Input::Wrote(write) => {
                self.hear(write.position);
                self.writes.push_back(write);
            }
            Input::CatalogChanged { position } => {
                self.hear(position);
                self.checkpoints.dirty = true;
            }
            Input::Logged { epoch, position } => {
                self.hear(position);
                self.log.confirm(epoch, position);
            }
            Input::LogFailed { written } => self.log.failed(now, written),
            Input::AddSource { source, state, options } => self.add_source(source, state, options),
            Input::RemoveSource { source } => self.remove_source(source),
            Input::Marker(marker) => self.markers.push(marker),
            Input::Barrier(barrier) => self.barriers.push(barrier),
            Input::Create(create) => self.create(now, create),
            Input::Histories { dataflow, ticket } => {
                let histories = self.histories(dataflow);
                self.effects.push(Effect::Histories { ticket, histories });
            }
            Input::Join { dataflow, ticket } => self.joins.push((dataflow, ticket)),
            Input::Attached { dataflow } => self.attached(dataflow),
            Input::Drop { dataflow, ticket } => self.drop_dataflow(dataflow, ticket),
            Input::Sealed { dataflow, epoch } => self.sealed(dataflow, epoch),
            Input::Deadline { dataflow, operator, worker, at_us } => {
                self.deadlines.insert((dataflow, operator, worker), at_us);
            }
            Input::Failed { dataflow } => self.fail(dataflow),
            Input::Recovered => self.recovering = false,
            Input::CheckpointNow(ticket) => {
                self.checkpoints.wanted.push(ticket);
                self.checkpoints.dirty = true;
            }
            Input::CheckpointDone => self.checkpoints.done(now),
        }
        std::mem::take(&mut self.effects)
    }

    /// The newest epoch that was opened.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What keeps the next epoch from being opened, for people.
    pub fn waits_for(&self) -> String {
        let behind = self.dataflows.iter().filter(|(_, d)| !d.outstanding.is_empty());
        let behind: Vec<_> = behind.map(|(id, d)| (*id, d.outstanding.len(), d.attached)).collect();
        format!(
            "log: {}, credit: {}, behind (relation, epochs, attached): {behind:?}, {} chunks, {} writes, {} joins",
            if self.log.holds() { "an epoch is held until it is durable" } else { "free" },
            self.has_credit(),
            self.chunks.len(),
            self.writes.len(),
            self.joins.len(),
        )
    }

    /// How long nothing has to be looked at unless something happens.
    pub fn sleep(&self, now: Now) -> Option<Duration> {
        let due = self.deadlines.values().min().map(|at| Duration::from_micros((at - now.wall_us).max(0) as u64));
        let retry = self.log.retry_in(now);
        [due, retry, self.checkpoints.due_in(now)].into_iter().flatten().min()
    }

    fn hear(&mut self, position: u64) {
        // A recovery changes the catalog before it has told the rows of the journal.
        assert!(self.recovering || position > self.heard, "journal entries are told in order, each once");
        self.heard = self.heard.max(position);
    }

    /// Decides whether what waits becomes an epoch now.
    fn tick(&mut self, now: Now, durable: u64) {
        assert!(durable >= self.durable, "what was durable stays so");
        self.durable = durable;
        self.continue_log(now);
        while !self.log.holds() {
            self.join_waiting();
            if !(self.wants_epoch(now) && self.has_credit()) {
                return;
            }
            self.open_epoch(now);
        }
    }

    fn wants_epoch(&self, now: Now) -> bool {
        !self.chunks.is_empty()
            || !self.markers.is_empty()
            || !self.barriers.is_empty()
            || self.writes.front().is_some_and(|write| write.position <= self.durable)
            || self.deadlines.values().any(|at| *at <= now.wall_us)
            || self.checkpoint_due(now)
    }

    /// External inputs that a graph reads, through any number of relations.
    fn roots_of(&self, relation: ObjectId, inputs: &[ObjectId]) -> BTreeSet<ObjectId> {
        let mut roots = BTreeSet::new();
        for input in inputs {
            match self.dataflows.get(input) {
                Some(upstream) if *input != relation => roots.extend(upstream.roots.iter().copied()),
                Some(_) | None => {
                    roots.insert(*input);
                }
            }
        }
        roots
    }
}
