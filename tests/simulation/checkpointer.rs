//! The writer of checkpoints: gathers the cuts of every operator, then commits in the order that recovery relies on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coordinator::{CheckpointPlan, Message};
use dataflow::RestoredBatch;
use operators::Cut;
use tokio::sync::oneshot;
use types::{Epoch, ObjectId};

use crate::disk::{Events, Saved};
use crate::ports::lock;
use crate::world::World;

#[derive(Default)]
pub struct Checkpointer {
    running: Option<Running>,
}

struct Running {
    plan: CheckpointPlan<Events>,
    waiting: Vec<oneshot::Sender<()>>,
    missing: BTreeMap<ObjectId, usize>,
    cuts: Vec<(ObjectId, u32, Cut)>,
    catalog: (BTreeSet<ObjectId>, u64),
    synced: bool,
}

impl Checkpointer {
    pub fn begin(&mut self, world: &World<'_, '_>, plan: CheckpointPlan<Events>, waiting: Vec<oneshot::Sender<()>>) {
        assert!(self.running.is_none(), "one checkpoint at a time");
        let missing = plan.dataflows.iter().map(|(id, operators)| (*id, *operators)).filter(|(_, n)| *n > 0);
        let missing = missing.collect();
        let shared = lock(&world.shared);
        let catalog = (shared.catalog.clone(), shared.catalog_position);
        self.running = Some(Running { plan, waiting, missing, cuts: vec![], catalog, synced: false });
    }

    pub fn cut(&mut self, relation: ObjectId, operator: u32, epoch: Epoch, cut: Cut) {
        let Some(running) = &mut self.running else { return };
        assert_eq!(running.plan.epoch, epoch, "a cut belongs to the running checkpoint");
        let Some(missing) = running.missing.get_mut(&relation) else { return };
        *missing -= 1;
        if *missing == 0 {
            running.missing.remove(&relation);
        }
        running.cuts.push((relation, operator, cut));
    }

    /// The relation is gone, or failed: its state goes.
    pub fn leave_out(&mut self, relation: ObjectId) {
        if let Some(running) = &mut self.running {
            running.missing.remove(&relation);
            running.cuts.retain(|(of, _, _)| *of != relation);
            running.plan.dataflows.remove(&relation);
        }
    }

    /// Something to do.
    pub fn ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.missing.is_empty())
    }

    /// One step of the commit.
    pub fn step(&mut self, world: &mut World<'_, '_>) {
        let Some(running) = &mut self.running else { return };
        if !running.synced {
            // Epoch records are on disk before what relies on them.
            world.sync();
            running.synced = true;
            return;
        }
        let Running { plan, waiting, cuts, catalog, .. } = self.running.take().expect("it runs");
        let before = lock(&world.shared).disk.saved.clone();
        let mut state = before.map(|saved| saved.state.clone()).unwrap_or_default();
        state.retain(|relation, _| plan.dataflows.contains_key(relation) && !world.forgotten.contains(relation));
        world.forgotten.clear();
        for (relation, operator, cut) in cuts {
            let tables = state.entry(relation).or_default().entry(operator).or_default();
            for table in cut.gather().expect("rows that went into a state can be read back") {
                let vnode_columns = table.vnode_columns;
                tables.extend(table.batches.into_iter().map(|batch| RestoredBatch {
                    table: table.table,
                    vnode_columns: vnode_columns.clone(),
                    batch,
                }));
            }
        }
        let (catalog, catalog_position) = catalog;
        let mut shared = lock(&world.shared);
        shared.disk.saved = Some(Arc::new(Saved { plan, catalog, catalog_position, state }));
        shared.inbox.push_back(Message::CheckpointDone);
        drop(shared);
        for reply in waiting {
            // Who asked may have gone.
            let _ = reply.send(());
        }
    }
}
