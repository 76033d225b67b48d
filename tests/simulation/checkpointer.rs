//! The writer of checkpoints: gathers the cuts of every operator, then commits them with what belongs to them.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::{CheckpointPlan, Message};
use operators::{Cut, TableKind};
use state::{BlockKind, StateBlock};
use tokio::sync::oneshot;
use types::{Epoch, ObjectId};

use crate::disk::Events;
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
    blocks: Vec<StateBlock>,
    catalog: (BTreeSet<ObjectId>, u64),
}

impl Checkpointer {
    pub fn begin(&mut self, world: &World<'_, '_>, plan: CheckpointPlan<Events>, waiting: Vec<oneshot::Sender<()>>) {
        assert!(self.running.is_none(), "one checkpoint at a time");
        let missing = plan.dataflows.iter().map(|(id, operators)| (*id, *operators)).filter(|(_, n)| *n > 0);
        let missing = missing.collect();
        let shared = lock(&world.shared);
        let catalog = (shared.catalog.clone(), shared.catalog_position);
        self.running = Some(Running { plan, waiting, missing, cuts: vec![], blocks: vec![], catalog });
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
            running.blocks.retain(|block| block.relation != relation);
            running.plan.dataflows.remove(&relation);
        }
    }

    /// Something to do.
    pub fn ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.missing.is_empty())
    }

    /// The commit. Waits for space on a full disk: what was cut is held.
    pub fn step(&mut self, world: &mut World<'_, '_>) {
        let Some(running) = &mut self.running else { return };
        for (relation, operator, cut) in running.cuts.drain(..) {
            for table in cut.gather().expect("rows that went into a state can be read back") {
                let kind = match table.kind {
                    TableKind::Keyed { key_columns } => BlockKind::Keyed { key_columns },
                    TableKind::Multiset => BlockKind::Multiset,
                };
                let (vnode_columns, batches) = (table.vnode_columns, table.batches);
                let table = table.table;
                running.blocks.push(StateBlock { relation, operator, table, kind, vnode_columns, batches });
            }
        }
        let mut shared = lock(&world.shared);
        match shared.disk.checkpoint(&running.plan, running.catalog.clone(), running.blocks.clone()) {
            // The power has gone, or the disk is full.
            Err(_) => world.dark = true,
            Ok(false) => {}
            Ok(true) => {
                let Running { waiting, .. } = self.running.take().expect("it runs");
                shared.inbox.push_back(Message::CheckpointDone);
                // Who asked may have gone.
                waiting.into_iter().for_each(|reply| reply.send(()).unwrap_or_default());
            }
        }
    }
}
