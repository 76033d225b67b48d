//! Both phases together: partial output routed into the final operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use expect_test::{Expect, expect};
use types::{DeltaBatch, EpochRecord, EventTimeBound, ObjectId};

use super::*;
use crate::changelog::{SOURCE, schema};
use crate::spec::*;
use crate::window::timestamp_type;
use crate::{BuildContext, Cut, Operator, Output, Progress, RestoredTable};

mod closing_property;
pub(crate) mod property;

/// The partial phase feeding the final one, as if on one worker.
pub(super) struct TwoPhase {
    partial: PartialAggregateOperator,
    last: AggregateOperator,
    between: Output,
    sealing: bool,
}

pub(super) fn context(worker: usize, workers: usize) -> BuildContext {
    BuildContext {
        worker,
        workers,
        batch_rows: types::limits::BATCH_ROWS_MAX,
        shard: Arc::new(|_| unreachable!("aggregation reads no relation")),
    }
}

impl TwoPhase {
    pub fn new(spec: &AggregateSpec) -> Self {
        TwoPhase {
            partial: PartialAggregateOperator::new(spec).unwrap(),
            last: AggregateOperator::new(spec, &context(0, 1)).unwrap(),
            between: Output::default(),
            sealing: false,
        }
    }

    fn route(&mut self, out: &mut Output) -> Result<(), OperatorError> {
        out.errors.append(&mut self.between.errors);
        for batch in std::mem::take(&mut self.between.rows) {
            assert!(batch.num_rows() <= types::limits::BATCH_ROWS_MAX);
            self.last.on_batch(0, batch, out)?;
        }
        Ok(())
    }
}

impl Operator for TwoPhase {
    fn on_batch(&mut self, port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        self.partial.on_batch(port, batch, &mut self.between)?;
        self.route(out)
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        if !std::mem::replace(&mut self.sealing, true) {
            while self.partial.on_seal(record, &mut self.between)? == Progress::More {}
            self.route(out)?;
        }
        let progress = self.last.on_seal(record, out)?;
        self.sealing = progress == Progress::More;
        Ok(progress)
    }

    fn checkpoint(&mut self) -> Cut {
        self.last.checkpoint()
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.last.restore(table)
    }

    fn memory_bytes(&self) -> usize {
        self.last.memory_bytes()
    }
}

pub(crate) fn call(function: AggregateFunction, argument: Option<usize>, return_type: DataType) -> AggregateCall {
    AggregateCall { function, argument, distinct: false, filter: None, return_type }
}

pub(crate) fn distinct(call: AggregateCall) -> AggregateCall {
    AggregateCall { distinct: true, ..call }
}

pub(crate) fn filter(call: AggregateCall, column: usize) -> AggregateCall {
    AggregateCall { filter: Some(column), ..call }
}

pub(crate) fn count_star() -> AggregateCall {
    call(AggregateFunction::Count, None, DataType::Int64)
}

/// A spec with output columns typed after the group columns and the calls.
pub(crate) fn spec(input: &str, group: &[GroupColumn], calls: Vec<AggregateCall>) -> AggregateSpec {
    let input = schema(input);
    let group_type = |column: &GroupColumn| match column {
        GroupColumn::Input(column) => input.field(*column).data_type().clone(),
        _ => timestamp_type(),
    };
    let types = group.iter().map(group_type).chain(calls.iter().map(|c| c.return_type.clone()));
    let fields: Vec<Field> = types.enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, true)).collect();
    let output: SchemaRef = Arc::new(Schema::new(fields));
    let (group, append_only, null_on_error) = (group.to_vec(), false, false);
    AggregateSpec { group, calls, window: None, input, output, append_only, close: None, null_on_error }
}

pub(crate) fn close(column: usize, emit_on_close: bool, lateness_s: i64) -> CloseSpec {
    let bound = EventTimeBound::of_source(ObjectId(SOURCE.0));
    let retain = bound.delayed(lateness_s * 1_000_000);
    CloseSpec { column, bound, retain, inclusive: true, emit_on_close }
}

fn check(spec: AggregateSpec, script: &str, expect: Expect) {
    crate::changelog::check(move || Box::new(TwoPhase::new(&spec)), script, expect);
}

use AggregateFunction::*;
use GroupColumn::*;

const S: i64 = 1_000_000;

#[test]
fn counts_and_sums_per_key_leave_as_net_changes() {
    let calls = vec![count_star(), call(Sum, Some(1), DataType::Int64), call(Avg, Some(1), DataType::Float64)];
    check(
        spec("k:int v:int", &[Input(0)], calls),
        "k:int v:int
         + 1 7
         + 1 8
         - 1 7
         + 2 null
         + null 5
         seal 1
         + 1 1
         seal 2
         checkpoint
         + 1 3
         - 1 3
         seal 3
         - 1 8
         - 1 1
         - null 5
         seal 4",
        expect![[r#"
            seal 1:
            + 1 1 8 8.0
            + 2 1 null null
            + null 1 5 5.0
            seal 2:
            - 1 1 8 8.0
            + 1 2 9 4.5
            seal 3:
            seal 4:
            - 1 2 9 4.5
            - null 1 5 5.0
        "#]],
    );
}

#[test]
fn without_group_columns_one_row_always_exists() {
    let calls = vec![count_star(), call(Sum, Some(0), DataType::Int64), call(Min, Some(0), DataType::Int64)];
    check(
        spec("v:int", &[], calls),
        "v:int
         seal 1
         seal 2
         + 5
         + 3
         seal 3
         checkpoint
         seal 4
         - 3
         - 5
         seal 5",
        expect![[r#"
            seal 1:
            + 0 null null
            seal 2:
            seal 3:
            - 0 null null
            + 2 8 3
            seal 4:
            seal 5:
            + 0 null null
            - 2 8 3
        "#]],
    );
}

#[test]
fn only_one_worker_announces_the_global_group() {
    let spec = spec("v:int", &[], vec![count_star()]);
    let announced = (0..4).filter(|worker| {
        let mut operator = AggregateOperator::new(&spec, &context(*worker, 4)).unwrap();
        let mut out = Output::default();
        operator.on_seal(&EpochRecord::new(1, 0, Default::default()), &mut out).unwrap();
        !out.rows.is_empty()
    });
    assert_eq!(announced.count(), 1);
}

#[test]
fn distinct_is_an_aggregation_without_calls() {
    check(
        spec("a:int t:text", &[Input(0), Input(1)], vec![]),
        "a:int t:text
         +2 1 x
         + 1 null
         + 1 null
         seal 1
         - 1 x
         - 1 null
         seal 2
         checkpoint
         - 1 x
         - 1 null
         seal 3",
        expect![[r#"
            seal 1:
            + 1 null
            + 1 x
            seal 2:
            seal 3:
            - 1 null
            - 1 x
        "#]],
    );
}

#[test]
fn retracting_the_extreme_brings_back_the_next() {
    let calls = vec![
        call(Min, Some(1), DataType::Int64),
        call(Max, Some(1), DataType::Int64),
        call(Min, Some(2), DataType::Utf8),
    ];
    check(
        spec("k:int v:int t:text", &[Input(0)], calls),
        "k:int v:int t:text
         + 1 5 b
         + 1 3 c
         + 1 3 a
         + 1 null null
         seal 1
         - 1 3 a
         seal 2
         checkpoint
         - 1 3 c
         seal 3
         - 1 5 b
         seal 4
         - 1 null null
         seal 5",
        expect![[r#"
            seal 1:
            + 1 3 5 a
            seal 2:
            - 1 3 5 a
            + 1 3 5 b
            seal 3:
            - 1 3 5 b
            + 1 5 5 b
            seal 4:
            - 1 5 5 b
            + 1 null null null
            seal 5:
            - 1 null null null
        "#]],
    );
}

#[test]
fn append_only_extremes_keep_only_the_best() {
    let calls = vec![
        call(Min, Some(1), DataType::Float64),
        call(Max, Some(1), DataType::Float64),
        call(Max, Some(2), DataType::Utf8),
    ];
    let spec = AggregateSpec { append_only: true, ..spec("k:int v:float t:text", &[Input(0)], calls) };
    assert!(state_fields(&spec).unwrap().field_with_name("__set").is_err());
    check(
        spec,
        "k:int v:float t:text
         + 1 -1.5 b
         + 1 NaN aa
         seal 1
         checkpoint
         + 1 -2 null
         seal 2
         + 1 7 c
         seal 3",
        expect![[r#"
            seal 1:
            + 1 -1.5 NaN b
            seal 2:
            - 1 -1.5 NaN b
            + 1 -2.0 NaN b
            seal 3:
            - 1 -2.0 NaN b
            + 1 -2.0 NaN c
        "#]],
    );
}

#[test]
fn distinct_calls_count_a_value_once_while_it_is_there() {
    let calls = vec![
        distinct(call(Count, Some(1), DataType::Int64)),
        distinct(call(Sum, Some(1), DataType::Int64)),
        distinct(filter(call(Count, Some(1), DataType::Int64), 2)),
        call(Count, Some(1), DataType::Int64),
    ];
    check(
        spec("k:int v:int f:bool", &[Input(0)], calls),
        "k:int v:int f:bool
         + 1 5 true
         + 1 5 false
         + 1 6 false
         + 1 null true
         seal 1
         - 1 5 true
         seal 2
         checkpoint
         - 1 5 false
         seal 3
         checkpoint
         + 1 5 true
         + 1 6 null
         seal 4
         - 1 6 null
         - 1 6 false
         - 1 null true
         - 1 5 true
         seal 5",
        expect![[r#"
            seal 1:
            + 1 2 11 1 3
            seal 2:
            + 1 2 11 0 2
            - 1 2 11 1 3
            seal 3:
            + 1 1 6 0 1
            - 1 2 11 0 2
            seal 4:
            - 1 1 6 0 1
            + 1 2 11 1 3
            seal 5:
            - 1 2 11 1 3
        "#]],
    );
}

#[test]
fn filters_apply_per_call() {
    let calls = vec![filter(count_star(), 2), filter(call(Sum, Some(1), DataType::Int64), 2), count_star()];
    check(
        spec("k:int v:int f:bool", &[Input(0)], calls),
        "k:int v:int f:bool
         + 1 5 true
         + 1 6 false
         + 1 7 null
         + 2 7 false
         seal 1
         - 1 5 true
         seal 2",
        expect![[r#"
            seal 1:
            + 1 1 5 3
            + 2 0 null 1
            seal 2:
            + 1 0 null 2
            - 1 1 5 3
        "#]],
    );
}

#[test]
fn a_sum_out_of_range_is_an_error_until_it_comes_back() {
    let calls = [call(Sum, Some(1), DataType::Int64), call(Sum, Some(1), DataType::Decimal128(38, 0))];
    let only_int = spec("k:int v:int", &[Input(0)], calls[..1].to_vec());
    let script = "k:int v:int
         + 1 9223372036854775807
         + 2 1
         seal 1
         +2 1 9223372036854775807
         seal 2
         checkpoint
         - 1 9223372036854775807
         seal 3
         - 1 9223372036854775807
         + 1 -1
         seal 4";
    check(
        only_int,
        script,
        expect![[r#"
            seal 1:
            + 1 9223372036854775807
            + 2 1
            seal 2:
            - 1 9223372036854775807
            error +1 22003 bigint out of range (c0: 1)
            seal 3:
            seal 4:
            + 1 9223372036854775806
            error -1 22003 bigint out of range (c0: 1)
        "#]],
    );
    check(
        spec("k:int v:int", &[Input(0)], calls[1..].to_vec()),
        script,
        expect![[r#"
            seal 1:
            + 1 9223372036854775807
            + 2 1
            seal 2:
            + 1 27670116110564327421
            - 1 9223372036854775807
            seal 3:
            + 1 18446744073709551614
            - 1 27670116110564327421
            seal 4:
            - 1 18446744073709551614
            + 1 9223372036854775806
        "#]],
    );
}

#[test]
fn decimal_sums_leave_the_range_and_return() {
    let calls = vec![call(Sum, Some(0), DataType::Decimal128(38, 2)), call(Avg, Some(0), DataType::Decimal128(38, 6))];
    check(
        spec("v:dec2", &[], calls),
        "v:dec2
         + 1.00
         + 1.00
         + 0.01
         seal 1
         +3 999999999999999999999999999999999999.99
         seal 2
         checkpoint
         -3 999999999999999999999999999999999999.99
         seal 3",
        expect![[r#"
            seal 1:
            + 2.01 0.670000
            seal 2:
            - 2.01 0.670000
            error +1 22003 numeric field overflow
            seal 3:
            + 2.01 0.670000
            error -1 22003 numeric field overflow
        "#]],
    );
}

#[test]
fn float_sums_are_exact_and_specials_can_be_retracted() {
    let calls = vec![call(Sum, Some(0), DataType::Float64), distinct(call(Avg, Some(0), DataType::Float64))];
    check(
        spec("v:float", &[], calls),
        "v:float
         + 1e100
         + 1
         + -1e100
         seal 1
         + inf
         seal 2
         + NaN
         seal 3
         checkpoint
         - inf
         - NaN
         - 1e100
         - -1e100
         + 1e308
         +2 1.5e308
         seal 4
         - 1e308
         -2 1.5e308
         + 0.1
         + 0.2
         seal 5",
        expect![[r#"
            seal 1:
            + 1.0 0.3333333333333333
            seal 2:
            - 1.0 0.3333333333333333
            + inf inf
            seal 3:
            + NaN NaN
            - inf inf
            seal 4:
            - NaN NaN
            + inf inf
            seal 5:
            + 1.3 0.43333333333333335
            - inf inf
        "#]],
    );
}

fn windowed(kind: WindowKind, close: Option<CloseSpec>) -> AggregateSpec {
    let calls = vec![count_star(), call(Sum, Some(1), DataType::Int64)];
    let mut spec = spec("ts:ts v:int k:int", &[Input(2), WindowStart, WindowEnd], calls);
    spec.window = Some(WindowSpec { kind, time_column: 0 });
    spec.append_only = true;
    spec.close = close;
    spec
}

#[test]
fn tumbling_windows_floor_negative_times_and_drop_null_ones() {
    check(
        windowed(WindowKind::Tumble { size_us: 10 * S, offset_us: 2 * S }, None),
        "ts:ts v:int k:int
         + -9 1 1
         + -8 2 1
         + 1.999999 4 1
         + 2 8 1
         + null 16 1
         seal 1",
        expect![[r#"
            seal 1:
            + 1 -18 -8 1 1
            + 1 -8 2 2 6
            + 1 2 12 1 8
        "#]],
    );
}

#[test]
fn hopping_windows_with_an_offset_share_panes() {
    check(
        windowed(WindowKind::Hop { slide_us: 4 * S, size_us: 10 * S, offset_us: S }, None),
        "ts:ts v:int k:int
         + 0 1 1
         + 9 2 1
         + 9 4 2
         seal 1
         + 2.5 8 1
         seal 2",
        expect![[r#"
            seal 1:
            + 1 -3 7 1 1
            + 1 -7 3 1 1
            + 1 1 11 1 2
            + 1 5 15 1 2
            + 1 9 19 1 2
            + 2 1 11 1 4
            + 2 5 15 1 4
            + 2 9 19 1 4
            seal 2:
            - 1 -3 7 1 1
            + 1 -3 7 2 9
            - 1 -7 3 1 1
            + 1 -7 3 2 9
            - 1 1 11 1 2
            + 1 1 11 2 10
        "#]],
    );
}

#[test]
fn cumulating_windows_grow_by_steps() {
    check(
        windowed(WindowKind::Cumulate { step_us: 2 * S, size_us: 6 * S, offset_us: 0 }, None),
        "ts:ts v:int k:int
         + 1 1 1
         + 3 2 1
         + 5 4 1
         + 6 8 1
         seal 1",
        expect![[r#"
            seal 1:
            + 1 0 2 1 1
            + 1 0 4 2 3
            + 1 0 6 3 7
            + 1 6 10 1 8
            + 1 6 12 1 8
            + 1 6 8 1 8
        "#]],
    );
}

#[test]
fn nothing_leaves_before_the_window_closes_and_then_once() {
    check(
        windowed(WindowKind::Tumble { size_us: 10 * S, offset_us: 0 }, Some(close(2, true, 0))),
        "ts:ts v:int k:int
         + 1 1 1
         + 11 2 1
         seal 1 w=9
         checkpoint
         + 2 4 1
         + 3 4 2
         seal 2 w=9.9
         seal 3 w=10
         checkpoint
         seal 4 w=19
         checkpoint
         + 12 8 1
         seal 5 w=19
         seal 6 w=end",
        expect![[r#"
            seal 1:
            seal 2:
            seal 3:
            + 1 0 10 2 5
            + 2 0 10 1 4
            seal 4:
            seal 5:
            seal 6:
            + 1 10 20 2 10
        "#]],
    );
}

#[test]
fn corrections_follow_while_lateness_is_allowed() {
    let mut spec = windowed(WindowKind::Tumble { size_us: 10 * S, offset_us: 0 }, Some(close(2, true, 5)));
    spec.append_only = false;
    check(
        spec,
        "ts:ts v:int k:int
         + 1 1 1
         seal 1 w=10
         + 2 2 1
         + 2 2 3
         seal 2 w=11
         checkpoint
         - 2 2 1
         - 2 2 3
         seal 3 w=12
         + 2 2 3
         + 5 7 1
         - 5 7 1
         seal 4 w=14
         seal 5 w=15",
        expect![[r#"
            seal 1:
            + 1 0 10 1 1
            seal 2:
            - 1 0 10 1 1
            + 1 0 10 2 3
            + 3 0 10 1 2
            seal 3:
            + 1 0 10 1 1
            - 1 0 10 2 3
            - 3 0 10 1 2
            seal 4:
            + 3 0 10 1 2
            seal 5:
        "#]],
    );
}

#[test]
fn state_of_past_windows_goes_without_output_and_memory_returns() {
    let calls = vec![count_star(), distinct(call(Count, Some(1), DataType::Int64)), call(Max, Some(3), DataType::Utf8)];
    let mut spec = spec("ts:ts v:int k:int t:text", &[Input(2), Input(3), WindowEnd], calls);
    spec.window = Some(WindowSpec { kind: WindowKind::Tumble { size_us: 10 * S, offset_us: 0 }, time_column: 0 });
    spec.close = Some(close(2, false, 0));
    let mut operator = TwoPhase::new(&spec);
    let empty = operator.memory_bytes();
    let mut out = Output::default();
    let mut held = vec![];
    for round in 0..3i64 {
        let rows: Vec<_> = (0..5000i64)
            .map(|i| (vec![format!("{}", round * 10), format!("{}", i % 7), format!("{i}"), format!("t{i}")], 1))
            .collect();
        operator.on_batch(0, crate::changelog::rows(&spec.input, &rows), &mut out).unwrap();
        let mut watermarks = types::Watermarks::default();
        watermarks.set(SOURCE, round * 10 * S);
        while operator.on_seal(&EpochRecord::new(round as u64, 0, watermarks.clone()), &mut out).unwrap()
            == Progress::More
        {}
        operator.checkpoint();
        held.push(operator.memory_bytes());
    }
    assert!(out.rows.iter().all(|batch| batch.diffs().is_none()), "windows leave no retractions when dropped");
    assert!(held[2] <= held[1] * 11 / 10, "{held:?}");
    let mut watermarks = types::Watermarks::default();
    watermarks.set(SOURCE, types::WATERMARK_END);
    let before = out.rows.len();
    operator.on_seal(&EpochRecord::new(9, 0, watermarks), &mut out).unwrap();
    let cut = operator.checkpoint().gather().unwrap();
    let deleted: usize = cut[0].batches.iter().map(|b| b.num_rows()).sum();
    assert_eq!((out.rows.len(), deleted), (before, 5000));
    assert!(operator.memory_bytes() < empty + held[0] / 20, "{} of {held:?}", operator.memory_bytes());
}

#[test]
fn many_groups_leave_in_bounded_batches() {
    let spec = spec("k:int v:int", &[Input(0)], vec![count_star(), call(Sum, Some(1), DataType::Int64)]);
    let mut operator = TwoPhase::new(&spec);
    let mut seals = 0;
    let mut total = [0i64; 2];
    for epoch in 0..2 {
        let mut out = Output::default();
        let keys: Vec<i64> = (0..200_000).map(|i| i % 100_000).collect();
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(arrow::array::Int64Array::from(keys.clone())),
            Arc::new(arrow::array::Int64Array::from(keys)),
        ];
        let batch = arrow::array::RecordBatch::try_new(spec.input.clone(), columns).unwrap();
        operator.on_batch(0, DeltaBatch::inserts(batch), &mut out).unwrap();
        loop {
            let mut out = Output::default();
            let progress = operator.on_seal(&EpochRecord::new(epoch, 0, Default::default()), &mut out).unwrap();
            let rows: usize = out.rows.iter().map(|b| b.num_rows()).sum();
            assert!(rows <= types::limits::BATCH_ROWS_MAX);
            out.rows.iter().for_each(|b| total[epoch as usize] += b.diffs_to_vec().iter().sum::<i64>());
            seals += 1;
            if progress != Progress::More {
                break;
            }
        }
    }
    assert_eq!((total, seals > 6), ([100_000, 0], true));
    let per_key = operator.memory_bytes() / 100_000;
    assert!(per_key <= 64, "{per_key} bytes per bigint key of count and sum");
}

#[test]
fn unsupported_calls_are_refused_by_name() {
    let spec = spec("k:text", &[], vec![call(Sum, Some(0), DataType::Int64)]);
    let error = PartialAggregateOperator::new(&spec).err().unwrap();
    assert_eq!(error.to_string(), "sum of utf8 as int64 is not supported");
    assert!(!supports(&spec.calls[0], &spec.input));
    assert!(supports(&call(Min, Some(0), DataType::Utf8), &spec.input));
}
