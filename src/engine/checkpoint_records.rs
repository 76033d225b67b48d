//! What became of the last checkpoints, for `hw_catalog.checkpoints` and the metrics.

use std::sync::{Arc, Mutex};

use state::CheckpointStats;
use types::Epoch;

use crate::time::now_us;

/// Records kept.
const RECORDS_MAX: usize = 100;

/// A finished checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointRecord {
    pub epoch: Epoch,
    pub finished_us: i64,
    pub stats: CheckpointStats,
}

/// The newest records; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckpointRecords {
    records: Arc<Mutex<Vec<CheckpointRecord>>>,
}

impl CheckpointRecords {
    /// Notes a checkpoint that was committed just now.
    pub(crate) fn push(&self, epoch: Epoch, stats: CheckpointStats) {
        tracing::debug!(epoch, bytes = stats.bytes_written, "committed checkpoint");
        let mut records = self.records.lock().expect("not poisoned");
        records.push(CheckpointRecord { epoch, finished_us: now_us(), stats });
        let excess = records.len().saturating_sub(RECORDS_MAX);
        records.drain(..excess);
    }

    /// Oldest first.
    pub(crate) fn read(&self) -> Vec<CheckpointRecord> {
        self.records.lock().expect("not poisoned").clone()
    }
}
