//! Observers that ask: one statement over several views is one snapshot, and later statements never go back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::Shared;
use crate::compare::only_disconnected;
use crate::process::{Row, rows, sorted};

/// Everything of one epoch: total, outer join (rows, without partner), accepted, both sums, the table itself.
const SNAPSHOT: &str = "SELECT (SELECT total FROM total_strict), (SELECT count(*) FROM outer_join), \
    (SELECT count(*) FROM outer_join WHERE other_id IS NULL), (SELECT count(*) FROM accepted), \
    (SELECT sum(credits) FROM credits), (SELECT sum(debits) FROM debits), (SELECT count(*) FROM transactions), \
    (SELECT sum(amount) FROM transactions)";
/// The same sums by joins and by queries that no view holds.
const JOINED: &str = "SELECT count(*), sum(c.credits - coalesce(x.credits, 0)), sum(b.balance) \
    FROM credits c LEFT JOIN (SELECT to_account AS account, sum(amount) AS credits FROM transactions GROUP BY to_account) x \
    ON c.account = x.account LEFT JOIN balance_strict b ON b.account = c.account WHERE x.account IS NULL OR c.credits <> x.credits";
const WITHOUT: &str = "SELECT count(*) FROM transactions t LEFT JOIN accepted a ON t.id = a.id WHERE a.id IS NULL";

fn cell(row: &Row, index: usize) -> i64 {
    row[index].as_deref().map_or(0, |text| text.parse().expect("a number"))
}

/// Checks one row of `SNAPSHOT`; returns how many transfers it shows.
fn check(row: &Row) -> i64 {
    let count = cell(row, 6);
    assert!(cell(row, 0) == 0 && (row[0].is_none()) == (count == 0), "the total is not 0: {row:?}");
    assert_eq!(cell(row, 1), cell(row, 3), "the outer join has other rows than what was accepted: {row:?}");
    assert_eq!(cell(row, 2), 0, "a row does not find itself: {row:?}");
    assert_eq!(cell(row, 3), count, "accepted is not the table: {row:?}");
    assert_eq!(cell(row, 4), cell(row, 5), "credits are not debits: {row:?}");
    assert_eq!(cell(row, 4), cell(row, 7), "credits are not the transfers: {row:?}");
    count
}

/// One look at a server at rest.
pub async fn check_once(client: &Client, at_least: i64, at_most: i64) {
    let count = check(&sorted(client, SNAPSHOT).await.remove(0));
    assert!((at_least..=at_most).contains(&count), "{count} transfers, acknowledged are {at_least} to {at_most}");
}

/// Looks again and again.
pub async fn observe(shared: Arc<Shared>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let Ok(client) = shared.address.connect().await else { return };
    let mut newest = 0;
    while !shared.stopped() {
        let least = shared.acknowledged.load(Ordering::SeqCst);
        let asked = rng.random_range(0..4);
        let statement = [SNAPSHOT, SNAPSHOT, JOINED, WITHOUT][asked];
        let found = match rows(&client, statement).await {
            Ok(found) => found,
            Err(error) => {
                only_disconnected(&error, statement);
                return;
            }
        };
        if asked >= 2 {
            assert_eq!(cell(&found[0], 0), 0, "views and table differ in one snapshot: {statement}: {found:?}");
        } else {
            let count = check(&found[0]);
            assert!(count >= least, "{count} transfers are visible, {least} were acknowledged before");
            assert!(count >= newest, "a later read shows {count} transfers, an earlier one {newest}");
            newest = count;
        }
        shared.reads.fetch_add(1, Ordering::Relaxed);
    }
}
