//! Views that come to a source which is already read, many at once and each with columns of its own: none misses a row,
//! counts one twice or meets a chunk that was decoded before its columns were asked for.

use std::fmt::Write;

use tokio::task::JoinSet;

use crate::process::{describe, rows};
use crate::start;

/// Columns of the source. Of each come two views at once: the second finds its column asked for already.
const COLUMNS: usize = 6;
const ROWS: usize = 400_000;
const ROUNDS: usize = 3;

/// A source that always has more to give than is taken. `CREATE MATERIALIZED VIEW` waits for its end.
fn definition(source: &str) -> String {
    let mut columns = String::new();
    let mut fields = String::new();
    for column in 0..COLUMNS {
        let start = 1 + column * 1_000_000;
        write!(columns, "{}c{column} bigint", if column == 0 { "" } else { ", " }).unwrap();
        write!(fields, ", fields.c{column}.kind = 'sequence', fields.c{column}.start = {start}").unwrap();
        write!(fields, ", fields.c{column}.end = {}", start + ROWS - 1).unwrap();
    }
    format!(
        "CREATE SOURCE {source} ({columns}) WITH (connector = 'datagen', datagen.rows.per.second = 0, \
         datagen.split.num = 3{fields})"
    )
}

async fn views_at_once(first_reader: bool) {
    let (place, server) = start("running-sources");
    for round in 0..ROUNDS {
        let owner = server.connect().await;
        let source = format!("s{round}");
        owner.batch_execute(&definition(&source)).await.unwrap();
        if first_reader {
            // In the background: the others come while it reads.
            let sql = format!(
                "SET background_ddl = true; CREATE MATERIALIZED VIEW first{round} AS SELECT count(*) FROM {source}"
            );
            owner.batch_execute(&sql).await.unwrap();
        }
        let mut creations = JoinSet::new();
        for number in 0..2 * COLUMNS {
            let column = number / 2;
            let client = server.connect().await;
            let query = format!("SELECT count(*) AS n, sum(c{column}) AS s FROM {source}");
            creations.spawn(async move {
                let view = format!("v{round}_{number}");
                let created = client.batch_execute(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await;
                created.unwrap_or_else(|error| panic!("{view}: {}", describe(&error)));
                let kept = rows(&client, &format!("SELECT * FROM {view}")).await.expect("the view is readable");
                assert_eq!(kept, rows(&client, &query).await.expect("the source is readable"), "{view}");
            });
        }
        while let Some(created) = creations.join_next().await {
            created.expect("the view equals its query");
        }
    }
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn views_that_come_at_once_to_an_unread_source() {
    views_at_once(false).await;
}

#[tokio::test]
async fn views_that_come_at_once_to_a_running_source() {
    views_at_once(true).await;
}
