//! CREATE and DROP MATERIALIZED VIEW, step by step: the dataflow is created, reads privately what its source has
//! delivered before, joins the shared feed, and is shown when it is complete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use coordinator::{JoinPoint, Message, Readable};
use dataflow::{CreateDataflow, FeedBatch, Start};
use rand::Rng;
use tokio::sync::oneshot;
use types::{DeltaBatch, Epoch, EpochRecord, ObjectId, Watermarks};

use crate::disk::{Entry, Event, Events};
use crate::model::source_row;
use crate::ports::lock;
use crate::rows::batch;
use crate::schema::{Row, SOURCE, graphs};
use crate::world::{World, new_shards};

/// Rounds of catching up before the join.
const ROUNDS: u32 = 2;

pub struct Builder {
    pub id: ObjectId,
    phase: Phase,
    /// How much of the source's history it has been given.
    given: usize,
    to: u64,
    rounds: u32,
    /// Last private epoch.
    epoch: Epoch,
}

enum Phase {
    Histories(Receiver<BTreeMap<ObjectId, Events>>),
    Joining(Receiver<JoinPoint<Events>>),
    Joined(JoinPoint<Events>),
    Attach,
    /// Waits for an epoch after everything before.
    Barrier(oneshot::Receiver<Epoch>),
    Complete(Epoch),
    /// Journaled; known to others when that is durable.
    Shown(u64),
    Dropping(oneshot::Receiver<()>),
}

impl Builder {
    /// What it waits for.
    pub fn waits_for(&self) -> String {
        let phase = match &self.phase {
            Phase::Histories(_) => "histories",
            Phase::Joining(_) => "join",
            Phase::Joined(_) | Phase::Attach => "nobody",
            Phase::Barrier(_) => "a barrier",
            Phase::Complete(epoch) => return format!("view {} waits for epoch {epoch}", self.id),
            Phase::Shown(position) => return format!("view {} waits for position {position}", self.id),
            Phase::Dropping(_) => "the end of its removal",
        };
        format!("view {} waits for {phase}", self.id)
    }

    /// Creates the dataflow.
    pub fn new(world: &mut World<'_, '_>, id: ObjectId) -> Builder {
        let graph = graphs()[&id].clone();
        let reads_source = graph.inputs().contains(&SOURCE);
        let shards = new_shards(&graph);
        world.relations.insert(id, shards.clone());
        let readable = if reads_source { Readable::AfterJoin } else { Readable::AtOnce };
        let dataflow = Box::new(CreateDataflow { graph, shards, start: Start::Fresh });
        lock(&world.shared).inbox.push_back(Message::Create { dataflow, readable, temporary: false });
        let phase = match reads_source {
            true => ask_histories(world, id),
            false => ask_barrier(world),
        };
        Builder { id, phase, given: 0, to: 0, rounds: 0, epoch: 0 }
    }

    /// Takes a view down that others may be reading.
    pub fn drop_view(world: &mut World<'_, '_>, id: ObjectId) -> Option<Builder> {
        let position = {
            let mut shared = lock(&world.shared);
            let mut catalog = world.catalog.clone();
            catalog.remove(&id);
            world.model.uncertain.insert(id);
            shared.append(&Entry::Dropped(id), |position| Message::CatalogChanged { catalog, position })?
        };
        world.catalog.remove(&id);
        let (reply, done) = oneshot::channel();
        lock(&world.shared).inbox.push_back(Message::Drop { dataflow: id, reply });
        let _ = position;
        Some(Builder { id, phase: Phase::Dropping(done), given: 0, to: 0, rounds: 0, epoch: 0 })
    }

    /// Takes down what was not completed.
    fn undo(world: &mut World<'_, '_>, id: ObjectId) -> Builder {
        let (reply, done) = oneshot::channel();
        lock(&world.shared).inbox.push_back(Message::Drop { dataflow: id, reply });
        Builder { id, phase: Phase::Dropping(done), given: 0, to: 0, rounds: 0, epoch: 0 }
    }

    /// True once it is over.
    pub fn step(&mut self, world: &mut World<'_, '_>) -> bool {
        if let Some(error) = world.oracle.failure(self.id)
            && !matches!(self.phase, Phase::Dropping(_))
        {
            // Only because of what it reads; then it is given up.
            world.allow_failure(self.id);
            let _ = error;
            *self = Builder::undo(world, self.id);
            return false;
        }
        match &mut self.phase {
            Phase::Histories(answer) => {
                let Ok(histories) = answer.try_recv() else { return false };
                self.deliver(world, &histories);
                self.rounds += 1;
                self.phase = match self.rounds < ROUNDS {
                    true => ask_histories(world, self.id),
                    false => {
                        let (reply, answer) = channel();
                        lock(&world.shared).inbox.push_back(Message::Join { dataflow: self.id, reply });
                        Phase::Joining(answer)
                    }
                };
            }
            Phase::Joining(answer) => {
                let Ok(point) = answer.try_recv() else { return false };
                self.phase = Phase::Joined(point);
            }
            Phase::Joined(point) => {
                let JoinPoint { record, histories } = point.clone();
                self.deliver(world, &histories);
                world.runtime.advance_private(self.id, Arc::new(record));
                self.phase = Phase::Attach;
            }
            Phase::Attach => {
                world.runtime.attach(self.id);
                lock(&world.shared).inbox.push_back(Message::Attached { dataflow: self.id });
                self.phase = ask_barrier(world);
            }
            Phase::Barrier(answer) => {
                let Ok(epoch) = answer.try_recv() else { return false };
                self.phase = Phase::Complete(epoch);
            }
            Phase::Complete(epoch) => {
                if world.oracle.frontier(self.id).is_none_or(|frontier| frontier < *epoch) {
                    return false;
                }
                // As every reader after it: the pin raises the floor.
                world.oracle.pin(&[self.id]);
                let mut catalog = world.catalog.clone();
                catalog.insert(self.id);
                let message = |position| Message::CatalogChanged { catalog, position };
                let created = lock(&world.shared).append(&Entry::Created(self.id), message);
                // On a full disk it tries again.
                let Some(position) = created else { return false };
                world.catalog.insert(self.id);
                world.model.uncertain.insert(self.id);
                self.phase = Phase::Shown(position);
            }
            Phase::Shown(position) => {
                if lock(&world.shared).disk.durable() < *position {
                    return false;
                }
                world.model.uncertain.remove(&self.id);
                world.model.created.insert(self.id);
                return true;
            }
            Phase::Dropping(done) => {
                if done.try_recv().is_err() {
                    return false;
                }
                world.relations.remove(&self.id);
                world.model.created.remove(&self.id);
                return true;
            }
        }
        false
    }

    /// Gives privately what the history has beyond what was given.
    fn deliver(&mut self, world: &mut World<'_, '_>, histories: &BTreeMap<ObjectId, Events>) {
        let Some(Events(events)) = histories.get(&SOURCE) else { return };
        let (mut refused, mut to) = (vec![], self.to);
        for event in &events[self.given..] {
            match event {
                Event::Read(position) => to = *position,
                Event::Refused(position) => refused.push(*position),
            }
        }
        self.given = events.len();
        let rows = (self.to..to).filter(|position| !refused.contains(position)).map(source_row);
        let rows: Vec<Row> = rows.collect();
        self.to = to;
        for part in rows.chunks(world.rng.random_range(1..9)) {
            self.epoch += 1;
            let rows = DeltaBatch::inserts(batch(part));
            let batch = FeedBatch { relation: SOURCE, columns: Arc::new(vec![0, 1]), rows, errors: vec![] };
            world.runtime.feed_private(0, self.id, self.epoch, batch);
            let record = EpochRecord::new(self.epoch, self.epoch as i64, Watermarks::default());
            world.runtime.advance_private(self.id, Arc::new(record));
        }
    }
}

fn ask_histories(world: &World<'_, '_>, dataflow: ObjectId) -> Phase {
    let (reply, answer) = channel();
    lock(&world.shared).inbox.push_back(Message::Histories { dataflow, reply });
    Phase::Histories(answer)
}

fn ask_barrier(world: &World<'_, '_>) -> Phase {
    let (reply, answer) = oneshot::channel();
    lock(&world.shared).inbox.push_back(Message::Barrier { reply });
    Phase::Barrier(answer)
}
