//! A subscription that goes on where an earlier one stopped (`retain_history`): no change twice, none missing; and after a
//! crash a clear refusal instead of a gap.

use tokio_postgres::{Client, error::SqlState};

use crate::process::{Options, Place, Row, Server, rows};

const OPTIONS: Options = Options { workers: 2, checkpoint_interval_ms: 50 };

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_goes_on_where_another_stopped() {
    let place = Place::new("resume");
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    for statement in [
        "CREATE TABLE t (k int, v int)",
        "INSERT INTO t VALUES (1, 10)",
        "CREATE MATERIALIZED VIEW kept WITH (retain_history = '1 hour') AS SELECT k, sum(v) AS v FROM t GROUP BY k",
    ] {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let first = fetch(&client, "SUBSCRIBE kept", 1).await;
    assert_eq!(changes(&first), ["1 1 10"]);
    let seen = epoch(&first[0]);
    // Nobody listens while this happens.
    for statement in ["INSERT INTO t VALUES (1, 5)", "INSERT INTO t VALUES (2, 7)"] {
        client.batch_execute(statement).await.expect("a write");
    }
    let rest = fetch(&client, &format!("SUBSCRIBE kept WITH (SNAPSHOT = false) AS OF {seen}"), 3).await;
    assert_eq!(changes(&rest), ["-1 1 10", "1 1 15", "1 2 7"]);
    assert!(epoch(&rest[0]) > seen, "what was seen does not come again");
    let between = epoch(&rest[1]);
    let last = fetch(&client, &format!("SUBSCRIBE kept WITH (SNAPSHOT = false) AS OF {between}"), 1).await;
    assert_eq!(changes(&last), ["1 2 7"]);
    // With a snapshot: the rows as they were, then what followed.
    let replayed = fetch(&client, &format!("SUBSCRIBE kept AS OF {seen}"), 4).await;
    assert_eq!(changes(&replayed), ["1 1 10", "-1 1 10", "1 1 15", "1 2 7"]);
    refused(&client, "SUBSCRIBE kept AS OF 5", &SqlState::SNAPSHOT_TOO_OLD).await;
    let ahead = format!("SUBSCRIBE kept AS OF {}", epoch(&rest[2]) + 1_000_000);
    refused(&client, &ahead, &SqlState::INVALID_PARAMETER_VALUE).await;
    refused(&client, &format!("SUBSCRIBE (SELECT k FROM t) AS OF {seen}"), &SqlState::FEATURE_NOT_SUPPORTED).await;
    let bad = "CREATE MATERIALIZED VIEW bad WITH (retain_history = 'soon') AS SELECT k FROM t";
    refused(&client, bad, &SqlState::INVALID_PARAMETER_VALUE).await;
    server.kill();
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    refused(&client, &format!("SUBSCRIBE kept AS OF {seen}"), &SqlState::SNAPSHOT_TOO_OLD).await;
    // A new history begins.
    client.batch_execute("INSERT INTO t VALUES (3, 1)").await.expect("a write");
    let again = fetch(&client, "SUBSCRIBE kept", 3).await;
    let seen = epoch(&again[0]);
    client.batch_execute("INSERT INTO t VALUES (4, 2)").await.expect("a write");
    let rest = fetch(&client, &format!("SUBSCRIBE kept WITH (SNAPSHOT = false) AS OF {seen}"), 1).await;
    assert_eq!(changes(&rest), ["1 4 2"]);
    server.kill();
    place.check_log();
}

/// The first `count` rows of a subscription.
async fn fetch(client: &Client, subscribe: &str, count: usize) -> Vec<Row> {
    let declare = format!("BEGIN; DECLARE c CURSOR FOR {subscribe}");
    client.batch_execute(&declare).await.unwrap_or_else(|error| panic!("{subscribe}: {error:?}"));
    let mut found: Vec<Row> = vec![];
    while found.len() < count {
        let more = format!("FETCH {} FROM c WITH (timeout = '30s')", count - found.len());
        let more = rows(client, &more).await.expect("rows of the subscription");
        assert!(!more.is_empty(), "{subscribe}: nothing came after {found:?}");
        found.extend(more);
    }
    client.batch_execute("COMMIT").await.expect("the block ends");
    found
}

async fn refused(client: &Client, statement: &str, state: &SqlState) {
    let error = rows(client, statement).await.expect_err("it is refused");
    assert_eq!(error.code(), Some(state), "{statement}");
}

fn epoch(row: &Row) -> u64 {
    row[0].as_deref().and_then(|text| text.parse().ok()).expect("an epoch")
}

/// Everything but the epoch.
fn changes(found: &[Row]) -> Vec<String> {
    found.iter().map(|row| row[1..].iter().flatten().cloned().collect::<Vec<_>>().join(" ")).collect()
}
