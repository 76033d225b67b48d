//! Tables with a connector: what they have read is theirs, exactly once, whatever becomes of the server and the file.

use std::fs;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::inputs::GrowingFile;
use crate::process::{Options, Place, Server, sorted, value};

const OPTIONS: Options = Options { workers: 2, checkpoint_interval_ms: 30 };
/// Kills while the file grows.
const KILLS: usize = 6;
const ROWS: usize = 4_000;
const KEYS: usize = 97;
/// A grown file has been read by then.
const READ_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_outlive_the_file_they_came_from() {
    let place = Place::new("stored");
    let file = place.path().join("rows.csv");
    fs::write(&file, "id,v\n1,10\n2,20\n1,11\n").expect("the file can be written");
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    let from =
        format!("WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE CSV (header = true)", file.display());
    for (table, key) in [("everything", ""), ("last", " PRIMARY KEY")] {
        let create = format!("CREATE TABLE {table} (id int{key}, v int) {from}");
        client.batch_execute(&create).await.expect("the table is created");
    }
    client.batch_execute("INSERT INTO everything VALUES (3, 30)").await.expect("rows may come from elsewhere too");
    fs::remove_file(&file).expect("the file can be removed");
    server.kill();
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    assert_eq!(lines(&client, "SELECT id, v FROM everything").await, ["1 10", "1 11", "2 20", "3 30"]);
    assert_eq!(lines(&client, "SELECT id, v FROM last").await, ["1 11", "2 20"]);
    server.kill();
    place.check_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_reads_a_growing_file_exactly_once_over_kills() {
    let place = Place::new("stored");
    let header = std::iter::once("id,v".to_string());
    let rows = header.chain((0..ROWS).map(|row| format!("{},{row}", row % KEYS))).collect();
    let mut file = GrowingFile::new(&place.path().join("rows.csv"), rows);
    file.grow(10);
    let mut server = Server::start(&place, OPTIONS);
    let mut client = server.connect().await;
    let from = format!("WITH (connector = 'file', path = '{}', follow = true)", file.path.display());
    for (table, key) in [("everything", ""), ("last", " PRIMARY KEY")] {
        let columns = format!("(id int{key}, v int)");
        let create = format!("CREATE TABLE {table} {columns} {from} FORMAT PLAIN ENCODE CSV (header = true)");
        client.batch_execute(&create).await.expect("the table is created");
    }
    let per_id = "CREATE MATERIALIZED VIEW per_id AS SELECT id, count(*) AS n, max(v) AS v FROM everything GROUP BY id";
    client.batch_execute(per_id).await.expect("the view is created");
    for kill in 1..=KILLS {
        file.grow(ROWS / (KILLS + 1));
        let some = kill * ROWS / (KILLS + 1) / 2;
        wait_for(&client, &format!("SELECT count(*) >= {some} FROM everything")).await;
        server.kill();
        server = Server::start(&place, OPTIONS);
        client = server.connect().await;
        // Of one epoch: no row is there twice, and the last one of each key is shown. The two tables read for themselves.
        assert_eq!(value(&client, "SELECT count(*) - count(DISTINCT v) FROM everything").await.as_deref(), Some("0"));
        let view = "SELECT count(*) FROM per_id p JOIN (SELECT id, count(*) AS n, max(v) AS v FROM everything GROUP BY id) e \
                    ON p.id = e.id WHERE p.n <> e.n OR p.v <> e.v";
        assert_eq!(value(&client, view).await.as_deref(), Some("0"));
    }
    file.finish();
    wait_for(&client, &format!("SELECT count(*) = {ROWS} FROM everything")).await;
    wait_for(&client, &format!("SELECT max(v) = {} FROM last", ROWS - 1)).await;
    let total = ROWS * (ROWS - 1) / 2;
    assert_eq!(value(&client, "SELECT sum(v) FROM everything").await, Some(total.to_string()));
    let differing = "SELECT count(*) FROM last l FULL JOIN per_id p ON l.id = p.id WHERE l.v IS DISTINCT FROM p.v";
    assert_eq!(value(&client, differing).await.as_deref(), Some("0"));
    assert_eq!(value(&client, "SELECT count(*) FROM last").await, Some(KEYS.to_string()));
    server.kill();
    place.check_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_an_empty_folder_goes_on_reading_it_after_a_restart() {
    let place = Place::new("stored");
    let folder = place.path().join("rows");
    fs::create_dir(&folder).expect("a folder");
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    let from = format!("WITH (connector = 'file', path = '{}/*.csv', follow = true)", folder.display());
    let from = format!("(id int, v int) {from} FORMAT PLAIN ENCODE CSV (header = true)");
    for statement in [
        format!("CREATE SOURCE rows {from}"),
        "CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n FROM rows".to_string(),
        format!("CREATE TABLE kept {from}"),
    ] {
        client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    // A checkpoint that holds both, and nothing of the folder.
    let epoch = value(&client, "SELECT max(epoch) FROM hw_catalog.freshness").await.expect("an epoch");
    wait_for(&client, &format!("SELECT coalesce(max(epoch) > {epoch}, false) FROM hw_catalog.checkpoints")).await;
    server.kill();
    let server = Server::start(&place, OPTIONS);
    let client = server.connect().await;
    fs::write(folder.join("one.csv"), "id,v\n1,10\n2,20\n").expect("the file can be written");
    wait_for(&client, "SELECT n = 2 FROM seen").await;
    wait_for(&client, "SELECT count(*) = 2 FROM kept").await;
    server.kill();
    place.check_log();
}

async fn lines(client: &Client, sql: &str) -> Vec<String> {
    let rows = sorted(client, sql).await;
    rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect()
}

/// Asks until the answer is true.
async fn wait_for(client: &Client, sql: &str) {
    let started = Instant::now();
    while value(client, sql).await.as_deref() != Some("t") {
        assert!(started.elapsed() < READ_MAX, "still not: {sql}");
    }
}
