//! INSERT, UPDATE and DELETE on a table with a primary key: after a crash the rows of each owner are as after the last
//! acknowledged statement, or as after the one that was under way.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use tokio_postgres::Client;

use crate::compare::only_disconnected;
use crate::process::sorted;

const IDS_PER_OWNER: i64 = 1_000;
/// Few, so that rows are changed often.
const ITEMS: i64 = 40;

type Items = BTreeMap<i64, (i64, String)>;

/// What one owner knows.
#[derive(Debug)]
pub struct Stock {
    owner: i64,
    items: Items,
    /// As it is if the statement under way was done.
    possible: Option<Items>,
    pub acknowledged: u64,
}

impl Stock {
    pub fn new(owner: i64) -> Stock {
        Stock { owner, items: Items::new(), possible: None, acknowledged: 0 }
    }

    /// Changes rows until the server is gone.
    pub async fn write(mut self, client: Client, mut rng: StdRng) -> Stock {
        loop {
            let (statement, after) = self.statement(&mut rng);
            self.possible = Some(after);
            match client.batch_execute(&statement).await {
                Ok(()) => {
                    self.items = self.possible.take().expect("just set");
                    self.acknowledged += 1;
                }
                Err(error) => {
                    only_disconnected(&error, &statement);
                    return self;
                }
            }
        }
    }

    /// A statement and the items after it.
    fn statement(&self, rng: &mut StdRng) -> (String, Items) {
        let mut after = self.items.clone();
        let owner = self.owner;
        let id = owner * IDS_PER_OWNER + rng.random_range(0..ITEMS);
        let statement = match (after.contains_key(&id), rng.random_range(0..8)) {
            (false, _) => {
                let item = (rng.random_range(0..1_000), format!("note {}", rng.random_range(0..9)));
                let statement = format!("INSERT INTO stock VALUES ({id}, {owner}, {}, '{}')", item.0, item.1);
                after.insert(id, item);
                statement
            }
            (true, 0..2) => {
                after.remove(&id);
                format!("DELETE FROM stock WHERE id = {id}")
            }
            (true, 2) => {
                after.values_mut().for_each(|item| item.0 += 1);
                format!("UPDATE stock SET n = n + 1 WHERE owner = {owner}")
            }
            (true, 3) => {
                after.retain(|_, item| item.0 % 5 != 0);
                format!("DELETE FROM stock WHERE owner = {owner} AND n % 5 = 0")
            }
            (true, _) => {
                let n = rng.random_range(0..1_000);
                after.entry(id).and_modify(|item| item.0 = n);
                format!("UPDATE stock SET n = {n} WHERE id = {id}")
            }
        };
        (statement, after)
    }

    /// Compares with what the server has, and takes that as known from now on.
    pub async fn check(&mut self, client: &Client, when: &str) {
        let query = format!("SELECT id, n, note FROM stock WHERE owner = {}", self.owner);
        let found = sorted(client, &query).await;
        let count = found.len();
        let cell = |cell: &Option<String>| cell.clone().expect("no NULLs");
        let found: Items = found
            .iter()
            .map(|row| {
                let number = |i: usize| cell(&row[i]).parse().expect("a number");
                (number(0), (number(1), cell(&row[2])))
            })
            .collect();
        assert_eq!(found.len(), count, "{when}: a key of stock is there twice");
        let fits = found == self.items || self.possible.as_ref() == Some(&found);
        assert!(
            fits,
            "{when}: stock of owner {} is\n{found:?}\nnot\n{:?}\nor\n{:?}",
            self.owner, self.items, self.possible
        );
        self.items = found;
        self.possible = None;
    }
}
