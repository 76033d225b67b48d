//! Sessions grow, merge, shrink and split; random input equals a naive recomputation.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::types::{DeltaBatch, EventTimeBound};
use arrow::array::*;
use arrow::datatypes::DataType;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::aggregate::tests::property::{drive, steps};
use crate::aggregate::tests::{call, count_star, distinct, spec as aggregate_spec};
use crate::changelog::SOURCE;
use crate::spec::{AggregateFunction::*, GroupColumn::*, SessionSpec};

const S: i64 = 1_000_000;

fn spec(append_only: bool, close: Option<SessionClose>) -> SessionAggregateSpec {
    let calls = vec![
        count_star(),
        call(Sum, Some(2), DataType::Int64),
        call(Max, Some(2), DataType::Int64),
        distinct(call(Count, Some(2), DataType::Int64)),
    ];
    let group = [Input(1), WindowStart, WindowEnd];
    let plain = aggregate_spec("ts:ts k:int v:int", &group, calls);
    SessionAggregateSpec {
        session: SessionSpec { time_column: 0, gap_us: 10 * S, partition_by: vec![1], close },
        group: plain.group,
        calls: plain.calls,
        input: plain.input,
        output: plain.output,
        append_only,
        null_on_error: false,
    }
}

fn close(emit_on_close: bool, lateness_s: i64) -> Option<SessionClose> {
    let bound = EventTimeBound::of_source(SOURCE);
    let retain = bound.delayed(lateness_s * S);
    Some(SessionClose { bound, retain, emit_on_close })
}

fn check(spec: SessionAggregateSpec, script: &str, expect: Expect) {
    crate::changelog::check(move || Box::new(SessionAggregateOperator::new(&spec).unwrap()), script, expect);
}

#[test]
fn a_late_row_merges_its_neighbours() {
    check(
        spec(true, None),
        "ts:ts k:int v:int
         + 100 1 1
         + 120.000001 1 2
         + 110 2 3
         + null 1 9
         seal 1
         checkpoint
         + 110 1 4
         seal 2
         checkpoint
         + 130.000001 1 2
         + 200 1 8
         seal 3",
        expect![[r#"
            seal 1:
            + 1 100 110 1 1 1 1
            + 1 120.000001 130.000001 1 2 2 1
            + 2 110 120 1 3 3 1
            seal 2:
            - 1 100 110 1 1 1 1
            + 1 100 120 2 5 4 2
            seal 3:
            - 1 120.000001 130.000001 1 2 2 1
            + 1 120.000001 140.000001 2 4 2 1
            + 1 200 210 1 8 8 1
        "#]],
    );
}

#[test]
fn bridges_inside_one_epoch_leave_only_the_merged_session() {
    check(
        spec(true, None),
        "ts:ts k:int v:int
         + 0 1 1
         + 20 1 2
         + 40 1 3
         seal 1
         checkpoint
         + 10 1 4
         + 30 1 5
         seal 2
         + 35 1 1
         + 5 1 1
         seal 3",
        expect![[r#"
            seal 1:
            + 1 0 10 1 1 1 1
            + 1 20 30 1 2 2 1
            + 1 40 50 1 3 3 1
            seal 2:
            - 1 0 10 1 1 1 1
            + 1 0 50 5 15 5 5
            - 1 20 30 1 2 2 1
            - 1 40 50 1 3 3 1
            seal 3:
            - 1 0 50 5 15 5 5
            + 1 0 50 7 17 5 5
        "#]],
    );
}

#[test]
fn retractions_shrink_and_split_sessions() {
    check(
        spec(false, None),
        "ts:ts k:int v:int
         + 0 1 1
         + 10 1 2
         + 20 1 3
         + 20 1 3
         seal 1
         checkpoint
         - 10 1 2
         seal 2
         checkpoint
         - 20 1 3
         seal 3
         - 20 1 3
         - 0 1 1
         seal 4",
        expect![[r#"
            seal 1:
            + 1 0 30 4 9 3 3
            seal 2:
            + 1 0 10 1 1 1 1
            - 1 0 30 4 9 3 3
            + 1 20 30 2 6 3 1
            seal 3:
            + 1 20 30 1 3 3 1
            - 1 20 30 2 6 3 1
            seal 4:
            - 1 0 10 1 1 1 1
            - 1 20 30 1 3 3 1
        "#]],
    );
}

#[test]
fn a_session_leaves_when_the_watermark_is_past_its_end() {
    for append_only in [true, false] {
        check(
            spec(append_only, close(true, 0)),
            "ts:ts k:int v:int
             + 0 1 1
             + 5 2 1
             seal 1 w=9
             + 10 1 2
             seal 2 w=15
             checkpoint
             seal 3 w=20
             seal 4 w=20.000001
             checkpoint
             + 30 1 1
             seal 5 w=30
             seal 6 w=end",
            expect![[r#"
                seal 1:
                seal 2:
                seal 3:
                + 2 5 15 1 1 1 1
                seal 4:
                + 1 0 20 2 3 2 2
                seal 5:
                seal 6:
                + 1 30 40 1 1 1 1
            "#]],
        );
    }
}

#[test]
fn a_correction_reopens_a_closed_session_while_lateness_is_allowed() {
    for append_only in [true, false] {
        check(
            spec(append_only, close(true, 30)),
            "ts:ts k:int v:int
             + 0 1 1
             seal 1 w=11
             checkpoint
             + 4 1 5
             seal 2 w=13
             checkpoint
             seal 3 w=15
             + 14 1 1
             seal 4 w=25",
            expect![[r#"
                seal 1:
                + 1 0 10 1 1 1 1
                seal 2:
                - 1 0 10 1 1 1 1
                seal 3:
                + 1 0 14 2 6 5 2
                seal 4:
                - 1 0 14 2 6 5 2
                + 1 0 24 3 7 5 2
            "#]],
        );
    }
}

#[test]
fn dropped_sessions_give_their_memory_back() {
    for append_only in [true, false] {
        let spec = spec(append_only, close(false, 0));
        let mut operator = SessionAggregateOperator::new(&spec).unwrap();
        let empty = operator.memory_bytes();
        let rows: Vec<_> = (0..2000).map(|i| (vec![format!("{}", i % 10), format!("{i}"), "1".into()], 1)).collect();
        let mut out = Output::default();
        operator.on_batch(0, crate::changelog::rows(&spec.input, &rows), &mut out).unwrap();
        operator.on_seal(&EpochRecord::new(1, 0, Default::default()), &mut out).unwrap();
        let full = operator.memory_bytes();
        operator.checkpoint();
        let mut watermarks = ::types::Watermarks::default();
        watermarks.set(SOURCE, ::types::WATERMARK_END);
        operator.on_seal(&EpochRecord::new(2, 0, watermarks), &mut out).unwrap();
        assert_eq!(out.rows.iter().map(|b| b.num_rows()).sum::<usize>(), 2000);
        let deleted: usize = operator.checkpoint().gather().unwrap()[0].batches.iter().map(|b| b.num_rows()).sum();
        assert_eq!(deleted, 2000);
        assert!(operator.memory_bytes() < empty + full / 20, "{} of {full}", operator.memory_bytes());
    }
}

#[test]
fn a_group_by_that_loses_the_session_is_refused() {
    let mut spec = spec(true, None);
    spec.group = vec![Input(1), Input(2), WindowEnd];
    assert!(SessionAggregateOperator::new(&spec).is_err());
}

/// ts (s), key, value.
type Row = (Option<i64>, i64, Option<i64>);

fn row() -> impl Strategy<Value = Row> {
    (proptest::option::weighted(0.95, 0i64..120), 0i64..3, proptest::option::weighted(0.9, 0i64..4))
}

fn to_batch(spec: &SessionAggregateSpec, rows: &[(Row, i64)]) -> DeltaBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|(r, _)| r.0.map(|t| t * S)))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(r, _)| r.1))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|(r, _)| r.2))),
    ];
    let diffs: Vec<i64> = rows.iter().map(|(_, d)| *d).collect();
    let batch = RecordBatch::try_new(spec.input.clone(), columns).unwrap();
    if diffs.iter().all(|d| *d == 1) { DeltaBatch::inserts(batch) } else { DeltaBatch::new(batch, diffs) }
}

fn naive(live: &[Row], gap: i64) -> BTreeMap<String, i64> {
    let mut rows: Vec<(i64, i64, Option<i64>)> = live.iter().filter_map(|r| r.0.map(|t| (r.1, t, r.2))).collect();
    rows.sort();
    let mut sessions: Vec<Vec<(i64, i64, Option<i64>)>> = vec![];
    for row in rows {
        match sessions.last_mut().filter(|s| s.last().is_some_and(|l| l.0 == row.0 && row.1 - l.1 <= gap)) {
            Some(session) => session.push(row),
            None => sessions.push(vec![row]),
        }
    }
    let print = |session: &Vec<(i64, i64, Option<i64>)>| {
        let values: Vec<i64> = session.iter().filter_map(|r| r.2).collect();
        let text = |v: Option<i64>| v.map_or("null".to_string(), |v| v.to_string());
        let sum = (!values.is_empty()).then(|| values.iter().sum());
        let distinct: std::collections::BTreeSet<_> = values.iter().collect();
        let (start, end) = (session[0].1 * S, (session[session.len() - 1].1 + gap) * S);
        let key = session[0].0;
        let (sum, max) = (text(sum), text(values.iter().max().copied()));
        (format!("{key} {start} {end} {} {sum} {max} {}", session.len(), distinct.len()), 1)
    };
    sessions.iter().map(print).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_split_of_retractable_rows_integrates_to_the_sessions(steps in steps(row(), true), gap in 0i64..15) {
        let mut spec = spec(false, None);
        spec.session.gap_us = gap * S;
        let build = || Box::new(SessionAggregateOperator::new(&spec).unwrap()) as Box<dyn Operator>;
        for (live, view) in drive(build, |rows| to_batch(&spec, rows), &steps) {
            prop_assert_eq!(view, naive(&live, gap));
        }
    }

    #[test]
    fn any_split_of_append_only_rows_integrates_to_the_sessions(steps in steps(row(), false), gap in 0i64..15) {
        let mut spec = spec(true, None);
        spec.session.gap_us = gap * S;
        let build = || Box::new(SessionAggregateOperator::new(&spec).unwrap()) as Box<dyn Operator>;
        for (live, view) in drive(build, |rows| to_batch(&spec, rows), &steps) {
            prop_assert_eq!(view, naive(&live, gap));
        }
    }

    #[test]
    fn held_back_sessions_all_leave_once_at_the_end(rows in prop::collection::vec(row(), 0..60), append_only in any::<bool>()) {
        let spec = spec(append_only, close(true, 0));
        let mut operator = SessionAggregateOperator::new(&spec).unwrap();
        let mut sorted = rows.clone();
        sorted.sort();
        let mut out = Output::default();
        let mut watermarks = ::types::Watermarks::default();
        for (epoch, row) in sorted.iter().enumerate() {
            operator.on_batch(0, to_batch(&spec, &[(*row, 1)]), &mut out).unwrap();
            if let Some(time) = row.0 {
                watermarks.set(SOURCE, time * S);
            }
            let record = EpochRecord::new(epoch as u64, 0, watermarks.clone());
            while operator.on_seal(&record, &mut out).unwrap() == Progress::More {}
        }
        watermarks.set(SOURCE, ::types::WATERMARK_END);
        while operator.on_seal(&EpochRecord::new(99, 0, watermarks.clone()), &mut out).unwrap() == Progress::More {}
        let left: usize = out.rows.iter().map(|b| b.num_rows()).sum();
        prop_assert!(out.rows.iter().all(|b| b.diffs().is_none()));
        prop_assert_eq!(left, naive(&rows, 10).len());
    }
}
