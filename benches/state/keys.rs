//! Bytes per key of `count(*) GROUP BY bigint`: aggregate state, view and index together, as the slope of resident
//! memory between a tenth of the keys and all of them; and how evenly keys spread over workers.

use crate::pipeline::Pipeline;

const BATCH: u64 = 65_536;
const COUNT: &str = "SELECT k, count(*) AS n FROM s GROUP BY k";

/// Resident bytes of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a VmRSS line");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kB") * 1024
}

/// Spreads consecutive numbers over the key space.
pub fn key(n: u64) -> i64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64
}

fn load(pipeline: &mut Pipeline, from: u64, to: u64) {
    let mut next = from;
    while next < to {
        let end = to.min(next + BATCH);
        pipeline.epoch((next..end).map(key).collect(), 0, i64::MIN, false);
        next = end;
    }
}

pub fn report(keys: u64) {
    let mut pipeline = Pipeline::start(COUNT, 1);
    load(&mut pipeline, 0, keys / 10);
    let (small, counted_small) = (resident_bytes(), pipeline.state_bytes());
    load(&mut pipeline, keys / 10, keys);
    let (large, counted_large) = (resident_bytes(), pipeline.state_bytes());
    let slope = |a: u64, b: u64| b.saturating_sub(a) as f64 / (keys - keys / 10) as f64;
    println!("| resident bytes per key, {keys} keys | {:.1} | ≤ 96 | 32 |", slope(small, large));
    println!("| counted bytes per key (memory budget) | {:.1} | – | – |", slope(counted_small, counted_large));
    pipeline.runtime.shutdown();
    drop(pipeline);
    let mut balanced = Pipeline::start(COUNT, 4);
    load(&mut balanced, 0, keys / 10);
    let rows: Vec<String> = balanced.shards.iter().map(|shard| shard.row_count().to_string()).collect();
    println!("| rows per worker, 4 workers, {} keys | {} | even | – |", keys / 10, rows.join(" / "));
    balanced.runtime.shutdown();
}
