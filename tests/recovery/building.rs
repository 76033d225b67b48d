//! Objects that are being built when the server is killed: those that nobody was told of are gone, those that were
//! acknowledged (`background_ddl`) are finished by the next life of the server.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, error::SqlState};

use crate::process::{Options, Place, Server, rows, value};

const OPTIONS: Options = Options { workers: 2, checkpoint_interval_ms: 50 };
/// Three seconds of a paced, bounded stream: long enough to be killed in.
const SOURCE: &str = "CREATE SOURCE bids (auction bigint, price bigint) WITH (connector = 'nexmark', \
    nexmark.table.type = 'Bid', nexmark.event.num = '60000', nexmark.rate = '20000', \
    nexmark.base.time = '2024-01-01 00:00:00')";
const QUERY: &str = "SELECT auction, count(*) AS n, sum(price) AS total FROM bids GROUP BY auction";
const TABLE: &str = "CREATE TABLE kept (auction bigint, price bigint) WITH (connector = 'nexmark', \
    nexmark.table.type = 'Bid', nexmark.event.num = '60000', nexmark.rate = '20000', \
    nexmark.base.time = '2024-01-01 00:00:00')";
const LISTED_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_nobody_was_told_of_is_removed() {
    let place = Place::new("building");
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    client.batch_execute(SOURCE).await.expect("a source");
    let (first, second) = (server.connect().await, server.connect().await);
    let view =
        tokio::spawn(async move { first.batch_execute(&format!("CREATE MATERIALIZED VIEW v AS {QUERY}")).await });
    let table = tokio::spawn(async move { second.batch_execute(TABLE).await });
    wait_for(&client, "SELECT count(*) = 2 FROM hw_catalog.jobs WHERE state = 'running' AND rows > 0").await;
    // The name is taken, the rows are nobody's yet.
    let error = client.simple_query("SELECT * FROM v").await.expect_err("it is being built");
    assert_eq!(error.code(), Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE));
    let error = client.batch_execute("CREATE TABLE v (a int)").await.expect_err("the name is taken");
    assert_eq!(error.code(), Some(&SqlState::DUPLICATE_TABLE));
    server.kill();
    assert!(view.await.expect("no panic").is_err() && table.await.expect("no panic").is_err());
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    for name in ["v", "kept"] {
        let error = client.simple_query(&format!("SELECT * FROM {name}")).await.expect_err("it is gone");
        assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
    }
    let jobs =
        rows(&client, "SELECT description, state FROM hw_catalog.jobs ORDER BY description").await.expect("jobs");
    let jobs: Vec<String> =
        jobs.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(jobs, ["CREATE MATERIALIZED VIEW v: removed", "CREATE TABLE kept: removed"]);
    // Nothing of it is in the way.
    client.batch_execute("CREATE TABLE v (a int)").await.expect("the name is free");
    server.kill();
    place.check_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_build_goes_on_over_kills() {
    let place = Place::new("building");
    let mut server = Server::start(&place, OPTIONS);
    let mut client = server.connect().await;
    client.batch_execute(SOURCE).await.expect("a source");
    let (view, set) = (format!("CREATE MATERIALIZED VIEW v AS {QUERY}"), "SET background_ddl = true");
    for statement in [set, &view, TABLE] {
        client.batch_execute(statement).await.expect("it returns at once");
    }
    for _ in 0..2 {
        wait_for(&client, "SELECT count(*) = 2 FROM hw_catalog.jobs WHERE state = 'running'").await;
        server.kill();
        server = Server::start(&place, OPTIONS);
        client = server.connect().await;
    }
    client.batch_execute("WAIT").await.expect("the jobs end");
    let jobs = "SELECT count(*) FROM hw_catalog.jobs WHERE state = 'finished'";
    assert_eq!(value(&client, jobs).await.as_deref(), Some("2"));
    let differing = format!(
        "SELECT count(*) FROM v FULL JOIN ({}) t ON v.auction = t.auction WHERE (v.n IS DISTINCT FROM t.n) \
         OR (v.total IS DISTINCT FROM t.total)",
        QUERY.replace("bids", "kept")
    );
    assert_eq!(value(&client, &differing).await.as_deref(), Some("0"));
    let events = "SELECT sum(n) = (SELECT count(*) FROM kept) AND sum(n) > 50000 FROM v";
    assert_eq!(value(&client, events).await.as_deref(), Some("t"));
    server.kill();
    place.check_log();
}

/// Asks until the answer is true.
async fn wait_for(client: &Client, sql: &str) {
    let started = Instant::now();
    while value(client, sql).await.as_deref() != Some("t") {
        assert!(started.elapsed() < LISTED_MAX, "still not: {sql}");
    }
}
