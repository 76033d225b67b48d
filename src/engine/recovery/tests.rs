//! What an engine holds at the moment it says that it is open.

use super::*;
use crate::Response;

fn run(engine: &Engine, runtime: &tokio::runtime::Runtime, sql: &str) {
    let mut session = engine.session("test", "highwater", vec![]).unwrap();
    for statement in session.parse(sql).unwrap() {
        let answer = runtime.block_on(session.execute_simple(Arc::new(statement)));
        assert!(matches!(answer, Ok(Response::Command { .. })), "{sql}: {:?}", answer.err());
    }
}

#[test]
fn restored_state_is_there_when_the_engine_is_open_also_with_nothing_to_replay() {
    let directory = tempfile::tempdir().unwrap();
    let config =
        EngineConfig { data_dir: Some(directory.path().join("data")), workers: 2, ..EngineConfig::in_memory() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = |engine: &Engine| {
        let relations = engine.shared.relations.lock().unwrap();
        let count = |relation: &Arc<Relation>| relation.shards.iter().map(|shard| shard.row_count()).sum::<usize>();
        relations.values().map(count).collect::<Vec<_>>()
    };
    let engine = open(config.clone()).unwrap();
    run(&engine, &runtime, "CREATE TABLE t (id bigint, v text)");
    run(&engine, &runtime, "CREATE MATERIALIZED VIEW v AS SELECT id, count(*) AS n FROM t GROUP BY id");
    run(
        &engine,
        &runtime,
        "INSERT INTO t WITH d(i) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))
         SELECT a.i + 10 * b.i + 100 * c.i + 1000 * e.i, 'text' FROM d a, d b, d c, d e",
    );
    runtime.block_on(engine.shutdown());
    drop(engine);
    for _ in 0..3 {
        let engine = open(config.clone()).unwrap();
        let mut found = rows(&engine);
        found.sort();
        assert_eq!(found, [10_000, 10_000]);
        runtime.block_on(engine.shutdown());
    }
}
