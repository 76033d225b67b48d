//! Reaching other sessions by function: `pg_cancel_backend`, `pg_terminate_backend`, and what `pg_stat_activity` says.

use tokio_postgres::Client;

use crate::client;
use crate::interrupts::wait_for;
use crate::process::{Server, describe, value};
use crate::start;

const CANCELLED: &str = "error ERROR 57014 canceling statement due to user request";
const TERMINATED: &str = "error FATAL 57P01 terminating connection due to administrator command";

/// Statements that go on until they are ended.
const ENDLESS: [&str; 5] = [
    "SELECT pg_sleep(3600)",
    "SUBSCRIBE TO (SELECT n FROM numbers WHERE n < 0)",
    "COPY (SUBSCRIBE numbers) TO STDOUT",
    "FETCH 100 FROM c WITH (timeout = '1 hour')",
    "FLUSH; SELECT count(*) FROM numbers a, generate_series(1, 1000000000) AS b(n) WHERE a.n = b.n - 7",
];

async fn prepare(server: &Server) -> Client {
    let admin = server.connect().await;
    admin.batch_execute("CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)").await.unwrap();
    admin
}

/// A client on raw messages, in a block with an open cursor if the statement needs one.
async fn victim(server: &Server, statement: &str) -> client::Client {
    let mut victim = client::Client::start(server.socket_address()).await;
    if statement.starts_with("FETCH") {
        victim.query("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE numbers WITH (snapshot = false)").await;
    }
    victim
}

async fn state(admin: &Client, pid: i32, wanted: &str) {
    wait_for(admin, &format!("SELECT state FROM pg_stat_activity WHERE pid = {pid}"), wanted).await;
}

#[tokio::test]
async fn a_statement_is_cancelled_by_another_session() {
    let (place, server) = start("cancel-backend");
    let admin = prepare(&server).await;
    for statement in ENDLESS {
        let mut victim = victim(&server, statement).await;
        let cancel = format!("SELECT pg_cancel_backend({})", victim.pid);
        victim.send(&client::query(statement)).await;
        state(&admin, victim.pid, "active").await;
        let messages = loop {
            // What has not begun to wait yet is not reached.
            assert_eq!(value(&admin, &cancel).await.as_deref(), Some("t"), "{statement}");
            tokio::select! {
                messages = victim.until_ready() => break messages,
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        };
        assert_eq!(messages[messages.len() - 2], CANCELLED, "{statement}");
        // Idle, there is nothing to cancel, also not later.
        assert_eq!(value(&admin, &cancel).await.as_deref(), Some("t"));
        let rolled_back = victim.query("ROLLBACK; SELECT 1").await;
        assert_eq!(rolled_back.last().unwrap(), "ready I");
    }
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_session_is_ended_by_another() {
    let (place, server) = start("terminate-backend");
    let admin = prepare(&server).await;
    for statement in ENDLESS {
        let mut victim = victim(&server, statement).await;
        victim.send(&client::query(statement)).await;
        state(&admin, victim.pid, "active").await;
        end(&admin, &mut victim).await;
    }
    let mut idle = client::Client::start(server.socket_address()).await;
    state(&admin, idle.pid, "idle").await;
    end(&admin, &mut idle).await;
    let mut in_block = client::Client::start(server.socket_address()).await;
    in_block.query("BEGIN; INSERT INTO numbers VALUES (2)").await;
    state(&admin, in_block.pid, "idle in transaction").await;
    end(&admin, &mut in_block).await;
    let mut failed = client::Client::start(server.socket_address()).await;
    failed.query("BEGIN; SELECT nothing").await;
    state(&admin, failed.pid, "idle in transaction (aborted)").await;
    end(&admin, &mut failed).await;
    assert_eq!(value(&admin, "SELECT count(*) FROM numbers").await.as_deref(), Some("1"), "the block was rolled back");
    drop(server);
    place.check_log();
}

/// Ends a session and waits, with the function's time-out, until it is gone.
async fn end(admin: &Client, victim: &mut client::Client) {
    let pid = victim.pid;
    assert_eq!(value(admin, &format!("SELECT pg_terminate_backend({pid}, 10000)")).await.as_deref(), Some("t"));
    assert_eq!(victim.until_closed().await.last().unwrap(), TERMINATED);
    let left = value(admin, &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).await;
    assert_eq!(left.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended_too() {
    let (_place, server) = start("deaf");
    let admin = prepare(&server).await;
    let mut deaf = client::Client::start(server.socket_address()).await;
    deaf.send(&client::query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")).await;
    state(&admin, deaf.pid, "active").await;
    let terminate = format!("SELECT pg_terminate_backend({}, 10000)", deaf.pid);
    assert_eq!(value(&admin, &terminate).await.as_deref(), Some("t"));
}

#[tokio::test]
async fn nobody_is_no_backend() {
    let (_place, server) = start("nobody");
    let (admin, mut notices) = server.address().connect_with_notices().await;
    for function in ["pg_cancel_backend", "pg_terminate_backend"] {
        assert_eq!(value(&admin, &format!("SELECT {function}(999999)")).await.as_deref(), Some("f"));
        assert_eq!(notices.recv().await.unwrap(), "PID 999999 is not a PostgreSQL backend process");
    }
    let error = admin.simple_query("SELECT pg_cancel_backend(pg_backend_pid())").await.unwrap_err();
    assert_eq!(describe(&error), "57014 canceling statement due to user request");
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    let other = server.connect().await;
    assert_eq!(value(&admin, others).await.as_deref(), Some("1"));
    assert!(other.simple_query("SELECT 1").await.is_err());
    let error = admin.simple_query("SELECT pg_terminate_backend(pg_backend_pid())").await.unwrap_err();
    assert_eq!(describe(&error), "57P01 terminating connection due to administrator command");
}
