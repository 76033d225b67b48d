//! Top-N against sorting, with random batches, seals and restarts; row numbers and closing as changelogs.

use std::collections::BTreeMap;

use ::types::{DeltaBatch, EpochRecord, EventTimeBound, consolidate};
use arrow::array::Array;
use arrow::datatypes::Int64Type;
use expect_test::expect;
use rand::prelude::*;
use rand::rngs::StdRng;

use super::*;
use crate::changelog::{self, SOURCE};
use crate::spec::SortColumn;

fn spec(header: &str, offset: u64, limit: Option<u64>, numbered: bool) -> TopNSpec {
    let output = if numbered { format!("{header} rn:int") } else { header.to_string() };
    TopNSpec {
        partition_by: vec![0],
        order_by: vec![SortColumn { column: 1, descending: true, nulls_first: false }],
        offset,
        limit,
        with_row_number: numbered,
        append_only: false,
        input: changelog::schema(header),
        output: changelog::schema(&output),
        close: None,
    }
}

fn build(spec: TopNSpec) -> impl Fn() -> Box<dyn Operator> {
    move || Box::new(TopNOperator::new(&spec).unwrap())
}

type Row = (i64, Option<i64>, i64);

/// The rows inside the limit by sorting: (k, v, id), then the row number if asked for.
fn naive(spec: &TopNSpec, rows: &BTreeMap<Row, i64>) -> BTreeMap<Vec<Option<i64>>, i64> {
    let mut partitions: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for (row, n) in rows {
        let key = if spec.partition_by.is_empty() { 0 } else { row.0 };
        partitions.entry(key).or_default().extend(std::iter::repeat_n(*row, *n as usize));
    }
    let mut out = BTreeMap::new();
    for mut rows in partitions.into_values() {
        // Descending, NULL last; ties by the whole row.
        rows.sort_by_key(|(k, v, id)| (v.is_none(), v.map(|v| -v), *k, *v, *id));
        let limit = spec.limit.map_or(usize::MAX, |l| l as usize);
        for (position, (k, v, id)) in rows.iter().enumerate().skip(spec.offset as usize).take(limit) {
            let mut cells = vec![Some(*k), *v, Some(*id)];
            cells.extend(spec.with_row_number.then_some(Some(position as i64 + 1)));
            *out.entry(cells).or_insert(0) += 1;
        }
    }
    out
}

fn case(spec: &TopNSpec, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut operator = build(spec.clone())();
    let mut rows: BTreeMap<Row, i64> = BTreeMap::new();
    let mut before = BTreeMap::new();
    let mut cuts = vec![];
    for epoch in 1..=30 {
        let mut changes: Vec<(Row, i64)> = vec![];
        for _ in 0..rng.random_range(0..10) {
            if !spec.append_only && rng.random_bool(0.45) {
                if let Some(row) = rows.keys().choose(&mut rng).copied() {
                    changes.push((row, -rows.remove(&row).unwrap()));
                }
                continue;
            }
            let v = (!rng.random_bool(0.1)).then(|| rng.random_range(0..6));
            let row = (rng.random_range(0..3), v, rng.random_range(0..4));
            let n = rng.random_range(1..3);
            *rows.entry(row).or_insert(0) += n;
            changes.push((row, n));
        }
        changes.shuffle(&mut rng);
        let mut out = Output::default();
        for part in changes.chunks(rng.random_range(1..5)) {
            let text =
                |(k, v, id): &Row| vec![k.to_string(), v.map_or("null".to_string(), |v| v.to_string()), id.to_string()];
            let part: Vec<_> = part.iter().map(|(row, d)| (text(row), *d)).collect();
            operator.on_batch(0, changelog::rows(&spec.input, &part), &mut out).unwrap();
        }
        let record = EpochRecord::new(epoch, 0, Default::default());
        while operator.on_seal(&record, &mut out).unwrap() == Progress::More {}
        let after = naive(spec, &rows);
        let mut change = after.clone();
        before.iter().for_each(|(row, n)| *change.entry(Vec::clone(row)).or_insert(0) -= n);
        change.retain(|_, n| *n != 0);
        let sent = DeltaBatch::concat(&spec.output, &out.rows);
        let net = consolidate(&sent).unwrap();
        let cell = |c: usize, r: usize| {
            let array = net.rows().column(c).as_primitive::<Int64Type>();
            (!array.is_null(r)).then(|| array.value(r))
        };
        let got: BTreeMap<Vec<Option<i64>>, i64> = (0..net.num_rows())
            .map(|r| ((0..spec.output.fields().len()).map(|c| cell(c, r)).collect(), net.diff(r)))
            .collect();
        assert_eq!(got, change, "seed {seed}, epoch {epoch}, {spec:?}");
        let weight = |delta: &DeltaBatch| delta.diffs_to_vec().into_iter().map(i64::abs).sum::<i64>();
        assert_eq!(weight(&sent), weight(&net), "nothing leaves that is taken back");
        before = after;
        if rng.random_bool(0.3) {
            cuts.extend(operator.checkpoint().gather().expect("gathers"));
            operator = build(spec.clone())();
            for cut in &cuts {
                for batch in &cut.batches {
                    operator.restore(RestoredTable { table: cut.table, batch }).unwrap();
                }
            }
        }
    }
}

#[test]
fn every_shape_equals_sorting() {
    for numbered in [false, true] {
        for append_only in [false, true] {
            for (offset, limit) in [(0, Some(3)), (2, Some(2)), (1, None), (0, Some(0)), (0, None)] {
                for partition_by in [vec![0], vec![]] {
                    let mut spec = spec("k:int v:int id:int", offset, limit, numbered);
                    (spec.append_only, spec.partition_by) = (append_only, partition_by);
                    (0..4).for_each(|seed| case(&spec, seed));
                }
            }
        }
    }
}

#[test]
fn a_row_that_leaves_the_top_lets_the_next_one_in() {
    changelog::check(
        build(spec("k:text v:int", 0, Some(2), true)),
        "
          k:text v:int
        + a      1
        + a      3
        + a      2
        + b      9
        seal 1
        checkpoint
        + a      5
        seal 2
        - a      5
        - a      3
        seal 3
        ",
        expect![[r#"
            seal 1:
            + a 2 2
            + a 3 1
            + b 9 1
            seal 2:
            - a 2 2
            - a 3 1
            + a 3 2
            + a 5 1
            seal 3:
            + a 1 2
            + a 2 1
            - a 3 2
            - a 5 1
        "#]],
    );
}

#[test]
fn a_row_is_found_by_an_equal_one_whatever_the_signs_of_its_zeros() {
    changelog::check(
        build(spec("k:float v:float", 0, Some(2), true)),
        "
          k:float v:float
        + -0      1
        + 0       -0
        + NaN     NaN
        seal 1
        checkpoint
        - 0       0
        - 0       1
        + -NaN    3
        seal 2
        checkpoint
        - -NaN    -NaN
        seal 3
        ",
        expect![[r#"
            seal 1:
            + 0.0 0.0 2
            + 0.0 1.0 1
            + NaN NaN 1
            seal 2:
            - 0.0 0.0 2
            - 0.0 1.0 1
            + NaN 3.0 2
            seal 3:
            + NaN 3.0 1
            - NaN 3.0 2
            - NaN NaN 1
        "#]],
    );
}

fn closing(emit_on_close: bool) -> TopNSpec {
    let bound = EventTimeBound::of_source(SOURCE);
    let mut spec = spec("w:ts v:int", 0, Some(1), false);
    let retain = bound.delayed(10_000_000);
    spec.close = Some(CloseSpec { column: 0, bound, retain, inclusive: true, emit_on_close });
    spec
}

#[test]
fn a_closed_window_leaves_once_and_corrections_follow_until_its_state_goes() {
    changelog::check(
        build(closing(true)),
        "
          w:ts v:int
        + 10   1
        + 10   2
        + 20   7
        seal 1 w=5
        + 10   3
        seal 2 w=10
        checkpoint
        + 10   4
        - 20   7
        + 20   6
        seal 3 w=12
        seal 4 w=20
        checkpoint
        seal 5 w=end
        ",
        expect![[r#"
            seal 1:
            seal 2:
            + 10 3
            seal 3:
            - 10 3
            + 10 4
            seal 4:
            + 20 6
            seal 5:
        "#]],
    );
}

#[test]
fn state_goes_with_its_window() {
    let mut operator = build(closing(false))();
    let rows: Vec<_> = (0..1_000i64).map(|i| (vec![(i / 10).to_string(), i.to_string()], 1)).collect();
    let mut out = Output::default();
    operator.on_batch(0, changelog::rows(&changelog::schema("w:ts v:int"), &rows), &mut out).unwrap();
    let record = |epoch, watermark: i64| {
        let mut watermarks = ::types::Watermarks::default();
        watermarks.set(SOURCE, watermark * 1_000_000);
        EpochRecord::new(epoch, 0, watermarks)
    };
    operator.on_seal(&record(1, 0), &mut out).unwrap();
    operator.checkpoint();
    let full = operator.memory_bytes();
    operator.on_seal(&record(2, 108), &mut out).unwrap();
    let dropped: usize =
        operator.checkpoint().gather().unwrap().iter().flat_map(|t| &t.batches).map(|b| b.num_rows()).sum();
    assert_eq!(dropped, 990);
    assert!(operator.memory_bytes() < full / 50, "{} of {full}", operator.memory_bytes());
}

#[test]
fn an_append_only_partition_keeps_no_more_than_it_shows() {
    let mut spec = spec("k:int v:int", 0, Some(10), false);
    spec.append_only = true;
    let mut operator = build(spec.clone())();
    let rows: Vec<_> = (0..20_000i64).map(|i| (vec!["1".to_string(), ((i * 7_919) % 20_011).to_string()], 1)).collect();
    let mut out = Output::default();
    for (epoch, part) in rows.chunks(1_000).enumerate() {
        operator.on_batch(0, changelog::rows(&spec.input, part), &mut out).unwrap();
        operator.on_seal(&EpochRecord::new(epoch as u64 + 1, 0, Default::default()), &mut out).unwrap();
    }
    operator.checkpoint();
    assert!(operator.memory_bytes() < 2_000, "{}", operator.memory_bytes());
}
