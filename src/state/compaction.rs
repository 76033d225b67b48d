//! When to merge the blocks of a table, and one such merge from files to file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::disk::Files;
use crate::live::{BlockAddress, LiveRuns};
use crate::merge_sorted::merge_sorted;
use crate::run::WrittenRun;
use crate::{RunName, RunReader, RunWriter, StateError, TableId};

/// Compact a table when its deltas outweigh a part of its base, or are too many.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactionPolicy {
    /// Σ delta bytes > this × base bytes.
    pub delta_ratio: f64,
    /// More checkpoints than this have added deltas.
    pub deltas_max: usize,
    /// Fewer bytes than this never count as heavy or as waste.
    pub delta_bytes_min: u64,
    /// A run whose live blocks are less than this part of its bytes is rewritten.
    pub live_ratio_min: f64,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        CompactionPolicy { delta_ratio: 0.5, deltas_max: 32, delta_bytes_min: 256 * 1024, live_ratio_min: 0.5 }
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

/// A finished compaction, waiting for the manifest that publishes it.
#[derive(Debug)]
pub(crate) struct Compacted {
    pub(crate) inputs: BTreeSet<BlockAddress>,
    /// `None`: nothing was left of the inputs.
    pub(crate) output: Option<WrittenRun>,
    pub(crate) stats: CompactionStats,
}

/// Merges all live blocks of `tables` as of `snapshot` into one run.
pub(crate) fn run(
    files: &Files,
    runs: &Path,
    snapshot: &LiveRuns,
    tables: &BTreeSet<TableId>,
    name: RunName,
) -> Result<Compacted, StateError> {
    let mut per_table: BTreeMap<TableId, Vec<BlockAddress>> = BTreeMap::new();
    let mut stats = CompactionStats { tables: tables.len(), ..CompactionStats::default() };
    for (address, block) in snapshot.blocks().filter(|(_, block)| tables.contains(&block.id)) {
        stats.blocks_before += 1;
        stats.bytes_before += block.length;
        per_table.entry(block.id).or_default().push(address);
    }
    let mut readers: BTreeMap<&str, RunReader> = BTreeMap::new();
    let mut writer = RunWriter::create(files, runs, name)?;
    for addresses in per_table.values() {
        let mut blocks = vec![];
        for (file, index) in addresses {
            if !readers.contains_key(file.as_str()) {
                readers.insert(file, RunReader::open(files, &runs.join(file))?);
            }
            blocks.push(readers[file.as_str()].stream_block(*index)?);
        }
        let (file, index) = &addresses[0];
        let first = &readers[file.as_str()].blocks()[*index];
        writer.write_base(first, merge_sorted(first.kind, blocks)?)?;
    }
    let output = if writer.is_empty() { None } else { Some(writer.finish()?) };
    stats.bytes_after = output.iter().flat_map(|output| &output.blocks).map(|block| block.length).sum();
    let inputs = per_table.into_values().flatten().collect();
    Ok(Compacted { inputs, output, stats })
}
