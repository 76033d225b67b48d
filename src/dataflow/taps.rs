//! Views on views: the sealed output of one dataflow becomes the input of others on the same worker.
//!
//! A tap collects what a dataflow's last operator seals; between two steps of timely the worker moves it into the
//! input ports of the readers and advances them. A reader's port may advance past every epoch that either does not
//! concern the tapped dataflow or has been sealed by it here.

use std::collections::VecDeque;

use operators::arrangement::Shard;
use std::sync::Arc;
use types::{DeltaBatch, Epoch, ErrorDelta};

use crate::host::Tap;

/// The output side of one dataflow on one worker.
pub struct OutputTap {
    pub shard: Arc<Shard>,
    /// Sealed but not yet forwarded.
    pub outbox: VecDeque<(Epoch, Vec<DeltaBatch>, Vec<ErrorDelta>)>,
    /// Epochs opened for this dataflow and not sealed here yet, oldest first.
    pub outstanding: VecDeque<Epoch>,
    /// Last epoch sealed here.
    pub sealed: Epoch,
    /// True if nobody reads: nothing is collected.
    pub idle: bool,
}

impl OutputTap {
    pub fn new(shard: Arc<Shard>, sealed: Epoch) -> Self {
        OutputTap { shard, outbox: VecDeque::new(), outstanding: VecDeque::new(), sealed, idle: true }
    }

    /// The least epoch this relation may still change at, given the newest epoch opened for anyone.
    pub fn upper(&self, opened: Epoch) -> Epoch {
        self.outstanding.front().copied().unwrap_or(opened + 1)
    }
}

impl Tap for OutputTap {
    fn publish(&mut self, epoch: Epoch, rows: Vec<DeltaBatch>, errors: Vec<ErrorDelta>) {
        if !self.idle && (!rows.is_empty() || !errors.is_empty()) {
            self.outbox.push_back((epoch, rows, errors));
        }
    }

    fn sealed(&mut self, epoch: Epoch) {
        self.sealed = epoch;
        while self.outstanding.front().is_some_and(|e| *e <= epoch) {
            self.outstanding.pop_front();
        }
    }
}
