//! The crash test. A loaded server is killed with SIGKILL at random moments: under load, during checkpoints, during DDL,
//! during recovery itself. After each kill it must start on the same directory, hold every acknowledged write exactly
//! once, and show views that equal their queries. When the inputs have been read, every view must equal the answer of a
//! server that ran undisturbed.
//!
//! `HW_KILLS` kills in all (12), in rounds of a directory each; every other round checkpoints every 200 ms and runs
//! two workers. `HW_SEED` chooses all moments and data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::accounts::{self, Teller};
use crate::clicks::Clicks;
use crate::compare::{difference, difference_query, none, only_disconnected, same};
use crate::ddl::Churn;
use crate::inputs::{Bids, EVENTS_COLUMNS, GrowingFile, event_lines};
use crate::ledger::Ledger;
use crate::process::{Address, Options, Place, Row, Server, Starting, describe, number, rows, sorted};
use crate::rotating::{self, RotatingLog};
use crate::stock::Stock;
use crate::views::{self, CLICKS_CLOSED, TABLES, View};

const KILLS_PER_ROUND: u64 = 8;
const EVENTS: usize = 24_000;
/// From a server's start to its kill; now and then more, so that it gets somewhere.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 20..=400;
const LONG_PAUSE_MS: std::ops::RangeInclusive<u64> = 400..=1_500;
/// A renamed file stops its source today, which is wrong.
const ROTATES: bool = false;
/// By then some life of the server has acknowledged something.
const PROGRESS_MAX: Duration = Duration::from_secs(120);
/// By then a followed file and a paced stream have been read to their ends.
const SETTLED_MAX: Duration = Duration::from_secs(120);

#[test]
fn killed_at_random_moments() {
    let kills = number("HW_KILLS", 12);
    let seed = number("HW_SEED", 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let reference = Reference::run(seed).await;
        let rounds = kills.div_ceil(KILLS_PER_ROUND).max(2);
        let mut counts = Counts::default();
        for round in 0..rounds {
            let share = kills * (round + 1) / rounds - kills * round / rounds;
            let options = match round % 2 {
                0 => Options { workers: 2, checkpoint_interval_ms: 200 },
                _ => Options { workers: 1, checkpoint_interval_ms: 2_000 },
            };
            counts.add(&Round::new(seed, round, options).run(share, &reference).await);
            println!("after round {round}: {counts:?}");
        }
        assert_eq!(counts.kills, kills, "nothing was disrupted");
        assert!(counts.acknowledged_rows > 0 && counts.observed > 0, "no progress: {counts:?}");
        assert!(counts.interrupted_ddl > 0 || kills < 50, "no DDL was cut short: {counts:?}");
        assert!(counts.acknowledged_transfers > 0 && counts.lines > 0, "no progress: {counts:?}");
        let disturbed = counts.failed_transfers > 0 && counts.abandoned_transfers > 0;
        assert!(disturbed || kills < 50, "no transfer was disturbed: {counts:?}");
    });
}

#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    kills_in_recovery: u64,
    acknowledged_rows: u64,
    acknowledged_changes: u64,
    acknowledged_ddl: u64,
    interrupted_ddl: u64,
    acknowledged_transfers: u64,
    failed_transfers: u64,
    abandoned_transfers: u64,
    lines: u64,
    rotations: u64,
    /// Comparisons of a view with its query under load.
    observed: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.kills += other.kills;
        self.kills_in_recovery += other.kills_in_recovery;
        self.acknowledged_rows += other.acknowledged_rows;
        self.acknowledged_changes += other.acknowledged_changes;
        self.acknowledged_ddl += other.acknowledged_ddl;
        self.interrupted_ddl += other.interrupted_ddl;
        self.acknowledged_transfers += other.acknowledged_transfers;
        self.failed_transfers += other.failed_transfers;
        self.abandoned_transfers += other.abandoned_transfers;
        self.lines += other.lines;
        self.rotations += other.rotations;
        self.observed += other.observed;
    }
}

fn file_source(path: &std::path::Path, name: &str, follow: bool) -> String {
    let path = path.display();
    format!(
        "CREATE SOURCE IF NOT EXISTS {name} {EVENTS_COLUMNS} WITH (connector = 'file', path = '{path}', \
         follow = '{follow}', late_rows = 'late_{name}', dead_letter = 'bad_{name}') FORMAT PLAIN ENCODE CSV (header = 'true')"
    )
}

/// What a server that ran undisturbed answers.
struct Reference {
    answers: Vec<(View, Vec<Row>)>,
}

impl Reference {
    async fn run(seed: u64) -> Reference {
        let place = Place::new("undisturbed");
        let mut file = GrowingFile::new(&place.path().join("events.csv"), event_lines(seed, EVENTS));
        file.finish();
        let server = Server::start(&place, Options { workers: 1, checkpoint_interval_ms: 10_000 });
        let client = server.connect().await;
        for source in [file_source(&file.path, "events", false), Bids::bounded("bids")] {
            client.batch_execute(&source).await.expect("a source");
        }
        let mut answers = vec![];
        for view in views::of_file().into_iter().chain(views::of_bids("bids", "n")) {
            client.batch_execute(&view.create()).await.unwrap_or_else(|e| panic!("{}: {e:?}", view.name));
            // The last window of the file never closes while the file may grow; no row but the last is in it.
            let answer = sorted(&client, &format!("SELECT * FROM {}", view.name)).await;
            same(&client, &view.name, &view.query, "undisturbed").await;
            assert!(!answer.is_empty(), "{} says nothing", view.name);
            answers.push((view, answer));
        }
        place.check_log();
        Reference { answers }
    }
}

/// One directory and its kills.
struct Round {
    name: String,
    rng: StdRng,
    options: Options,
    place: Place,
    file: GrowingFile,
    ledgers: Vec<Ledger>,
    stocks: Vec<Stock>,
    tellers: Vec<Teller>,
    log: RotatingLog,
    clicks: Clicks,
    churn: Churn,
    /// Statements still to be acknowledged.
    setup: Vec<String>,
    counts: Counts,
}

impl Round {
    fn new(seed: u64, round: u64, options: Options) -> Round {
        let place = Place::new("crash");
        let file = GrowingFile::new(&place.path().join("events.csv"), event_lines(seed, EVENTS));
        let log = RotatingLog::new(&place.path().join("logs"), ROTATES);
        Round {
            name: format!("seed {seed}, round {round}"),
            rng: StdRng::seed_from_u64(seed << 32 | round),
            options,
            place,
            file,
            ledgers: (1..=3).map(Ledger::new).collect(),
            stocks: (1..=2).map(Stock::new).collect(),
            tellers: (1..=3).map(Teller::new).collect(),
            log,
            clicks: Clicks::default(),
            churn: Churn::default(),
            setup: vec![],
            counts: Counts::default(),
        }
    }

    async fn run(mut self, kills: u64, reference: &Reference) -> Counts {
        self.file.grow(EVENTS / 4);
        let mut server = Server::start(&self.place, self.options);
        self.prepare(&server).await;
        while self.counts.kills < kills {
            self.load_and_kill(server, kills).await;
            server = self.restart(kills).await;
            self.check(&server).await;
        }
        self.file.finish();
        self.complete(&server, reference).await;
        let mut server = server;
        assert!(server.ended().is_none(), "{}: the server ended by itself", self.name);
        self.place.check_log();
        self.counts
    }

    /// Tables with their views, and sources, are there from the start; views over sources are created while kills fall.
    async fn prepare(&mut self, server: &Server) {
        let client = server.connect().await;
        for table in TABLES.into_iter().chain(accounts::TABLES) {
            client.batch_execute(table).await.expect(table);
        }
        client.batch_execute(&accounts::opening()).await.expect("accounts are opened");
        let bids = [Bids::endless("bids"), Bids::bounded("bids_end")];
        for source in bids.into_iter().chain([file_source(&self.file.path, "events", true), self.log.source()]) {
            client.batch_execute(&source).await.unwrap_or_else(|e| panic!("{source}: {e:?}"));
        }
        for view in views::of_tables().into_iter().chain(rotating::views()) {
            client.batch_execute(&view.create()).await.unwrap_or_else(|e| panic!("{}: {e:?}", view.name));
        }
        let (name, query) = accounts::UNLUCKY_VIEW;
        let unlucky = format!("CREATE MATERIALIZED VIEW {name} AS {query}");
        for statement in [CLICKS_CLOSED, &unlucky] {
            client.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
        // Taken from the end. Views over what ends come last: each waits until its input has been read.
        let bounded = views::of_bids("bids_end", "e");
        let all = views::of_file().into_iter().chain(views::of_bids("bids", "n")).chain(bounded);
        self.setup = all.map(|view| view.create()).collect();
        self.setup.reverse();
        let by_key = views::of_file().into_iter().find(|view| view.name == "f_by_key").expect("it is listed");
        client.batch_execute(&by_key.create()).await.expect("f_by_key");
    }

    async fn load_and_kill(&mut self, server: Server, kills: u64) {
        let address = server.address();
        let ledgers: Vec<JoinHandle<Ledger>> =
            start_all(address, &mut self.rng, std::mem::take(&mut self.ledgers), Ledger::write).await;
        let stocks = start_all(address, &mut self.rng, std::mem::take(&mut self.stocks), Stock::write).await;
        let progress = Arc::new(Notify::new());
        let teller = |teller: Teller, client, rng| teller.write(client, rng, address, progress.clone());
        let tellers = start_all(address, &mut self.rng, std::mem::take(&mut self.tellers), teller).await;
        let stop = Arc::new(AtomicBool::new(false));
        let log = tokio::spawn(self.log.clone().write(stop.clone(), StdRng::seed_from_u64(self.rng.random())));
        let clicks = start_all(address, &mut self.rng, vec![std::mem::take(&mut self.clicks)], Clicks::write).await;
        let churn = start_all(address, &mut self.rng, vec![std::mem::take(&mut self.churn)], Churn::write).await;
        let setup = start_all(address, &mut self.rng, vec![std::mem::take(&mut self.setup)], create_all).await;
        let observed = Arc::new(Notify::new());
        let observe = |seen: u64, client, rng| observe(seen, client, rng, observed.clone());
        let observer = start_all(address, &mut self.rng, vec![0], observe).await;
        let pause = if self.rng.random_bool(0.2) { LONG_PAUSE_MS } else { PAUSE_MS };
        let half = Duration::from_millis(self.rng.random_range(pause) / 2);
        // Some lives end before anything was done, most must not, however busy the machine is.
        if self.rng.random_bool(0.7) {
            let both = async { tokio::join!(progress.notified(), observed.notified()) };
            let moved = tokio::time::timeout(PROGRESS_MAX, both).await;
            moved.unwrap_or_else(|_| panic!("{}: nobody can move money, or see it", self.name));
        }
        tokio::time::sleep(half).await;
        self.file.grow(EVENTS / (2 * kills as usize));
        tokio::time::sleep(half).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        self.counts.kills += 1;
        self.log = finished(vec![log]).await.remove(0);
        self.tellers = finished(tellers).await;
        self.ledgers = finished(ledgers).await;
        self.stocks = finished(stocks).await;
        self.clicks = finished(clicks).await.remove(0);
        self.churn = finished(churn).await.remove(0);
        self.setup = finished(setup).await.remove(0);
        self.counts.observed += finished(observer).await.remove(0);
        self.count();
    }

    fn count(&mut self) {
        self.counts.acknowledged_rows =
            self.ledgers.iter().map(|l| l.acknowledged).sum::<u64>() + self.clicks.acknowledged;
        self.counts.acknowledged_changes = self.stocks.iter().map(|s| s.acknowledged).sum();
        self.counts.acknowledged_ddl = self.churn.acknowledged;
        self.counts.interrupted_ddl = self.churn.interrupted;
        self.counts.acknowledged_transfers = self.tellers.iter().map(|teller| teller.acknowledged).sum();
        self.counts.failed_transfers = self.tellers.iter().map(|teller| teller.failed).sum();
        self.counts.abandoned_transfers = self.tellers.iter().map(|teller| teller.abandoned).sum();
        (self.counts.lines, self.counts.rotations) = (self.log.written, self.log.rotations);
    }

    /// Starts the server again; some starts are cut short too.
    async fn restart(&mut self, kills: u64) -> Server {
        while self.counts.kills < kills && self.rng.random_bool(0.25) {
            let starting = Starting::spawn(&self.place, self.options);
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(5..250))).await;
            starting.kill();
            self.counts.kills += 1;
            self.counts.kills_in_recovery += 1;
        }
        Server::start(&self.place, self.options)
    }

    /// Nobody writes: tables are what their writers know, views what their queries say.
    async fn check(&mut self, server: &Server) {
        let when = format!("{}, after kill {}", self.name, self.counts.kills);
        let client = server.connect().await;
        for ledger in &mut self.ledgers {
            ledger.check(&client, &when).await;
        }
        for stock in &mut self.stocks {
            stock.check(&client, &when).await;
        }
        for teller in &mut self.tellers {
            teller.check(&client, &when).await;
        }
        accounts::check_money(&client, &when).await.unwrap_or_else(|error| panic!("{when}: {}", describe(&error)));
        accounts::check_unlucky(&client, &when).await;
        self.log.check(&client, &when).await;
        self.clicks.check(&client, &when).await;
        self.clicks.check_closed(&client, &when).await;
        for view in views::of_tables() {
            same(&client, &view.name, &view.query, &when).await;
        }
        self.churn.check(&client, &when).await;
        // Sources go on: one statement, one epoch.
        if !self.setup.iter().any(|statement| statement.contains("f_")) {
            let totals = "SELECT (SELECT n FROM f_total), (SELECT count(*) FROM f_all), (SELECT sum(n) FROM f_by_key)";
            let row = sorted(&client, totals).await.remove(0);
            assert!(row[0] == row[1] && row[1] == row[2], "{when}: views of one epoch differ: {row:?}");
        }
        self.place.check_log();
    }

    /// All inputs have come to their ends: every view is what it is without kills.
    async fn complete(&mut self, server: &Server, reference: &Reference) {
        let client = server.connect().await;
        for statement in self.setup.drain(..).rev() {
            client.batch_execute(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
        let when = format!("{}, at the end", self.name);
        let deadline = Instant::now() + SETTLED_MAX;
        for (view, answer) in &reference.answers {
            let mut names = vec![view.name.clone()];
            names.extend(view.name.strip_prefix("n_").map(|rest| format!("e_{rest}")));
            for name in names {
                settle(&client, &name, answer, deadline, &when).await;
            }
        }
        while !self.log.check(&client, &when).await {
            assert!(Instant::now() < deadline, "{when}: lines of the rotated log are missing");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.check(server).await;
    }
}

/// Waits until a view over a live source has come to `answer`.
async fn settle(client: &Client, view: &str, answer: &[Row], deadline: Instant, when: &str) {
    loop {
        let found = sorted(client, &format!("SELECT * FROM {view}")).await;
        if found == answer {
            return;
        }
        if Instant::now() > deadline {
            panic!("{when}: {view} is not as without kills\n{}", difference(&found, answer));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One task and connection per item.
async fn start_all<T, F>(
    address: Address,
    rng: &mut StdRng,
    items: Vec<T>,
    run: impl Fn(T, Client, StdRng) -> F,
) -> Vec<JoinHandle<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = vec![];
    for item in items {
        let client = address.connect().await.expect("a ready server accepts clients");
        tasks.push(tokio::spawn(run(item, client, StdRng::seed_from_u64(rng.random()))));
    }
    tasks
}

async fn finished<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut items = vec![];
    for task in tasks {
        items.push(task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    items
}

/// Creates views until none is left or the server is gone.
async fn create_all(mut statements: Vec<String>, client: Client, _rng: StdRng) -> Vec<String> {
    while let Some(statement) = statements.last() {
        if let Err(error) = client.batch_execute(statement).await {
            only_disconnected(&error, statement);
            break;
        }
        statements.pop();
    }
    statements
}

/// Compares views with their queries while others write. Returns comparisons.
async fn observe(mut seen: u64, client: Client, mut rng: StdRng, observed: Arc<Notify>) -> u64 {
    let views = views::of_tables();
    loop {
        if let Err(error) = accounts::check_money(&client, "under load").await {
            only_disconnected(&error, "the sum of all balances");
            return seen;
        }
        seen += 1;
        observed.notify_one();
        let view = &views[rng.random_range(0..views.len())];
        let found = match difference_query(&client, &view.name, &view.query).await {
            Ok(query) => rows(&client, &query).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => none(&found, &format!("{} under load", view.name)),
            Err(error) => {
                only_disconnected(&error, &view.name);
                return seen;
            }
        }
        seen += 1;
    }
}
