//! Which dataflows there are and from which epoch on they take part. The clock is the only sender of structural commands
//! to the workers, hence all of them build the same dataflows at the same place in the order of epochs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use dataflow::{CreateDataflow, DataflowGraph};
use tokio::sync::oneshot;
use types::{Epoch, EpochRecord, ObjectId};

use super::Clock;
use super::messages::{JoinPoint, Readable};
use crate::time::now_us;

pub(super) struct Dataflow {
    pub graph: Arc<DataflowGraph>,
    /// External inputs reached through any number of relations.
    pub roots: BTreeSet<ObjectId>,
    pub joined: bool,
    pub temporary: bool,
    pub failed: bool,
}

impl Clock {
    pub(super) fn create(&mut self, create: CreateDataflow, readable: Readable, temporary: bool) {
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
        if let Readable::AtOnce | Readable::Restored(_) = readable {
            // The next epoch concerns it whatever that epoch brings: its snapshot is sealed there, or says that the
            // workers have taken the restored state in.
            self.deadlines.insert(id, now_us());
        }
        self.oracle.add(id, sealed, from, joined);
        self.dataflows.insert(id, Dataflow { graph: create.graph.clone(), roots, joined, temporary, failed: false });
        self.runtime.create(create);
        if joined {
            self.runtime.attach(id);
        }
    }

    pub(super) fn join(&mut self, id: ObjectId, reply: &Sender<JoinPoint>) {
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

    pub(super) fn drop_dataflow(&mut self, id: ObjectId, reply: oneshot::Sender<()>) {
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
}
