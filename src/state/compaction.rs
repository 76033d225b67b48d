//! When to merge the blocks of a table.

/// Compact a table when its deltas outweigh a part of its base, or are too many.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactionPolicy {
    /// Σ delta bytes > this × base bytes.
    pub delta_ratio: f64,
    /// More delta blocks than this.
    pub deltas_max: usize,
    /// A run whose live blocks are less than this part of its bytes is rewritten.
    pub live_ratio_min: f64,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        CompactionPolicy { delta_ratio: 0.5, deltas_max: 32, live_ratio_min: 0.5 }
    }
}

/// What one compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionStats {
    pub tables: usize,
    pub blocks_before: usize,
    pub bytes_before: u64,
    pub bytes_after: u64,
}
