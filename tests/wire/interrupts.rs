//! What ends a statement before its time: a cancel request, the timeout, a client that goes away.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::client;
use crate::process::{describe, value};
use crate::start;

/// Between two looks at a state that will come.
const LOOK: Duration = Duration::from_millis(5);

/// An endless statement that never sends a row.
const SILENT: &str = "SUBSCRIBE TO (SELECT n FROM numbers WHERE n < 0)";

/// Waits until `sql` answers `wanted`. The harness' patience is the only limit.
pub async fn wait_for(client: &Client, sql: &str, wanted: &str) {
    while value(client, sql).await.as_deref() != Some(wanted) {
        tokio::time::sleep(LOOK).await;
    }
}

async fn running(client: &Client, count: u32) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SUBSCRIBE%'";
    wait_for(client, sql, &count.to_string()).await;
}

#[tokio::test]
async fn a_cancel_request_ends_what_runs_and_nothing_else() {
    let (place, server) = start("cancel");
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)").await.unwrap();
    let victim = server.connect().await;
    let token = victim.cancel_token();
    // While idle it means nothing, also not to the next statement.
    server.address().cancel(&token).await;
    assert_eq!(value(&victim, "SELECT 7").await.as_deref(), Some("7"));

    // A stream that is being read.
    let rows = victim.query_raw("SUBSCRIBE numbers", Vec::<i32>::new()).await.unwrap();
    let mut rows = pin!(rows);
    assert_eq!(rows.next().await.unwrap().unwrap().get::<_, i32>(2), 1);
    server.address().cancel(&token).await;
    let error = rows.next().await.unwrap().unwrap_err();
    assert_eq!(describe(&error), "57014 canceling statement due to user request");

    // One that has nothing to say, in a block: the block has failed then.
    victim.batch_execute("BEGIN").await.unwrap();
    let silent = victim.simple_query(SILENT);
    let cancel = async {
        running(&client, 1).await;
        server.address().cancel(&token).await;
    };
    let (ended, ()) = tokio::join!(silent, cancel);
    assert_eq!(ended.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    let refused = victim.simple_query("SELECT 1").await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    victim.batch_execute("ROLLBACK").await.unwrap();

    // A long computation, off the network's threads.
    let ten = (0..10).map(|n| format!("({n})")).collect::<Vec<_>>().join(", ");
    client.batch_execute(&format!("CREATE TABLE ten (n int); INSERT INTO ten VALUES {ten}")).await.unwrap();
    let relations = ('a'..='n').map(|alias| format!("ten {alias}")).collect::<Vec<_>>().join(", ");
    let long = format!("SELECT count(*) FROM {relations} WHERE a.n = b.n - n.n - 100 * c.n - 7");
    let cancel = async {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT count(*) FROM ten%'";
        wait_for(&client, sql, "1").await;
        server.address().cancel(&token).await;
    };
    let (ended, ()) = tokio::join!(victim.simple_query(&long), cancel);
    assert_eq!(ended.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(value(&victim, "SELECT 8").await.as_deref(), Some("8"));
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_wrong_key_cancels_nothing() {
    let (_place, server) = start("key");
    let watcher = server.connect().await;
    watcher.batch_execute("CREATE TABLE numbers (n int)").await.unwrap();
    let mut victim = client::Client::start(server.socket_address()).await;
    victim.send(&client::query("SUBSCRIBE numbers")).await;
    running(&watcher, 1).await;
    let secret = std::mem::replace(&mut victim.secret, vec![0, 1, 2, 3]);
    victim.cancel(server.socket_address()).await;
    // The answer to a cancel request, closing, comes after it was served: the statement has survived it.
    watcher.batch_execute("INSERT INTO numbers VALUES (1)").await.unwrap();
    assert!(victim.message().await.unwrap().starts_with("columns"));
    assert!(victim.message().await.unwrap().starts_with("row"));
    victim.secret = secret;
    victim.cancel(server.socket_address()).await;
    let messages = victim.until_ready().await;
    assert_eq!(messages, ["error ERROR 57014 canceling statement due to user request", "ready I"]);
}

#[tokio::test]
async fn the_timeout_ends_a_statement() {
    let (place, server) = start("timeout");
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE numbers (n int); SET statement_timeout = '50ms'").await.unwrap();
    let error = client.simple_query(SILENT).await.unwrap_err();
    assert_eq!(describe(&error), "57014 canceling statement due to statement timeout");
    let error = client.query(SILENT, &[]).await.unwrap_err();
    assert_eq!(describe(&error), "57014 canceling statement due to statement timeout");
    client.batch_execute("SET statement_timeout = 0; BEGIN; SET LOCAL statement_timeout = 50").await.unwrap();
    assert_eq!(client.simple_query(SILENT).await.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(value(&client, "SHOW statement_timeout").await.as_deref(), Some("0"));
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_client_that_vanished_leaves_nothing_behind() {
    let (place, server) = start("vanished");
    let watcher = server.connect().await;
    watcher.batch_execute("CREATE TABLE numbers (n int)").await.unwrap();
    let operators = "SELECT count(*) FROM hw_catalog.operators";
    let before = value(&watcher, operators).await.unwrap();
    // A subscription to a query has a dataflow of its own.
    let mut simple = client::Client::start(server.socket_address()).await;
    simple.send(&client::query(SILENT)).await;
    let mut extended = client::Client::start(server.socket_address()).await;
    let start =
        [client::parse("", SILENT, &[]), client::bind("", "", &[], &[], &[]), client::execute("", 0), client::sync()];
    extended.send(&start.concat()).await;
    let mut copy = client::Client::start(server.socket_address()).await;
    copy.send(&client::query(&format!("COPY ({SILENT}) TO STDOUT"))).await;
    wait_for(&watcher, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'", "4").await;
    assert_ne!(value(&watcher, operators).await.unwrap(), before);
    drop((simple, extended, copy));
    wait_for(&watcher, "SELECT count(*) FROM pg_stat_activity", "1").await;
    wait_for(&watcher, operators, &before).await;
    drop(server);
    place.check_log();
}
