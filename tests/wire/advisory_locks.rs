//! Advisory locks between sessions: who waits, for whom, and what ends the wait.

use tokio_postgres::Client;

use crate::client;
use crate::interrupts::wait_for;
use crate::process::{Server, describe, value};
use crate::start;

/// A session on raw messages that waits for a lock.
async fn waiting(server: &Server, admin: &Client, statement: &str) -> client::Client {
    let mut waiting = client::Client::start(server.socket_address()).await;
    waiting.send(&client::query(statement)).await;
    waits(admin, waiting.pid).await;
    waiting
}

async fn waits(admin: &Client, pid: i32) {
    let event = format!("SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity WHERE pid = {pid}");
    wait_for(admin, &event, "Lock advisory").await;
}

async fn locks(admin: &Client) -> String {
    let sql =
        "SELECT string_agg(mode || ' ' || classid || ' ' || objid || ' ' || objsubid || ' ' || granted::text, '; '
        ORDER BY granted, classid, objid, mode) FROM pg_locks WHERE locktype = 'advisory'";
    value(admin, sql).await.unwrap_or_default()
}

#[tokio::test]
async fn a_lock_is_waited_for_until_its_holder_lets_go() {
    let (place, server) = start("advisory");
    let (admin, ann) = (server.connect().await, server.connect().await);
    ann.batch_execute("SELECT pg_advisory_lock(7), pg_advisory_lock_shared(1, 2)").await.unwrap();
    assert_eq!(value(&admin, "SELECT pg_try_advisory_lock(7)").await.as_deref(), Some("f"));
    assert_eq!(value(&admin, "SELECT pg_try_advisory_lock(0, 7)").await.as_deref(), Some("t"));
    assert_eq!(value(&admin, "SELECT pg_try_advisory_lock_shared(1, 2)").await.as_deref(), Some("t"));
    admin.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let mut bob = waiting(&server, &admin, "SELECT pg_advisory_lock(7)").await;
    let ann_pid = value(&ann, "SELECT pg_backend_pid()").await.unwrap();
    let blocking = value(&admin, &format!("SELECT array_to_string(pg_blocking_pids({}), ',')", bob.pid)).await;
    assert_eq!(blocking, Some(ann_pid));
    let held = "ExclusiveLock 0 7 1 false; ExclusiveLock 0 7 1 true; ShareLock 1 2 2 true";
    assert_eq!(locks(&admin).await, held);
    assert_eq!(value(&ann, "SELECT pg_advisory_unlock(7)").await.as_deref(), Some("t"));
    assert_eq!(bob.until_ready().await.last().unwrap(), "ready I");
    assert_eq!(value(&ann, "SELECT pg_try_advisory_lock(7)").await.as_deref(), Some("f"));
    // A session that ends lets everything go.
    drop(bob);
    wait_for(&ann, "SELECT pg_try_advisory_lock(7)", "t").await;
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_wait_ends_by_cancel_timeout_and_deadlock() {
    let (place, server) = start("advisory-ends");
    let (admin, ann) = (server.connect().await, server.connect().await);
    ann.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
    let mut bob = waiting(&server, &admin, "SELECT pg_advisory_lock(1)").await;
    bob.cancel(server.socket_address()).await;
    let cancelled = "error ERROR 57014 canceling statement due to user request";
    assert!(bob.until_ready().await.contains(&cancelled.to_owned()));
    let timed_out = bob.query("SET lock_timeout = 10; SELECT pg_advisory_lock(1)").await;
    assert!(
        timed_out.contains(&"error ERROR 55P03 canceling statement due to lock timeout".to_owned()),
        "{timed_out:?}"
    );
    bob.query("SET lock_timeout = 0; SELECT pg_advisory_lock(2)").await;
    bob.send(&client::query("SELECT pg_advisory_lock(1)")).await;
    waits(&admin, bob.pid).await;
    let error = ann.simple_query("SELECT pg_advisory_lock(2)").await.unwrap_err();
    assert_eq!(describe(&error), "40P01 deadlock detected");
    let ann_pid = value(&ann, "SELECT pg_backend_pid()").await.unwrap();
    let lock = |key: u32| format!("ExclusiveLock on advisory lock [5,0,{key},1]");
    let told = format!(
        "Process {ann_pid} waits for {}; blocked by process {}.\nProcess {} waits for {}; blocked by process {ann_pid}.",
        lock(2),
        bob.pid,
        bob.pid,
        lock(1)
    );
    assert_eq!(error.as_db_error().unwrap().detail(), Some(told.as_str()));
    // A client that leaves while it waits leaves nothing behind.
    drop(bob);
    wait_for(&ann, "SELECT pg_try_advisory_lock(2)", "t").await;
    ann.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    assert_eq!(locks(&admin).await, "");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_lock_of_a_transaction_ends_with_it() {
    let (place, server) = start("advisory-xact");
    let (admin, ann) = (server.connect().await, server.connect().await);
    let take = "SELECT pg_advisory_xact_lock(1), pg_advisory_lock(2)";
    let free = async |key: u32| value(&admin, &format!("SELECT pg_try_advisory_xact_lock({key})")).await.unwrap();
    // A statement alone is a transaction of its own.
    ann.batch_execute(take).await.unwrap();
    assert_eq!((free(1).await.as_str(), free(2).await.as_str()), ("t", "f"));
    for end in ["COMMIT", "ROLLBACK", "SELECT 1 / 0", "SELECT nothing"] {
        ann.batch_execute(&format!("BEGIN; {take}")).await.unwrap();
        assert_eq!((free(1).await.as_str(), free(2).await.as_str()), ("f", "f"), "{end}");
        let _ = ann.batch_execute(end).await;
        assert_eq!((free(1).await.as_str(), free(2).await.as_str()), ("t", "f"), "{end}");
        ann.batch_execute("ROLLBACK").await.unwrap();
    }
    // Through the extended protocol, too.
    ann.query("SELECT pg_advisory_xact_lock($1)", &[&1i64]).await.unwrap();
    assert_eq!(free(1).await, "t");
    drop(server);
    place.check_log();
}
