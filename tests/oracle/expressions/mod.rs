//! No expression may panic, hang, blow up or fail with an internal error, whatever its arguments are.
//!
//! The generator reads the registry of functions, so a new one is covered by being there. `HW_FUZZ` expressions (3,000)
//! from seed `HW_SEED` (1) on; each has a seed of its own, so `HW_SEED=n HW_FUZZ=1` repeats one.

mod generate;
mod in_process;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use catalog::Catalog;
use plan::{PlanSession, Planner};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::process::number;
use generate::Generator;
use in_process::{Outcome, attempt, remember_panics};

/// An expression that takes longer hangs, and the test can only be aborted.
const HANG: Duration = Duration::from_secs(60);
/// Kinds of failures shown.
const SHOWN: usize = 60;

#[test]
fn expressions_never_panic_nor_fail_internally() {
    let planner = Planner::new(Arc::new(Catalog::new()), PlanSession::default());
    let mut edges = values::edges();
    let batch = values::batch(&planner, &mut edges);
    let generator = Generator::new(&edges, &batch);
    let (first, count) = (number("HW_SEED", 1), number("HW_FUZZ", 3_000));
    remember_panics();
    let watched = watch();
    let mut found: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
    let (mut ran, mut failed) = (0, 0);
    for seed in first..first + count {
        // The watch ends with the test.
        let _ = watched.send(String::new());
        let (about, text) = generator.expression(&mut StdRng::seed_from_u64(seed));
        let _ = watched.send(format!("HW_SEED={seed}: {text}"));
        match attempt(&planner, &batch, &text) {
            Ok(Outcome::Refused) => {}
            Ok(Outcome::Ran { failed: rows }) => {
                ran += 1;
                failed += u64::from(rows > 0);
            }
            Err(what) => {
                let shape: String = what.replace(|c: char| c.is_ascii_digit(), "").chars().take(44).collect();
                let kind = if what.starts_with("internal words") { shape } else { format!("{shape} {about}") };
                found.entry(kind).or_insert_with(|| (0, seed, format!("{text}\n    {what}"))).0 += 1;
            }
        }
    }
    drop(std::panic::take_hook());
    println!("{count} expressions from seed {first}: {ran} ran, {failed} of them failed on some rows");
    assert!(ran > count / 10, "most expressions are refused: the generator is of no use");
    let shown = found.values().take(SHOWN).map(|(times, seed, text)| format!("{times} times, HW_SEED={seed}: {text}"));
    let shown: Vec<String> = shown.collect();
    assert!(found.is_empty(), "{} kinds of failures:\n{}", found.len(), shown.join("\n"));
}

/// Aborts the process, naming the expression, when nothing new comes for too long.
fn watch() -> Sender<String> {
    let (sender, receiver) = channel::<String>();
    std::thread::spawn(move || {
        let mut last = String::new();
        loop {
            match receiver.recv_timeout(HANG) {
                Ok(text) => last = text,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("it hangs: {last}");
                    std::process::abort();
                }
            }
        }
    });
    sender
}
