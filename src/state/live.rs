//! Which blocks of which runs make up the state. Runs are immutable; what compaction replaces or DROP removes is
//! only marked dead here and in the manifest, and a run without live blocks is left out.
//!
//! Order of runs is order of application. A compacted run goes to the front: everything older about its tables is dead
//! then, and the changes made meanwhile still come after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use types::{Epoch, ObjectId};

use crate::run::WrittenRun;
use crate::{BlockInfo, CompactionPolicy, RunRef, TableId};

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
        let mut tables = BTreeSet::new();
        for live in &mut self.runs {
            let file = live.run.file.clone();
            let is_input = |index: usize| inputs.contains(&(file.clone(), index));
            tables.extend(live.live().filter(|(index, _)| is_input(*index)).map(|(_, block)| block.id));
            live.kill(|index, _| is_input(index));
        }
        if let Some(output) = output {
            let mut compacted = LiveRun { run: output.run.clone(), blocks: output.blocks.clone().into() };
            compacted.kill(|_, block| !tables.contains(&block.id));
            self.runs.insert(0, compacted);
        }
        self.remove_empty();
    }

    fn remove_empty(&mut self) {
        self.runs.retain(|live| live.live().next().is_some());
    }

    /// The tables worth compacting, ascending.
    pub(crate) fn tables_to_compact(&self, policy: &CompactionPolicy) -> BTreeSet<TableId> {
        let mut per_table: BTreeMap<TableId, BTreeMap<Epoch, u64>> = BTreeMap::new();
        for live in &self.runs {
            for (_, block) in live.live() {
                *per_table.entry(block.id).or_default().entry(live.run.epoch).or_default() += block.length;
            }
        }
        let heavy = per_table.iter().filter(|(_, epochs)| {
            // The oldest blocks serve as base, whether compaction or a first checkpoint has written them.
            let mut bytes = epochs.values();
            let base = *bytes.next().expect("a table here has blocks");
            let deltas: u64 = bytes.sum();
            let outweighs = deltas as f64 > policy.delta_ratio * base as f64 && deltas > policy.delta_bytes_min;
            outweighs || epochs.len() - 1 > policy.deltas_max
        });
        let mut tables: BTreeSet<TableId> = heavy.map(|(id, _)| *id).collect();
        for live in &self.runs {
            let (bytes, live_bytes) = (live.run.bytes, live.live_bytes());
            let hollow = (live_bytes as f64) < policy.live_ratio_min * bytes as f64;
            if hollow && bytes - live_bytes > policy.delta_bytes_min {
                tables.extend(live.live().map(|(_, block)| block.id));
            }
        }
        tables
    }
}
