//! A subscription as its client keeps it: the multiset of rows, checked with every change.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::process::Row;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A row's multiplicity changed at this epoch.
    Change { epoch: i64, diff: i64, row: Row },
    /// Everything up to this epoch has arrived.
    Progress { epoch: i64 },
}

type Messages = Pin<Box<dyn Stream<Item = Result<SimpleQueryMessage, tokio_postgres::Error>> + Send>>;

pub struct Changelog {
    what: String,
    messages: Messages,
    rows: BTreeMap<Row, i64>,
    /// Of the last event; never goes back.
    epoch: i64,
    progressed: i64,
}

impl Changelog {
    /// `what` is a relation or a query in parentheses.
    pub async fn open(client: &Client, what: &str) -> Result<Changelog, tokio_postgres::Error> {
        let messages = client.simple_query_raw(&format!("SUBSCRIBE {what} WITH (PROGRESS = true)")).await?;
        let messages: Messages = Box::pin(messages);
        Ok(Changelog { what: what.to_string(), messages, rows: BTreeMap::new(), epoch: 0, progressed: 0 })
    }

    /// Rows and their multiplicities after the last event.
    pub fn rows(&self) -> &BTreeMap<Row, i64> {
        &self.rows
    }

    /// The next event; `None` at the end of a connection.
    pub async fn next(&mut self) -> Result<Option<Event>, tokio_postgres::Error> {
        while let Some(message) = self.messages.next().await {
            let SimpleQueryMessage::Row(row) = message? else { continue };
            let cell = |i: usize| row.get(i).and_then(|text| text.parse::<i64>().ok());
            let epoch = cell(0).expect("every row has an epoch");
            assert!(epoch >= self.epoch, "{}: epoch {epoch} after {}", self.what, self.epoch);
            self.epoch = epoch;
            if row.get(2) == Some("t") {
                assert!(epoch >= self.progressed, "{}: progress goes back", self.what);
                self.progressed = epoch;
                // Within an epoch diffs may come in any order; at its end nothing may be owed.
                let below = self.rows.iter().find(|(_, count)| **count < 0);
                assert!(below.is_none(), "{}: a row that was never there was taken back: {below:?}", self.what);
                return Ok(Some(Event::Progress { epoch }));
            }
            assert!(
                epoch > self.progressed || self.progressed == 0,
                "{}: a change at {epoch} came after that epoch's progress",
                self.what
            );
            let diff = cell(1).expect("a change has a diff");
            assert_ne!(diff, 0, "{}: a change that changes nothing", self.what);
            let values: Row = (3..row.len()).map(|i| row.get(i).map(str::to_string)).collect();
            let count = self.rows.entry(values.clone()).or_default();
            *count += diff;
            if *count == 0 {
                self.rows.remove(&values);
            }
            return Ok(Some(Event::Change { epoch, diff, row: values }));
        }
        Ok(None)
    }
}
