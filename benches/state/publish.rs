//! A one-row epoch on a large view: time to apply and publish it, while a reader holds a snapshot; and point reads
//! after many such epochs, in turns with those of a twin that has not seen them.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use operators::arrangement::Shard;
use types::DeltaBatch;

use crate::keys::key;

const BATCH: u64 = 65_536;
const READS: u64 = 20_000;
/// Blocks of point reads on either shard.
const BLOCKS: usize = 7;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("n", DataType::Int64, true)]))
}

fn rows(keys: impl Iterator<Item = u64>, count: i64) -> RecordBatch {
    let keys: Vec<i64> = keys.map(key).collect();
    let counts = vec![count; keys.len()];
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(keys)), Arc::new(Int64Array::from(counts))];
    RecordBatch::try_new(schema(), columns).expect("two columns")
}

fn percentile(sorted: &[u64], p: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * p) as usize] as f64 / 1e3
}

fn point_reads(shard: &Shard, keys: u64, epoch: u64) -> f64 {
    let mut times: Vec<u64> = (0..READS)
        .map(|n| {
            let wanted = Arc::new(Int64Array::from(vec![key(n * 7919 % keys)])) as ArrayRef;
            let wanted = RecordBatch::try_from_iter([("k", wanted)]).expect("one column");
            let start = Instant::now();
            let found = shard.lookup(&wanted, epoch).map_or(0, |b| b.num_rows());
            let elapsed = start.elapsed().as_nanos() as u64;
            assert_eq!(found, 1, "every key is there");
            elapsed
        })
        .collect();
    times.sort_unstable();
    percentile(&times, 0.5)
}

/// A view of that many rows, and its last epoch.
fn filled(keys: u64) -> (Arc<Shard>, u64) {
    let shard = Shard::new(schema(), Some(vec![0]));
    let mut epoch = 0;
    let mut next = 0;
    while next < keys {
        let end = keys.min(next + BATCH);
        epoch += 1;
        shard.apply(epoch, &[DeltaBatch::inserts(rows(next..end, 1))], &[]).expect("applies");
        shard.set_retain_from(epoch);
        next = end;
    }
    (shard, epoch)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub fn report(keys: u64, epochs: u64) {
    let ((shard, mut epoch), (twin, twin_epoch)) = (filled(keys), filled(keys));
    let mut times = Vec::with_capacity(epochs as usize);
    let mut held = Some(shard.snapshot(epoch));
    for n in 0..epochs {
        epoch += 1;
        // A reader comes and goes: its pages are copied, the others change in place.
        if n % 100 == 0 {
            held = Some(shard.snapshot(epoch));
        }
        let row = n * 104_729 % keys;
        let count = 1 + (n / keys) as i64;
        let change = DeltaBatch::concat(
            &schema(),
            &[
                DeltaBatch::inserts(rows(std::iter::once(row), count)).negate(),
                DeltaBatch::inserts(rows(std::iter::once(row), count + 1)),
            ],
        );
        let start = Instant::now();
        shard.apply(epoch, &[change], &[]).expect("applies");
        times.push(start.elapsed().as_nanos() as u64);
        shard.set_retain_from(epoch);
    }
    drop(held);
    let blocks = (0..BLOCKS).map(|_| (point_reads(&twin, keys, twin_epoch), point_reads(&shard, keys, epoch)));
    let (before, after): (Vec<f64>, Vec<f64>) = blocks.unzip();
    let ratio = median(before.iter().zip(&after).map(|(before, after)| after / before).collect());
    let (before, after) = (median(before), median(after));
    times.sort_unstable();
    let (p50, p99) = (percentile(&times, 0.5), percentile(&times, 0.99));
    println!(
        "| one-row epoch on {keys} rows, a reader holding a snapshot, p50 / p99 µs | {p50:.1} / {p99:.1} | ≤ 20 | – |"
    );
    println!(
        "| point read without / after {epochs} one-row epochs, p50 µs, ratio | {before:.2} / {after:.2}, {ratio:.2} | 1 | – |"
    );
}
