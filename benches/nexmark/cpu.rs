//! CPU and wall time of a block, and the checksum that makes two answers comparable.

use std::time::Instant;

use arrow::array::RecordBatch;
use cpu_time::ProcessTime;

/// CPU seconds of the whole process (all threads) and wall seconds.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub cpu_s: f64,
    pub wall_s: f64,
}

/// Runs `work` and measures it.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Measured) {
    let (cpu, start) = (ProcessTime::now(), Instant::now());
    let value = work();
    (value, Measured { cpu_s: cpu.elapsed().as_secs_f64(), wall_s: start.elapsed().as_secs_f64() })
}

/// Number of rows and the wrapping sum of their hashes.
pub fn checksum(batches: &[RecordBatch]) -> (usize, u64) {
    let mut rows = 0;
    let mut sum = 0u64;
    for batch in batches {
        rows += batch.num_rows();
        let hashes = types::hash_columns(batch.columns(), batch.num_rows()).expect("answers are hashable");
        sum = hashes.iter().fold(sum, |sum, hash| sum.wrapping_add(*hash));
    }
    (rows, sum)
}
