//! Observers that subscribe. Every progress mark is an observation of a consistent state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::changelog::{Changelog, Event};
use crate::compare::only_disconnected;
use crate::process::Row;

/// How often a quiet subscription looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Follows `what` until told to stop or the server is gone. `seen` gets every event.
async fn follow(shared: Arc<Shared>, what: &str, mut seen: impl FnMut(&Event, &Changelog)) {
    let Ok(client) = shared.address.connect().await else { return };
    let mut changelog = match Changelog::open(&client, what).await {
        Ok(changelog) => changelog,
        Err(error) => return only_disconnected(&error, what),
    };
    while !shared.stopped() {
        let Ok(event) = tokio::time::timeout(LOOK, changelog.next()).await else { continue };
        match event {
            Ok(Some(event)) => {
                seen(&event, &changelog);
                if matches!(event, Event::Progress { .. }) {
                    shared.follows.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(None) => return,
            Err(error) => return only_disconnected(&error, what),
        }
    }
}

fn number(row: &Row, index: usize) -> i64 {
    row[index].as_deref().map_or(0, |text| text.parse().expect("a number"))
}

/// The total is 0 once there are accounts, and then never changes again: not even to 0.
pub async fn total(shared: Arc<Shared>) {
    let mut zeros = 0;
    follow(shared, "total_strict", |event, changelog| {
        if let Event::Change { diff, row, .. } = event {
            let (null, zero) = (row[0].is_none(), number(row, 0) == 0);
            assert!(zero, "the total is {row:?}");
            assert!(null || (*diff > 0 && zeros == 0), "the total changed after it was 0: {event:?}");
            zeros += i64::from(!null);
        }
        if let Event::Progress { .. } = event {
            assert_eq!(changelog.rows().values().sum::<i64>(), 1, "one total: {:?}", changelog.rows());
        }
    })
    .await;
}

/// The sum over a column as a subscription showed it: its value from each epoch of change on.
#[derive(Debug, Default)]
struct Steps {
    sum: i64,
    values: BTreeMap<i64, i64>,
    /// Known from the first progress mark to the last.
    first: i64,
    upto: i64,
}

impl Steps {
    fn note(&mut self, event: &Event, column: usize) {
        match event {
            Event::Change { epoch, diff, row } => {
                self.sum += diff * number(row, column);
                self.values.insert(*epoch, self.sum);
            }
            Event::Progress { epoch } => {
                self.first = if self.first == 0 { *epoch } else { self.first };
                self.upto = *epoch;
            }
        }
    }

    /// The value as of `epoch`, if that is known.
    fn at(&self, epoch: i64) -> Option<i64> {
        let known = self.first > 0 && (self.first..=self.upto).contains(&epoch);
        known.then(|| self.values.range(..=epoch).next_back().map_or(0, |(_, value)| *value))
    }
}

/// Several subscriptions: each right by itself, and all the same at every epoch that they have in common.
pub async fn relations(shared: Arc<Shared>) {
    let (mut credits, mut debits, mut transfers) = (Steps::default(), Steps::default(), Steps::default());
    tokio::join!(
        follow(shared.clone(), "credits", |event, changelog| {
            one_row_each(event, changelog);
            credits.note(event, 1);
        }),
        follow(shared.clone(), "debits", |event, changelog| {
            one_row_each(event, changelog);
            debits.note(event, 1);
        }),
        follow(shared.clone(), "transactions", |event, _| transfers.note(event, 3)),
        follow(shared.clone(), "balance_strict", |event, changelog| {
            one_row_each(event, changelog);
            if let Event::Progress { .. } = event {
                let sum: i64 = changelog.rows().iter().map(|(row, count)| number(row, 1) * count).sum();
                assert_eq!(sum, 0, "balances: {:?}", changelog.rows());
            }
        }),
        follow(shared.clone(), "outer_join", |event, _| {
            if let Event::Change { diff, row, .. } = event {
                assert!(*diff == 1 && row[0] == row[1], "the outer join takes back or misses: {event:?}");
            }
        }),
    );
    for epoch in transfers.values.keys() {
        if let (Some(c), Some(d), Some(t)) = (credits.at(*epoch), debits.at(*epoch), transfers.at(*epoch)) {
            assert!(c == d && d == t, "at epoch {epoch} credits are {c}, debits {d}, transfers {t}");
            shared.compared.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// At a progress mark every account has one row.
fn one_row_each(event: &Event, changelog: &Changelog) {
    if let Event::Progress { .. } = event {
        let mut accounts: Vec<&Option<String>> = changelog.rows().keys().map(|row| &row[0]).collect();
        let before = accounts.len();
        accounts.dedup();
        assert_eq!(accounts.len(), before, "an account has two rows: {:?}", changelog.rows());
        assert!(changelog.rows().values().all(|count| *count == 1), "a row is there twice: {:?}", changelog.rows());
    }
}

/// A query that no view holds.
pub async fn query(shared: Arc<Shared>) {
    let what = "(SELECT t.from_account AS account, count(*) AS n, count(a.id) AS found FROM transactions t \
                LEFT JOIN accepted a ON t.id = a.id GROUP BY t.from_account)";
    follow(shared, what, |event, changelog| {
        if let Event::Change { row, .. } = event {
            assert_eq!(row[1], row[2], "a transfer is not accepted: {event:?}");
        }
        one_row_each(event, changelog);
    })
    .await;
}
