//! What a run found: how much was compared, and one small schedule of each kind of difference.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::play::{follow, lead};
use crate::schedule::Schedule;
use crate::shrink::shrink;
use crate::side::Side;

/// More differences than these tell nothing new.
const DIFFERENCES_MAX: usize = 400;
/// Kinds of which a schedule is made small.
const KINDS_MAX: usize = 25;

#[derive(Default)]
pub struct Report {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    acts: usize,
    blocked: usize,
    deadlocks: usize,
    timeouts: usize,
    /// How often each kind was met.
    kinds: BTreeMap<String, usize>,
    /// The first of each kind, small.
    texts: Vec<String>,
}

impl Report {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics holding it")
    }

    pub fn is_full(&self) -> bool {
        self.seen().kinds.values().sum::<usize>() >= DIFFERENCES_MAX
    }

    pub async fn compare(&self, postgres: &mut Side, other: &mut Side, name: &str, schedule: Schedule) {
        let trace = lead(postgres, &schedule).await;
        let difference = follow(other, &schedule, &trace).await;
        {
            let mut seen = self.seen();
            seen.acts += trace.acts();
            seen.blocked += trace.blocked();
            seen.deadlocks += trace.errors("40P01");
            seen.timeouts += trace.errors("55P03");
        }
        let Some(difference) = difference else { return };
        other.renew().await;
        let is_new = {
            let mut seen = self.seen();
            *seen.kinds.entry(difference.kind.clone()).or_default() += 1;
            seen.kinds[&difference.kind] == 1 && seen.kinds.len() <= KINDS_MAX
        };
        if is_new {
            let small = shrink(postgres, other, schedule, difference).await;
            let text = format!("# {name}: {}\n{}", small.kind, small.text);
            println!("{text}");
            self.seen().texts.push(text);
        }
    }

    /// Fails if there was a difference, or nothing to compare.
    pub fn finish(&self, schedules: u64, elapsed: Duration) {
        let seen = self.seen();
        let Seen { acts, blocked, deadlocks, timeouts, .. } = *seen;
        let rate = schedules as f64 / elapsed.as_secs_f64();
        println!(
            "{schedules} schedules, {acts} acts, {blocked} blocked, {deadlocks} deadlocks, {timeouts} lock time-outs, \
             {rate:.1} schedules/s"
        );
        if let Some(path) = std::env::var_os("HW_REPORT") {
            let mut file = std::fs::File::create(path).expect("a file for the report");
            for (kind, count) in &seen.kinds {
                writeln!(file, "# {count} × {kind}").expect("the report can be written");
            }
            for text in &seen.texts {
                writeln!(file, "\n{text}").expect("the report can be written");
            }
        }
        assert!(acts > 0, "nothing was compared");
        let kinds: Vec<String> = seen.kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        assert!(kinds.is_empty(), "differences:\n{}", kinds.join("\n"));
    }
}
