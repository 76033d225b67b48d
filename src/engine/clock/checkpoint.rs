//! Marking an epoch as a checkpoint: when it is due, and what of the clock's own knowledge goes with it.
//! The state itself is cut by the operators and written by `engine/checkpoint.rs`.

use std::collections::BTreeMap;
use std::time::Instant;

use types::{Epoch, ObjectId};

use super::Clock;
use crate::checkpoint::{CheckpointPayload, CheckpointRequest, SourcePayload};

impl Clock {
    pub(super) fn checkpoint_due(&self) -> bool {
        let due = self.last_checkpoint.elapsed() >= self.start.checkpoint_interval
            || self.input_bytes >= self.start.checkpoint_input_bytes;
        self.dirty && !self.recovering && !self.checkpoint_running && (due || !self.checkpoint_wanted.is_empty())
    }
    /// Takes in all table writes and catalog changes up to the journal position that it gives.
    pub(super) fn take_in_journaled(&mut self) -> u64 {
        let position = self.start.gate.position(self.store.journal());
        // Everything appended before has been sent.
        while let Ok(message) = self.receiver.try_recv() {
            self.handle(message);
        }
        position
    }

    /// `position`: up to there everything journaled has been taken in.
    pub(super) fn begin_checkpoint(&mut self, epoch: Epoch, position: u64, concerned: &[ObjectId]) {
        // Writes that still wait are not part of this epoch; some that came after `position` was asked for may be.
        let settled = self.writes.front().map_or(position.max(self.table_position), |write| write.position - 1);
        self.checkpoint_running = true;
        self.last_checkpoint = Instant::now();
        self.dirty = false;
        self.input_bytes = 0;
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
            table_late: self.start.late.settle(settled),
            catalog: (*self.start.catalog).clone(),
            catalog_position: self.start.catalog_position,
            dataflows: dataflows.keys().copied().collect(),
            sources: sources.collect(),
        };
        let replies = std::mem::take(&mut self.checkpoint_wanted);
        self.checkpointer.begin(CheckpointRequest { payload, dataflows, replies });
    }
}
