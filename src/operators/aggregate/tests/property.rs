//! Random deltas, random batches, random seals and restarts: the integrated output equals a naive recomputation.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::types::{DeltaBatch, EpochRecord, Watermarks};
use arrow::array::*;
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::{TwoPhase, call, count_star, distinct, filter, spec};
use crate::spec::*;
use crate::{Operator, Output, Progress, RestoredTable};

/// ts (s), key, int value, text value, float value, filter.
type Row = (Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<f64>, Option<bool>);

const INPUT: &str = "ts:ts k:int v:int t:text x:float f:bool";

fn row() -> impl Strategy<Value = Row> {
    let float = prop_oneof![Just(0.1), Just(-0.3), Just(1e17), Just(-1e17), Just(1e-9), -10.0..10.0f64];
    (
        proptest::option::weighted(0.95, -50i64..50),
        proptest::option::weighted(0.9, 0i64..5),
        proptest::option::weighted(0.8, -3i64..4),
        proptest::option::weighted(0.8, "[ab]{0,2}"),
        proptest::option::weighted(0.8, float),
        proptest::option::weighted(0.9, any::<bool>()),
    )
}

/// What happens, in order.
#[derive(Debug, Clone)]
pub(crate) enum Step<R> {
    Insert(R),
    /// Retracts one of the live rows.
    Retract(prop::sample::Index),
    EndBatch,
    Seal,
    Checkpoint,
}

pub(crate) fn steps<R: Clone + std::fmt::Debug>(
    row: impl Strategy<Value = R> + 'static,
    retractions: bool,
) -> impl Strategy<Value = Vec<Step<R>>> {
    let retract = if retractions { 4 } else { 0 };
    let step = prop_oneof![
        8 => row.prop_map(Step::Insert),
        retract => any::<prop::sample::Index>().prop_map(Step::Retract),
        2 => Just(Step::EndBatch),
        2 => Just(Step::Seal),
        1 => Just(Step::Checkpoint),
    ];
    prop::collection::vec(step, 0..120)
}

/// Drives an operator through the steps; answers the live input rows and the integrated output, printed, at each seal.
pub(crate) fn drive<R: Clone>(
    build: impl Fn() -> Box<dyn Operator>,
    to_batch: impl Fn(&[(R, i64)]) -> DeltaBatch,
    steps: &[Step<R>],
) -> Vec<(Vec<R>, BTreeMap<String, i64>)> {
    let mut operator = build();
    let (mut live, mut pending, mut cuts): (Vec<R>, Vec<(R, i64)>, Vec<_>) = (vec![], vec![], vec![]);
    let mut view = BTreeMap::new();
    let mut seals = vec![];
    let mut out = Output::default();
    let mut epoch = 0;
    for step in steps.iter().chain([&Step::Seal]) {
        match step {
            Step::Insert(row) => {
                live.push(row.clone());
                pending.push((row.clone(), 1));
                continue;
            }
            Step::Retract(index) if !live.is_empty() => {
                let row = live.swap_remove(index.index(live.len()));
                pending.push((row, -1));
                continue;
            }
            Step::Retract(_) => continue,
            _ => {}
        }
        if !pending.is_empty() {
            operator.on_batch(0, to_batch(&std::mem::take(&mut pending)), &mut out).unwrap();
        }
        if matches!(step, Step::EndBatch) {
            continue;
        }
        epoch += 1;
        let record = EpochRecord::new(epoch, 0, Watermarks::default());
        while operator.on_seal(&record, &mut out).unwrap() == Progress::More {}
        assert!(out.errors.is_empty());
        integrate(&mut view, &mut out);
        seals.push((live.clone(), view.clone()));
        if matches!(step, Step::Checkpoint) {
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

/// Adds what left to the view; per epoch only net changes may leave.
pub(crate) fn integrate(view: &mut BTreeMap<String, i64>, out: &mut Output) {
    let mut epoch: BTreeMap<String, (i64, usize)> = BTreeMap::new();
    for batch in std::mem::take(&mut out.rows) {
        for row in 0..batch.num_rows() {
            let entry = epoch.entry(print(batch.rows(), row)).or_default();
            entry.0 += batch.diff(row);
            entry.1 += 1;
        }
    }
    for (row, (diff, times)) in epoch {
        assert!(diff != 0 && times == 1, "{row} left {times} times for a net of {diff}");
        let count = view.entry(row.clone()).or_insert(0);
        *count += diff;
        assert!(*count >= 0, "{row} was taken back before it was given");
        if *count == 0 {
            view.remove(&row);
        }
    }
}

fn print(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    let cell = |c: &ArrayRef| match c.data_type() {
        DataType::Timestamp(_, _) if c.is_valid(row) => {
            c.as_primitive::<TimestampMicrosecondType>().value(row).to_string()
        }
        DataType::Float64 if c.is_valid(row) => format!("{:?}", c.as_primitive::<Float64Type>().value(row)),
        _ => ArrayFormatter::try_new(c, &options).unwrap().value(row).to_string(),
    };
    batch.columns().iter().map(cell).collect::<Vec<_>>().join(" ")
}

pub(crate) fn to_batch(schema: &arrow::datatypes::SchemaRef, rows: &[(Row, i64)]) -> DeltaBatch {
    let of = |f: &dyn Fn(&Row) -> Option<i64>| rows.iter().map(|(r, _)| f(r)).collect::<Vec<_>>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(of(&|r| r.0.map(|t| t * 1_000_000)))),
        Arc::new(Int64Array::from(of(&|r| r.1))),
        Arc::new(Int64Array::from(of(&|r| r.2))),
        Arc::new(StringArray::from(rows.iter().map(|(r, _)| r.3.clone()).collect::<Vec<_>>())),
        Arc::new(Float64Array::from(rows.iter().map(|(r, _)| r.4).collect::<Vec<_>>())),
        Arc::new(BooleanArray::from(rows.iter().map(|(r, _)| r.5).collect::<Vec<_>>())),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let diffs: Vec<i64> = rows.iter().map(|(_, d)| *d).collect();
    if diffs.iter().all(|d| *d == 1) { DeltaBatch::inserts(batch) } else { DeltaBatch::new(batch, diffs) }
}

fn text<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("null".into(), |v| v.to_string())
}

/// The exact sum by another way: in fixed point of 2^-64, which holds the quantised values of the tests.
fn exact_sum(values: &[f64]) -> f64 {
    let mut total = 0i128;
    for value in values {
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075;
        let mantissa = ((bits & ((1 << 52) - 1)) | (1 << 52)) as i128;
        if *value == 0.0 {
            continue;
        }
        let shift = exponent + 64;
        let magnitude = if shift >= 0 { mantissa << shift } else { mantissa >> -shift };
        total += if *value < 0.0 { -magnitude } else { magnitude };
    }
    total as f64 / 2f64.powi(64)
}

/// Values quantised so that the naive sum in 128 bits is exact.
fn quantised(value: f64) -> f64 {
    let unit = 2f64.powi(-40);
    (value / unit).round() * unit
}

fn calls() -> Vec<AggregateCall> {
    use AggregateFunction::*;
    vec![
        count_star(),
        call(Sum, Some(2), DataType::Int64),
        call(Avg, Some(2), DataType::Float64),
        call(Min, Some(3), DataType::Utf8),
        call(Max, Some(2), DataType::Int64),
        call(Sum, Some(4), DataType::Float64),
        filter(call(Count, Some(2), DataType::Int64), 5),
        distinct(call(Count, Some(3), DataType::Int64)),
        distinct(filter(call(Sum, Some(2), DataType::Int64), 5)),
    ]
}

fn naive_group(rows: &[&Row]) -> String {
    let ints: Vec<i64> = rows.iter().filter_map(|r| r.2).collect();
    let filtered = rows.iter().filter(|r| r.5 == Some(true)).filter_map(|r| r.2);
    let mut distinct_texts: Vec<&String> = rows.iter().filter_map(|r| r.3.as_ref()).collect();
    distinct_texts.sort();
    let least = distinct_texts.first().map(|t| t.to_string());
    distinct_texts.dedup();
    let floats: Vec<f64> = rows.iter().filter_map(|r| r.4).collect();
    let mut distinct_ints: Vec<i64> = filtered.clone().collect();
    distinct_ints.sort_unstable();
    distinct_ints.dedup();
    let sum: i64 = ints.iter().sum();
    let average = (!ints.is_empty()).then(|| format!("{:?}", sum as f64 / ints.len() as f64));
    [
        rows.len().to_string(),
        text((!ints.is_empty()).then_some(sum)),
        text(average),
        text(least),
        text(ints.iter().max()),
        text((!floats.is_empty()).then(|| format!("{:?}", exact_sum(&floats)))),
        filtered.count().to_string(),
        distinct_texts.len().to_string(),
        text((!distinct_ints.is_empty()).then(|| distinct_ints.iter().sum::<i64>())),
    ]
    .join(" ")
}

/// The windows [start, end) of a time in seconds, by search.
fn naive_windows(kind: WindowKind, ts: i64) -> Vec<(i64, i64)> {
    let s = 1_000_000;
    let search = |size: i64, step: i64, offset: i64| {
        (-400..400).map(move |k| offset + k * step).filter(move |start| *start <= ts && ts < start + size)
    };
    match kind {
        WindowKind::Tumble { size_us, offset_us } => {
            search(size_us / s, size_us / s, offset_us / s).map(|w| (w, w + size_us / s)).collect()
        }
        WindowKind::Hop { slide_us, size_us, offset_us } => {
            search(size_us / s, slide_us / s, offset_us / s).map(|w| (w, w + size_us / s)).collect()
        }
        WindowKind::Cumulate { step_us, size_us, offset_us } => {
            let (size, step) = (size_us / s, step_us / s);
            let start = search(size, size, offset_us / s).next().unwrap();
            (1..=size / step).map(|k| (start, start + k * step)).filter(|(_, end)| ts < *end).collect()
        }
    }
}

fn kinds() -> impl Strategy<Value = WindowKind> {
    let s = 1_000_000;
    prop_oneof![
        (1i64..20, -5i64..5).prop_map(move |(size, o)| WindowKind::Tumble { size_us: size * s, offset_us: o * s }),
        (1i64..10, 1i64..20, -5i64..5).prop_map(move |(slide, size, o)| WindowKind::Hop {
            slide_us: slide * s,
            size_us: size * s,
            offset_us: o * s
        }),
        (1i64..5, 1i64..5, -5i64..5).prop_map(move |(step, times, o)| WindowKind::Cumulate {
            step_us: step * s,
            size_us: step * times * s,
            offset_us: o * s
        }),
    ]
}

fn quantise(steps: Vec<Step<Row>>) -> Vec<Step<Row>> {
    let quantise = |step: Step<Row>| match step {
        Step::Insert(mut row) => {
            row.4 = row.4.map(quantised);
            Step::Insert(row)
        }
        other => other,
    };
    steps.into_iter().map(quantise).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_split_of_any_deltas_integrates_to_the_batch_answer(
        steps in steps(row(), true), key_columns in 0usize..3,
    ) {
        let group: Vec<GroupColumn> = [1, 3][..key_columns].iter().map(|c| GroupColumn::Input(*c)).collect();
        let spec = spec(INPUT, &group, calls());
        let build = || Box::new(TwoPhase::new(&spec)) as Box<dyn Operator>;
        for (live, view) in drive(build, |rows| to_batch(&spec.input, rows), &quantise(steps)) {
            let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
            if key_columns == 0 {
                groups.insert(String::new(), vec![]);
            }
            for row in &live {
                let key = [text(row.1), text(row.3.as_ref())][..key_columns].iter().map(|k| k.clone() + " ").collect();
                groups.entry(key).or_default().push(row);
            }
            let expected = groups.iter().map(|(key, rows)| (key.clone() + &naive_group(rows), 1)).collect();
            prop_assert_eq!(view, expected);
        }
    }

    #[test]
    fn append_only_input_gives_the_same_with_less_state(steps in steps(row(), false)) {
        let spec = AggregateSpec { append_only: true, ..spec(INPUT, &[GroupColumn::Input(1)], calls()) };
        let build = || Box::new(TwoPhase::new(&spec)) as Box<dyn Operator>;
        for (live, view) in drive(build, |rows| to_batch(&spec.input, rows), &quantise(steps)) {
            let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
            live.iter().for_each(|row| groups.entry(text(row.1) + " ").or_default().push(row));
            let expected = groups.iter().map(|(key, rows)| (key.clone() + &naive_group(rows), 1)).collect();
            prop_assert_eq!(view, expected);
        }
    }

    #[test]
    fn panes_expand_to_the_windows_of_each_row(steps in steps(row(), true), kind in kinds()) {
        let group = [GroupColumn::WindowEnd, GroupColumn::Input(1), GroupColumn::WindowStart, GroupColumn::WindowTime];
        let mut spec = spec(INPUT, &group, calls());
        spec.window = Some(WindowSpec { kind, time_column: 0 });
        let build = || Box::new(TwoPhase::new(&spec)) as Box<dyn Operator>;
        for (live, view) in drive(build, |rows| to_batch(&spec.input, rows), &quantise(steps)) {
            let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
            for row in &live {
                for (start, end) in row.0.map(|ts| naive_windows(kind, ts)).unwrap_or_default() {
                    let (start, end) = (start * 1_000_000, end * 1_000_000);
                    groups.entry(format!("{end} {} {start} {} ", text(row.1), end - 1000)).or_default().push(row);
                }
            }
            let expected = groups.iter().map(|(key, rows)| (key.clone() + &naive_group(rows), 1)).collect();
            prop_assert_eq!(view, expected);
        }
    }
}

#[test]
fn rows_that_pass_one_by_one_add_up_to_the_same() {
    // More keys than half the rows: the partial phase gives up grouping after the probe.
    let spec = spec(INPUT, &[GroupColumn::Input(1)], calls());
    let rows: Vec<(Row, i64)> = (0..40_000i64)
        .map(|i| {
            (
                (
                    Some(1),
                    Some(i * 7919 % 30_000),
                    Some(i % 5),
                    Some(format!("t{}", i % 3)),
                    Some(0.5),
                    Some(i % 2 == 0),
                ),
                1,
            )
        })
        .collect();
    let mut operator = TwoPhase::new(&spec);
    let mut out = Output::default();
    for rows in rows.chunks(4_000) {
        operator.on_batch(0, to_batch(&spec.input, rows), &mut out).unwrap();
    }
    assert!(operator.partial.bypasses());
    while operator.on_seal(&EpochRecord::new(1, 0, Watermarks::default()), &mut out).unwrap() == Progress::More {}
    let mut view = BTreeMap::new();
    integrate(&mut view, &mut out);
    let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|(row, _)| groups.entry(text(row.1) + " ").or_default().push(row));
    let expected: BTreeMap<String, i64> =
        groups.iter().map(|(key, rows)| (key.clone() + &naive_group(rows), 1)).collect();
    assert!(view == expected);
}
