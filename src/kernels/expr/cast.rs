//! Casts with Postgres' results and errors: fractions round instead of being cut off, text forms of floats, timestamps
//! and intervals are Postgres', and a bad value fails with its own text in the message.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Schema, TimeUnit,
};
use arrow::util::display::FormatOptions;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use types::SqlState;

use super::arithmetic::out_of_range;
use crate::KernelError;
use crate::functions::{bytea, text_form};

#[derive(Debug, Clone, Eq)]
pub(crate) struct PostgresCast {
    arg: Arc<dyn PhysicalExpr>,
    to: DataType,
    /// A value that does not fit gives NULL instead of an error.
    try_cast: bool,
}

impl PostgresCast {
    /// Errors: `Unsupported` if no cast between the two types exists.
    pub fn build(
        arg: Arc<dyn PhysicalExpr>,
        to: &DataType,
        try_cast: bool,
        input: &Schema,
    ) -> Result<Arc<dyn PhysicalExpr>, KernelError> {
        let from = arg.data_type(input).map_err(KernelError::from_planning)?;
        if from == *to {
            return Ok(arg);
        }
        if !can_cast_types(&from, to) {
            let (from, to) = (postgres_type_name(&from), postgres_type_name(to));
            return Err(KernelError::unsupported(format!("a cast from {from} to {to}")));
        }
        Ok(Arc::new(PostgresCast { arg, to: to.clone(), try_cast }))
    }
}

/// Postgres' name of an Arrow type, as error messages have it.
pub(crate) fn postgres_type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "numeric"
        }
        DataType::Boolean => "boolean",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::List(field) | DataType::LargeList(field) => {
            return format!("{}[]", postgres_type_name(field.data_type()));
        }
        other => return other.to_string(),
    };
    name.to_string()
}

/// Casts every value. `try_cast`: bad values become NULL.
///
/// Errors: `Evaluation` of the first bad value.
pub fn cast_array(array: &ArrayRef, to: &DataType, try_cast: bool) -> Result<ArrayRef, KernelError> {
    let from = array.data_type();
    if from == to {
        return Ok(array.clone());
    }
    if from.is_nested() || to.is_nested() {
        // NULLs inside a list cannot be told from failures by counting.
        return arrow_cast(array, to, try_cast);
    }
    let lenient = cast_leniently(array, to)?;
    if from.is_string() && to.is_floating() && !try_cast {
        check_float_texts(array, &lenient, to)?;
    }
    if try_cast || lenient.logical_null_count() == array.logical_null_count() {
        return Ok(lenient);
    }
    let failed = (0..array.len()).find(|row| lenient.is_null(*row) && !array.is_null(*row));
    match failed {
        Some(row) => Err(bad_value(array, row, to)),
        None => Ok(lenient),
    }
}

/// Bad values become NULL.
fn cast_leniently(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, KernelError> {
    let from = array.data_type();
    if from.is_floating() && to.is_integer() {
        let wide = arrow_cast(array, &DataType::Float64, true)?;
        let rounded: Float64Array = wide.as_primitive::<Float64Type>().unary(f64::round_ties_even);
        return arrow_cast(&(Arc::new(rounded) as ArrayRef), to, true);
    }
    if to.is_integer() {
        let whole = match from {
            DataType::Decimal128(precision, scale) if *scale > 0 => Some(DataType::Decimal128(*precision, 0)),
            DataType::Decimal256(precision, scale) if *scale > 0 => Some(DataType::Decimal256(*precision, 0)),
            _ => None,
        };
        if let Some(whole) = whole {
            return arrow_cast(&arrow_cast(array, &whole, true)?, to, true);
        }
    }
    if let (DataType::Duration(_), DataType::Interval(IntervalUnit::MonthDayNano)) = (from, to) {
        return days_and_time(array);
    }
    if to.is_string() && text_form::differs_from_arrow(from) {
        return arrow_cast(&text_form::text_form(array)?, to, true);
    }
    if from.is_string() && *to == DataType::Binary {
        let text = arrow_cast(array, &DataType::Utf8, true)?;
        let bytes: BinaryArray = text.as_string::<i32>().iter().map(|v| v.and_then(bytea::from_text)).collect();
        return Ok(Arc::new(bytes));
    }
    let result = arrow_cast(array, to, true)?;
    if from.is_string() && !to.is_string() && !to.is_binary() && result.null_count() > array.null_count() {
        // Postgres ignores white space around a value, and reads a time of day without seconds.
        let text = arrow_cast(array, &DataType::Utf8, true)?;
        let written = text.as_string::<i32>().iter().map(|v| v.map(str::trim));
        let full: StringArray = match to {
            DataType::Timestamp(..) | DataType::Time64(_) => written.map(|v| v.map(with_seconds)).collect(),
            DataType::Interval(_) => written.map(|v| v.map(with_units)).collect(),
            _ => written.collect(),
        };
        return arrow_cast(&(Arc::new(full) as ArrayRef), to, true);
    }
    Ok(result)
}

/// `12:30` → `12:30:00`, also within a timestamp and before an offset (`2026-01-01 12:30+02`); other texts unchanged.
fn with_seconds(text: &str) -> Cow<'_, str> {
    let time = text.find([' ', 'T']).map_or(0, |at| at + 1);
    let is_minute =
        |clock: &[u8]| matches!(clock, [a, b, b':', c, d] if [a, b, c, d].into_iter().all(u8::is_ascii_digit));
    let Some(clock) = text.as_bytes().get(time..time + 5).filter(|clock| is_minute(clock)) else {
        return Cow::Borrowed(text);
    };
    let end = time + clock.len();
    match text.as_bytes().get(end) {
        Some(b':') => Cow::Borrowed(text),
        _ => Cow::Owned(format!("{}:00{}", &text[..end], &text[end..])),
    }
}

/// `1 day -04:05:06.7` → `1 day -4 hours -5 minutes -6.7 seconds`: intervals as Postgres writes them.
fn with_units(text: &str) -> String {
    const UNITS: [&str; 3] = ["hours", "minutes", "seconds"];
    let spelled = |word: &str| {
        let (sign, clock) = match word.strip_prefix('-') {
            Some(clock) => ("-", clock),
            None => ("", word.strip_prefix('+').unwrap_or(word)),
        };
        let parts: Vec<&str> = clock.split(':').collect();
        let digits = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || c == '.');
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(digits) {
            return word.to_string();
        }
        let parts = parts.iter().zip(UNITS).map(|(part, unit)| format!("{sign}{part} {unit}"));
        parts.collect::<Vec<_>>().join(" ")
    };
    text.split_whitespace().map(spelled).collect::<Vec<_>>().join(" ")
}

/// As Postgres' timestamp_mi: full days are days of the interval, the rest its time, both with the sign of the whole.
fn days_and_time(durations: &ArrayRef) -> Result<ArrayRef, KernelError> {
    const DAY_MICROS: i64 = 86_400_000_000;
    let micros = arrow_cast(durations, &DataType::Duration(TimeUnit::Microsecond), true)?;
    let micros = micros.as_primitive::<DurationMicrosecondType>();
    // Every int8 of microseconds has fewer days than int4 holds.
    let interval =
        |micros: i64| IntervalMonthDayNano::new(0, (micros / DAY_MICROS) as i32, micros % DAY_MICROS * 1_000);
    Ok(Arc::new(micros.unary::<_, IntervalMonthDayNanoType>(interval)))
}

/// A number that became infinite, or zero, is one that the type doesn't hold.
fn check_float_texts(texts: &ArrayRef, floats: &ArrayRef, to: &DataType) -> Result<(), KernelError> {
    let wide = arrow_cast(floats, &DataType::Float64, true)?;
    let values = wide.as_primitive::<Float64Type>();
    let suspicious = |value: f64| value.is_infinite() || value == 0.0;
    if !values.iter().flatten().any(suspicious) {
        return Ok(());
    }
    let texts = arrow_cast(texts, &DataType::Utf8, true)?;
    for (text, value) in texts.as_string::<i32>().iter().zip(values) {
        let (Some(text), Some(value)) = (text.map(str::trim), value) else { continue };
        let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
        let lost = match value.is_infinite() {
            // `inf` has no digits.
            true => text.contains(|c: char| c.is_ascii_digit()),
            false => value == 0.0 && mantissa.contains(|c: char| ('1'..='9').contains(&c)),
        };
        if lost {
            let message = format!("\"{text}\" is out of range for type {}", postgres_type_name(to));
            return Err(KernelError::evaluation(SqlState::NumericValueOutOfRange, message));
        }
    }
    Ok(())
}

fn arrow_cast(array: &ArrayRef, to: &DataType, safe: bool) -> Result<ArrayRef, KernelError> {
    let options = CastOptions { safe, format_options: FormatOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| KernelError::from_arrow(&error))
}

fn bad_value(array: &ArrayRef, row: usize, to: &DataType) -> KernelError {
    let temporal = to.is_temporal();
    if !array.data_type().is_string() {
        return match temporal {
            true => KernelError::evaluation(
                SqlState::DatetimeFieldOverflow,
                format!("{} out of range", postgres_type_name(to)),
            ),
            false => out_of_range(to),
        };
    }
    let text = arrow_cast(array, &DataType::Utf8, true).map(|a| a.as_string::<i32>().value(row).to_string());
    let text = text.unwrap_or_default();
    let name = postgres_type_name(to);
    let trimmed = text.trim();
    let too_large = (to.is_integer() && trimmed.parse::<i128>().is_ok())
        || (to.is_decimal() && trimmed.parse::<f64>().is_ok_and(f64::is_finite));
    if too_large && to.is_decimal() {
        return out_of_range(to);
    }
    if too_large {
        let message = format!("value \"{trimmed}\" is out of range for type {name}");
        return KernelError::evaluation(SqlState::NumericValueOutOfRange, message);
    }
    let state = if temporal { SqlState::InvalidDatetimeFormat } else { SqlState::InvalidTextRepresentation };
    KernelError::evaluation(state, format!("invalid input syntax for type {name}: \"{text}\""))
}

impl PartialEq for PostgresCast {
    fn eq(&self, other: &Self) -> bool {
        self.arg.eq(&other.arg) && self.to == other.to && self.try_cast == other.try_cast
    }
}

impl Hash for PostgresCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.arg.hash(state);
        self.to.hash(state);
        self.try_cast.hash(state);
    }
}

impl fmt::Display for PostgresCast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAST({} AS {})", self.arg, self.to)
    }
}

impl PhysicalExpr for PostgresCast {
    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        Ok(self.try_cast || self.arg.nullable(input)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let cast = |array: &ArrayRef| cast_array(array, &self.to, self.try_cast).map_err(KernelError::into_datafusion);
        match self.arg.evaluate(batch)? {
            ColumnarValue::Array(array) => cast(&array).map(ColumnarValue::Array),
            ColumnarValue::Scalar(scalar) => {
                let array = cast(&scalar.to_array()?)?;
                ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
            }
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.arg]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(PostgresCast { arg: children[0].clone(), to: self.to.clone(), try_cast: self.try_cast }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
