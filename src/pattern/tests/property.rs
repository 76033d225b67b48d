//! Random patterns over random rows: the search equals the reference, however the rows come, and gives nothing that rows to
//! come could change. `HW_CASES` says how many; `HW_SEED` repeats one.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::random::{FAMILIES, Hashed, LABELS, dependences, pattern};
use super::text;
use crate::reference::matches;
use crate::{AfterMatch, Label, LabelSet, Match, Pattern, Search, Step, compile};

const CASES: u64 = 20_000;

#[test]
fn the_search_equals_the_reference_however_rows_come() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("HW_SEED") {
        return check(seed);
    }
    (0..number("HW_CASES").unwrap_or(CASES)).for_each(check);
}

fn check(seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let pattern = pattern(random, 3);
    let length = random.random_range(0..=9);
    let mut time = 0;
    let times = (0..length).map(|_| {
        time += random.random_range(0..4);
        time
    });
    let mut rows = Hashed {
        length,
        known: length,
        closed: true,
        times: times.collect(),
        family: FAMILIES[random.random_range(0..FAMILIES.len())],
        seed: random.random(),
        odds: random.random_range(3..=7),
        limit: random.random_bool(0.3).then(|| random.random_range(0..12)),
        watermark: i64::MAX,
    };
    let after = after_match(random);
    let found = matches(&pattern, after, &mut rows).expect("no error");
    let expected: Vec<String> = found.iter().map(|m| with_exclusion(m.start, &m.rows, m.fault)).collect();
    let context = format!("HW_SEED={seed} {pattern:?} {after:?} {rows:?}");
    assert_eq!(search(&pattern, after, &mut rows, None), expected, "all rows at once: {context}");
    assert_eq!(search(&pattern, after, &mut rows, Some(random)), expected, "row by row: {context}");
}

fn after_match(random: &mut StdRng) -> AfterMatch {
    let set = LabelSet::of((0..LABELS).map(Label).filter(|_| random.random_bool(0.5)));
    match random.random_range(0..4) {
        0 => AfterMatch::PastLastRow,
        1 => AfterMatch::ToNextRow,
        2 => AfterMatch::ToFirst(set),
        _ => AfterMatch::ToLast(set),
    }
}

/// With `arrivals` rows come a few at a time, the watermark somewhere between them and the next, and in the end nothing more.
fn search(pattern: &Pattern, after: AfterMatch, rows: &mut Hashed, arrivals: Option<&mut StdRng>) -> Vec<String> {
    let program = Arc::new(compile(pattern, &dependences(rows.family)).expect("it is small"));
    let mut search = Search::new(program, after, false);
    let mut found = vec![];
    if let Some(random) = arrivals {
        (rows.known, rows.closed, rows.watermark) = (0, false, 0);
        while rows.known < rows.length {
            drain(&mut search, rows, &mut found);
            rows.watermark = random.random_range(rows.watermark..=rows.times[rows.known].max(rows.watermark));
            drain(&mut search, rows, &mut found);
            rows.known += random.random_range(1..=rows.length - rows.known);
        }
        drain(&mut search, rows, &mut found);
        (rows.closed, rows.watermark) = (true, i64::MAX);
    }
    drain(&mut search, rows, &mut found);
    let numbers = found.iter().map(|m| m.number).eq(1..=found.len() as u64);
    assert!(numbers, "matches are numbered without gaps");
    let rows =
        |m: &Match| m.path.labels().iter().enumerate().map(|(at, l)| (*l, m.path.excluded(at))).collect::<Vec<_>>();
    found.iter().map(|m| with_exclusion(m.path.start(), &rows(m), m.fault)).collect()
}

fn drain(search: &mut Search, rows: &mut Hashed, found: &mut Vec<Match>) {
    while let Step::Match(one) = search.next(rows).expect("no error") {
        found.push(one);
    }
}

fn with_exclusion(start: usize, rows: &[(Label, bool)], fault: Option<crate::SkipFault>) -> String {
    let labels: Vec<Label> = rows.iter().map(|(label, _)| *label).collect();
    let excluded: Vec<bool> = rows.iter().map(|(_, excluded)| *excluded).collect();
    format!("{} {excluded:?} {fault:?}", text(start, &labels))
}
