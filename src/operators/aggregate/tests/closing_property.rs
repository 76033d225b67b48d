//! Random rows around a moving watermark, with restarts: what has left equals the batch answer over the accepted rows,
//! restricted to closed windows where they are held back.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::types::{DeltaBatch, EpochRecord, WATERMARK_END, WATERMARK_NONE, Watermarks};
use arrow::array::*;
use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::property::integrate;
use super::{TwoPhase, call, close, count_star, distinct, spec};
use crate::changelog::{SOURCE, schema};
use crate::spec::*;
use crate::{
    EmitOnCloseOperator, Operator, Output, Progress, RestoredTable, SessionAggregateOperator, SessionOperator,
};

const S: i64 = 1_000_000;
const INPUT: &str = "ts:ts k:int v:int";

/// ts (s), key, value.
type Row = (i64, i64, i64);

#[derive(Debug, Clone)]
enum Step {
    /// A row this far above the line below which rows are late.
    Insert(i64, i64, i64),
    /// Retracts one of the rows that are not below the line.
    Retract(prop::sample::Index),
    EndBatch,
    /// Seals with the watermark this much further.
    Seal(i64),
    Checkpoint(i64),
}

fn steps(retractions: bool) -> impl Strategy<Value = Vec<Step>> {
    let retract = if retractions { 4 } else { 0 };
    let step = prop_oneof![
        8 => (0i64..25, 0i64..2, 0i64..4).prop_map(|(t, k, v)| Step::Insert(t, k, v)),
        retract => any::<prop::sample::Index>().prop_map(Step::Retract),
        2 => Just(Step::EndBatch),
        2 => (0i64..12).prop_map(Step::Seal),
        2 => (0i64..12).prop_map(Step::Checkpoint),
    ];
    prop::collection::vec(step, 0..100)
}

fn to_batch(rows: &[(Row, i64)]) -> DeltaBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(r, _)| r.0 * S))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(r, _)| r.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(r, _)| r.2))),
    ];
    let batch = RecordBatch::try_new(schema(INPUT), columns).unwrap();
    let diffs: Vec<i64> = rows.iter().map(|(_, d)| *d).collect();
    if diffs.iter().all(|d| *d == 1) { DeltaBatch::inserts(batch) } else { DeltaBatch::new(batch, diffs) }
}

/// (watermark in µs, accepted rows, integrated output) at every seal.
fn drive(
    build: impl Fn() -> Box<dyn Operator>,
    steps: &[Step],
    lateness_s: i64,
) -> Vec<(i64, Vec<Row>, BTreeMap<String, i64>)> {
    let mut operator = build();
    let (mut live, mut pending, mut cuts): (Vec<Row>, Vec<(Row, i64)>, Vec<_>) = (vec![], vec![], vec![]);
    let (mut view, mut out, mut seals) = (BTreeMap::new(), Output::default(), vec![]);
    // The watermark of the last seal, seconds: rows below it less the lateness are late.
    let mut watermark = 0;
    let ends = [Step::Checkpoint(1_000), Step::Seal(WATERMARK_END)];
    for (epoch, step) in steps.iter().chain(&ends).enumerate() {
        let line = watermark - lateness_s;
        let forward = match step {
            Step::Insert(above, k, v) => {
                live.push((line + above, *k, *v));
                pending.push((live[live.len() - 1], 1));
                continue;
            }
            Step::Retract(index) => {
                let young: Vec<usize> = (0..live.len()).filter(|i| live[*i].0 >= line).collect();
                if !young.is_empty() {
                    pending.push((live.swap_remove(young[index.index(young.len())]), -1));
                }
                continue;
            }
            Step::EndBatch => None,
            Step::Seal(forward) | Step::Checkpoint(forward) => Some(*forward),
        };
        if !pending.is_empty() {
            operator.on_batch(0, to_batch(&std::mem::take(&mut pending)), &mut out).unwrap();
        }
        let Some(forward) = forward else { continue };
        watermark = if forward == WATERMARK_END { WATERMARK_END } else { watermark + forward };
        let us = watermark.saturating_mul(S);
        let mut watermarks = Watermarks::default();
        watermarks.set(SOURCE, us);
        let record = EpochRecord::new(epoch as u64, 0, watermarks);
        while operator.on_seal(&record, &mut out).unwrap() == Progress::More {}
        assert!(out.errors.is_empty());
        integrate(&mut view, &mut out);
        seals.push((us, live.clone(), view.clone()));
        if matches!(step, Step::Checkpoint(_)) {
            cuts.extend(operator.checkpoint().gather().expect("gathers"));
            operator = build();
            for cut in &cuts {
                for batch in &cut.batches {
                    operator.restore(RestoredTable { table: cut.table, batch }).unwrap();
                }
            }
        }
    }
    seals
}

fn calls() -> Vec<AggregateCall> {
    use AggregateFunction::*;
    vec![
        count_star(),
        call(Sum, Some(2), DataType::Int64),
        call(Max, Some(2), DataType::Int64),
        distinct(call(Count, Some(2), DataType::Int64)),
    ]
}

fn answer(values: &[i64]) -> String {
    let distinct: std::collections::BTreeSet<_> = values.iter().collect();
    let (sum, max) = (values.iter().sum::<i64>(), values.iter().max().unwrap());
    format!("{} {sum} {max} {}", values.len(), distinct.len())
}

/// Sessions as (key, first, last, rows).
fn naive_sessions(live: &[Row], gap: i64) -> Vec<(i64, i64, i64, Vec<Row>)> {
    let mut rows = live.to_vec();
    rows.sort_by_key(|(t, k, v)| (*k, *t, *v));
    let mut sessions: Vec<(i64, i64, i64, Vec<Row>)> = vec![];
    for row in rows {
        match sessions.last_mut().filter(|s| s.0 == row.1 && row.0 - s.2 <= gap) {
            Some(session) => {
                session.2 = row.0;
                session.3.push(row);
            }
            None => sessions.push((row.1, row.0, row.0, vec![row])),
        }
    }
    sessions
}

fn session_close(emit_on_close: bool, lateness_s: i64) -> Option<SessionClose> {
    let close = close(0, emit_on_close, lateness_s);
    Some(SessionClose { bound: close.bound, retain: close.retain, emit_on_close })
}

fn session_passed(end_s: i64, watermark_us: i64) -> bool {
    watermark_us != WATERMARK_NONE && end_s * S < watermark_us
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn windows_close_as_the_watermark_says(
        (append_only, steps) in any::<bool>().prop_flat_map(|a| (Just(a), steps(!a))),
        emit_on_close in any::<bool>(), lateness in 0i64..20, slide in 2i64..6, size in 2i64..10,
    ) {
        let mut spec = spec(INPUT, &[GroupColumn::Input(1), GroupColumn::WindowEnd], calls());
        let kind = WindowKind::Hop { slide_us: slide * S, size_us: size * S, offset_us: S };
        spec.window = Some(WindowSpec { kind, time_column: 0 });
        spec.append_only = append_only;
        spec.close = Some(close(1, emit_on_close, lateness));
        for (watermark, live, view) in drive(|| Box::new(TwoPhase::new(&spec)), &steps, lateness) {
            let mut groups: BTreeMap<(i64, i64), Vec<i64>> = BTreeMap::new();
            for (t, k, v) in live {
                let starts = (-300..400).map(|i| 1 + i * slide).filter(|start| *start <= t && t < start + size);
                starts.for_each(|start| groups.entry((k, start + size)).or_default().push(v));
            }
            groups.retain(|(_, end), _| !emit_on_close || end * S <= watermark);
            let expected = groups.iter().map(|((k, end), v)| (format!("{k} {} {}", end * S, answer(v)), 1)).collect();
            prop_assert_eq!(view, expected);
        }
    }

    #[test]
    fn fused_sessions_close_as_the_watermark_says(
        (append_only, steps) in any::<bool>().prop_flat_map(|a| (Just(a), steps(!a))),
        emit_on_close in any::<bool>(), lateness in 0i64..20, gap in 0i64..8,
    ) {
        let plain = spec(INPUT, &[GroupColumn::Input(1), GroupColumn::WindowStart, GroupColumn::WindowEnd], calls());
        let close = session_close(emit_on_close, lateness);
        let spec = SessionAggregateSpec {
            session: SessionSpec { time_column: 0, gap_us: gap * S, partition_by: vec![1], close },
            group: plain.group,
            calls: plain.calls,
            input: plain.input,
            output: plain.output,
            append_only,
            null_on_error: false,
        };
        let build = || Box::new(SessionAggregateOperator::new(&spec).unwrap()) as Box<dyn Operator>;
        for (watermark, live, view) in drive(build, &steps, lateness) {
            let mut sessions = naive_sessions(&live, gap);
            sessions.retain(|(_, _, last, _)| !emit_on_close || session_passed(last + gap, watermark));
            let line = |(k, first, last, rows): &(i64, i64, i64, Vec<Row>)| {
                let values: Vec<i64> = rows.iter().map(|r| r.2).collect();
                (format!("{k} {} {} {}", first * S, (last + gap) * S, answer(&values)), 1)
            };
            prop_assert_eq!(view, sessions.iter().map(line).collect());
        }
    }

    #[test]
    fn rows_of_sessions_close_as_the_watermark_says(
        steps in steps(true), emit_on_close in any::<bool>(), lateness in 0i64..20, gap in 0i64..8,
    ) {
        let close = session_close(emit_on_close, lateness);
        let spec = SessionSpec { time_column: 0, gap_us: gap * S, partition_by: vec![1], close };
        let build = || Box::new(SessionOperator::new(&spec).unwrap()) as Box<dyn Operator>;
        for (watermark, live, view) in drive(build, &steps, lateness) {
            let mut expected: BTreeMap<String, i64> = BTreeMap::new();
            for (_, first, last, rows) in naive_sessions(&live, gap) {
                if emit_on_close && !session_passed(last + gap, watermark) {
                    continue;
                }
                let (start, end) = (first * S, (last + gap) * S);
                for (t, k, v) in rows {
                    *expected.entry(format!("{} {k} {v} {start} {end} {}", t * S, end - 1000)).or_default() += 1;
                }
            }
            prop_assert_eq!(view, expected);
        }
    }

    #[test]
    fn held_back_rows_leave_as_the_watermark_says(steps in steps(true), lateness in 0i64..20) {
        let spec = close(0, true, lateness);
        let build = || Box::new(EmitOnCloseOperator::new(&spec).unwrap()) as Box<dyn Operator>;
        for (watermark, live, view) in drive(build, &steps, lateness) {
            let mut expected: BTreeMap<String, i64> = BTreeMap::new();
            for (t, k, v) in live.iter().filter(|row| row.0 * S <= watermark) {
                *expected.entry(format!("{} {k} {v}", t * S)).or_default() += 1;
            }
            prop_assert_eq!(view, expected);
        }
    }
}
