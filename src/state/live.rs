//! Which blocks of which runs make up the state. Runs are immutable; what compaction replaces or DROP removes is
//! only marked dead here and in the manifest, and a run without live blocks is left out.
//!
//! Order of runs is order of application. What is merged are always the newest blocks of a table, so the result goes
//! right behind the last of them: what is older about its tables stays before it, what was added meanwhile behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use types::ObjectId;

use crate::compaction::TableMerge;
use crate::merge_sorted::Scope;
use crate::run::WrittenRun;
use crate::{BlockInfo, CompactionPolicy, RunRef, TableId};

/// Runs with changes of up to so many bytes are of the lowest size class.
const TIER_BYTES: u64 = 4 * 1024;

/// The runs of a manifest with their footers.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveRuns {
    runs: Vec<LiveRun>,
}

#[derive(Debug, Clone)]
struct LiveRun {
    run: RunRef,
    blocks: Arc<[BlockInfo]>,
}

/// A block by the file it is in and its index there.
pub(crate) type BlockAddress = (String, usize);

impl LiveRun {
    fn live(&self) -> impl Iterator<Item = (usize, &BlockInfo)> {
        let dead = &self.run.dead;
        self.blocks.iter().enumerate().filter(move |(index, _)| dead.binary_search(&(*index as u32)).is_err())
    }

    fn live_bytes(&self) -> u64 {
        self.live().map(|(_, block)| block.length).sum()
    }

    /// Marks the live blocks that `dies` chooses.
    fn kill(&mut self, dies: impl Fn(usize, &BlockInfo) -> bool) {
        let killed: Vec<u32> = self.live().filter(|(i, block)| dies(*i, block)).map(|(i, _)| i as u32).collect();
        if killed.is_empty() {
            return;
        }
        self.run.dead.extend(killed);
        self.run.dead.sort_unstable();
        let relations: BTreeSet<ObjectId> = self.live().map(|(_, block)| block.id.relation).collect();
        self.run.relations = relations.into_iter().collect();
    }
}

impl LiveRuns {
    pub(crate) fn push(&mut self, run: RunRef, blocks: Vec<BlockInfo>) {
        self.runs.push(LiveRun { run, blocks: blocks.into() });
    }

    /// What a manifest says about them.
    pub(crate) fn references(&self) -> Vec<RunRef> {
        self.runs.iter().map(|live| live.run.clone()).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.runs.iter().map(LiveRun::live_bytes).sum()
    }

    pub(crate) fn relations(&self) -> BTreeSet<ObjectId> {
        self.runs.iter().flat_map(|live| live.run.relations.iter().copied()).collect()
    }

    /// Live blocks in order of application.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (BlockAddress, &BlockInfo)> {
        self.runs.iter().flat_map(|live| live.live().map(|(index, block)| ((live.run.file.clone(), index), block)))
    }

    pub(crate) fn drop_relations(&mut self, relations: &BTreeSet<ObjectId>) {
        for live in &mut self.runs {
            live.kill(|_, block| relations.contains(&block.id.relation));
        }
        self.remove_empty();
    }

    /// Replaces `inputs` by the blocks of `output`. Tables that were dropped meanwhile stay dropped.
    pub(crate) fn replace(&mut self, inputs: &BTreeSet<BlockAddress>, output: Option<&WrittenRun>) {
        let (mut tables, mut behind) = (BTreeSet::new(), 0);
        for (at, live) in self.runs.iter_mut().enumerate() {
            let file = live.run.file.clone();
            let is_input = |index: usize| inputs.contains(&(file.clone(), index));
            if live.live().any(|(index, _)| is_input(index)) {
                behind = at + 1;
            }
            tables.extend(live.live().filter(|(index, _)| is_input(*index)).map(|(_, block)| block.id));
            live.kill(|index, _| is_input(index));
        }
        if let Some(output) = output {
            let mut compacted = LiveRun { run: output.run.clone(), blocks: output.blocks.clone().into() };
            compacted.kill(|_, block| !tables.contains(&block.id));
            self.runs.insert(behind, compacted);
        }
        self.remove_empty();
    }

    fn remove_empty(&mut self) {
        self.runs.retain(|live| live.live().next().is_some());
    }

    /// What is worth merging, by table.
    pub(crate) fn tables_to_compact(&self, policy: &CompactionPolicy) -> BTreeMap<TableId, TableMerge> {
        let hollow = self.tables_in_hollow_runs(policy);
        let mut tables = BTreeMap::new();
        for (id, runs) in self.runs_by_table() {
            let newest = if hollow.contains(&id) { runs.len() } else { runs_to_merge(&runs, policy) };
            // A single run may be merged with itself: it leaves a hollow one, or has several blocks.
            if newest == 0 {
                continue;
            }
            let scope = if newest == runs.len() { Scope::Table } else { Scope::Changes };
            let merged = runs.into_iter().rev().take(newest).rev();
            tables.insert(id, TableMerge { blocks: merged.flat_map(|run| run.blocks).collect(), scope });
        }
        tables
    }

    /// The runs that hold something of a table, in order of application.
    fn runs_by_table(&self) -> BTreeMap<TableId, Vec<TableRun>> {
        let mut tables: BTreeMap<TableId, Vec<TableRun>> = BTreeMap::new();
        for (at, live) in self.runs.iter().enumerate() {
            for (index, block) in live.live() {
                let runs = tables.entry(block.id).or_default();
                if runs.last().is_none_or(|run| run.at != at) {
                    runs.push(TableRun { at, bytes: 0, blocks: vec![] });
                }
                let run = runs.last_mut().expect("just ensured");
                run.bytes += block.length;
                run.blocks.push((live.run.file.clone(), index));
            }
        }
        tables
    }

    /// Runs most of which is dead are emptied by merging what is left in them.
    fn tables_in_hollow_runs(&self, policy: &CompactionPolicy) -> BTreeSet<TableId> {
        let hollow = self.runs.iter().filter(|live| {
            let (bytes, live_bytes) = (live.run.bytes, live.live_bytes());
            let mostly_dead = (live_bytes as f64) < policy.live_ratio_min * bytes as f64;
            mostly_dead && bytes - live_bytes > policy.delta_bytes_min
        });
        hollow.flat_map(|live| live.live().map(|(_, block)| block.id)).collect()
    }
}

/// What one run holds of a table.
struct TableRun {
    at: usize,
    bytes: u64,
    blocks: Vec<BlockAddress>,
}

/// How many of a table's newest runs are to be merged; 0: none.
fn runs_to_merge(runs: &[TableRun], policy: &CompactionPolicy) -> usize {
    // The oldest blocks serve as base, whether compaction or a first checkpoint has written them.
    let (base, changes) = runs.split_first().expect("a table here has blocks");
    let change_bytes: u64 = changes.iter().map(|run| run.bytes).sum();
    if change_bytes as f64 > policy.delta_ratio * base.bytes as f64 && change_bytes > policy.delta_bytes_min {
        return runs.len();
    }
    let largest = runs.iter().map(|run| run.bytes).max().expect("there is a base");
    let (mut smaller_bytes, mut class_bytes) = (0, TIER_BYTES);
    while smaller_bytes < largest {
        // Of a class and the smaller ones; the latter are taken along when there are enough of the former.
        let newest = runs.iter().rev().take_while(|run| run.bytes <= class_bytes);
        let (of_class, taken) = newest
            .fold((0, 0), |(of_class, taken), run| (of_class + usize::from(run.bytes > smaller_bytes), taken + 1));
        if of_class >= policy.tier_runs {
            return taken;
        }
        (smaller_bytes, class_bytes) = (class_bytes, class_bytes.saturating_mul(policy.tier_runs as u64));
    }
    0
}
