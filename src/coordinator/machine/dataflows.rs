//! Which dataflows there are, from which epoch on they take part, and how far each is behind. The machine alone orders
//! them built, joined and removed, hence all workers do so at the same place in the order of epochs.

use std::collections::{BTreeSet, VecDeque};

use types::{Epoch, EpochRecord, ObjectId, limits};

use super::input::{Create, Readable};
use super::{Effect, History, JoinPoint, Machine, Now, Ticket};

/// Rows in flight at which no further epoch is opened.
const ROWS_IN_FLIGHT_MAX: usize = 8 * limits::BATCH_ROWS_MAX;
/// The operator in whose name a new dataflow's first epoch is asked for.
const FIRST_EPOCH: (u32, usize) = (u32::MAX, 0);

pub(super) struct Dataflow {
    /// Relations that it reads.
    pub inputs: Vec<ObjectId>,
    /// External inputs reached through any number of relations.
    pub roots: BTreeSet<ObjectId>,
    pub operators: usize,
    pub joined: bool,
    pub attached: bool,
    pub temporary: bool,
    pub failed: bool,
    /// Epochs that concern it and are not sealed, with their rows, oldest first.
    pub outstanding: VecDeque<(Epoch, usize)>,
}

impl<H: History> Machine<H> {
    pub(super) fn create(&mut self, now: Now, create: Create) {
        let Create { ticket, relation, inputs, operators, readable, temporary } = create;
        let roots = self.roots_of(relation, &inputs);
        let (sealed, readable_from, joined) = match readable {
            Readable::AtOnce => (0, self.epoch + 1, true),
            Readable::AfterJoin => (0, Epoch::MAX, false),
            Readable::Restored(epoch) => (epoch, epoch, true),
        };
        if joined {
            // The next epoch concerns it whatever that epoch brings: its snapshot is sealed there, or says that the
            // workers have taken the restored state in.
            self.deadlines.insert((relation, FIRST_EPOCH.0, FIRST_EPOCH.1), now.wall_us);
        }
        let failed = |input: &&ObjectId| self.dataflows.get(input).is_some_and(|d| d.failed);
        let because = inputs.iter().find(failed).copied();
        let (outstanding, attached, failed) = (VecDeque::new(), joined, because.is_some());
        let dataflow = Dataflow { inputs, roots, operators, joined, attached, temporary, failed, outstanding };
        self.dataflows.insert(relation, dataflow);
        self.effects.push(Effect::Build { ticket, relation, sealed, readable_from, attached });
        if let Some(because) = because {
            self.effects.push(Effect::GiveUp { relation, because });
        }
    }

    /// Joins who waits, unless chunks wait too: those were decoded before the new reader's columns were asked for, and
    /// belong to epochs before the join.
    pub(super) fn join_waiting(&mut self) {
        if !self.chunks.is_empty() {
            return;
        }
        for (dataflow, ticket) in std::mem::take(&mut self.joins) {
            self.join(dataflow, ticket);
        }
    }

    fn join(&mut self, id: ObjectId, ticket: Ticket) {
        let epoch = self.epoch;
        let Some(dataflow) = self.dataflows.get_mut(&id) else {
            self.effects.push(Effect::Unanswered(ticket));
            return;
        };
        dataflow.joined = true;
        dataflow.outstanding.push_back((epoch, 0));
        self.effects.push(Effect::Hold { relation: id, at: epoch });
        let histories = self.histories(id);
        let record = EpochRecord::new(epoch, self.wall_time_us, self.watermarks());
        self.effects.push(Effect::Joined { ticket, point: JoinPoint { record, histories } });
    }

    pub(super) fn attached(&mut self, id: ObjectId) {
        if let Some(dataflow) = self.dataflows.get_mut(&id) {
            dataflow.attached = true;
            self.effects.push(Effect::SetAttached(id));
        }
    }

    pub(super) fn drop_dataflow(&mut self, id: ObjectId, ticket: Ticket) {
        self.dataflows.remove(&id);
        self.deadlines.retain(|(dataflow, _, _), _| *dataflow != id);
        self.table_watermarks.remove(&id);
        for write in &mut self.writes {
            write.tables.retain(|(table, _)| *table != id);
        }
        self.effects.push(Effect::Remove(id));
        self.effects.push(Effect::Done(ticket));
    }

    pub(super) fn sealed(&mut self, id: ObjectId, epoch: Epoch) {
        let Some(dataflow) = self.dataflows.get_mut(&id) else { return };
        while dataflow.outstanding.front().is_some_and(|(first, _)| *first <= epoch) {
            dataflow.outstanding.pop_front();
        }
    }

    /// A failed dataflow takes whatever reads it along: nobody answers from what has stopped.
    pub(super) fn fail(&mut self, id: ObjectId) {
        let mut failing = vec![(id, id)];
        while let Some((relation, because)) = failing.pop() {
            let Some(dataflow) = self.dataflows.get_mut(&relation) else { continue };
            if std::mem::replace(&mut dataflow.failed, true) {
                continue;
            }
            dataflow.outstanding.clear();
            self.deadlines.retain(|(of, _, _), _| *of != relation);
            self.effects.push(Effect::GiveUp { relation, because });
            let reads = |d: &Dataflow| d.inputs.contains(&relation);
            let readers = self.dataflows.iter().filter(|(reader, d)| **reader != relation && reads(d));
            failing.extend(readers.map(|(reader, _)| (*reader, relation)));
        }
    }

    /// Whether the slowest attached dataflow can take another epoch.
    pub(super) fn has_credit(&self) -> bool {
        self.dataflows.values().filter(|d| d.attached && !d.failed).all(|dataflow| {
            let rows: usize = dataflow.outstanding.iter().map(|(_, rows)| rows).sum();
            dataflow.outstanding.len() < limits::EPOCHS_IN_FLIGHT_MAX && rows < ROWS_IN_FLIGHT_MAX
        })
    }

    /// The dataflows that an epoch concerns.
    pub(super) fn concerned(&self, touched: &BTreeSet<ObjectId>, due: &BTreeSet<ObjectId>, all: bool) -> Vec<ObjectId> {
        let taking_part = self.dataflows.iter().filter(|(_, d)| d.joined && !d.failed);
        let reached = |d: &Dataflow| d.roots.iter().any(|root| touched.contains(root));
        taking_part.filter(|(id, d)| all || due.contains(id) || reached(d)).map(|(id, _)| *id).collect()
    }
}
