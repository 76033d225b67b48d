//! Changes as they happen, in every form a client can take them: rows, COPY, cursors.

use std::pin::pin;

use futures::{StreamExt, TryStreamExt};

use crate::client;
use crate::process::{rows, value};
use crate::start;

#[tokio::test]
async fn a_quiet_subscription_delivers_one_row_at_once() {
    let (place, server) = start("quiet");
    let writer = server.connect().await;
    writer.batch_execute("CREATE TABLE t (k int PRIMARY KEY, v int)").await.unwrap();
    writer.batch_execute("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(v) AS v FROM t").await.unwrap();
    let mut raw = client::Client::start(server.socket_address()).await;
    raw.send(&client::query("SUBSCRIBE t")).await;
    assert_eq!(raw.message().await.unwrap(), "columns hw_epoch:20:0 hw_diff:20:0 k:23:0 v:23:0");
    let reader = server.connect().await;
    let stream = reader.query_raw("SUBSCRIBE TO (SELECT k, v * 2 AS twice FROM t)", Vec::<i32>::new()).await.unwrap();
    let mut stream = pin!(stream);
    // One change at a time: the next is made only when the last has arrived.
    for n in 1..=20 {
        writer.batch_execute(&format!("INSERT INTO t VALUES ({n}, {})", n * 10)).await.unwrap();
        let message = raw.message().await.unwrap();
        assert!(message.ends_with(&format!(" 1 {n} {}", n * 10)), "{message}");
        let row = stream.next().await.unwrap().unwrap();
        assert_eq!((row.get::<_, i64>(1), row.get::<_, i32>(2), row.get::<_, i32>(3)), (1, n, n * 20));
    }
    assert_eq!(value(&writer, "SELECT v FROM total").await.as_deref(), Some("2100"));
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_portal_takes_a_subscription_in_portions() {
    let (_place, server) = start("portions");
    let mut raw = client::Client::start(server.socket_address()).await;
    raw.query("create table t (k int); insert into t values (7), (7)").await;
    raw.query("begin").await;
    let start = [
        client::parse("", "subscribe to (select count(*) as n from t)", &[]),
        client::bind("s", "", &[], &[], &[]),
        client::execute("s", 1),
        client::sync(),
    ];
    raw.send(&start.concat()).await;
    let messages = raw.until_ready().await;
    assert!(messages[2].ends_with(" 1 2"), "{messages:?}");
    assert_eq!(messages[3..], ["suspended", "ready T"]);
    // The next portion waits for a change.
    raw.send(&[client::execute("s", 2), client::sync()].concat()).await;
    let writer = server.connect().await;
    writer.batch_execute("INSERT INTO t VALUES (8)").await.unwrap();
    let messages = raw.until_ready().await;
    assert!(messages[0].ends_with(" -1 2") && messages[1].ends_with(" 1 3"), "{messages:?}");
    assert_eq!(raw.query("rollback").await, ["tag ROLLBACK", "ready I"]);
}

#[tokio::test]
async fn snapshot_progress_and_retractions() {
    let (_place, server) = start("progress");
    let writer = server.connect().await;
    writer.batch_execute("CREATE TABLE t (k int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 10)").await.unwrap();
    let reader = server.connect().await;
    let stream = reader.query_raw("SUBSCRIBE t WITH (PROGRESS = true)", Vec::<i32>::new()).await.unwrap();
    let mut stream = pin!(stream);
    let mut epoch = 0i64;
    let mut next = async || {
        let row = stream.next().await.unwrap().unwrap();
        let at: i64 = row.get(0);
        assert!(at >= epoch, "epochs never go back");
        epoch = at;
        (
            row.get::<_, Option<i64>>(1),
            row.get::<_, bool>(2),
            row.get::<_, Option<i32>>(3),
            row.get::<_, Option<i32>>(4),
        )
    };
    assert_eq!(next().await, (Some(1), false, Some(1), Some(10)));
    assert_eq!(next().await, (None, true, None, None));
    writer.batch_execute("UPDATE t SET v = 11").await.unwrap();
    let mut change = vec![];
    while change.len() < 2 {
        change.extend(Some(next().await).filter(|row| !row.1));
    }
    assert_eq!(change, [(Some(-1), false, Some(1), Some(10)), (Some(1), false, Some(1), Some(11))]);

    let later = server.connect().await;
    let stream = later.query_raw("SUBSCRIBE t WITH (SNAPSHOT = false)", Vec::<i32>::new()).await.unwrap();
    let mut stream = pin!(stream);
    writer.batch_execute("INSERT INTO t VALUES (2, 20)").await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().get::<_, i32>(2), 2);
}

#[tokio::test]
async fn copy_of_a_subscription_delivers_each_row() {
    let (_place, server) = start("copy");
    let writer = server.connect().await;
    writer.batch_execute("CREATE TABLE t (k int, note text); INSERT INTO t VALUES (1, NULL)").await.unwrap();
    let reader = server.connect().await;
    let lines = reader.copy_out("COPY (SUBSCRIBE t) TO STDOUT").await.unwrap();
    let mut lines = pin!(lines.map_ok(|line| String::from_utf8(line.to_vec()).unwrap()));
    let mut next = async || {
        let line = lines.next().await.unwrap().unwrap();
        line.split_once('\t').expect("the epoch comes first").1.to_owned()
    };
    assert_eq!(next().await, "1\t1\t\\N\n");
    writer.batch_execute("INSERT INTO t VALUES (2, 'a\tb')").await.unwrap();
    assert_eq!(next().await, "1\t2\ta\\tb\n");
    writer.batch_execute("DELETE FROM t WHERE k = 1").await.unwrap();
    assert_eq!(next().await, "-1\t1\t\\N\n");
}

#[tokio::test]
async fn a_cursor_fetches_what_has_come_in_time() {
    let (_place, server) = start("cursor");
    let writer = server.connect().await;
    writer.batch_execute("CREATE TABLE t (k int); INSERT INTO t VALUES (1), (2), (3)").await.unwrap();
    let reader = server.connect().await;
    reader.batch_execute("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE t").await.unwrap();
    let fetch = async |sql: &str| {
        let rows = rows(&reader, sql).await.unwrap();
        let mut keys: Vec<String> = rows.into_iter().map(|row| row[2].clone().unwrap()).collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(fetch("FETCH 2 FROM c").await.len(), 3);
    assert_eq!(fetch("FETCH ALL FROM c WITH (timeout = '10ms')").await.len(), 1);
    // Nothing comes, and the wait ends.
    assert_eq!(fetch("FETCH ALL FROM c WITH (timeout = '10ms')").await, "");
    // Without a timeout FETCH waits for the first row.
    let write = writer.batch_execute("INSERT INTO t VALUES (4)");
    let (fetched, written) = tokio::join!(fetch("FETCH 5 FROM c"), write);
    written.unwrap();
    assert_eq!(fetched, "4");
    // A timeout does not cut short what is there.
    writer.batch_execute("INSERT INTO t VALUES (5)").await.unwrap();
    assert_eq!(fetch("FETCH 1 FROM c WITH (timeout = '1min')").await, "5");
    reader.batch_execute("CLOSE c; COMMIT").await.unwrap();
}

#[tokio::test]
async fn dropping_the_relation_ends_its_subscription() {
    let (_place, server) = start("dropped");
    let writer = server.connect().await;
    writer.batch_execute("CREATE TABLE t (k int); INSERT INTO t VALUES (1)").await.unwrap();
    let reader = server.connect().await;
    let stream = reader.query_raw("SUBSCRIBE t", Vec::<i32>::new()).await.unwrap();
    let mut stream = pin!(stream);
    assert!(stream.next().await.unwrap().is_ok());
    writer.batch_execute("DROP TABLE t").await.unwrap();
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42P01");
}
