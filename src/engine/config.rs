//! How an engine is opened.

use std::path::PathBuf;
use std::time::Duration;

use types::limits;

use crate::sessions::SessionLimits;

#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// `None`: everything in memory, nothing survives.
    pub data_dir: Option<PathBuf>,
    /// Open even if acknowledged entries are missing from the journal, without them.
    pub accept_data_loss: bool,
    pub workers: usize,
    pub memory_limit_bytes: usize,
    pub checkpoint_interval: Duration,
    pub sessions: SessionLimits,
}

impl EngineConfig {
    /// In memory, one worker, 1 GB: what tests and `check` use.
    pub fn in_memory() -> Self {
        EngineConfig {
            data_dir: None,
            accept_data_loss: false,
            workers: 1,
            memory_limit_bytes: 1 << 30,
            checkpoint_interval: Duration::from_millis(limits::CHECKPOINT_INTERVAL_MS),
            sessions: SessionLimits::default(),
        }
    }
}
