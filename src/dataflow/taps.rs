//! Views on views: the sealed output of one dataflow becomes the input of others on the same worker.
//!
//! A tap collects what a dataflow's last operator seals; between two steps of timely the worker moves it into the
//! input ports of the readers and advances them. A reader's port may advance past every epoch that either does not
//! concern the tapped dataflow or has been sealed by it here.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use operators::arrangement::Shard;
use types::{DeltaBatch, Epoch, ErrorDelta};

use crate::host::Tap;

/// A part of what a dataflow's last operator has produced for an epoch.
pub type Published = (Epoch, Vec<DeltaBatch>, Vec<ErrorDelta>);

/// The output side of one dataflow on one worker.
pub struct OutputTap {
    pub shard: Arc<Shard>,
    /// Published but not yet forwarded. An epoch comes in parts, and only `sealed` says that it is complete.
    pub outbox: VecDeque<Published>,
    /// Epochs opened for this dataflow and not sealed here yet.
    pub outstanding: BTreeSet<Epoch>,
    /// Last epoch sealed here.
    pub sealed: Epoch,
    /// True if nobody reads: nothing is collected.
    pub idle: bool,
}

impl OutputTap {
    pub fn new(shard: Arc<Shard>, sealed: Epoch) -> Self {
        OutputTap { shard, outbox: VecDeque::new(), outstanding: BTreeSet::new(), sealed, idle: true }
    }

    /// The least epoch this relation may still change at, given the newest epoch opened for anyone.
    pub fn upper(&self, opened: Epoch) -> Epoch {
        self.outstanding.first().copied().unwrap_or(opened + 1)
    }

    /// Whether anybody reads. Nobody who comes later wants what still waits: it lies in the snapshot they begin with.
    pub fn set_idle(&mut self, idle: bool) {
        self.idle = idle;
        if idle {
            self.outbox.clear();
        }
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
        self.outstanding = self.outstanding.split_off(&(epoch + 1));
    }
}
