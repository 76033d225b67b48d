//! The bank test: transfers between accounts, and what every observer must see at every moment. Money neither appears
//! nor vanishes, a join with itself finds every row, sums over both sides agree, and time only goes forward.
//!
//! Writers insert on several connections. Observers read with one-statement joins over several views (`reads.rs`) or
//! follow subscriptions (`follow.rs`). Half-way the server is killed with SIGKILL and started again: acknowledged
//! transfers are there, and the invariants hold from the first read on.
//!
//! `HW_OBSERVATIONS` observations in all (500). The test fails when a kind of observer saw no progress.

mod changelog;
mod follow;
mod reads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::compare::only_disconnected;
use crate::process::{Address, Options, Place, Server, number};

const ACCOUNTS: i64 = 10;
const WRITERS: i64 = 3;
const READERS: u64 = 3;
/// Without enough observations by then something hangs.
const PHASE_MAX: Duration = Duration::from_secs(1_200);

const SETUP: [&str; 7] = [
    "CREATE TABLE transactions (id bigint, from_account int, to_account int, amount bigint)",
    "CREATE MATERIALIZED VIEW accepted AS SELECT id FROM transactions",
    "CREATE MATERIALIZED VIEW outer_join AS SELECT t1.id AS id, t2.id AS other_id \
     FROM (SELECT id FROM transactions) t1 LEFT JOIN (SELECT id FROM transactions) t2 ON t1.id = t2.id",
    "CREATE MATERIALIZED VIEW credits AS SELECT to_account AS account, sum(amount) AS credits \
     FROM transactions GROUP BY to_account",
    "CREATE MATERIALIZED VIEW debits AS SELECT from_account AS account, sum(amount) AS debits \
     FROM transactions GROUP BY from_account",
    "CREATE MATERIALIZED VIEW balance_strict AS SELECT coalesce(c.account, d.account) AS account, \
     coalesce(c.credits, 0) - coalesce(d.debits, 0) AS balance \
     FROM credits c FULL JOIN debits d ON c.account = d.account",
    "CREATE MATERIALIZED VIEW total_strict AS SELECT sum(balance) AS total FROM balance_strict",
];

/// What the clients share.
pub struct Shared {
    address: Address,
    /// Writers and observers end when it is set.
    stop: AtomicBool,
    /// Transfers acknowledged so far.
    acknowledged: AtomicI64,
    /// Statements that were sent but not answered when the server went.
    doubtful: AtomicI64,
    reads: AtomicU64,
    follows: AtomicU64,
    /// Epochs at which several subscriptions were compared.
    compared: AtomicU64,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn observations(&self) -> u64 {
        self.reads.load(Ordering::Relaxed) + self.follows.load(Ordering::Relaxed)
    }
}

#[test]
fn money_neither_appears_nor_vanishes() {
    let observations = number("HW_OBSERVATIONS", 500);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let place = Place::new("bank");
        let options = Options { workers: 2, checkpoint_interval_ms: 500 };
        let server = Server::start(&place, options);
        let client = server.connect().await;
        for statement in SETUP {
            client.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
        let mut known = Known { acknowledged: 0, doubtful: 0, next: (0..WRITERS).map(|w| w * 1_000_000_000).collect() };
        let first = phase(&server, &mut known, observations / 2, Some(1)).await;
        place.check_log();
        // The kill falls while everyone is at work.
        let server = killed(server, &place, options, &mut known).await;
        let client = server.connect().await;
        reads::check_once(&client, known.acknowledged, known.acknowledged + known.doubtful).await;
        let second = phase(&server, &mut known, observations - observations / 2, None).await;
        place.check_log();
        for (name, seen) in [("before the kill", &first), ("after the kill", &second)] {
            println!("{name}: {seen:?}");
            let all = [seen.reads, seen.follows, seen.compared, seen.transfers as u64];
            assert!(all.iter().all(|count| *count > 0), "no progress {name}: {seen:?}");
        }
    });
}

/// What holds over a crash.
struct Known {
    acknowledged: i64,
    doubtful: i64,
    /// Next id of each writer.
    next: Vec<i64>,
}

#[derive(Debug)]
struct Seen {
    reads: u64,
    follows: u64,
    compared: u64,
    transfers: i64,
}

/// Writers and observers at work until there are enough observations.
async fn phase(server: &Server, known: &mut Known, observations: u64, seed: Option<u64>) -> Seen {
    let crew = Crew::start(server.address(), known, seed.unwrap_or(2)).await;
    let started = Instant::now();
    while crew.shared.observations() < observations && started.elapsed() < PHASE_MAX && !crew.failed() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = known.acknowledged;
    crew.shared.stop.store(true, Ordering::Relaxed);
    let shared = crew.finish(known).await;
    assert!(shared.observations() >= observations, "only {} observations", shared.observations());
    assert_eq!(shared.doubtful.load(Ordering::Relaxed), 0, "an INSERT failed");
    Seen {
        reads: shared.reads.load(Ordering::Relaxed),
        follows: shared.follows.load(Ordering::Relaxed),
        compared: shared.compared.load(Ordering::Relaxed),
        transfers: known.acknowledged - before,
    }
}

/// Kills the server under load, and starts it again.
async fn killed(server: Server, place: &Place, options: Options, known: &mut Known) -> Server {
    let crew = Crew::start(server.address(), known, 3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill();
    let shared = crew.finish(known).await;
    known.doubtful = shared.doubtful.load(Ordering::Relaxed);
    Server::start(place, options)
}

/// All clients of one phase.
struct Crew {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<i64>>,
    observers: Vec<JoinHandle<()>>,
}

impl Crew {
    async fn start(address: Address, known: &Known, seed: u64) -> Crew {
        let shared = Arc::new(Shared {
            address,
            stop: AtomicBool::new(false),
            acknowledged: AtomicI64::new(known.acknowledged),
            doubtful: AtomicI64::new(0),
            reads: AtomicU64::new(0),
            follows: AtomicU64::new(0),
            compared: AtomicU64::new(0),
        });
        let mut writers = vec![];
        for (index, next) in known.next.iter().enumerate() {
            let client = address.connect().await.expect("a ready server accepts clients");
            let rng = StdRng::seed_from_u64(seed * 100 + index as u64);
            writers.push(tokio::spawn(write(shared.clone(), client, *next, rng)));
        }
        let mut observers = vec![];
        for reader in 0..READERS {
            observers.push(tokio::spawn(reads::observe(shared.clone(), seed * 100 + 50 + reader)));
        }
        observers.push(tokio::spawn(follow::total(shared.clone())));
        observers.push(tokio::spawn(follow::relations(shared.clone())));
        observers.push(tokio::spawn(follow::query(shared.clone())));
        Crew { shared, writers, observers }
    }

    /// Whether somebody has already found something wrong.
    fn failed(&self) -> bool {
        self.observers.iter().any(|task| task.is_finished())
    }

    async fn finish(self, known: &mut Known) -> Arc<Shared> {
        for (index, writer) in self.writers.into_iter().enumerate() {
            known.next[index] = finished(writer).await;
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        for observer in self.observers {
            finished(observer).await;
        }
        known.acknowledged = self.shared.acknowledged.load(Ordering::Relaxed);
        self.shared
    }
}

async fn finished<T>(task: JoinHandle<T>) -> T {
    task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Inserts transfers until told to stop or the server is gone; returns the next id.
async fn write(shared: Arc<Shared>, client: Client, mut next: i64, mut rng: StdRng) -> i64 {
    while !shared.stopped() {
        let count = if rng.random_bool(0.2) { rng.random_range(2..40) } else { 1 };
        let values: Vec<String> = (next..next + count)
            .map(|id| {
                let (from, to) = (rng.random_range(0..ACCOUNTS), rng.random_range(0..ACCOUNTS));
                format!("({id}, {from}, {to}, {})", rng.random_range(1..50))
            })
            .collect();
        next += count;
        match client.batch_execute(&format!("INSERT INTO transactions VALUES {}", values.join(", "))).await {
            Ok(()) => drop(shared.acknowledged.fetch_add(count, Ordering::SeqCst)),
            Err(error) => {
                only_disconnected(&error, "INSERT");
                shared.doubtful.fetch_add(count, Ordering::SeqCst);
                break;
            }
        }
    }
    next
}
