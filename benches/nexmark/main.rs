//! Streaming against batch on the same Arrow data, one worker against one partition, in one process.
//!
//! For each query: the rows are fed in epochs of 64 k rows through the planned dataflow, and read by DataFusion as one
//! batch query over the same memory. Blocks alternate (stream, batch, stream, …); the figure is the median of paired
//! ratios of CPU seconds. Both answers are checked against each other by count and an order-free checksum: a ratio
//! without equal answers is void. How to read it: benches/README.md.

mod batch;
mod cpu;
mod data;
mod queries;
mod stream;

use std::sync::Arc;

use catalog::Catalog;
use data::Tables;
use plan::ViewPlanOptions;
use queries::QUERIES;

/// Blocks per query and side.
const PAIRS: usize = 5;

/// The server's, so that both measure the same memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let argument = |name: &str| {
        let mut arguments = std::env::args().skip_while(|a| a != name);
        arguments.nth(1)
    };
    let events: u64 = argument("--events").and_then(|v| v.parse().ok()).unwrap_or(2_000_000);
    let only = argument("--query");
    let pairs: usize = argument("--pairs").and_then(|v| v.parse().ok()).unwrap_or(PAIRS);
    let (catalog, tables) = data::generate(events);
    println!("nexmark, {events} events in memory, 1 worker / 1 partition, epochs of 65,536 rows, {pairs} pairs");
    println!("| query | rows in | rows out | stream M rows/s | stream CPU s | batch CPU s | ratio CPU | ratio wall |");
    println!("|---|---|---|---|---|---|---|---|");
    for query in QUERIES.iter().filter(|q| only.as_deref().is_none_or(|o| o == q.name)) {
        match measure(&catalog, &tables, query, pairs) {
            Ok(row) => println!("{row}"),
            Err(error) => println!("| {} | void: {error} | | | | | | |", query.name),
        }
    }
}

fn measure(catalog: &Arc<Catalog>, tables: &Tables, query: &queries::Query, pairs: usize) -> Result<String, String> {
    let (mut streams, mut batches) = (vec![], vec![]);
    for _ in 0..pairs {
        streams.push(stream::run(catalog, tables, query.stream, ViewPlanOptions::default())?);
        batches.push(batch::run(catalog, tables, query.batch.unwrap_or(query.stream))?);
    }
    let (first, reference) = (&streams[0], &batches[0]);
    if (first.rows, first.checksum) != (reference.rows, reference.checksum) {
        return Err(format!("answers differ: {} rows streamed, {} in batch", first.rows, reference.rows));
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ratio = |of: fn(&cpu::Measured) -> f64| {
        median(streams.iter().zip(&batches).map(|(s, b)| of(&s.measured) / of(&b.measured).max(1e-9)).collect())
    };
    let stream_cpu = median(streams.iter().map(|s| s.measured.cpu_s).collect());
    let stream_wall = median(streams.iter().map(|s| s.measured.wall_s).collect());
    let batch_cpu = median(batches.iter().map(|b| b.measured.cpu_s).collect());
    Ok(format!(
        "| {} | {} | {} | {:.2} | {:.4} | {:.4} | {:.2} | {:.2} |",
        query.name,
        first.rows_in,
        first.rows,
        first.rows_in as f64 / stream_wall / 1e6,
        stream_cpu,
        batch_cpu,
        ratio(|m| m.cpu_s),
        ratio(|m| m.wall_s),
    ))
}
