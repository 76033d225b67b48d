//! The persisted form survives JSON; evaluation means what Postgres means; failing rows are told apart.

use std::sync::Arc;

use ::types::{DeltaBatch, SqlState, ToSqlState};
use arrow::array::*;
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Expr, Operator, binary_expr, case, cast, col, lit, try_cast};

use super::*;
use crate::KernelError;
use crate::functions::scalar_function;

/// One row of each type, and one of NULLs.
fn input() -> RecordBatch {
    let timestamp = 1_704_207_845_678_000; // 2024-01-02 15:04:05.678
    RecordBatch::try_from_iter_with_nullable(vec![
        ("i", Arc::new(Int32Array::from(vec![Some(7), None])) as ArrayRef, true),
        ("b", Arc::new(Int64Array::from(vec![Some(i64::MAX), None])) as ArrayRef, true),
        ("z", Arc::new(Int64Array::from(vec![Some(0), None])) as ArrayRef, true),
        ("f", Arc::new(Float64Array::from(vec![Some(2.5), None])) as ArrayRef, true),
        ("t", Arc::new(StringArray::from(vec![Some("abc"), None])) as ArrayRef, true),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(timestamp), None])) as ArrayRef, true),
        (
            "d",
            Arc::new(Decimal128Array::from(vec![Some(1_255), None]).with_precision_and_scale(10, 2).expect("1255 fits"))
                as ArrayRef,
            true,
        ),
        ("y", Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef, true),
    ])
    .unwrap()
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    scalar_function(name).unwrap_or_else(|| panic!("function {name}")).call(args)
}

fn op(left: Expr, op: Operator, right: Expr) -> Expr {
    binary_expr(left, op, right)
}

fn null(data_type: DataType) -> Expr {
    Expr::Literal(ScalarValue::try_from(&data_type).unwrap(), None)
}

fn dec(value: i128, scale: i8) -> Expr {
    Expr::Literal(ScalarValue::Decimal128(Some(value), 20, scale), None)
}

/// The expression through its persisted JSON.
fn persisted(expr: &Expr) -> Result<ScalarExpr, KernelError> {
    let schema = DFSchema::try_from(input().schema().as_ref().clone()).unwrap();
    let scalar = from_logical(expr, &schema)?;
    let json = serde_json::to_string(&scalar).unwrap();
    let back: ScalarExpr = serde_json::from_str(&json).unwrap();
    assert_eq!(scalar, back, "{json}");
    Ok(back)
}

/// Values of both rows as text, or "state message".
fn answer(expr: &Expr) -> String {
    let batch = input();
    let result =
        persisted(expr).and_then(|scalar| CompiledExpr::compile(&scalar, &batch.schema())).and_then(|compiled| {
            let values = compiled.evaluate(&batch)?;
            assert_eq!(values.data_type(), &compiled.data_type());
            Ok(values)
        });
    match result {
        Err(error) => format!("{} {error}", error.sql_state()),
        Ok(values) => {
            let options = FormatOptions::default().with_null("null");
            let formatter = ArrayFormatter::try_new(&values, &options).unwrap();
            (0..2).map(|row| formatter.value(row).to_string()).collect::<Vec<_>>().join(", ")
        }
    }
}

#[track_caller]
fn check(expr: Expr, expect: &str) {
    assert_eq!(answer(&expr), expect, "{expr}");
}

#[test]
fn integer_arithmetic_fails_as_in_postgres() {
    use Operator::*;
    check(op(col("i"), Plus, lit(1i32)), "8, null");
    check(op(col("i"), Divide, lit(2i32)), "3, null");
    check(op(col("i"), Modulo, lit(4i32)), "3, null");
    check(op(col("b"), Plus, lit(1i64)), "22003 bigint out of range");
    check(op(lit(i32::MAX), Plus, col("i")), "22003 integer out of range");
    check(op(lit(i64::MIN), Minus, lit(1i64)), "22003 bigint out of range");
    check(op(col("b"), Multiply, lit(2i64)), "22003 bigint out of range");
    check(op(col("b"), Divide, col("z")), "22012 division by zero");
    check(op(col("b"), Modulo, col("z")), "22012 division by zero");
    check(Expr::Negative(Box::new(lit(i64::MIN))), "22003 bigint out of range");
    check(Expr::Negative(Box::new(col("i"))), "-7, null");
    check(call("mod", vec![col("i"), lit(4i32)]), "3, null");
    check(call("mod", vec![col("b"), col("z")]), "22012 division by zero");
}

#[test]
fn fractions_fail_as_in_postgres() {
    use Operator::*;
    check(op(col("f"), Divide, lit(0.0)), "22012 division by zero");
    check(op(col("f"), Multiply, lit(1e308)), "22003 value out of range: overflow");
    check(op(col("f"), Minus, lit(f64::INFINITY)), "-inf, null");
    check(op(col("d"), Plus, dec(5, 1)), "13.05, null");
    check(op(col("d"), Divide, dec(0, 1)), "22012 division by zero");
    check(call("round", vec![col("d"), lit(1i64)]), "12.6, null");
    check(call("trunc", vec![col("d"), lit(1i64)]), "12.5, null");
    check(call("round", vec![col("d")]), "13, null");
}

#[test]
fn casts_round_and_name_the_bad_value() {
    check(cast(col("f"), DataType::Int32), "2, null");
    check(cast(lit(3.5), DataType::Int64), "4, 4");
    check(cast(col("d"), DataType::Int32), "13, null");
    check(cast(lit(1e20), DataType::Int64), "22003 bigint out of range");
    check(cast(col("b"), DataType::Int32), "22003 integer out of range");
    check(cast(lit(" 42 "), DataType::Int32), "42, 42");
    check(cast(col("t"), DataType::Int32), "22P02 invalid input syntax for type integer: \"abc\"");
    check(cast(lit("99999999999"), DataType::Int32), "22003 value \"99999999999\" is out of range for type integer");
    check(cast(col("t"), DataType::Float64), "22P02 invalid input syntax for type double precision: \"abc\"");
    check(cast(col("t"), DataType::Boolean), "22P02 invalid input syntax for type boolean: \"abc\"");
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    check(cast(col("t"), timestamp.clone()), "22007 invalid input syntax for type timestamp: \"abc\"");
    check(cast(lit("2024-02-03 04:05:06"), timestamp), "2024-02-03T04:05:06, 2024-02-03T04:05:06");
    check(cast(col("t"), DataType::Decimal128(10, 2)), "22P02 invalid input syntax for type numeric: \"abc\"");
    check(try_cast(col("t"), DataType::Int32), "null, null");
    check(cast(col("d"), DataType::Decimal128(3, 2)), "22003 numeric field overflow");
}

#[test]
fn text_forms_are_those_of_postgres() {
    let text = |e: Expr| cast(e, DataType::Utf8);
    for (value, expect) in [
        (1.0, "1"),
        (-0.5, "-0.5"),
        (1e15, "1e+15"),
        (123456789012345.0, "123456789012345"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e300, "1.5e+300"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        check(text(lit(value)), &format!("{expect}, {expect}"));
    }
    check(text(col("ts")), "2024-01-02 15:04:05.678, null");
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    check(text(cast(col("ts"), zoned)), "2024-01-02 15:04:05.678+00, null");
    check(text(col("y")), "true, null");
    check(text(col("d")), "12.55, null");
    let interval = |months, days, nanos| {
        text(Expr::Literal(
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos))),
            None,
        ))
    };
    check(interval(14, 3, 3_600_500_000_000), &["1 year 2 mons 3 days 01:00:00.5"; 2].join(", "));
    check(interval(0, 0, -1_000_000_000), "-00:00:01, -00:00:01");
    check(interval(0, -1, 1_000_000_000), "-1 days +00:00:01, -1 days +00:00:01");
    check(interval(0, 1, 0), "1 day, 1 day");
}

#[test]
fn logic_follows_three_values() {
    use Operator::*;
    check(op(col("y"), And, null(DataType::Boolean)), "null, null");
    check(op(col("y"), Or, null(DataType::Boolean)), "true, null");
    check(Expr::Not(Box::new(col("y"))), "false, null");
    check(Expr::IsTrue(Box::new(col("y"))), "true, false");
    check(Expr::IsNotTrue(Box::new(col("y"))), "false, true");
    check(Expr::IsFalse(Box::new(col("y"))), "false, false");
    check(Expr::IsNotFalse(Box::new(col("y"))), "true, true");
    check(Expr::IsUnknown(Box::new(col("y"))), "false, true");
    check(Expr::IsNotUnknown(Box::new(col("y"))), "true, false");
    check(col("i").is_null(), "false, true");
    check(col("i").is_not_null(), "true, false");
    check(op(col("i"), IsDistinctFrom, null(DataType::Int32)), "true, false");
    check(op(col("i"), IsNotDistinctFrom, lit(7i32)), "true, false");
    check(col("i").between(lit(7i32), lit(9i32)), "true, null");
    check(col("i").not_between(lit(7i32), lit(9i32)), "false, null");
    check(col("i").in_list(vec![lit(1i32), lit(7i32)], false), "true, null");
    check(col("i").in_list(vec![lit(1i32), null(DataType::Int32)], true), "null, null");
    check(op(lit(0.0), Eq, lit(-0.0)), "true, true");
}

#[test]
fn text_and_case() {
    use Operator::*;
    check(col("t").like(lit("a%")), "true, null");
    check(col("t").not_like(lit("_b_")), "false, null");
    check(col("t").ilike(lit("ABC")), "true, null");
    check(op(col("t"), StringConcat, lit("-x")), "abc-x, null");
    check(op(col("t"), RegexMatch, lit("^a.c$")), "true, null");
    check(op(col("t"), RegexNotIMatch, lit("^A")), "false, null");
    check(call("substr", vec![col("t"), lit(2i64)]), "bc, null");
    check(call("upper", vec![col("t")]), "ABC, null");
    check(call("char_length", vec![col("t")]), "3, null");
    check(call("coalesce", vec![col("t"), lit("none")]), "abc, none");
    let searched = case(col("i")).when(lit(7i32), lit("seven")).otherwise(lit("other")).unwrap();
    check(searched, "seven, other");
    // The division is guarded: no row reaches it with a zero.
    let zero = op(col("z"), Eq, lit(0i64));
    let guarded = Expr::Case(datafusion_expr::expr::Case {
        expr: None,
        when_then_expr: vec![(Box::new(zero), Box::new(lit(-1i64)))],
        else_expr: Some(Box::new(op(col("b"), Divide, col("z")))),
    });
    check(guarded, "-1, null");
    let similar = |pattern: &str| {
        Expr::SimilarTo(datafusion_expr::Like::new(false, Box::new(col("t")), Box::new(lit(pattern)), None, false))
    };
    check(similar("a%"), "true, null");
    check(similar("a"), "false, null");
    check(similar("(abc|x)"), "true, null");
    check(similar("a.c"), "false, null");
}

#[test]
fn times() {
    check(call("date_trunc", vec![lit("hour"), col("ts")]), "2024-01-02T15:00:00, null");
    check(call("date_part", vec![lit("minute"), col("ts")]), "4, null");
    let to_char = |format: &str| call("to_char", vec![col("ts"), lit(format)]);
    for (format, expect) in [
        ("YYYY-MM-DD HH24:MI:SS", "2024-01-02 15:04:05"),
        ("YYYY-MM-DD\"T\"HH24:MI:SS.MS", "2024-01-02T15:04:05.678"),
        ("HH12:MI:SS.US am", "03:04:05.678000 pm"),
        ("HH:MI P.M.", "03:04 P.M."),
        ("Dy, DD Mon YYYY", "Tue, 02 Jan 2024"),
        ("Day|Month|", "Tuesday  |January  |"),
        ("FMDay, FMDDth FMMonth", "Tuesday, 2nd January"),
        ("DAY MON", "TUESDAY   JAN"),
        ("IYYY-IW-ID DDD Q WW W D J CC", "2024-01-2 002 1 01 1 3 2460312 21"),
        ("yyyymmdd", "20240102"),
        ("Y,YYY YY SSSS", "2,024 24 54245"),
        ("RM", "I   "),
        ("% d", "% 3"),
    ] {
        check(to_char(format), &format!("{expect}, null"));
    }
    let zoned = cast(col("ts"), DataType::Timestamp(TimeUnit::Microsecond, Some("+05:30".into())));
    check(call("to_char", vec![zoned, lit("HH24:MI TZ OF TZH:TZM")]), "15:04 +05:30 +05:30 +05:30, null");
    let utc = cast(col("ts"), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    check(call("to_char", vec![utc, lit("HH24 TZ OF")]), "15 UTC +00, null");
}

#[test]
fn what_views_cannot_hold_is_refused_by_name() {
    check(call("random", vec![]), "0A000 the volatile function \"random\" in a maintained query is not supported");
    check(call("now", vec![]), "0A000 \"now\" outside a filter on a timestamp is not supported");
    check(op(col("t"), Operator::LongArrow, lit("a")), "0A000 operator \"->>\" is not supported");
    check(cast(col("y"), DataType::Date32), "0A000 a cast from boolean to date is not supported");
}

#[test]
fn literals_survive_their_persisted_form() {
    let list = ScalarValue::List(ScalarValue::new_list_nullable(&[ScalarValue::Int64(Some(1))], &DataType::Int64));
    let values = vec![
        ScalarValue::Null,
        ScalarValue::Int64(None),
        ScalarValue::Boolean(Some(true)),
        ScalarValue::Int8(Some(-1)),
        ScalarValue::Int16(Some(-1)),
        ScalarValue::Int32(Some(i32::MIN)),
        ScalarValue::Int64(Some(i64::MIN)),
        ScalarValue::UInt8(Some(255)),
        ScalarValue::UInt16(Some(1)),
        ScalarValue::UInt32(Some(1)),
        ScalarValue::UInt64(Some(u64::MAX)),
        ScalarValue::Float32(Some(0.1)),
        ScalarValue::Float64(Some(-0.0)),
        ScalarValue::Float64(Some(f64::NAN)),
        ScalarValue::Utf8(Some("ä\"\\".into())),
        ScalarValue::LargeUtf8(Some("x".into())),
        ScalarValue::Utf8View(Some("x".into())),
        ScalarValue::Binary(Some(vec![0, 255])),
        ScalarValue::Date32(Some(-1)),
        ScalarValue::Time64Microsecond(Some(1)),
        ScalarValue::TimestampMicrosecond(Some(-1), Some("UTC".into())),
        ScalarValue::TimestampNanosecond(Some(1), None),
        ScalarValue::DurationMicrosecond(Some(1)),
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(1, -2, 3))),
        ScalarValue::IntervalDayTime(Some(IntervalDayTime::new(1, 2))),
        ScalarValue::Decimal128(Some(-12_345), 10, 2),
        ScalarValue::Decimal256(Some(i256::from_i128(i128::MAX)), 60, 3),
        ScalarValue::Decimal256(Some(i256::from_i128(5)), 10, 1),
        list,
    ];
    for value in values {
        let literal = scalar_value_to_literal(&value);
        let json = serde_json::to_string(&literal).unwrap();
        let back: Literal = serde_json::from_str(&json).unwrap();
        assert_eq!(back, literal);
        let again = back.to_scalar_value().unwrap();
        assert_eq!(again.data_type(), value.data_type());
        assert_eq!(again, value, "{json}");
        if let ScalarValue::Float64(Some(v)) = value {
            assert!(matches!(again, ScalarValue::Float64(Some(w)) if w.to_bits() == v.to_bits()));
        }
    }
}

fn quotient() -> (Vec<CompiledExpr>, RecordBatch) {
    let batch = RecordBatch::try_from_iter(vec![
        ("a", Arc::new(Int64Array::from_iter_values(0..100)) as ArrayRef),
        ("b", Arc::new(Int64Array::from_iter_values((0..100).map(|i| i % 10))) as ArrayRef),
    ])
    .unwrap();
    let divide = ScalarExpr::binary("/", ScalarExpr::Column(0), ScalarExpr::Column(1));
    let compile = |e: &ScalarExpr| CompiledExpr::compile(e, &batch.schema()).unwrap();
    (vec![compile(&ScalarExpr::Column(0)), compile(&divide)], batch)
}

#[test]
fn failing_rows_become_errors_with_their_diff() {
    let (exprs, batch) = quotient();
    let diffs: Vec<i64> = (0..100).map(|i| if i % 20 == 0 { -2 } else { 1 }).collect();
    let schema = batch.schema();
    let result = evaluate_delta(&exprs, &DeltaBatch::new(batch, diffs), &schema, OnError::Fail).unwrap();
    let kept = result.kept.unwrap();
    assert_eq!(kept.len(), 90);
    assert!(kept.values().iter().all(|row| row % 10 != 0));
    assert_eq!(result.columns[0].as_primitive::<Int64Type>().value(0), 1);
    assert_eq!(result.columns[1].len(), 90);
    assert_eq!(result.columns[1].as_primitive::<Int64Type>().value(9), 11);
    assert_eq!(result.errors.iter().map(|e| e.diff).sum::<i64>(), -5);
    assert_eq!(result.errors.len(), 10);
    assert!(result.errors.iter().all(|e| e.state == SqlState::DivisionByZero && e.message == "division by zero"));
    assert_eq!(result.errors[1].row.as_deref(), Some("(a: 10, b: 0)"));
}

#[test]
fn failing_rows_become_null_on_request() {
    let (exprs, batch) = quotient();
    let schema = batch.schema();
    let result = evaluate_delta(&exprs, &DeltaBatch::inserts(batch), &schema, OnError::Null).unwrap();
    assert!(result.kept.is_none() && result.errors.is_empty());
    assert_eq!(result.columns[1].null_count(), 10);
    assert_eq!(result.columns[0].null_count(), 0);
}

#[test]
fn columns_pass_by_reference() {
    let (exprs, batch) = quotient();
    let column = exprs[0].evaluate(&batch).unwrap();
    assert!(Arc::ptr_eq(&column, batch.column(0)));
}

#[test]
fn columns_of_an_expression() {
    let nested = ScalarExpr::Case {
        operand: None,
        branches: vec![(
            ScalarExpr::binary("=", ScalarExpr::Column(4), ScalarExpr::Column(2)),
            ScalarExpr::Not(Box::new(ScalarExpr::Column(4))),
        )],
        otherwise: Some(Box::new(ScalarExpr::Literal(Literal::Boolean(true)))),
    };
    assert_eq!(nested.columns(), vec![2, 4]);
}

#[test]
fn names_that_only_postgres_has() {
    check(call("sign", vec![lit(-2.5)]), "-1.0, -1.0");
    check(call("ceiling", vec![lit(2.1)]), "3.0, 3.0");
    for (alias, name) in [("every", "bool_and"), ("variance", "var_samp")] {
        let function = crate::functions::aggregate_function(alias).unwrap();
        assert!(function.name() == name || function.aliases().contains(&name.to_string()), "{alias}");
    }
    let functions = crate::functions::scalar_functions();
    assert_eq!(functions.iter().filter(|f| f.name() == "to_char").count(), 1, "ours replaces DataFusion's");
}
