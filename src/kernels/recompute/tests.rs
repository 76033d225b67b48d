//! Logical calls through their persisted form, over one input whose answers were worked out by hand.

use std::sync::Arc;

use ::types::ToSqlState;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{NullTreatment, Sort, WindowFunction, WindowFunctionParams};
use datafusion_expr::{
    Expr, ExprFunctionExt, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, cast, col, lit,
};

use super::*;
use crate::functions::{aggregate_function, window_function};

const SECOND: i64 = 1_000_000;

/// k, v, t, s; given out of order.
fn input() -> RecordBatch {
    let rows: [(i64, Option<i64>, i64, &str); 6] = [
        (1, Some(30), 3, "c"),
        (1, None, 2, "b"),
        (2, Some(7), 1, "x"),
        (1, Some(10), 1, "a"),
        (1, Some(10), 9, "a"),
        (2, Some(9), 5, "y"),
    ];
    RecordBatch::try_from_iter_with_nullable(vec![
        ("k", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))) as ArrayRef, true),
        ("v", Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()) as ArrayRef, true),
        (
            "t",
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.2 * SECOND))) as ArrayRef,
            true,
        ),
        ("s", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.3))) as ArrayRef, true),
    ])
    .unwrap()
}

fn df_schema() -> DFSchema {
    DFSchema::try_from(input().schema().as_ref().clone()).unwrap()
}

fn through_json(call: RecomputeCall) -> RecomputeCall {
    let json = serde_json::to_string(&call).unwrap();
    let back: RecomputeCall = serde_json::from_str(&json).unwrap();
    assert_eq!(back, call, "{json}");
    back
}

/// Values of the one call, per output row, as text.
fn run(kind: RecomputeKind, passed: usize, result: DataType) -> Result<Vec<String>, KernelError> {
    let input = input();
    let mut fields: Vec<Field> = input.schema().fields()[..passed].iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new("result", result, true));
    let spec = RecomputeSpec { key: vec![0], kind, input: input.schema(), output: Arc::new(Schema::new(fields)) };
    // Two batches, to see that batching means nothing.
    let halves = [input.slice(0, 2), input.slice(2, 4)];
    let batches = Recomputer::compile(&spec)?.run(&halves)?;
    let options = FormatOptions::default().with_null("null");
    let last = batches[0].column(passed);
    let formatter = ArrayFormatter::try_new(last, &options).unwrap();
    Ok((0..last.len()).map(|row| formatter.value(row).to_string()).collect())
}

/// The values of keys 1 and 2.
#[track_caller]
fn check_aggregate(expr: Expr, result: DataType, expect: [&str; 2]) {
    let call = through_json(RecomputeCall::from_aggregate(&expr.clone().alias("x"), &df_schema()).unwrap());
    let answer = run(RecomputeKind::Aggregate { calls: vec![call] }, 1, result).unwrap();
    assert_eq!(answer, expect, "{expr}");
}

fn aggregate(name: &str, args: Vec<Expr>) -> Expr {
    aggregate_function(name).unwrap_or_else(|| panic!("aggregate {name}")).call(args)
}

fn sort(expr: Expr) -> Sort {
    Sort { expr, asc: true, nulls_first: false }
}

#[test]
fn aggregates() {
    let ordered = |e: Expr, by: Expr| e.order_by(vec![sort(by)]).build().unwrap();
    check_aggregate(aggregate("sum", vec![col("v")]), DataType::Int64, ["50", "16"]);
    check_aggregate(aggregate("count", vec![lit(1i64)]), DataType::Int64, ["4", "2"]);
    check_aggregate(aggregate("count", vec![col("v")]).distinct().build().unwrap(), DataType::Int64, ["2", "2"]);
    check_aggregate(aggregate("median", vec![col("v")]), DataType::Int64, ["10", "8"]);
    check_aggregate(aggregate("bool_and", vec![col("v").gt(lit(8i64))]), DataType::Boolean, ["true", "false"]);
    check_aggregate(aggregate("max", vec![col("s")]), DataType::Utf8, ["c", "y"]);
    let first = aggregate("first_value", vec![col("s")]);
    check_aggregate(ordered(first, -col("v")), DataType::Utf8, ["c", "y"]);
    let last = aggregate("last_value", vec![col("v")]);
    check_aggregate(ordered(last.clone(), col("t")), DataType::Int64, ["10", "9"]);
    let nth = aggregate("nth_value", vec![col("s"), lit(2i64)]);
    check_aggregate(ordered(nth, col("t")), DataType::Utf8, ["b", "y"]);
    let strings = aggregate("string_agg", vec![col("s"), lit("-")]);
    check_aggregate(ordered(strings.clone(), col("t")), DataType::Utf8, ["a-b-c-a", "x-y"]);
    check_aggregate(strings.clone().distinct().build().unwrap(), DataType::Utf8, ["a-b-c", "x-y"]);
    let filtered = strings.filter(col("v").gt(lit(8i64))).order_by(vec![sort(col("t"))]).build().unwrap();
    check_aggregate(filtered, DataType::Utf8, ["a-c-a", "y"]);
    // The analyzer coerces the argument.
    let percentile = |v: Expr| aggregate("percentile_cont", vec![cast(v, DataType::Float64), lit(0.25)]);
    check_aggregate(ordered(percentile(col("v")), col("v")), DataType::Float64, ["10.0", "7.5"]);
    let descending = percentile(col("v")).order_by(vec![Sort { asc: false, ..sort(col("v")) }]).build().unwrap();
    check_aggregate(descending, DataType::Float64, ["20.0", "8.5"]);
    let nulls = last.order_by(vec![sort(col("s"))]).null_treatment(NullTreatment::IgnoreNulls).build().unwrap();
    check_aggregate(nulls, DataType::Int64, ["30", "9"]);
}

fn window(name: &str, args: Vec<Expr>, by: Vec<Expr>, frame: WindowFrame) -> Expr {
    let fun = match window_function(name) {
        Some(function) => WindowFunctionDefinition::WindowUDF(function),
        None => WindowFunctionDefinition::AggregateUDF(aggregate_function(name).unwrap()),
    };
    Expr::WindowFunction(Box::new(WindowFunction {
        fun,
        params: WindowFunctionParams {
            args,
            partition_by: vec![col("k")],
            order_by: by.into_iter().map(sort).collect(),
            window_frame: frame,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}

/// Values in the order of the rows' encoding: key 1 with v = null (t 2), 10 (t 1), 10 (t 9), 30 (t 3); key 2: 7, 9.
#[track_caller]
fn check_window(expr: Expr, result: DataType, expect: [&str; 6]) {
    let call = through_json(RecomputeCall::from_window(&expr, &df_schema()).unwrap());
    let answer = run(RecomputeKind::Window { calls: vec![call] }, 4, result).unwrap();
    assert_eq!(answer, expect, "{expr}");
}

#[test]
fn windows() {
    let ordered = || WindowFrame::new(Some(false));
    let by_time = || vec![col("t")];
    let number = window("row_number", vec![], by_time(), ordered());
    check_window(number, DataType::Int64, ["2", "1", "4", "3", "1", "2"]);
    let rank = window("rank", vec![], vec![col("s")], ordered());
    check_window(rank, DataType::Int64, ["3", "1", "1", "4", "1", "2"]);
    let dense = window("dense_rank", vec![], vec![col("s")], ordered());
    check_window(dense, DataType::Int64, ["2", "1", "1", "3", "1", "2"]);
    let ntile = window("ntile", vec![lit(2i64)], by_time(), ordered());
    check_window(ntile, DataType::Int64, ["1", "1", "2", "2", "1", "2"]);
    let lag = window("lag", vec![col("v"), lit(1i64), lit(-1i64)], by_time(), ordered());
    check_window(lag, DataType::Int64, ["10", "-1", "30", "null", "-1", "7"]);
    let lead = window("lead", vec![col("s")], by_time(), ordered());
    check_window(lead, DataType::Utf8, ["c", "b", "null", "a", "y", "null"]);
    let running = window("sum", vec![col("v")], by_time(), WindowFrame::new(Some(true)));
    check_window(running, DataType::Int64, ["10", "10", "50", "40", "7", "16"]);
    let whole = window("max", vec![col("v")], vec![], WindowFrame::new(None));
    check_window(whole, DataType::Int64, ["30", "30", "30", "30", "9", "9"]);
    let first = window("first_value", vec![col("s")], by_time(), WindowFrame::new(Some(true)));
    check_window(first, DataType::Utf8, ["a", "a", "a", "a", "x", "x"]);
}

#[test]
fn frames() {
    let rows = |start: u64, end: u64| {
        WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(ScalarValue::UInt64(Some(start))),
            WindowFrameBound::Following(ScalarValue::UInt64(Some(end))),
        )
    };
    let by_time = || vec![col("t")];
    let around = window("sum", vec![col("v")], by_time(), rows(1, 1));
    check_window(around, DataType::Int64, ["40", "10", "40", "40", "16", "16"]);
    let seconds = |n: i64| ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, n * 1_000_000_000)));
    let range = WindowFrame::new_bounds(
        WindowFrameUnits::Range,
        WindowFrameBound::Preceding(seconds(2)),
        WindowFrameBound::CurrentRow,
    );
    let recent = window("count", vec![lit(1i64)], by_time(), range);
    check_window(recent, DataType::Int64, ["2", "1", "1", "3", "1", "1"]);
    let rest = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::CurrentRow,
        WindowFrameBound::Following(ScalarValue::UInt64(None)),
    );
    let rest = window("min", vec![col("v")], by_time(), rest);
    check_window(rest, DataType::Int64, ["10", "10", "10", "10", "7", "9"]);
}

#[test]
fn one_failing_key_leaves_the_others_alone() {
    let divided = aggregate("sum", vec![lit(100i64) / (col("v") - lit(7i64))]);
    let call = RecomputeCall::from_aggregate(&divided, &df_schema()).unwrap();
    let output = Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("x", DataType::Int64, true)]);
    let spec = RecomputeSpec {
        key: vec![0],
        kind: RecomputeKind::Aggregate { calls: vec![call] },
        input: input().schema(),
        output: Arc::new(output),
    };
    let recomputer = Recomputer::compile(&spec).unwrap();
    let (rows, partitions) = recomputer.partition(&input()).unwrap();
    let result = recomputer.recompute(&rows, &partitions).unwrap();
    assert_eq!(result.partitions[0], Ok(0..1));
    assert_eq!(result.partitions[1].as_ref().unwrap_err().to_string(), "division by zero");
    assert_eq!(result.rows.num_rows(), 1);
    let error = recomputer.run(&[input()]).unwrap_err();
    assert_eq!(error.sql_state().code(), "22012");
}

#[test]
fn sums_fail_instead_of_wrapping_around() {
    let huge = aggregate("sum", vec![col("v") + lit(i64::MAX - 30)]);
    let calls = vec![RecomputeCall::from_aggregate(&huge, &df_schema()).unwrap()];
    let kind = RecomputeKind::Aggregate { calls };
    assert_eq!(run(kind.clone(), 1, DataType::Int64).unwrap_err().to_string(), "bigint out of range");
    // In a type that holds it, the sum is exact: 3 (2^63 − 1) − 40.
    let exact = run(kind, 1, DataType::Decimal128(38, 0)).unwrap();
    assert_eq!(exact[0], (3 * i64::MAX as i128 - 40).to_string());
    let running = window("sum", vec![col("v") + lit(i64::MAX - 30)], vec![col("t")], WindowFrame::new(Some(true)));
    let calls = vec![RecomputeCall::from_window(&running, &df_schema()).unwrap()];
    let error = run(RecomputeKind::Window { calls }, 4, DataType::Int64).unwrap_err();
    assert_eq!(error.to_string(), "bigint out of range");
}

#[test]
fn other_expressions_are_no_calls() {
    assert!(matches!(RecomputeCall::from_aggregate(&col("v"), &df_schema()), Err(KernelError::Unsupported { .. })));
    let uncoerced = aggregate("percentile_cont", vec![col("v"), lit(0.25)]);
    let calls = vec![RecomputeCall::from_aggregate(&uncoerced, &df_schema()).unwrap()];
    assert!(run(RecomputeKind::Aggregate { calls }, 1, DataType::Float64).is_err());
    assert!(matches!(RecomputeCall::from_window(&col("v"), &df_schema()), Err(KernelError::Unsupported { .. })));
}
