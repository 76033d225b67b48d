//! A relation fails at run time: who is told, who goes on, what is kept, what a restart brings back.

use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use catalog::{CatalogChange, ObjectBody};
use dataflow::{DataflowGraph, FeedBatch, NodeKind};
use futures::StreamExt;
use operators::spec::OperatorSpec;
use tokio::sync::oneshot;
use types::{DeltaBatch, SqlError, SqlState};

use crate::clock::ClockMessage;
use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::{Response, recovery};

struct Database {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    engine: Engine,
}

fn config(directory: &tempfile::TempDir) -> EngineConfig {
    EngineConfig { data_dir: Some(directory.path().join("data")), workers: 2, ..EngineConfig::in_memory() }
}

impl Database {
    fn new() -> Database {
        let directory = tempfile::tempdir().unwrap();
        let engine = recovery::open(config(&directory)).unwrap();
        Database { directory, runtime: tokio::runtime::Runtime::new().unwrap(), engine }
    }

    /// Stops it, with a last checkpoint, and opens it again.
    fn restart(self) -> Database {
        let Database { directory, runtime, engine } = self;
        runtime.block_on(engine.shutdown());
        drop(engine);
        let engine = recovery::open(config(&directory)).unwrap();
        Database { directory, runtime, engine }
    }

    /// Rows as text, or the first error.
    fn run(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        let mut session = self.engine.session("test", "highwater", vec![])?;
        let mut rows = vec![];
        for statement in session.parse(sql)? {
            let response = self.runtime.block_on(session.execute_simple(Arc::new(statement)))?;
            let Response::Rows { mut stream, .. } = response else { continue };
            while let Some(batch) = self.runtime.block_on(stream.next()) {
                let batch = batch?;
                let cell = |c: usize, r: usize| array_value_to_string(batch.column(c), r).unwrap();
                let row = |r: usize| (0..batch.num_columns()).map(|c| cell(c, r)).collect::<Vec<_>>().join(" ");
                rows.extend((0..batch.num_rows()).map(row));
            }
        }
        Ok(rows)
    }

    fn ok(&self, sql: &str) -> Vec<String> {
        self.run(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    fn checkpoint(&self) {
        let (reply, done) = oneshot::channel();
        self.engine.shared.clock.send(ClockMessage::CheckpointNow { reply }).unwrap();
        done.blocking_recv().unwrap();
    }

    /// Makes the dataflow of a table fail: it is told to retract a row that it does not have. The journal has none of it.
    fn fail_table(&self, name: &str) {
        let shared = &self.engine.shared;
        let table = shared.catalog().find(None, name).unwrap().id;
        let rows = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![-1])) as _)]).unwrap();
        let rows = DeltaBatch::inserts(rows).negate();
        let batch = FeedBatch { relation: table, columns: Arc::new(vec![0]), rows, errors: vec![] };
        shared.runtime.feed(0, shared.oracle.opened() + 1, batch);
        self.ok(&format!("INSERT INTO {name} VALUES (1000)"));
        let mut moved = shared.oracle.subscribe();
        while shared.oracle.failure(table).is_none() {
            self.runtime.block_on(moved.changed()).unwrap();
        }
    }
}

fn with_tables() -> Database {
    let database = Database::new();
    database.ok("CREATE TABLE t (id int)");
    database.ok("CREATE TABLE other (id int)");
    database.ok("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(id) AS s FROM t");
    database.ok("CREATE MATERIALIZED VIEW both AS SELECT v.n, o.id FROM v, other AS o");
    database.ok("CREATE MATERIALIZED VIEW o AS SELECT count(*) AS n FROM other");
    database.ok("INSERT INTO t SELECT i FROM generate_series(1, 100) AS s(i)");
    database.ok("INSERT INTO other VALUES (1), (2)");
    database
}

#[test]
fn whoever_uses_a_failed_table_is_told_and_everybody_else_goes_on() {
    let database = with_tables();
    database.fail_table("t");
    let uses = [
        "SELECT * FROM t",
        "SELECT * FROM v",
        "SELECT * FROM both",
        "SELECT * FROM other, v",
        "INSERT INTO t VALUES (7)",
        "SUBSCRIBE v",
        "SUBSCRIBE TO (SELECT sum(id) FROM t)",
        "CREATE MATERIALIZED VIEW later AS SELECT n FROM v",
    ];
    for sql in uses {
        let error = database.run(sql).expect_err(sql);
        assert_eq!(error.state, SqlState::InternalError, "{sql}: {error:?}");
        assert_eq!(error.message, "table \"t\" has failed: 1 retracted rows are not there", "{sql}");
        let detail = error.detail.expect(sql);
        assert!(detail.contains("broke an invariant") && error.hint.is_some(), "{detail}");
    }
    database.ok("INSERT INTO other VALUES (3)");
    assert_eq!(database.ok("SELECT count(*) FROM other"), ["3"]);
    assert_eq!(database.ok("SELECT n FROM o"), ["3"]);
    database.ok("CREATE MATERIALIZED VIEW later AS SELECT n + 1 AS m FROM o");
    assert_eq!(database.ok("SELECT m FROM later"), ["4"]);
    database.checkpoint();
    database.ok("DROP TABLE t CASCADE");
    database.ok("CREATE TABLE t (id int)");
    assert_eq!(database.ok("SELECT count(*) FROM t"), ["0"]);
    database.runtime.block_on(database.engine.shutdown());
}

#[test]
fn a_failed_table_has_every_acknowledged_row_after_a_restart() {
    for checkpoints in 0..3 {
        let database = with_tables();
        if checkpoints > 0 {
            database.checkpoint();
        }
        database.ok("INSERT INTO t SELECT i FROM generate_series(101, 200) AS s(i)");
        database.fail_table("t");
        // The journal up to here is of no use to anybody else.
        for _ in 0..checkpoints {
            database.ok("INSERT INTO other VALUES (3)");
            database.checkpoint();
        }
        let database = database.restart();
        let expected = [format!("201 {}", 200 * 201 / 2 + 1_000)];
        assert_eq!(database.ok("SELECT count(*), sum(id) FROM t"), expected, "{checkpoints} checkpoints");
        assert_eq!(database.ok("SELECT * FROM v"), expected);
        database.ok("INSERT INTO t VALUES (0)");
        let database = database.restart();
        assert_eq!(database.ok("SELECT count(*) FROM t"), ["202"]);
        assert_eq!(database.ok("SELECT n, count(*) FROM both GROUP BY n"), [format!("202 {}", 2 + checkpoints)]);
        database.runtime.block_on(database.engine.shutdown());
    }
}

/// Makes a view believe that its second column is a key: it fails as soon as a value stands there twice, also when it is
/// built again.
fn break_plan(database: &Database, view: &str) {
    let shared = &database.engine.shared;
    let mut object = (**shared.catalog().find(None, view).unwrap()).clone();
    let ObjectBody::MaterializedView(body) = &mut object.body else { panic!("it is a view") };
    let mut graph: DataflowGraph = serde_json::from_value(body.plan.clone()).unwrap();
    let NodeKind::Operator(OperatorSpec::Materialize(spec)) = &mut graph.nodes.last_mut().unwrap().kind else {
        panic!("a graph ends with its Materialize")
    };
    spec.key = Some(vec![1]);
    body.plan = serde_json::to_value(graph).unwrap();
    shared.change_catalog(vec![CatalogChange::Put(object)]).unwrap();
}

impl Database {
    /// Waits until `sql` answers this.
    fn until(&self, sql: &str, expected: &[&str]) {
        let start = std::time::Instant::now();
        loop {
            let rows = self.ok(sql);
            if rows == expected {
                return;
            }
            assert!(start.elapsed().as_secs() < 60, "{sql}: {rows:?}");
            // Whatever is done about a failure moves the oracle; some of it is noted a moment later.
            let mut moved = self.engine.shared.oracle.subscribe();
            let _ = self
                .runtime
                .block_on(async { tokio::time::timeout(std::time::Duration::from_millis(50), moved.changed()).await });
        }
    }
}

const FAILURES: &str = "SELECT name, state, because_of, sqlstate, times FROM hw_catalog.failures ORDER BY name";

#[test]
fn a_failed_view_is_built_again_some_times_and_then_waits_for_a_person() {
    let database = Database::new();
    database.ok("CREATE TABLE t (id int, g int)");
    database.ok("CREATE MATERIALIZED VIEW v AS SELECT id, g FROM t");
    database.ok("CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n FROM v");
    database.ok("INSERT INTO t VALUES (1, 1), (2, 1), (3, 3)");
    break_plan(&database, "v");
    // What is restored fails with the next row; nothing is shown of it any more.
    let database = database.restart();
    database.ok("INSERT INTO t VALUES (9, 3)");
    database.until(FAILURES, &["v waiting  XX000 4", "w waiting v XX000 4"]);
    for sql in ["SELECT * FROM v", "SELECT * FROM w"] {
        let error = database.run(sql).expect_err(sql);
        assert!(error.message.starts_with("materialized view \"v\" has failed: "), "{error:?}");
        assert!(error.hint.unwrap().ends_with("REFRESH MATERIALIZED VIEW v."));
    }
    database.ok("INSERT INTO t VALUES (4, 4)");
    // The start does not wait for it.
    let database = database.restart();
    assert_eq!(database.ok(FAILURES), ["v waiting  XX000 4", "w waiting v XX000 4"]);
    database.run("REFRESH MATERIALIZED VIEW w").expect_err("it comes back with v");
    database.run("REFRESH MATERIALIZED VIEW v").expect_err("the cause is still there");
    database.until(FAILURES, &["v waiting  XX000 4", "w waiting v XX000 4"]);
    database.ok("DELETE FROM t WHERE id IN (2, 9)");
    database.ok("REFRESH MATERIALIZED VIEW v");
    assert_eq!(database.ok("SELECT id FROM v ORDER BY id"), ["1", "3", "4"]);
    database.until(FAILURES, &[]);
    assert_eq!(database.ok("SELECT n FROM w"), ["3"]);
    database.ok("INSERT INTO t VALUES (5, 5)");
    assert_eq!(database.ok("SELECT n FROM w"), ["4"]);
    database.ok("REFRESH MATERIALIZED VIEW w");
    let database = database.restart();
    assert_eq!((database.ok(FAILURES), database.ok("SELECT n FROM w")), (vec![], vec!["4".to_string()]));
    // It fails while it runs, and heals because the cause goes before it is built again.
    database.ok("INSERT INTO t VALUES (6, 5)");
    database.ok("DELETE FROM t WHERE id = 5");
    database.until("SELECT count(*) FROM hw_catalog.failures", &["0"]);
    assert_eq!(database.ok("SELECT n FROM w"), ["4"]);
    database.ok("INSERT INTO t VALUES (7, 7), (8, 7)");
    database.until("SELECT count(*) FROM hw_catalog.failures WHERE state = 'waiting'", &["2"]);
    database.ok("DROP MATERIALIZED VIEW v CASCADE");
    assert_eq!(database.ok(FAILURES), [] as [&str; 0]);
    database.runtime.block_on(database.engine.shutdown());
}
