//! Rows leave with the window of their session and again when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::types::EventTimeBound;
use arrow::array::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::aggregate::tests::property::{drive, steps};
use crate::changelog::{SOURCE, schema};

const S: i64 = 1_000_000;

fn spec(close: Option<SessionClose>) -> SessionSpec {
    SessionSpec { time_column: 0, gap_us: 10 * S, partition_by: vec![1], close }
}

fn close(emit_on_close: bool, lateness_s: i64) -> Option<SessionClose> {
    let bound = EventTimeBound::of_source(SOURCE);
    let retain = bound.delayed(lateness_s * S);
    Some(SessionClose { bound, retain, emit_on_close })
}

fn check(spec: SessionSpec, script: &str, expect: Expect) {
    crate::changelog::check(move || Box::new(SessionOperator::new(&spec).unwrap()), script, expect);
}

#[test]
fn rows_leave_again_when_their_session_changes() {
    check(
        spec(None),
        "ts:ts k:int v:text
         + 0 1 a
         +2 20 1 b
         + 0 2 c
         + null 2 d
         seal 1
         checkpoint
         + 10 1 e
         seal 2
         checkpoint
         - 10 1 e
         - 20 1 b
         seal 3",
        expect![[r#"
            seal 1:
            + 0 1 a 0 10 9.999
            + 0 2 c 0 10 9.999
            +2 20 1 b 20 30 29.999
            seal 2:
            - 0 1 a 0 10 9.999
            + 0 1 a 0 30 29.999
            + 10 1 e 0 30 29.999
            +2 20 1 b 0 30 29.999
            -2 20 1 b 20 30 29.999
            seal 3:
            + 0 1 a 0 10 9.999
            - 0 1 a 0 30 29.999
            - 10 1 e 0 30 29.999
            + 20 1 b 20 30 29.999
            -2 20 1 b 0 30 29.999
        "#]],
    );
}

#[test]
fn held_back_rows_leave_with_their_closed_session() {
    check(
        spec(close(true, 20)),
        "ts:ts k:int v:text
         + 0 1 a
         + 5 1 b
         seal 1 w=15
         checkpoint
         seal 2 w=16
         checkpoint
         + 7 1 c
         seal 3 w=18
         seal 4 w=end",
        expect![[r#"
            seal 1:
            seal 2:
            + 0 1 a 0 15 14.999
            + 5 1 b 0 15 14.999
            seal 3:
            - 0 1 a 0 15 14.999
            + 0 1 a 0 17 16.999
            - 5 1 b 0 15 14.999
            + 5 1 b 0 17 16.999
            + 7 1 c 0 17 16.999
            seal 4:
        "#]],
    );
}

#[test]
fn rows_of_past_sessions_go_without_output() {
    let mut operator = SessionOperator::new(&spec(close(false, 0))).unwrap();
    let mut out = Output::default();
    let rows: Vec<_> = (0..1000).map(|i| (vec!["1".into(), format!("{i}"), format!("text {i}")], 1)).collect();
    operator.on_batch(0, crate::changelog::rows(&schema("ts:ts k:int v:text"), &rows), &mut out).unwrap();
    operator.on_seal(&EpochRecord::new(1, 0, Default::default()), &mut out).unwrap();
    operator.checkpoint();
    let full = operator.memory_bytes();
    let mut watermarks = ::types::Watermarks::default();
    watermarks.set(SOURCE, 12 * S);
    operator.on_seal(&EpochRecord::new(2, 0, watermarks), &mut out).unwrap();
    let deleted: usize = operator.checkpoint().gather().unwrap()[0].batches.iter().map(|b| b.num_rows()).sum();
    assert_eq!((deleted, out.rows.iter().map(|b| b.num_rows()).sum::<usize>()), (1000, 1000));
    assert!(operator.memory_bytes() < full / 10, "{} of {full}", operator.memory_bytes());
}

type Row = (i64, i64, i64);

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_split_integrates_to_the_rows_of_the_sessions(
        steps in steps((0i64..120, 0i64..3, 0i64..3), true), gap in 0i64..15,
    ) {
        let spec = SessionSpec { gap_us: gap * S, ..spec(None) };
        let input = schema("ts:ts k:int v:int");
        let to_batch = |rows: &[(Row, i64)]| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(r, _)| r.0 * S))),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|(r, _)| r.1))),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|(r, _)| r.2))),
            ];
            let batch = RecordBatch::try_new(input.clone(), columns).unwrap();
            DeltaBatch::new(batch, rows.iter().map(|(_, d)| *d).collect::<Vec<i64>>())
        };
        let build = || Box::new(SessionOperator::new(&spec).unwrap()) as Box<dyn Operator>;
        for (live, view) in drive(build, to_batch, &steps) {
            let mut expected: BTreeMap<String, i64> = BTreeMap::new();
            for row in &live {
                let reach = |direction: i64| {
                    let mut edge = row.0;
                    while let Some(next) = live.iter().filter(|r| r.1 == row.1).map(|r| r.0).filter(|t| {
                        let ahead = (t - edge) * direction;
                        ahead > 0 && ahead <= gap
                    }).min_by_key(|t| (t - edge).abs()) {
                        edge = next;
                    }
                    edge
                };
                let (start, end) = (reach(-1) * S, (reach(1) + gap) * S);
                let line = format!("{} {} {} {start} {end} {}", row.0 * S, row.1, row.2, end - 1000);
                *expected.entry(line).or_default() += 1;
            }
            prop_assert_eq!(view, expected);
        }
    }
}
