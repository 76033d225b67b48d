//! Random rows, watermarks and restarts: what has left in the end is the clause over all rows, and nothing left twice.
//! `HW_CASES` says how many.

use arrow::array::RecordBatch;
use kernels::{MatchOutput, Recomputer};
use pattern::{AfterMatch, Label, LabelSet, Pattern};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use types::{DeltaBatch, EpochRecord, WATERMARK_END, Watermarks, row_text};

use super::{INPUT, build, concat, either, is_peak, matched, repeat, spec, var};
use crate::changelog::{SOURCE, rows, schema};
use crate::spec::MatchOnCloseSpec;
use crate::{Output, Progress, RestoredTable, TableCut};

const CASES: u64 = 300;

fn pattern(random: &mut StdRng) -> Pattern {
    let any = repeat(either([var(0), var(1)]), 1, random.random_bool(0.5));
    match random.random_range(0..8) {
        0 => concat([var(0), var(1)]),
        1 => repeat(var(0), 1, true),
        2 => concat([var(0), repeat(var(2), 0, random.random_bool(0.5)), var(1)]),
        3 => either([concat([var(0), var(1), var(0)]), var(1)]),
        4 => repeat(var(0), 0, random.random_bool(0.5)),
        5 => concat([any, var(0), Pattern::End]),
        6 => either([concat([Pattern::Start, var(1)]), concat([any, var(1)])]),
        _ => Pattern::Permute(vec![var(0), var(1), repeat(var(0), 0, true)]),
    }
}

fn random_spec(random: &mut StdRng) -> MatchOnCloseSpec {
    let within = random.random_bool(0.5).then(|| random.random_range(0..6));
    let mut spec = spec(pattern(random), "ab*", within);
    let matched = matched(&mut spec);
    if random.random_bool(0.3) {
        matched.conditions[0] = Some(is_peak());
    }
    let rows =
        [MatchOutput::OneRow, MatchOutput::AllShowEmpty, MatchOutput::AllOmitEmpty, MatchOutput::AllWithUnmatched];
    matched.rows = rows[random.random_range(0..rows.len())];
    let set = LabelSet::of([Label(1)]);
    let after = [AfterMatch::PastLastRow, AfterMatch::ToNextRow, AfterMatch::ToLast(set)];
    matched.after_match = after[random.random_range(0..after.len())];
    matched.skip_faults_pass = true;
    matched.timed_out = within.is_some() && random.random_bool(0.5);
    spec
}

#[test]
fn what_has_left_in_the_end_is_the_clause_over_all_rows() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("HW_SEED") {
        Some(seed) => check(seed),
        None => (0..number("HW_CASES").unwrap_or(CASES)).for_each(check),
    }
}

fn check(seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let spec = random_spec(random);
    let input = schema(INPUT);
    let mut cells: Vec<(i64, Vec<String>)> = vec![];
    for _ in 0..random.random_range(0..14) {
        let time = random.random_range(0..12);
        let letter = ["a", "b", "c"][random.random_range(0..3)];
        let row = [random.random_range(0..2).to_string(), time.to_string(), letter.into()];
        cells.push((time, row.into_iter().chain([random.random_range(0..5).to_string()]).collect()));
    }
    let batch =
        |cells: &[(i64, Vec<String>)]| rows(&input, &cells.iter().map(|(_, r)| (r.clone(), 1)).collect::<Vec<_>>());
    let whole = Recomputer::compile(&spec.pattern).expect("compiles").run(&[batch(&cells).rows().clone()]);
    let mut expected = lines(&whole.expect("no row fails"));
    let mut found = vec![];
    // Rows come in any order in which none is before the watermark.
    let mut operator = build(&spec);
    let mut cuts: Vec<TableCut> = vec![];
    let (mut out, mut watermarks) = (Output::default(), Watermarks::default());
    cells.shuffle(random);
    cells.sort_by_key(|(time, _)| time / 4);
    let mut rest = cells.as_slice();
    for epoch in 1.. {
        let (some, later) = rest.split_at(random.random_range(0..=rest.len()));
        if !some.is_empty() {
            operator.on_batch(0, batch(some), &mut out).expect("takes rows");
        }
        rest = later;
        let earliest = rest.iter().map(|(time, _)| *time).min();
        let ended = earliest.is_none() && random.random_bool(0.5);
        let watermark = earliest.unwrap_or(20) * 1_000_000 - random.random_range(0..2_000_000);
        let watermark = if ended { WATERMARK_END } else { watermark.max(watermarks.of(SOURCE)) };
        watermarks.set(SOURCE, watermark);
        let record = EpochRecord::new(epoch, 0, watermarks.clone());
        while operator.on_seal(&record, &mut out).expect("seals") == Progress::More {}
        out.rows.drain(..).for_each(|delta: DeltaBatch| found.extend(lines(&[delta.rows().clone()])));
        assert!(out.errors.is_empty());
        if ended {
            break;
        }
        if random.random_bool(0.3) {
            cuts.extend(operator.checkpoint().gather().expect("gathers"));
            operator = build(&spec);
            for cut in &cuts {
                for batch in &cut.batches {
                    operator.restore(RestoredTable { table: cut.table, batch }).expect("restores");
                }
            }
        }
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "HW_SEED={seed} {:?} {cells:?}", spec.pattern.kind);
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let text = |batch: &RecordBatch| (0..batch.num_rows()).map(|row| row_text(batch, row)).collect::<Vec<_>>();
    batches.iter().flat_map(text).collect()
}
