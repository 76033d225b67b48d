//! An append-only table with a watermark: its rows, its windows, and what EMIT ON WINDOW CLOSE has emitted by then.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use tokio_postgres::Client;

use crate::compare::{difference, only_disconnected};
use crate::process::{Row, sorted};

/// Below the watermark's delay of five seconds, so that no row is late.
const JITTER_MS: i64 = 4_000;
const START_MS: i64 = 43_200_000;

/// The only writer of the table.
#[derive(Debug, Default)]
pub struct Clicks {
    next: i64,
    rows: BTreeMap<i64, Row>,
    doubtful: BTreeMap<i64, Row>,
    pub acknowledged: u64,
}

fn time(ms: i64) -> String {
    let (seconds, millis) = (ms / 1_000, ms % 1_000);
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_string() };
    format!("2026-01-01 {:02}:{:02}:{:02}{fraction}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

impl Clicks {
    /// Inserts until the server is gone.
    pub async fn write(mut self, client: Client, mut rng: StdRng) -> Clicks {
        loop {
            let mut values = vec![];
            for id in self.next..self.next + rng.random_range(1..4) {
                let at = time(START_MS + id * 40 - rng.random_range(0..JITTER_MS));
                let page = rng.random_range(0..5);
                values.push(format!("({id}, {page}, '{at}')"));
                self.doubtful.insert(id, vec![Some(id.to_string()), Some(page.to_string()), Some(at)]);
            }
            self.next += values.len() as i64;
            match client.batch_execute(&format!("INSERT INTO clicks VALUES {}", values.join(", "))).await {
                Ok(()) => {
                    self.acknowledged += values.len() as u64;
                    self.rows.append(&mut self.doubtful);
                }
                Err(error) => {
                    only_disconnected(&error, "INSERT INTO clicks");
                    return self;
                }
            }
        }
    }

    /// Compares with what the server has, and takes that as known from now on.
    pub async fn check(&mut self, client: &Client, when: &str) {
        let found = sorted(client, "SELECT id, page, at FROM clicks").await;
        let doubtful = std::mem::take(&mut self.doubtful);
        if found.len() > self.rows.len() {
            self.rows.extend(doubtful);
        }
        let mut expected: Vec<Row> = self.rows.values().cloned().collect();
        expected.sort();
        let difference = difference(&found, &expected);
        assert!(difference.is_empty(), "{when}: clicks\n{difference}");
    }

    /// Each window that the watermark has passed is there, complete and once; no other is.
    pub async fn check_closed(&self, client: &Client, when: &str) {
        let closed = "SELECT window_start, window_end, page, n FROM t_clicks_closed";
        let expected = "SELECT window_start, window_end, page, count(*) AS n FROM \
             TUMBLE(clicks, at, INTERVAL '2 seconds') \
             WHERE window_end <= (SELECT max(at) - INTERVAL '5 seconds' FROM clicks) \
             GROUP BY window_start, window_end, page";
        let difference = difference(&sorted(client, closed).await, &sorted(client, expected).await);
        assert!(difference.is_empty(), "{when}: t_clicks_closed\n{difference}");
    }
}
