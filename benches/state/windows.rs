//! After all windows have closed, operator state returns to its size before (EMIT ON WINDOW CLOSE not needed: the
//! aggregate drops whole buckets by watermark; the view itself keeps its rows and is not counted).

use dataflow::NodeKind;
use operators::spec::OperatorSpec;
use types::WATERMARK_END;

use crate::keys::key;
use crate::pipeline::Pipeline;

pub fn report() {
    let query = "SELECT window_start, window_end, k, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds') \
                 GROUP BY window_start, window_end, k";
    let mut pipeline = Pipeline::start(query, 1);
    let aggregate_bytes = |pipeline: &Pipeline| {
        let aggregates = pipeline.graph.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Operator(OperatorSpec::Aggregate(_)) => Some(node.id),
            _ => None,
        });
        let ids: Vec<u32> = aggregates.collect();
        let readings = pipeline.runtime.stats().read();
        readings.iter().filter(|((_, id), _)| ids.contains(id)).map(|(_, r)| r.state_bytes).sum::<u64>()
    };
    pipeline.epoch(vec![1], 0, i64::MIN, false);
    let before = aggregate_bytes(&pipeline);
    let mut peak = 0;
    for window in 0..100i64 {
        let at = window * 10_000_000;
        pipeline.epoch((0..10_000).map(|n| key(n + window as u64 * 10_000)).collect(), at, at - 20_000_000, false);
        peak = peak.max(aggregate_bytes(&pipeline));
    }
    pipeline.epoch(vec![], 0, WATERMARK_END, false);
    let after = aggregate_bytes(&pipeline);
    println!(
        "| aggregate state: before / peak of 100 windows / after all closed | {before} / {peak} / {after} | back | – |"
    );
    pipeline.runtime.shutdown();
}
