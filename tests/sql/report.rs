//! What ran, which way, how long, and how it ended: a line per run as it ends, the table and the failures at the end.
//! Running nothing is a failure: a filter or a path that matches no script must not look like success.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One script, or one Nexmark case, run one way.
pub struct Outcome {
    pub name: String,
    pub way: String,
    pub elapsed: Duration,
    /// Why it failed, with what the server said.
    pub failure: Option<String>,
}

pub struct Report {
    started: Instant,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Report {
    pub fn new() -> Report {
        Report { started: Instant::now(), outcomes: Mutex::default() }
    }

    pub fn add(&self, outcomes: Vec<Outcome>) {
        let mut all = self.outcomes.lock().expect("no panic while holding the outcomes");
        for outcome in outcomes {
            let verdict = if outcome.failure.is_none() { "ok" } else { "FAILED" };
            println!("{} [{}] {verdict}", outcome.name, outcome.way);
            all.push(outcome);
        }
    }

    pub fn finish(self) -> ExitCode {
        let outcomes = self.outcomes.into_inner().expect("no panic while holding the outcomes");
        print_table(&outcomes);
        let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.failure.is_some()).collect();
        for outcome in &failed {
            let reason = outcome.failure.as_deref().unwrap_or_default();
            println!("\n---- {} [{}] ----\n{reason}", outcome.name, outcome.way);
        }
        if outcomes.is_empty() {
            println!("\nnothing ran");
        }
        let good = failed.is_empty() && !outcomes.is_empty();
        println!(
            "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            if good { "ok" } else { "FAILED" },
            outcomes.len() - failed.len(),
            failed.len(),
            self.started.elapsed().as_secs_f64(),
        );
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// File × way × milliseconds.
fn print_table(outcomes: &[Outcome]) {
    let mut rows: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for outcome in outcomes {
        let mark = if outcome.failure.is_some() { "!" } else { "" };
        let cell = format!("{}{mark}", outcome.elapsed.as_millis());
        rows.entry(&outcome.name).or_default().insert(&outcome.way, cell);
    }
    println!("\nmilliseconds (! = failed)");
    let width = rows.keys().map(|name| name.len()).max().unwrap_or(0);
    for (name, ways) in rows {
        let cells: Vec<String> = ways.iter().map(|(way, cell)| format!("{way}: {cell}")).collect();
        println!("{name:width$}  {}", cells.join("  "));
    }
}
