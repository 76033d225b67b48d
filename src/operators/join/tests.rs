//! Joins of every kind against nested loops, with random batches, seals and restarts; expiry and errors as changelogs.

use std::collections::BTreeMap;

use ::types::{DeltaBatch, EpochRecord, EventTimeBound, consolidate};
use arrow::datatypes::*;
use expect_test::expect;
use kernels::{Literal, ScalarExpr};
use rand::prelude::*;
use rand::rngs::StdRng;

use super::*;
use crate::changelog::{self, SOURCE};
use crate::spec::ExpirySpec;

const KINDS: [JoinKind; 6] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftAnti];

fn spec(kind: JoinKind, left: &str, right: &str, keys: usize) -> JoinSpec {
    let (left, right) = (changelog::schema(left), changelog::schema(right));
    let output = match kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti => left.clone(),
        _ => joined_schema(&left, &right),
    };
    JoinSpec {
        kind,
        left_keys: (0..keys).collect(),
        right_keys: (0..keys).collect(),
        null_equals_null: false,
        filter: None,
        left,
        right,
        output,
        left_expiry: None,
        right_expiry: None,
        left_append_only: false,
        right_append_only: false,
    }
}

fn binary(op: &str, left: ScalarExpr, right: ScalarExpr) -> ScalarExpr {
    ScalarExpr::Binary { op: op.into(), left: Box::new(left), right: Box::new(right) }
}

fn column(index: usize) -> ScalarExpr {
    ScalarExpr::Column(index)
}

fn build(spec: JoinSpec) -> impl Fn() -> Box<dyn Operator> {
    move || Box::new(JoinOperator::new(&spec).unwrap())
}

/// Like `build`; insertions of `rows_min` rows wait to be indexed.
fn build_waiting(spec: &JoinSpec, rows_min: usize) -> Box<dyn Operator> {
    let mut operator = JoinOperator::new(spec).unwrap();
    operator.sides.iter_mut().for_each(|side| side.waiting.rows_min = rows_min);
    Box::new(operator)
}

type Row = Vec<Option<i64>>;
type Bag = BTreeMap<Row, i64>;

/// The join by nested loops.
fn naive(spec: &JoinSpec, left: &Bag, right: &Bag) -> Bag {
    let keys = spec.left_keys.len();
    let matches = |l: &Row, r: &Row| {
        let keys_match = (0..keys).all(|k| l[k] == r[k] && (l[k].is_some() || spec.null_equals_null));
        let residual = spec.filter.is_none() || matches!((l[1], r[1]), (Some(a), Some(b)) if a < b);
        keys_match && residual
    };
    let mut out = Bag::new();
    let mut add = |row: Row, n: i64| *out.entry(row).or_insert(0) += n;
    let nulls = vec![None; 2];
    for (l, n) in left {
        let matched: Vec<(&Row, &i64)> = right.iter().filter(|(r, _)| matches(l, r)).collect();
        match spec.kind {
            JoinKind::LeftSemi if !matched.is_empty() => add(l.clone(), *n),
            JoinKind::LeftAnti if matched.is_empty() => add(l.clone(), *n),
            JoinKind::LeftSemi | JoinKind::LeftAnti => {}
            _ => matched.iter().for_each(|(r, m)| add([l.clone(), (*r).clone()].concat(), n * **m)),
        }
        if matched.is_empty() && matches!(spec.kind, JoinKind::Left | JoinKind::Full) {
            add([l.clone(), nulls.clone()].concat(), *n);
        }
    }
    if matches!(spec.kind, JoinKind::Right | JoinKind::Full) {
        for (r, n) in right.iter().filter(|(r, _)| !left.keys().any(|l| matches(l, r))) {
            add([nulls.clone(), r.clone()].concat(), *n);
        }
    }
    out
}

fn to_delta(schema: &SchemaRef, rows: &[(Row, i64)]) -> DeltaBatch {
    let text = |row: &Row| row.iter().map(|c| c.map_or("null".to_string(), |v| v.to_string())).collect();
    changelog::rows(schema, &rows.iter().map(|(r, d)| (text(r), *d)).collect::<Vec<_>>())
}

fn to_bag(schema: &SchemaRef, batches: &[DeltaBatch]) -> Bag {
    use arrow::array::AsArray;
    let all = consolidate(&DeltaBatch::concat(schema, batches)).unwrap();
    let cell = |c: usize, r: usize| {
        let array = all.rows().column(c).as_primitive::<Int64Type>();
        (!arrow::array::Array::is_null(array, r)).then(|| array.value(r))
    };
    (0..all.num_rows()).map(|r| ((0..schema.fields().len()).map(|c| cell(c, r)).collect(), all.diff(r))).collect()
}

/// Adds random changes to a bag that stays non-negative; returns them.
fn churn(rng: &mut StdRng, bag: &mut Bag, changes: usize, retract: bool, values: i64) -> Vec<(Row, i64)> {
    let mut out = vec![];
    for _ in 0..changes {
        if retract && rng.random_bool(0.45) {
            let Some((row, n)) = bag.iter().choose(rng).map(|(r, n)| (r.clone(), *n)) else { continue };
            let taken = rng.random_range(1..=n);
            if taken == n {
                bag.remove(&row);
            } else {
                *bag.get_mut(&row).unwrap() -= taken;
            }
            out.push((row, -taken));
            continue;
        }
        let row: Row = vec![
            (!rng.random_bool(0.15)).then(|| rng.random_range(0..4)),
            (!rng.random_bool(0.1)).then(|| rng.random_range(0..values)),
        ];
        let n = if values < 10 && rng.random_bool(0.2) { 2 } else { 1 };
        *bag.entry(row.clone()).or_insert(0) += n;
        out.push((row, n));
    }
    out
}

/// `retract_from`: the first epoch that retracts. `rows_min`: see `build_waiting`.
fn case(spec: &JoinSpec, seed: u64, retract_from: u64, rows_min: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut operator = build_waiting(spec, rows_min);
    let (mut bags, mut before) = ([Bag::new(), Bag::new()], Bag::new());
    let schemas = [spec.left.clone(), spec.right.clone()];
    let mut cuts = vec![];
    for epoch in 1..=20 {
        let mut out = Output::default();
        let bags_before = bags.clone();
        for side in [0, 1] {
            let size = rng.random_range(0..12);
            let retract = epoch >= retract_from;
            let mut changes = churn(&mut rng, &mut bags[side], size, retract, if seed % 2 == 0 { 5 } else { 100_000 });
            changes.shuffle(&mut rng);
            for part in changes.chunks(rng.random_range(1..6)) {
                operator.on_batch(side, to_delta(&schemas[side], part), &mut out).unwrap();
            }
        }
        let record = EpochRecord::new(epoch, 0, Default::default());
        while operator.on_seal(&record, &mut out).unwrap() == Progress::More {}
        let after = naive(spec, &bags[0], &bags[1]);
        let mut change = after.clone();
        before.iter().for_each(|(row, n)| *change.entry(row.clone()).or_insert(0) -= n);
        change.retain(|_, n| *n != 0);
        let got = to_bag(&spec.output, &out.rows);
        assert_eq!(got, change, "{:?}, seed {seed}, epoch {epoch}", spec.kind);
        let moved: i64 = out.rows.iter().flat_map(DeltaBatch::diffs_to_vec).map(i64::abs).sum();
        // Where NULLs join, a row of NULLs that matches looks like padding; where rows stand several times, one pair's
        // weight may fall with one side and rise with the other.
        let single = |bags: &[Bag; 2]| bags.iter().all(|b| b.values().all(|n| *n == 1));
        if !spec.null_equals_null && !spec.left_keys.is_empty() && single(&bags) && single(&bags_before) {
            assert_eq!(moved, change.values().map(|n| n.abs()).sum::<i64>(), "nothing leaves that is taken back");
        }
        before = after;
        if rng.random_bool(0.3) {
            cuts.extend(operator.checkpoint().gather().expect("gathers"));
            if rng.random_bool(0.5) {
                operator = build_waiting(spec, rows_min);
                for cut in &cuts {
                    for batch in &cut.batches {
                        operator.restore(RestoredTable { table: cut.table, batch }).unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn every_kind_equals_nested_loops() {
    for kind in KINDS {
        for variant in 0..8u64 {
            let mut spec = spec(kind, "k:int v:int", "k:int w:int", if variant == 7 { 0 } else { 1 });
            spec.null_equals_null = variant % 2 == 1;
            if variant & 2 != 0 {
                spec.filter = Some(binary("<", column(1), column(3)));
            }
            if variant == 6 {
                (spec.left_keys, spec.right_keys) = (vec![0, 1], vec![0, 1]);
                spec.filter = None;
            }
            for seed in 0..2 {
                case(&spec, seed + 10 * variant, if variant == 4 { u64::MAX } else { 0 }, usize::MAX);
                case(&spec, seed + 10 * variant, [u64::MAX, 12][seed as usize], 2);
            }
        }
    }
}

#[test]
fn a_matched_row_replaces_its_padded_form_and_comes_back_when_the_match_goes() {
    changelog::check(
        build(spec(JoinKind::Full, "k:int v:text", "k:int w:text", 1)),
        "
          k:int v:text
        + 1     a
        + null  n
        port 1
          k:int w:text
        + 2     x
        seal 1
        port 1
        + 1     y
        + 1     z
        seal 2
        checkpoint
        port 1
        - 1     y
        - 1     z
        + 1     y2
        seal 3
        port 0
        - 1     a
        - null  n
        + 2     b
        seal 4
        ",
        expect![[r#"
            seal 1:
            + 1 a null null
            + null n null null
            + null null 2 x
            seal 2:
            + 1 a 1 y
            + 1 a 1 z
            - 1 a null null
            seal 3:
            - 1 a 1 y
            + 1 a 1 y2
            - 1 a 1 z
            seal 4:
            - 1 a 1 y2
            + 2 b 2 x
            - null n null null
            + null null 1 y2
            - null null 2 x
        "#]],
    );
}

#[test]
fn a_failing_condition_concerns_its_pair_only_and_heals() {
    let mut spec = spec(JoinKind::Inner, "k:int v:int", "k:int w:int", 1);
    let one = ScalarExpr::Literal(Literal::Int { value: 1, data_type: DataType::Int64 });
    spec.filter = Some(binary(">", binary("/", column(1), column(3)), one));
    changelog::check(
        build(spec),
        "
          k:int v:int
        +2 1    10
        port 1
          k:int w:int
        + 1     0
        + 1     2
        seal 1
        port 1
        - 1     0
        seal 2
        ",
        expect![[r#"
            seal 1:
            +2 1 10 1 2
            error +2 22012 division by zero (k: 1, v: 10, k: 1, w: 0)
            seal 2:
            error -2 22012 division by zero (k: 1, v: 10, k: 1, w: 0)
        "#]],
    );
}

fn expiring(kind: JoinKind) -> JoinSpec {
    let mut spec = spec(kind, "k:int t:ts", "k:int u:ts", 1);
    let expiry = |inclusive| ExpirySpec { column: 1, bound: EventTimeBound::of_source(SOURCE), inclusive };
    spec.left_expiry = Some(expiry(false));
    spec.right_expiry =
        Some(ExpirySpec { bound: EventTimeBound::of_source(SOURCE).delayed(10_000_000), ..expiry(true) });
    spec
}

#[test]
fn expired_rows_match_no_more_and_show_no_change() {
    changelog::check(
        build(expiring(JoinKind::Left)),
        "
          k:int t:ts
        + 1     5
        + 2     6
        + 3     20
        port 1
          k:int u:ts
        + 1     7
        seal 1 w=6
        port 1
        + 1     8
        + 2     8
        + 3     20
        seal 2 w=18
        checkpoint
        port 1
        + 2     19
        port 0
        + 1     20
        + 2     20
        seal 3 w=end
        port 0
        + 3     30
        seal 4
        ",
        expect![[r#"
            seal 1:
            + 1 5 1 7
            + 2 6 null null
            + 3 20 null null
            seal 2:
            + 2 6 2 8
            - 2 6 null null
            + 3 20 3 20
            - 3 20 null null
            seal 3:
            + 1 20 null null
            + 2 20 2 19
            seal 4:
            + 3 30 null null
        "#]],
    );
}

#[test]
fn matches_with_expired_rows_still_count_after_a_restart() {
    // The left row expires first; the right row it matched must not be shown alone, nor taken back, later.
    let script = "
          k:int t:ts
        + 1     5
        port 1
          k:int u:ts
        + 1     7
        + 2     7
        seal 1 w=6
        checkpoint
        port 0
        + 1     8
        + 2     8
        seal 2 w=7
        ";
    changelog::check(
        build(expiring(JoinKind::Full)),
        script,
        expect![[r#"
            seal 1:
            + 1 5 1 7
            + null null 2 7
            seal 2:
            + 1 8 1 7
            + 2 8 2 7
            - null null 2 7
        "#]],
    );
}

#[test]
fn expiry_gives_memory_back_and_tells_the_checkpoint() {
    let mut operator = build(expiring(JoinKind::Inner))();
    let rows: Vec<_> = (0..30_000i64).map(|i| (vec![i.to_string(), (i / 100).to_string()], 1)).collect();
    let batch = changelog::rows(&changelog::schema("k:int t:ts"), &rows);
    let mut out = Output::default();
    let record = |epoch, watermark: i64| {
        let mut watermarks = ::types::Watermarks::default();
        watermarks.set(SOURCE, watermark * 1_000_000);
        EpochRecord::new(epoch, 0, watermarks)
    };
    operator.on_batch(0, batch, &mut out).unwrap();
    operator.on_seal(&record(1, 0), &mut out).unwrap();
    operator.checkpoint();
    let full = operator.memory_bytes();
    operator.on_seal(&record(2, 290), &mut out).unwrap();
    let cut = operator.checkpoint().gather().unwrap();
    let dropped: usize = cut.iter().flat_map(|t| &t.batches).map(|b| b.num_rows()).sum();
    assert_eq!(dropped, 29_000);
    assert!(operator.memory_bytes() < full, "{} of {full}", operator.memory_bytes());
}

#[test]
fn rows_that_wait_for_an_index_match_and_expire_as_indexed_ones() {
    let (left, right) = (changelog::schema("k:int t:ts"), changelog::schema("k:int u:ts"));
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut spec = expiring([JoinKind::Inner, JoinKind::Left][seed as usize % 2]);
        // A side expires where the watermark says that the other's times are larger by now.
        if seed % 4 < 2 {
            spec.filter = Some(binary("<=", column(3), column(1)));
            spec.right_expiry = None;
        } else {
            spec.filter = Some(binary("<=", column(1), column(3)));
            spec.right_expiry = spec.left_expiry.take();
        }
        let mut operators = [build_waiting(&spec, 2), build_waiting(&spec, usize::MAX)];
        let mut cuts: [Vec<crate::TableCut>; 2] = Default::default();
        for epoch in 1..60i64 {
            let mut outs = [Output::default(), Output::default()];
            for (side, schema) in [&left, &right].into_iter().enumerate() {
                let row = |rng: &mut StdRng| {
                    (vec![rng.random_range(0..3).to_string(), (epoch + rng.random_range(0..9)).to_string()], 1)
                };
                let rows: Vec<_> = (0..rng.random_range(0..6)).map(|_| row(&mut rng)).collect();
                for (operator, out) in operators.iter_mut().zip(&mut outs) {
                    operator.on_batch(side, changelog::rows(schema, &rows), out).unwrap();
                }
            }
            let mut watermarks = ::types::Watermarks::default();
            watermarks.set(SOURCE, epoch * 1_000_000);
            let record = EpochRecord::new(epoch as u64, 0, watermarks);
            for (operator, out) in operators.iter_mut().zip(&mut outs) {
                while operator.on_seal(&record, out).unwrap() == Progress::More {}
            }
            let nets = outs.map(|out| consolidate(&DeltaBatch::concat(&spec.output, &out.rows)).unwrap());
            assert_eq!(nets[0].rows(), nets[1].rows(), "seed {seed}, epoch {epoch}");
            assert_eq!(nets[0].diffs_to_vec(), nets[1].diffs_to_vec(), "seed {seed}, epoch {epoch}");
            if rng.random_bool(0.2) {
                for (operator, cuts) in operators.iter_mut().zip(&mut cuts) {
                    cuts.extend(operator.checkpoint().gather().expect("gathers"));
                    *operator = build_waiting(&spec, if rng.random_bool(0.5) { 2 } else { usize::MAX });
                    for cut in cuts {
                        let table = cut.table;
                        cut.batches.iter().for_each(|batch| operator.restore(RestoredTable { table, batch }).unwrap());
                    }
                }
            }
        }
    }
}

#[test]
fn a_large_join_leaves_in_bounded_steps() {
    let mut operator = build(spec(JoinKind::Left, "k:int v:int", "k:int w:int", 1))();
    let rows = |n: i64| (0..n).map(|i| (vec![Some(1), Some(i)], 1)).collect::<Vec<_>>();
    let mut out = Output::default();
    operator.on_batch(0, to_delta(&changelog::schema("k:int v:int"), &rows(500)), &mut out).unwrap();
    operator.on_batch(1, to_delta(&changelog::schema("k:int w:int"), &rows(400)), &mut out).unwrap();
    let record = EpochRecord::new(1, 0, Default::default());
    let (mut total, mut calls) = (0, 0);
    loop {
        let progress = operator.on_seal(&record, &mut out).unwrap();
        let rows: usize = out.rows.drain(..).map(|b| b.num_rows()).sum();
        assert!(rows <= BATCH_ROWS_MAX);
        (total, calls) = (total + rows, calls + 1);
        if progress == Progress::DONE {
            break;
        }
    }
    assert_eq!((total, calls), (200_000, 4));
}
