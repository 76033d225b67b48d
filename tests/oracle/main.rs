//! Views against their own queries: random tables, random changes on several connections, some kills; after every step
//! each view must hold exactly the rows that its query gives when asked ad hoc. Views are made before and after the
//! data, so that they are built from nothing, from a snapshot, and from a restored state.
//!
//! `HW_SEEDS` seeds (2) from `HW_SEED` (1) on, and those in `seeds.txt` that once found something.

mod changes;
#[path = "../compare/mod.rs"]
mod compare;
mod expressions;
#[path = "../process/mod.rs"]
mod process;
mod run;
mod views;

use process::number;
use run::Run;

/// One seed a line; a comment says what it found.
const SEEDS: &str = include_str!("seeds.txt");

#[test]
fn views_equal_their_queries() {
    let first = number("HW_SEED", 1);
    let drawn = first..first + number("HW_SEEDS", 2);
    let kept = SEEDS.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "#");
    let kept: Vec<u64> = kept.map(|seed| seed.parse().expect("a seed is a number")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for seed in kept.into_iter().chain(drawn) {
        let done = runtime.block_on(Run::new(seed).run());
        println!("seed {seed}: {done:?}");
        assert!(done.compared > 0 && done.rows_compared > 0 && done.changes > 0, "nothing was compared: {done:?}");
    }
}
