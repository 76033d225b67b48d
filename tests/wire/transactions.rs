//! Transactions side by side, as PostgreSQL's READ COMMITTED: who waits for whom, and what each sees then. Who waits is
//! seen in `hw_catalog.locks`, never guessed from time.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::interrupts::wait_for;
use crate::process::{Server, describe, sorted, value};
use crate::start;

/// Rows that the last statement of `sql` has touched, or the error.
async fn run(client: &Client, sql: &str) -> Result<u64, Error> {
    let messages = client.simple_query(sql).await?;
    let tags = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
        _ => None,
    });
    Ok(tags.last().unwrap_or_default())
}

/// A statement that is running in the background; its client comes back with the answer.
type Running = JoinHandle<(Client, Result<u64, Error>)>;

fn begin(client: Client, sql: &'static str) -> Running {
    tokio::spawn(async move {
        let answer = run(&client, sql).await;
        (client, answer)
    })
}

async fn waiting(observer: &Client, count: u32) {
    wait_for(observer, "SELECT count(*) FROM hw_catalog.locks WHERE NOT granted", &count.to_string()).await;
}

async fn three(server: &Server) -> (Client, Client, Client) {
    (server.connect().await, server.connect().await, server.connect().await)
}

async fn cell(client: &Client, sql: &str) -> String {
    value(client, sql).await.expect("not null")
}

const ACCOUNTS: &str = "CREATE TABLE acc (id int PRIMARY KEY, bal int);
    INSERT INTO acc SELECT n, 100 FROM generate_series(1, 1000) AS g(n);
    CREATE MATERIALIZED VIEW total AS SELECT sum(bal) AS bal FROM acc";

#[tokio::test]
async fn two_blocks_that_update_one_row_take_turns() {
    let (place, server) = start("turns");
    let (a, b, c) = three(&server).await;
    a.batch_execute(ACCOUNTS).await.unwrap();
    run(&a, "BEGIN; UPDATE acc SET bal = bal - 10 WHERE id = 1").await.unwrap();
    let second = begin(b, "BEGIN; UPDATE acc SET bal = bal + 30 WHERE id = 1; COMMIT");
    waiting(&c, 1).await;
    // Everybody else goes on, and sees what is committed.
    assert_eq!(run(&c, "UPDATE acc SET bal = bal + 1 WHERE id = 2").await.unwrap(), 1);
    assert_eq!(cell(&c, "SELECT bal FROM acc WHERE id = 1").await, "100");
    run(&a, "COMMIT").await.unwrap();
    let (b, answer) = second.await.unwrap();
    answer.unwrap();
    assert_eq!(cell(&b, "SELECT bal FROM acc WHERE id = 1").await, "120");
    assert_eq!(cell(&b, "SELECT bal FROM total").await, "100021");
    // A statement alone is a transaction too.
    run(&a, "BEGIN; UPDATE acc SET bal = bal * 2 WHERE id = 1").await.unwrap();
    let second = begin(b, "UPDATE acc SET bal = bal + 1 WHERE id = 1");
    waiting(&c, 1).await;
    run(&a, "ROLLBACK").await.unwrap();
    let (_, answer) = second.await.unwrap();
    assert_eq!(answer.unwrap(), 1);
    assert_eq!(cell(&c, "SELECT bal FROM acc WHERE id = 1").await, "121");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_row_counted_up_by_two_clients_loses_nothing() {
    let (place, server) = start("counter");
    let (a, b, c) = three(&server).await;
    c.batch_execute("CREATE TABLE n (id int PRIMARY KEY, v int); INSERT INTO n VALUES (1, 0)").await.unwrap();
    let count = |client: Client| async move {
        for _ in 0..30 {
            run(&client, "BEGIN").await.unwrap();
            assert_eq!(run(&client, "UPDATE n SET v = v + 1 WHERE id = 1").await.unwrap(), 1);
            run(&client, "COMMIT").await.unwrap();
        }
    };
    tokio::join!(count(a), count(b));
    assert_eq!(cell(&c, "SELECT v FROM n").await, "60");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_row_without_a_key_is_deleted_once() {
    let (place, server) = start("nokey");
    let (a, b, c) = three(&server).await;
    a.batch_execute("CREATE TABLE k (v int); INSERT INTO k VALUES (1), (1), (2)").await.unwrap();
    run(&a, "BEGIN; DELETE FROM k WHERE v = 1").await.unwrap();
    let second = begin(b, "DELETE FROM k WHERE v = 1");
    waiting(&c, 1).await;
    // What comes meanwhile is not the second's to delete: it has found its rows.
    run(&c, "INSERT INTO k VALUES (1)").await.unwrap();
    run(&a, "COMMIT").await.unwrap();
    let (b, answer) = second.await.unwrap();
    assert_eq!(answer.unwrap(), 0);
    assert_eq!(cell(&b, "SELECT count(*) FROM k").await, "2");
    // An update is followed to the row that it has become.
    run(&a, "BEGIN; UPDATE k SET v = v + 10").await.unwrap();
    let second = begin(b, "UPDATE k SET v = v + 100 WHERE v > 0");
    waiting(&c, 1).await;
    run(&a, "COMMIT").await.unwrap();
    assert_eq!(second.await.unwrap().1.unwrap(), 2);
    let rows = sorted(&c, "SELECT v FROM k").await;
    assert_eq!(rows, [[Some("111".to_string())], [Some("112".to_string())]]);
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_condition_is_checked_again_on_what_a_row_has_become() {
    let (place, server) = start("again");
    let (a, b, c) = three(&server).await;
    a.batch_execute(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30), (4, 5)",
    )
    .await
    .unwrap();
    run(&a, "BEGIN; UPDATE t SET v = 0 WHERE id = 1; UPDATE t SET v = 21 WHERE id = 2; DELETE FROM t WHERE id = 3; UPDATE t SET v = 50 WHERE id = 4; INSERT INTO t VALUES (5, 60)").await.unwrap();
    let second = begin(b, "UPDATE t SET v = v + (SELECT max(v) FROM t) WHERE v >= 10");
    waiting(&c, 1).await;
    run(&a, "COMMIT").await.unwrap();
    let (_, answer) = second.await.unwrap();
    // 1 no longer matches, 3 is gone, 4 and 5 were not found; the subquery stays at the statement's instant.
    assert_eq!(answer.unwrap(), 1);
    let shown = sorted(&c, "SELECT id || ':' || v FROM t").await;
    let shown: Vec<_> = shown.into_iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!(shown, ["1:0", "2:51", "4:50", "5:60"]);
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_key_that_another_transaction_has_inserted_is_waited_for() {
    let (place, server) = start("keys");
    let (a, b, c) = three(&server).await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v int)").await.unwrap();
    run(&a, "BEGIN; INSERT INTO t VALUES (1, 1)").await.unwrap();
    let second = begin(b, "INSERT INTO t VALUES (1, 2)");
    waiting(&c, 1).await;
    run(&c, "INSERT INTO t VALUES (2, 3)").await.unwrap();
    run(&a, "ROLLBACK").await.unwrap();
    let (b, answer) = second.await.unwrap();
    assert_eq!(answer.unwrap(), 1);
    run(&a, "BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 4)").await.unwrap();
    let second = begin(b, "INSERT INTO t VALUES (1, 5)");
    waiting(&c, 1).await;
    run(&a, "COMMIT").await.unwrap();
    let (b, answer) = second.await.unwrap();
    let duplicate = "23505 duplicate key value violates unique constraint \"t_pkey\"";
    assert_eq!(describe(&answer.unwrap_err()), duplicate);
    // The row that was found is gone, although there is another of its key.
    run(&a, "BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 6)").await.unwrap();
    let second = begin(b, "UPDATE t SET v = 0 WHERE id = 1");
    waiting(&c, 1).await;
    run(&a, "COMMIT").await.unwrap();
    assert_eq!(second.await.unwrap().1.unwrap(), 0);
    assert_eq!(cell(&c, "SELECT v FROM t WHERE id = 1").await, "6");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn who_closes_a_circle_of_waiting_fails_and_the_other_goes_on() {
    let (place, server) = start("deadlock");
    let (a, b, c) = three(&server).await;
    a.batch_execute(ACCOUNTS).await.unwrap();
    run(&a, "BEGIN; UPDATE acc SET bal = 1 WHERE id = 1").await.unwrap();
    run(&b, "BEGIN; UPDATE acc SET bal = 2 WHERE id = 2").await.unwrap();
    let first = begin(a, "UPDATE acc SET bal = 1 WHERE id = 2; COMMIT");
    waiting(&c, 1).await;
    let error = run(&b, "UPDATE acc SET bal = 2 WHERE id = 1").await.unwrap_err();
    assert_eq!(describe(&error), "40P01 deadlock detected");
    assert!(error.as_db_error().unwrap().detail().unwrap().contains("blocked by process"));
    first.await.unwrap().1.unwrap();
    assert_eq!(run(&b, "SELECT 1").await.unwrap_err().code().unwrap().code(), "25P02");
    run(&b, "ROLLBACK").await.unwrap();
    assert_eq!(cell(&c, "SELECT sum(bal) FROM acc WHERE id < 3").await, "2");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn waiting_for_a_lock_ends_with_its_timeout() {
    let (place, server) = start("locktimeout");
    let (a, b, c) = three(&server).await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    run(&a, "BEGIN; DELETE FROM t").await.unwrap();
    run(&b, "SET lock_timeout = '20ms'").await.unwrap();
    for statement in ["DELETE FROM t", "INSERT INTO t VALUES (1)", "DROP TABLE t"] {
        let error = run(&b, statement).await.unwrap_err();
        assert_eq!(describe(&error), "55P03 canceling statement due to lock timeout", "{statement}");
    }
    // A table goes when nobody writes it any more; a writer that comes later finds it gone.
    let dropping = begin(c, "DROP TABLE t");
    waiting(&b, 1).await;
    run(&a, "COMMIT").await.unwrap();
    dropping.await.unwrap().1.unwrap();
    assert_eq!(describe(&run(&b, "DELETE FROM t").await.unwrap_err()), "42P01 relation \"t\" does not exist");
    assert_eq!(cell(&b, "SELECT count(*) FROM hw_catalog.locks").await, "0");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_key_is_taken_as_soon_as_its_commit_is_acknowledged() {
    let (place, server) = start("taken");
    let (a, b, _) = three(&server).await;
    let busy = "CREATE TABLE big (g int, n int);
        CREATE MATERIALIZED VIEW pairs AS SELECT a.g, count(*) AS c, sum(a.n * b.n) AS s FROM big a JOIN big b ON a.g = b.g GROUP BY a.g;
        CREATE TABLE t (id int PRIMARY KEY, v int)";
    a.batch_execute(busy).await.unwrap();
    for round in 0..10 {
        run(&a, "INSERT INTO big SELECT n % 2, n FROM generate_series(1, 400) AS g(n)").await.unwrap();
        run(&a, &format!("BEGIN; INSERT INTO t VALUES ({round}, 0); COMMIT")).await.unwrap();
        let error = run(&b, &format!("INSERT INTO t VALUES ({round}, 1)")).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "23505");
        let sql = format!("BEGIN; INSERT INTO t VALUES ({round}, 2) ON CONFLICT DO NOTHING; COMMIT");
        run(&a, &sql).await.unwrap();
        assert_eq!(run(&b, &format!("UPDATE t SET v = v + 1 WHERE id = {round}")).await.unwrap(), 1);
    }
    assert_eq!(cell(&b, "SELECT count(*) || ' ' || sum(v) FROM t").await, "10 10");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn statements_that_end_early_leave_nothing_half_done() {
    let (place, server) = start("early");
    let (a, b, c) = three(&server).await;
    a.batch_execute(ACCOUNTS).await.unwrap();
    // One transaction, although its statements see rows that came in between.
    let back_and_forth = "UPDATE acc SET bal = bal + 1 WHERE id <= 1000; UPDATE acc SET bal = bal - 1 WHERE id <= 1000";
    for round in 0..150u64 {
        let timeout = 1 + round % 3;
        // Whether it was in time does not matter here.
        let _ = run(&b, &format!("SET statement_timeout = {timeout}; {back_and_forth}")).await;
        let _ = run(&b, &format!("INSERT INTO acc VALUES ({}, 0)", 2_000 + round % 40)).await;
        if round % 10 == 0 {
            // A client that leaves in the middle.
            let gone = server.connect().await;
            let leaving = gone.simple_query(back_and_forth);
            let _ = tokio::time::timeout(Duration::from_millis(timeout), leaving).await;
        }
    }
    // An error means that nothing has happened.
    run(&c, "CREATE TABLE n (v int); INSERT INTO n VALUES (0)").await.unwrap();
    let mut counted = 0;
    for round in 0..150u64 {
        // The time-out of the round before may end this, and stay.
        let _ = run(&b, &format!("SET statement_timeout = {}", 1 + round % 8)).await;
        counted += run(&b, "UPDATE n SET v = v + 1").await.unwrap_or_default();
    }
    assert_eq!(cell(&c, "SELECT v FROM n").await, counted.to_string());
    wait_for(&c, "SELECT count(*) FROM hw_catalog.locks", "0").await;
    assert_eq!(cell(&c, "SELECT sum(bal) - 100000 FROM acc").await, "0");
    assert_eq!(cell(&c, "SELECT bal - 100000 FROM total").await, "0");
    assert_eq!(run(&c, "UPDATE acc SET bal = bal + 1 WHERE id <= 1000").await.unwrap(), 1000);
    assert_eq!(cell(&c, "SELECT bal - 101000 FROM total").await, "0");
    assert_eq!(cell(&c, "SELECT count(*) - count(DISTINCT id) FROM acc").await, "0");
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn repeatable_read_holds_one_instant_and_refuses_to_write_over_a_change() {
    let (place, server) = start("repeatable");
    let (a, b, c) = three(&server).await;
    a.batch_execute(ACCOUNTS).await.unwrap();
    run(&a, "BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(cell(&a, "SELECT bal FROM acc WHERE id = 1").await, "100");
    run(&b, "UPDATE acc SET bal = 7 WHERE id = 1").await.unwrap();
    run(&b, "INSERT INTO acc VALUES (2000, 1)").await.unwrap();
    assert_eq!(cell(&a, "SELECT bal FROM acc WHERE id = 1").await, "100");
    assert_eq!(cell(&a, "SELECT bal FROM total").await, "100000");
    run(&a, "UPDATE acc SET bal = bal + 1 WHERE id = 2").await.unwrap();
    assert_eq!(cell(&a, "SELECT sum(bal) FROM acc").await, "100001");
    let error = run(&a, "UPDATE acc SET bal = bal + 1 WHERE id = 1").await.unwrap_err();
    assert_eq!(describe(&error), "40001 could not serialize access due to concurrent update");
    run(&a, "ROLLBACK").await.unwrap();
    assert_eq!(cell(&a, "SELECT bal FROM acc WHERE id = 1").await, "7");
    // The same if it had to wait for the other first.
    run(&b, "BEGIN; UPDATE acc SET bal = 8 WHERE id = 1").await.unwrap();
    let second = begin(a, "BEGIN ISOLATION LEVEL REPEATABLE READ; DELETE FROM acc WHERE id = 1");
    waiting(&c, 1).await;
    run(&b, "COMMIT").await.unwrap();
    let (a, answer) = second.await.unwrap();
    assert_eq!(answer.unwrap_err().code().unwrap().code(), "40001");
    run(&a, "ROLLBACK").await.unwrap();
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn a_session_that_keeps_a_block_open_and_says_nothing_ends() {
    let (place, server) = start("idle");
    let (a, b, _) = three(&server).await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    run(&b, "SET application_name = 'idler'; SET idle_in_transaction_session_timeout = '30ms'").await.unwrap();
    run(&b, "BEGIN; DELETE FROM t").await.unwrap();
    wait_for(&a, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idler'", "0").await;
    assert!(run(&b, "COMMIT").await.is_err());
    assert_eq!(run(&a, "DELETE FROM t").await.unwrap(), 1);
    drop(server);
    place.check_log();
}
