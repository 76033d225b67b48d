//! Concurrency against a real PostgreSQL: random schedules of transactions over several sessions, statement by statement
//! in one order on both servers. Which requests are blocked, when they are let go, their tags, rows and SQLSTATEs, and what
//! tables and views hold in the end must agree. PostgreSQL against itself shows that the comparison is a function of the
//! schedule; cases that once differed are in `cases/`.
//!
//! `HW_SCHEDULES` schedules (150; 60 on Highwater), `HW_SEED` (1) chooses them, `HW_RUNNERS` (2) play at once, `HW_REACH` says
//! what Highwater is asked: `autocommit`, `blocks` (the default) or `all`. `HW_REPLAY` names a file with one schedule, to be
//! played alone. Differences are made small and printed, one of each kind; `HW_REPORT` names a file for them.
//! Start reading at `play.rs`; what is generated is in `generate.rs` and `statements.rs`.

#[path = "../../src/server/tests/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate server")]
mod client;
mod generate;
mod play;
mod postgres;
#[path = "../process/mod.rs"]
mod process;
mod report;
mod schedule;
mod session;
mod shrink;
mod side;
mod statements;
mod tables;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use generate::Reach;
use postgres::Postgres;
use process::{Options, Place, Server, number};
use report::Report;
use schedule::Schedule;
use side::{Kind, Side};

const OPTIONS: Options = Options { workers: 2, checkpoint_interval_ms: 1_000 };

/// Both servers, as one run sees them.
#[derive(Clone, Copy)]
struct Pair {
    postgres: SocketAddr,
    other: (Kind, SocketAddr),
}

impl Pair {
    async fn sides(self, runner: &str) -> (Side, Side) {
        let postgres = Side::new(Kind::Postgres, self.postgres, runner).await;
        let (kind, address) = self.other;
        let other = Side::new(kind, address, &format!("{runner}o")).await;
        (postgres, other)
    }
}

/// What Highwater is asked. With ON CONFLICT (`HW_REACH=all`) there were differences when this was last tried.
fn reach() -> Reach {
    match std::env::var("HW_REACH").as_deref() {
        Ok("all") => Reach::All,
        Ok("autocommit") => Reach::Autocommit,
        _ => Reach::Blocks,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Plays all schedules; fails on a difference.
async fn run(pair: Pair, schedules: u64, reach: Reach) {
    let seed = number("HW_SEED", 1);
    let next = Arc::new(AtomicU64::new(0));
    let report = Arc::new(Report::default());
    let started = Instant::now();
    let runners = (0..number("HW_RUNNERS", 2)).map(|runner| {
        let (next, report) = (next.clone(), report.clone());
        tokio::spawn(async move {
            let (mut postgres, mut other) = pair.sides(&format!("r{runner}")).await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= schedules || report.is_full() {
                    return;
                }
                let schedule = generate::schedule(seed, number, reach);
                report.compare(&mut postgres, &mut other, &format!("seed {seed}, schedule {number}"), schedule).await;
            }
        })
    });
    for runner in runners.collect::<Vec<_>>() {
        runner.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
    report.finish(schedules, started.elapsed());
}

#[test]
fn postgres_agrees_with_itself() {
    let Some(programs) = postgres::programs() else { return };
    let postgres = Postgres::start(&programs);
    let pair = Pair { postgres: postgres.address(), other: (Kind::Postgres, postgres.address()) };
    block_on(run(pair, number("HW_SCHEDULES", 150), Reach::All));
}

#[test]
fn highwater_agrees_with_postgres() {
    let Some(programs) = postgres::programs() else { return };
    let postgres = Postgres::start(&programs);
    let place = Place::new("concurrency");
    block_on(async {
        let server = Server::start(&place, OPTIONS);
        let pair = Pair { postgres: postgres.address(), other: (Kind::Highwater, server.socket_address()) };
        run(pair, number("HW_SCHEDULES", 60), reach()).await;
        place.check_log();
    });
}

/// Cases that differed once, or that a person found worth keeping; or the one that `HW_REPLAY` names.
#[test]
fn kept_cases_agree() {
    let Some(programs) = postgres::programs() else { return };
    let postgres = Postgres::start(&programs);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/concurrency/cases");
    let paths = match std::env::var_os("HW_REPLAY") {
        Some(path) => vec![path.into()],
        None => {
            let entries = std::fs::read_dir(folder).expect("the folder of cases");
            let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
            paths.sort();
            paths
        }
    };
    assert!(!paths.is_empty(), "there are no cases");
    let place = Place::new("cases");
    block_on(async {
        let server = Server::start(&place, OPTIONS);
        let other = (Kind::Highwater, server.socket_address());
        let pair = Pair { postgres: postgres.address(), other };
        let (mut postgres, mut other) = pair.sides("c").await;
        let report = Report::default();
        let started = Instant::now();
        for path in &paths {
            let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            report.compare(&mut postgres, &mut other, &path.display().to_string(), Schedule::parse(&text)).await;
        }
        report.finish(paths.len() as u64, started.elapsed());
        place.check_log();
    });
}
