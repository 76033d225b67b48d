//! When to merge the blocks of a table, and one such merge from files to file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::disk::Files;
use crate::live::{BlockAddress, LiveRuns};
use crate::merge_sorted::{Scope, merge_sorted};
use crate::run::WrittenRun;
use crate::{RunName, RunReader, RunWriter, StateError, TableId};

/// Merge all of a table when its changes outweigh a part of its oldest blocks; merge its newest changes when there are
/// many of about one size. So a trickle into a large table never rewrites it.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactionPolicy {
    /// Σ bytes of changes > this × bytes of the oldest blocks.
    pub delta_ratio: f64,
    /// So many runs with changes of one size class are merged, and the largest of a class is so many times the smallest.
    pub tier_runs: usize,
    /// Fewer bytes than this never count as heavy or as waste.
    pub delta_bytes_min: u64,
    /// A run whose live blocks are less than this part of its bytes is rewritten.
    pub live_ratio_min: f64,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        CompactionPolicy { delta_ratio: 1.0, tier_runs: 8, delta_bytes_min: 256 * 1024, live_ratio_min: 0.5 }
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

/// What is to be merged of one table: its newest live blocks, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableMerge {
    pub(crate) blocks: Vec<BlockAddress>,
    pub(crate) scope: Scope,
}

/// Merges the blocks of `tables` as of `snapshot` into one run.
pub(crate) fn run(
    files: &Files,
    runs: &Path,
    snapshot: &LiveRuns,
    tables: &BTreeMap<TableId, TableMerge>,
    name: RunName,
) -> Result<Compacted, StateError> {
    let inputs: BTreeSet<BlockAddress> = tables.values().flat_map(|table| table.blocks.iter().cloned()).collect();
    let mut stats = CompactionStats { tables: tables.len(), blocks_before: inputs.len(), ..Default::default() };
    for (_, block) in snapshot.blocks().filter(|(address, _)| inputs.contains(address)) {
        stats.bytes_before += block.length;
    }
    let mut readers: BTreeMap<&str, RunReader> = BTreeMap::new();
    let mut writer = RunWriter::create(files, runs, name)?;
    for TableMerge { blocks: addresses, scope } in tables.values() {
        let mut blocks = vec![];
        for (file, index) in addresses {
            if !readers.contains_key(file.as_str()) {
                readers.insert(file, RunReader::open(files, &runs.join(file))?);
            }
            blocks.push(readers[file.as_str()].stream_block(*index)?);
        }
        let (file, index) = &addresses[0];
        let first = &readers[file.as_str()].blocks()[*index];
        writer.write_sorted(first, *scope == Scope::Table, merge_sorted(first.kind, *scope, blocks)?)?;
    }
    let output = if writer.is_empty() { None } else { Some(writer.finish()?) };
    stats.bytes_after = output.iter().flat_map(|output| &output.blocks).map(|block| block.length).sum();
    Ok(Compacted { inputs, output, stats })
}
