//! INSERTs of many connections: every acknowledged row must be there once, an unacknowledged statement wholly or not at
//! all. Each writer owns a range of ids; some statements are transactions over two tables.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;
use tokio_postgres::Client;

use crate::compare::only_disconnected;
use crate::process::{rows, sorted};

const IDS_PER_WRITER: i64 = 1_000_000_000;

/// What one writer knows.
#[derive(Debug)]
pub struct Ledger {
    writer: i64,
    next: i64,
    /// Acknowledged or seen: must stay.
    ledger: BTreeSet<i64>,
    pairs: BTreeSet<i64>,
    /// Ids of the statement that was under way.
    doubtful: Vec<i64>,
    doubtful_pair: Option<i64>,
    pub acknowledged: u64,
}

fn amount(id: i64) -> i64 {
    id * 31 % 997
}

impl Ledger {
    pub fn new(writer: i64) -> Ledger {
        Ledger {
            writer,
            next: writer * IDS_PER_WRITER,
            ledger: BTreeSet::new(),
            pairs: BTreeSet::new(),
            doubtful: vec![],
            doubtful_pair: None,
            acknowledged: 0,
        }
    }

    /// Inserts until the server is gone.
    pub async fn write(mut self, client: Client, mut rng: StdRng) -> Ledger {
        loop {
            let outcome = match rng.random_range(0..10) {
                0 | 1 => self.insert_pair(&client).await,
                2..6 => self.insert_prepared(&client).await,
                _ => self.insert_rows(&client, rng.random_range(1..6)).await,
            };
            if let Err(error) = outcome {
                only_disconnected(&error, "INSERT");
                return self;
            }
        }
    }

    async fn insert_rows(&mut self, client: &Client, count: i64) -> Result<(), tokio_postgres::Error> {
        self.doubtful = (self.next..self.next + count).collect();
        self.next += count;
        let writer = self.writer;
        let values: Vec<String> = self.doubtful.iter().map(|id| format!("({id}, {writer}, {})", amount(*id))).collect();
        client.batch_execute(&format!("INSERT INTO ledger VALUES {}", values.join(", "))).await?;
        self.acknowledge();
        Ok(())
    }

    async fn insert_prepared(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        self.doubtful = vec![self.next];
        self.next += 1;
        let (id, writer) = (self.doubtful[0], i32::try_from(self.writer).expect("few writers"));
        let statement = "INSERT INTO ledger (id, writer, amount) VALUES ($1, $2, $3)";
        let inserted = client.execute(statement, &[&id, &writer, &amount(id)]).await?;
        assert_eq!(inserted, 1);
        self.acknowledge();
        Ok(())
    }

    async fn insert_pair(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let (id, writer) = (self.next, self.writer);
        self.next += 1;
        self.doubtful_pair = Some(id);
        client.batch_execute("BEGIN").await?;
        client.batch_execute(&format!("INSERT INTO pair_a VALUES ({id}, {writer})")).await?;
        client.batch_execute(&format!("INSERT INTO pair_b VALUES ({id}, {writer})")).await?;
        client.batch_execute("COMMIT").await?;
        self.pairs.extend(self.doubtful_pair.take());
        self.acknowledged += 2;
        Ok(())
    }

    fn acknowledge(&mut self) {
        self.acknowledged += self.doubtful.len() as u64;
        self.ledger.extend(self.doubtful.drain(..));
    }

    /// Compares with what the server has, and takes that as known from now on.
    pub async fn check(&mut self, client: &Client, when: &str) {
        let writer = self.writer;
        let query = format!("SELECT id, amount FROM ledger WHERE writer = {writer}");
        let mut found = BTreeSet::new();
        for row in rows(client, &query).await.expect("a ready server answers") {
            let cell = |i: usize| row[i].as_deref().and_then(|text| text.parse::<i64>().ok()).expect("a number");
            assert!(found.insert(cell(0)), "{when}: row {} of ledger is there twice", cell(0));
            assert_eq!(cell(1), amount(cell(0)), "{when}: row {} of ledger has other contents", cell(0));
        }
        let seen = self.doubtful.iter().filter(|id| found.contains(id)).count();
        assert!(seen == 0 || seen == self.doubtful.len(), "{when}: half a statement is there: {:?}", self.doubtful);
        check_ids("ledger", &self.ledger, &self.doubtful, &found, when);
        self.ledger = found;
        self.doubtful.clear();
        self.check_pairs(client, when).await;
    }

    async fn check_pairs(&mut self, client: &Client, when: &str) {
        let mut sides = vec![];
        for table in ["pair_a", "pair_b"] {
            let found = sorted(client, &format!("SELECT id FROM {table} WHERE writer = {}", self.writer)).await;
            let count = found.len();
            let ids: BTreeSet<i64> =
                found.iter().map(|r| r[0].as_deref().expect("an id").parse().expect("a number")).collect();
            assert_eq!(ids.len(), count, "{when}: a row of {table} is there twice");
            sides.push(ids);
        }
        assert_eq!(sides[0], sides[1], "{when}: half a transaction is there");
        let doubtful: Vec<i64> = self.doubtful_pair.take().into_iter().collect();
        let found = sides.swap_remove(0);
        check_ids("pair_a", &self.pairs, &doubtful, &found, when);
        self.pairs = found;
    }
}

fn check_ids(table: &str, known: &BTreeSet<i64>, doubtful: &[i64], found: &BTreeSet<i64>, when: &str) {
    let lost: Vec<&i64> = known.difference(found).take(5).collect();
    assert!(lost.is_empty(), "{when}: acknowledged rows of {table} are lost, among them {lost:?}");
    let strange: Vec<&i64> = found.difference(known).filter(|id| !doubtful.contains(id)).take(5).collect();
    assert!(strange.is_empty(), "{when}: rows of {table} that nobody wrote: {strange:?}");
}
