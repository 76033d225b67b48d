//! Epochs: the only logical time. An epoch record says what an epoch stands for.
//! Operators see only the record, never a clock, so the same records give the same results (docs/architecture.md, Time).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Watermarks;

/// Logical time. Epochs only grow; every relation is defined at every sealed epoch.
pub type Epoch = u64;

/// A run of epochs that was never taken back. A restart that loses the unlogged tail begins the next one.
pub type Incarnation = u64;

/// What one epoch stands for, as every operator on every worker sees it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct EpochRecord {
    pub epoch: Epoch,
    /// Microseconds since the Unix epoch; monotone over epochs. The only source of `now()` inside views.
    pub wall_time_us: i64,
    /// Watermark of every source that has one, as of this epoch.
    pub watermarks: Arc<Watermarks>,
    /// Operators cut a checkpoint right after sealing this epoch.
    pub checkpoint: bool,
}

impl EpochRecord {
    pub fn new(epoch: Epoch, wall_time_us: i64, watermarks: Watermarks) -> Self {
        EpochRecord { epoch, wall_time_us, watermarks: Arc::new(watermarks), checkpoint: false }
    }
}
