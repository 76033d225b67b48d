//! tokio-postgres, the driver of Rust programs: prepared statements, types, transactions, reading one's writes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::TryStreamExt;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::process::value;
use crate::start;

#[tokio::test]
async fn prepared_statements_and_types() {
    let (place, server) = start("driver");
    let client = server.connect().await;
    let create =
        "CREATE TABLE typed (id bigint PRIMARY KEY, small smallint, whole int, single real, twice double precision,
        flag boolean, note text, bytes bytea, at timestamp, instant timestamptz, tags text[])";
    client.batch_execute(create).await.unwrap();
    let insert =
        client.prepare("INSERT INTO typed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)").await.unwrap();
    let expected = [
        Type::INT8,
        Type::INT2,
        Type::INT4,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::BOOL,
        Type::TEXT,
        Type::BYTEA,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY,
    ];
    assert_eq!(insert.params(), expected);
    let at = UNIX_EPOCH + Duration::from_micros(1_767_323_045_123_456);
    let tags = vec![Some("a b"), None, Some("\"{}")];
    let inserted = client
        .execute(&insert, &[&1i64, &-2i16, &3i32, &1.5f32, &-2.5f64, &true, &"é", &&b"\0\xff"[..], &at, &at, &tags])
        .await
        .unwrap();
    assert_eq!(inserted, 1);
    let nothings: [&(dyn ToSql + Sync); 11] = [
        &2i64,
        &None::<i16>,
        &None::<i32>,
        &None::<f32>,
        &f64::NAN,
        &None::<bool>,
        &None::<&str>,
        &None::<&[u8]>,
        &None::<SystemTime>,
        &None::<SystemTime>,
        &None::<Vec<Option<&str>>>,
    ];
    assert_eq!(client.execute(&insert, &nothings).await.unwrap(), 1);

    let select = client.prepare("SELECT * FROM typed WHERE id = $1").await.unwrap();
    assert_eq!(select.columns().iter().map(|c| c.type_().clone()).collect::<Vec<_>>(), expected);
    let row = client.query_one(&select, &[&1i64]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i16>(1), row.get::<_, i32>(2)), (1, -2, 3));
    assert_eq!((row.get::<_, f32>(3), row.get::<_, f64>(4), row.get::<_, bool>(5)), (1.5, -2.5, true));
    assert_eq!((row.get::<_, &str>(6), row.get::<_, &[u8]>(7)), ("é", &b"\0\xff"[..]));
    assert_eq!((row.get::<_, SystemTime>(8), row.get::<_, SystemTime>(9)), (at, at));
    assert_eq!(row.get::<_, Vec<Option<&str>>>(10), tags);
    let row = client.query_one(&select, &[&2i64]).await.unwrap();
    assert_eq!(row.get::<_, Option<i32>>(2), None);
    assert!(row.get::<_, f64>(4).is_nan());
    assert_eq!(row.get::<_, Option<Vec<Option<&str>>>>(10), None);
    assert!(client.query_opt(&select, &[&3i64]).await.unwrap().is_none());

    // Pipelined: all three are on their way before the first is answered.
    let ask = async |id: i64| client.query(&select, &[&id]).await;
    let (a, b, c) = futures::try_join!(ask(1), ask(2), ask(3)).unwrap();
    assert_eq!((a.len(), b.len(), c.len()), (1, 1, 0));
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn many_rows_come_whole() {
    let (_place, server) = start("many");
    let client = server.connect().await;
    let hundred = (0..100).map(|n| format!("({n})")).collect::<Vec<_>>().join(", ");
    client.batch_execute(&format!("CREATE TABLE t (n int); INSERT INTO t VALUES {hundred}")).await.unwrap();
    let sql = "SELECT a.n * 10000 + b.n * 100 + c.n AS n, 'row ' || c.n AS label FROM t a, t b, t c WHERE a.n < 20";
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 200_000);
    let sum: i64 = rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).sum();
    assert_eq!(sum, 200_000 * 199_999 / 2);
    assert!(rows.iter().all(|row| row.get::<_, &str>(1).starts_with("row ")));
    let copied: Vec<_> = client
        .copy_out("COPY (SELECT a.n, b.n FROM t a, t b, t c WHERE c.n < 5) TO STDOUT")
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(copied.len(), 50_000);
}

#[tokio::test]
async fn transactions_are_all_or_nothing() {
    let (_place, server) = start("blocks");
    let mut client = server.connect().await;
    let other = server.connect().await;
    client.batch_execute("CREATE TABLE a (n int); CREATE TABLE b (n int)").await.unwrap();
    client.batch_execute("CREATE MATERIALIZED VIEW both AS SELECT a.n AS n FROM a JOIN b ON a.n = b.n").await.unwrap();
    let block = client.transaction().await.unwrap();
    block.execute("INSERT INTO a VALUES ($1)", &[&1i32]).await.unwrap();
    block.execute("INSERT INTO b VALUES ($1)", &[&1i32]).await.unwrap();
    assert_eq!(value(&other, "SELECT count(*) FROM a").await.as_deref(), Some("0"));
    block.commit().await.unwrap();
    assert_eq!(value(&other, "SELECT count(*) FROM both").await.as_deref(), Some("1"));

    let block = client.transaction().await.unwrap();
    block.execute("INSERT INTO a VALUES (2)", &[]).await.unwrap();
    block.rollback().await.unwrap();
    let block = client.transaction().await.unwrap();
    block.execute("INSERT INTO b VALUES (2)", &[]).await.unwrap();
    // Dropped without a word: the driver rolls back.
    drop(block);
    assert_eq!(value(&other, "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)").await.as_deref(), Some("2"));

    let block = client.transaction().await.unwrap();
    let portal = block.bind("VALUES (1), (2), (3), (4), (5)", &[]).await.unwrap();
    let mut fetched = vec![];
    for _ in 0..3 {
        fetched.push(block.query_portal(&portal, 2).await.unwrap().len());
    }
    assert_eq!(fetched, [2, 2, 1]);
    block.execute("INSERT INTO a VALUES (3)", &[]).await.unwrap();
    let error = block.execute("INSERT INTO nowhere VALUES (3)", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
    let error = block.execute("INSERT INTO b VALUES (3)", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    block.commit().await.unwrap();
    assert_eq!(value(&other, "SELECT max(n) FROM a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn every_connection_reads_what_any_has_written() {
    let (place, server) = start("writes");
    let clients = [server.connect().await, server.connect().await];
    clients[0].batch_execute("CREATE TABLE t (writer int, n int)").await.unwrap();
    let view = "CREATE MATERIALIZED VIEW counts AS SELECT writer, count(*) AS n, max(n) AS last FROM t GROUP BY writer";
    clients[1].batch_execute(view).await.unwrap();
    for n in 1..=50i32 {
        for (writer, client) in clients.iter().enumerate() {
            let writer = writer as i32;
            client.execute("INSERT INTO t VALUES ($1, $2)", &[&writer, &n]).await.unwrap();
            for reader in &clients {
                let row = reader.query_one("SELECT n, last FROM counts WHERE writer = $1", &[&writer]).await.unwrap();
                assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (i64::from(n), n));
            }
        }
    }
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn errors_carry_their_parts() {
    let (_place, server) = start("parts");
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (k int PRIMARY KEY)").await.unwrap();
    client.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    let error = client.execute("INSERT INTO t VALUES ($1)", &[&1i32]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code(), error.severity()), (&SqlState::UNIQUE_VIOLATION, "ERROR"));
    assert_eq!(error.detail(), Some("Key (k)=(1) already exists."));
    let error = client.query("SELECT 1 +", &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::SYNTAX_ERROR);
    assert!(error.position().is_some());
    // The statement that failed does not disturb what follows.
    let messages = client.simple_query("SELECT 1; SELECT 2").await.unwrap();
    assert_eq!(messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count(), 2);
}
