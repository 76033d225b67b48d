//! Net changes of the newest epochs: what a reader below the frontier undoes and a subscription follows.

use std::collections::VecDeque;
use std::sync::Arc;

use types::{DeltaBatch, Epoch, ErrorDelta};

#[derive(Debug, Clone)]
pub(super) struct Change {
    pub epoch: Epoch,
    pub deltas: Arc<Vec<DeltaBatch>>,
    pub errors: Arc<Vec<ErrorDelta>>,
    bytes: usize,
}

/// Changes in epoch order, none at or below the epoch they were pruned to.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<Change>,
    bytes: usize,
}

impl History {
    pub fn push(&mut self, epoch: Epoch, deltas: Vec<DeltaBatch>, errors: Vec<ErrorDelta>) {
        let bytes = size_of::<Change>() + deltas.iter().map(DeltaBatch::memory_bytes).sum::<usize>();
        self.bytes += bytes;
        self.changes.push_back(Change { epoch, deltas: Arc::new(deltas), errors: Arc::new(errors), bytes });
    }

    pub fn prune(&mut self, upto: Epoch) {
        while let Some(change) = self.changes.front().filter(|c| c.epoch <= upto) {
            self.bytes -= change.bytes;
            self.changes.pop_front();
        }
    }

    /// Changes of epochs in (after, upto].
    pub fn between(&self, after: Epoch, upto: Epoch) -> impl Iterator<Item = &Change> {
        let start = self.changes.partition_point(|c| c.epoch <= after);
        self.changes.range(start..).take_while(move |c| c.epoch <= upto)
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}
