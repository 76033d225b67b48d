//! A view whose state grows without bound, over endless sources, under a small memory limit: it is announced, it ends in
//! paused ingestion rather than in a killed process, reads go on, and dropping it lets ingestion go on.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::process::{Options, Place, Server, describe, rows, sorted, value};

const LIMIT_BYTES: u64 = 150_000_000;
/// What the process may take beyond the limit: the allocator's slack, batches under way, and what a checkpoint merges.
const MARGIN_BYTES: u64 = LIMIT_BYTES + 100_000_000;
/// So many refused writes without a row admitted between them are a pause.
const REFUSALS: usize = 20;
/// Pauses that may end again because a checkpoint has ended, before one lasts.
const PAUSES_MAX: usize = 20;
/// Between two looks at a state that will come.
const LOOK: Duration = Duration::from_millis(20);

const SOURCES: &str = "
CREATE SOURCE auction (id bigint, \"itemName\" varchar)
    WITH (connector = 'nexmark', nexmark.table.type = 'Auction', nexmark.min.event.gap.in.ns = 0);
CREATE SOURCE bid (auction bigint, price bigint, url varchar, \"dateTime\" timestamp)
    WITH (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.min.event.gap.in.ns = 0);
CREATE TABLE notes (n int);
CREATE MATERIALIZED VIEW bids AS SELECT count(*) AS n FROM bid;
";
const JOIN: &str =
    "CREATE MATERIALIZED VIEW hoarder AS SELECT b.*, a.\"itemName\" FROM bid b JOIN auction a ON b.auction = a.id";

#[tokio::test]
async fn a_view_without_bound_pauses_ingestion_until_it_is_dropped() {
    let place = Place::new("memory");
    let options = Options { workers: 1, checkpoint_interval_ms: 2_000 };
    let mut server =
        crate::process::Starting::spawn_extra(&place, options, &["--memory-limit", &LIMIT_BYTES.to_string()]).ready();
    let (client, mut notices) = server.address().connect_with_notices().await;
    client.batch_execute(SOURCES).await.unwrap();

    let plan: Vec<String> =
        rows(&client, &format!("EXPLAIN {JOIN}")).await.unwrap().into_iter().flatten().flatten().collect();
    let join = plan.iter().find(|line| line.contains("inner join on [auction] = [id]")).expect("the join is shown");
    assert!(join.contains("left rows, for ever") && join.contains("grows without bound"), "{join}");
    let notice = notices.recv().await.unwrap();
    assert!(notice.starts_with("the state of \"inner join on [auction] = [id]\" grows without bound"), "{notice}");
    client.batch_execute(JOIN).await.unwrap();
    assert_eq!(notices.recv().await.unwrap(), notice);

    // Whatever would grow is refused; what reads is not.
    let mut pauses = 0;
    let (paused_at, error) = loop {
        let paused_at = paused(&client, &server).await;
        match client.simple_query("CREATE MATERIALIZED VIEW more AS SELECT n FROM notes").await {
            Err(error) => break (paused_at, error),
            // A checkpoint ended and gave back what it held, so the pause did too.
            Ok(_) => client.batch_execute("DROP MATERIALIZED VIEW more").await.unwrap(),
        }
        pauses += 1;
        assert!(pauses < PAUSES_MAX, "a view is created at the limit");
    };
    assert_eq!(error.code(), Some(&SqlState::OUT_OF_MEMORY));
    assert!(value(&client, "SELECT count(*) FROM hoarder").await.unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(sorted(&client, "SELECT price FROM hoarder LIMIT 3").await.len(), 3);
    assert!(server.ended().is_none());

    client.batch_execute("DROP MATERIALIZED VIEW hoarder").await.unwrap();
    while let Err(error) = client.batch_execute("INSERT INTO notes VALUES (-1)").await {
        assert_eq!(error.code(), Some(&SqlState::OUT_OF_MEMORY), "{}", describe(&error));
        tokio::time::sleep(LOOK).await;
    }
    while admitted(&client).await <= paused_at {
        tokio::time::sleep(LOOK).await;
    }
    check_resident(&server);
    assert!(server.ended().is_none());
    drop(server);
    place.check_log();
}

async fn admitted(client: &Client) -> u64 {
    value(client, "SELECT n FROM bids").await.unwrap().parse().unwrap()
}

/// Waits until writes are refused and no row is admitted any more; returns the number of rows until then.
async fn paused(client: &Client, server: &Server) -> u64 {
    let (mut refusals, mut before) = (0, 0);
    while refusals < REFUSALS {
        check_resident(server);
        match client.batch_execute("INSERT INTO notes VALUES (1)").await {
            Ok(()) => refusals = 0,
            Err(error) => {
                let error = error.as_db_error().expect("the server lives");
                assert_eq!(error.code(), &SqlState::OUT_OF_MEMORY);
                assert_eq!(error.message(), "memory limit reached, ingestion is paused");
                let detail = error.detail().unwrap_or_default();
                assert!(detail.contains("materialized view \"hoarder\" holds "), "{detail}");
                assert!(error.hint().is_some());
                let now = admitted(client).await;
                refusals = if now == before { refusals + 1 } else { 0 };
                before = now;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    before
}

/// Memory of the process without the pages of its program file. Only Linux tells.
fn check_resident(server: &Server) {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())) else { return };
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux says so");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    let resident = kilobytes * 1024;
    assert!(resident <= LIMIT_BYTES + MARGIN_BYTES, "{resident} bytes are resident with a limit of {LIMIT_BYTES}");
}
