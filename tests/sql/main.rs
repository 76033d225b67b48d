//! SQL tests: every script of `sql-tests/` and every Nexmark case, over the real wire, against the real binary.
//!
//! A script runs four ways: on 1 and on 4 workers, each without and with a restart, which is always kill -9 and a new
//! start on the same directory (at explicit `restart` records, else half-way). Scripts in `sql-tests/session/` and
//! scripts that start with `# once` are about one session or one moment and run one way. Each way has a server process,
//! a port and a directory of its own; two run at a time. `HW_SLT=part-of-a-path` (or an argument) selects scripts.
//! No libtest harness, because one file is four tests and a table says which way took how long.
//! Where to read next: `script.rs` (ways, restarts), `database.rs` (the wire), `nexmark.rs` (cases with known answers).

mod database;
mod nexmark;
mod report;
mod script;
mod server;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use report::{Outcome, Report};

/// Servers that run at the same time.
const SERVERS_MAX: usize = 2;

/// One server's worth of work.
pub enum Job {
    Script(script::ScriptRun),
    Nexmark(nexmark::NexmarkRun),
}

fn main() -> ExitCode {
    let filter = filter();
    let root = root();
    let mut jobs: VecDeque<Job> = VecDeque::new();
    jobs.extend(nexmark::runs(&root, filter.as_deref()).into_iter().map(Job::Nexmark));
    jobs.extend(script::runs(&root, filter.as_deref()).into_iter().map(Job::Script));
    let jobs = Mutex::new(jobs);
    let report = Report::new();
    std::thread::scope(|scope| {
        for _ in 0..SERVERS_MAX {
            scope.spawn(|| work(&jobs, &report));
        }
    });
    report.finish()
}

/// Takes jobs until none is left. A panic of the test's own code counts as a failure of that job.
fn work(jobs: &Mutex<VecDeque<Job>>, report: &Report) {
    loop {
        let Some(job) = jobs.lock().expect("no panic while holding the queue").pop_front() else { return };
        match job {
            Job::Script(run) => report.add(guarded(&run.file, &run.way.to_string(), || vec![run.execute()])),
            Job::Nexmark(run) => report.add(guarded("nexmark", &run.way(), || run.execute())),
        }
    }
}

fn guarded(name: &str, way: &str, body: impl FnOnce() -> Vec<Outcome>) -> Vec<Outcome> {
    let started = std::time::Instant::now();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        let failure = Some(format!("panicked: {}", text.unwrap_or_default()));
        vec![Outcome { name: name.to_string(), way: way.to_string(), elapsed: started.elapsed(), failure }]
    })
}

/// `HW_SLT`, else the first argument that is not an option.
fn filter() -> Option<String> {
    let argument = || std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    std::env::var("HW_SLT").ok().filter(|filter| !filter.is_empty()).or_else(argument)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests")
}
