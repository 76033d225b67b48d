//! What belongs to one session and what others see of it: temporary views, the search path, definitions in transaction
//! blocks, activity.

use tokio_postgres::Client;

use crate::interrupts::wait_for;
use crate::process::{Server, describe, rows, value};
use crate::start;

async fn fails(client: &Client, sql: &str) -> String {
    describe(&client.simple_query(sql).await.expect_err(sql))
}

#[tokio::test]
async fn temporary_views_belong_to_their_session() {
    let (place, server) = start("temporary");
    let (ann, bob) = (server.connect().await, server.connect().await);
    ann.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2), (3)").await.unwrap();
    ann.batch_execute("CREATE TEMPORARY VIEW mine AS SELECT n FROM t WHERE n > 1").await.unwrap();
    bob.batch_execute("CREATE TEMP VIEW mine AS SELECT n FROM t WHERE n > 2").await.unwrap();
    assert_eq!(value(&ann, "SELECT count(*) FROM mine").await.as_deref(), Some("2"));
    assert_eq!(value(&bob, "SELECT count(*) FROM mine").await.as_deref(), Some("1"));
    assert_eq!(value(&bob, "SELECT count(*) FROM pg_temp.mine").await.as_deref(), Some("1"));
    let listed = "SELECT count(*) FROM pg_class WHERE relname = 'mine'";
    assert_eq!(value(&bob, listed).await.as_deref(), Some("1"));
    let cid = server.connect().await;
    assert_eq!(value(&cid, listed).await.as_deref(), Some("0"));
    assert_eq!(rows(&cid, "SHOW VIEWS").await.unwrap(), Vec::<Vec<Option<String>>>::new());
    assert_eq!(fails(&cid, "SELECT * FROM mine").await, "42P01 relation \"mine\" does not exist");
    assert_eq!(fails(&cid, "DROP VIEW mine").await, "42P01 view \"mine\" does not exist");

    // It hides a relation of the same name, for its session only.
    cid.batch_execute("CREATE TABLE mine (n int)").await.unwrap();
    assert_eq!(value(&cid, "SELECT count(*) FROM mine").await.as_deref(), Some("0"));
    assert_eq!(value(&ann, "SELECT count(*) FROM mine").await.as_deref(), Some("2"));
    assert_eq!(value(&ann, "SELECT count(*) FROM public.mine").await.as_deref(), Some("0"));

    // What reads it is temporary, too, or refused.
    ann.batch_execute("CREATE VIEW above AS SELECT n FROM mine").await.unwrap();
    assert_eq!(value(&ann, "SELECT count(*) FROM above").await.as_deref(), Some("2"));
    assert_eq!(fails(&cid, "SELECT * FROM above").await, "42P01 relation \"above\" does not exist");
    let refused = fails(&ann, "CREATE MATERIALIZED VIEW kept AS SELECT n FROM mine").await;
    assert_eq!(refused, "0A000 materialized views must not use temporary tables or views");
    let refused = fails(&ann, "CREATE TEMPORARY VIEW public.there AS SELECT 1 AS n").await;
    assert_eq!(refused, "42P16 cannot create temporary relation in non-temporary schema");
    let refused = fails(&cid, "DROP TABLE t").await;
    assert_eq!(refused, "2BP01 cannot drop table t because other objects depend on it");

    // DISCARD ALL and the end of the session take them away.
    ann.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(value(&ann, "SELECT count(*) FROM mine").await.as_deref(), Some("0"));
    ann.batch_execute("CREATE TEMP VIEW again AS SELECT n FROM t").await.unwrap();
    drop((ann, bob));
    wait_for(&cid, "SELECT count(*) FROM pg_stat_activity", "1").await;
    while cid.batch_execute("DROP TABLE t").await.is_err() {
        tokio::task::yield_now().await;
    }
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn temporary_views_do_not_outlive_the_server() {
    let (place, server) = start("leftover");
    let ann = server.connect().await;
    ann.batch_execute("CREATE TABLE t (n int); CREATE TEMP VIEW mine AS SELECT n FROM t").await.unwrap();
    server.kill();
    let server = Server::start(&place, crate::OPTIONS);
    let bob = server.connect().await;
    // The first session of this life has the id of the first one before.
    assert_eq!(fails(&bob, "SELECT * FROM mine").await, "42P01 relation \"mine\" does not exist");
    bob.batch_execute("CREATE TEMP VIEW mine AS SELECT n FROM t").await.unwrap();
    bob.batch_execute("DROP TABLE t CASCADE").await.unwrap();
}

#[tokio::test]
async fn statements_follow_the_search_path() {
    let (_place, server) = start("path");
    let client = server.connect().await;
    client.batch_execute("CREATE SCHEMA s1; CREATE TABLE t (n int); SET search_path = s1, public").await.unwrap();
    client.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await.unwrap();
    client.batch_execute("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await.unwrap();
    assert_eq!(value(&client, "SELECT n FROM s1.v").await.as_deref(), Some("1"));
    assert_eq!(value(&client, "SELECT count(*) FROM public.t").await.as_deref(), Some("0"));
    client.batch_execute("DROP MATERIALIZED VIEW v; DROP TABLE t; DROP TABLE t").await.unwrap();
    client.batch_execute("SET search_path = nowhere").await.unwrap();
    let refused = fails(&client, "CREATE TABLE t (n int)").await;
    assert_eq!(refused, "3F000 no schema has been selected to create in");
}

#[tokio::test]
async fn definitions_in_a_block_take_effect_at_once() {
    let (place, server) = start("definitions");
    let other = server.connect().await;
    let (client, mut warnings) = server.address().connect_with_notices().await;
    client.batch_execute("BEGIN; CREATE TABLE a (n int); INSERT INTO a VALUES (1)").await.unwrap();
    assert_eq!(value(&other, "SELECT count(*) FROM a").await.as_deref(), Some("0"));
    let refused = fails(&client, "CREATE TABLE b (n int)").await;
    assert_eq!(refused, "0A000 a definition after a write in the same transaction block is not supported");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(warnings.recv().await.unwrap(), "CREATE TABLE took effect at once and is not rolled back");
    assert_eq!(value(&other, "SELECT count(*) FROM a").await.as_deref(), Some("0"));
    client.batch_execute("BEGIN; CREATE TABLE b (n int); INSERT INTO b VALUES (1); COMMIT").await.unwrap();
    assert_eq!(value(&other, "SELECT n FROM b").await.as_deref(), Some("1"));

    // A table that the block has written stays until its end.
    client.batch_execute("BEGIN; INSERT INTO a VALUES (2); INSERT INTO b VALUES (2)").await.unwrap();
    other.batch_execute("SET lock_timeout = '10ms'").await.unwrap();
    assert_eq!(fails(&other, "DROP TABLE b").await, "55P03 canceling statement due to lock timeout");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        value(&client, "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)").await.as_deref(),
        Some("3")
    );
    other.batch_execute("DROP TABLE b").await.unwrap();
    drop(server);
    place.check_log();
}
