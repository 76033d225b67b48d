//! CREATE and DROP at the moment of a crash: what was acknowledged holds, what was under way is done or undone, and a
//! view that exists is right.

use rand::Rng;
use rand::rngs::StdRng;
use tokio_postgres::{Client, error::SqlState};

use crate::compare::{only_disconnected, same};
use crate::process::describe;

/// What a churned view may be: a query and what it must equal (for views over a source: a view that stays).
const DEFINITIONS: [(&str, &str); 5] = [
    ("SELECT writer, count(*) AS n FROM ledger GROUP BY writer", ""),
    ("SELECT n, id FROM stock WHERE n > 100", ""),
    ("SELECT max(total) AS most FROM t_writers", ""),
    ("SELECT k, count(*) AS n, sum(v) AS total, avg(v) AS mean FROM events GROUP BY k", "SELECT * FROM f_by_key"),
    ("SELECT s.id AS id, w.n AS n FROM stock s JOIN t_writers w ON s.owner = w.writer", ""),
];
const SLOTS: usize = 4;

/// The views of one connection that creates and drops.
#[derive(Debug, Default)]
pub struct Churn {
    /// Definition in each slot.
    views: [Option<usize>; SLOTS],
    /// Slot and definition of the statement under way.
    doubtful: Option<(usize, Option<usize>)>,
    pub acknowledged: u64,
    /// Statements that a kill cut short.
    pub interrupted: u64,
}

impl Churn {
    /// Creates and drops until the server is gone.
    pub async fn write(mut self, client: Client, mut rng: StdRng) -> Churn {
        loop {
            let slot = rng.random_range(0..SLOTS);
            let (statement, after) = match self.views[slot] {
                Some(_) => (format!("DROP MATERIALIZED VIEW churn_{slot}"), None),
                None => {
                    let definition = rng.random_range(0..DEFINITIONS.len());
                    let query = DEFINITIONS[definition].0;
                    (format!("CREATE MATERIALIZED VIEW churn_{slot} AS {query}"), Some(definition))
                }
            };
            self.doubtful = Some((slot, after));
            match client.batch_execute(&statement).await {
                Ok(()) => {
                    self.views[slot] = after;
                    self.doubtful = None;
                    self.acknowledged += 1;
                }
                Err(error) => {
                    only_disconnected(&error, &statement);
                    self.interrupted += 1;
                    return self;
                }
            }
        }
    }

    /// Compares with what the server has, and takes that as known from now on.
    pub async fn check(&mut self, client: &Client, when: &str) {
        for slot in 0..SLOTS {
            let exists = match client.simple_query(&format!("SELECT * FROM churn_{slot} LIMIT 1")).await {
                Ok(_) => true,
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => false,
                Err(error) => panic!("{when}: churn_{slot}: {}", describe(&error)),
            };
            if let Some((_, after)) = self.doubtful.filter(|(doubtful, _)| *doubtful == slot)
                && exists == after.is_some()
            {
                self.views[slot] = after;
            }
            assert_eq!(
                exists,
                self.views[slot].is_some(),
                "{when}: churn_{slot} is {}there",
                if exists { "" } else { "not " }
            );
            if let Some(definition) = self.views[slot] {
                let (query, instead) = DEFINITIONS[definition];
                let expected = if instead.is_empty() { query } else { instead };
                // A view over a live source moves on; one statement sees one epoch.
                if instead.is_empty() {
                    same(client, &format!("churn_{slot}"), expected, when).await;
                } else {
                    let name = format!("churn_{slot}");
                    let query = crate::compare::difference_query(client, &name, expected).await.expect("it exists");
                    crate::compare::none(&crate::process::sorted(client, &query).await, &format!("{when}: {name}"));
                }
            }
        }
        self.doubtful = None;
    }
}
