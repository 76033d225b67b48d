//! Bytes a checkpoint writes ÷ bytes that changed: after a load of n keys, a tenth of them change; changed bytes are
//! the changed view rows (key and count, 16 bytes each).

use std::time::Instant;

use operators::TableKind;
use state::{BlockKind, Checkpoint, CheckpointStats, DurableStore, StateBlock, StoreOptions};

use crate::keys::key;
use crate::pipeline::{Pipeline, VIEW};

const BATCH: u64 = 65_536;
const BYTES_PER_CHANGE: f64 = 16.0;

fn commit(store: &DurableStore, pipeline: &Pipeline, epoch: u64) -> CheckpointStats {
    let mut blocks = vec![];
    for _ in 0..pipeline.operators() {
        let (operator, _, cut) = pipeline.cuts.recv().expect("every operator cuts");
        for table in cut.gather().expect("gathers") {
            blocks.push(StateBlock {
                relation: VIEW,
                operator,
                table: table.table,
                kind: match table.kind {
                    TableKind::Keyed { key_columns } => BlockKind::Keyed { key_columns },
                    TableKind::Multiset => BlockKind::Multiset,
                },
                vnode_columns: table.vnode_columns,
                batches: table.batches,
            });
        }
    }
    let payload = serde_json::Value::Null;
    let checkpoint = Checkpoint { epoch, incarnation: 1, journal_position: 0, blocks: vec![blocks], payload };
    store.commit_checkpoint(checkpoint).expect("commits")
}

pub fn report(keys: u64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (store, _) = DurableStore::open(directory.path(), StoreOptions::default()).expect("opens");
    let mut pipeline = Pipeline::start("SELECT k, count(*) AS n FROM s GROUP BY k", 1);
    let mut epoch = 0;
    let mut load = |pipeline: &mut Pipeline, from: u64, to: u64| {
        let mut next = from;
        while next < to {
            let end = to.min(next + BATCH);
            epoch += 1;
            pipeline.epoch((next..end).map(key).collect(), 0, i64::MIN, end == to);
            next = end;
        }
        epoch
    };
    let at = load(&mut pipeline, 0, keys);
    let start = Instant::now();
    let full = commit(&store, &pipeline, at);
    let seconds = start.elapsed().as_secs_f64();
    let ratio = full.bytes_written as f64 / (keys as f64 * BYTES_PER_CHANGE);
    println!("| checkpoint bytes ÷ changed, first ({keys} keys, {seconds:.2} s) | {ratio:.2} | ≤ 3 | 1.2 |");
    let at = load(&mut pipeline, 0, keys / 10);
    let delta = commit(&store, &pipeline, at);
    let ratio = delta.bytes_written as f64 / ((keys / 10) as f64 * BYTES_PER_CHANGE);
    println!("| checkpoint bytes ÷ changed, a tenth of the keys again | {ratio:.2} | ≤ 3 | 1.2 |");
    pipeline.runtime.shutdown();
}
