//! The text form of values where Postgres' differs from Arrow's: floats, timestamps, times, intervals, bytea.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, TimeUnit,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::bytea;
use crate::KernelError;

/// Whether values of this type need [`text_form`] instead of Arrow's cast to text.
pub(crate) fn differs_from_arrow(from: &DataType) -> bool {
    matches!(
        from,
        DataType::Float32
            | DataType::Float64
            | DataType::Timestamp(..)
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Interval(_)
            | DataType::Duration(_)
            | DataType::Binary
    )
}

/// Every value as Postgres prints it, as Utf8. NULL stays NULL.
pub(crate) fn text_form(array: &ArrayRef) -> Result<ArrayRef, KernelError> {
    let strings: StringArray = match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().iter().map(|v| v.map(float8)).collect(),
        DataType::Float32 => array.as_primitive::<Float32Type>().iter().map(|v| v.map(float4)).collect(),
        DataType::Interval(_) => {
            let wide = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano));
            let wide = wide.map_err(|error| KernelError::from_arrow(&error))?;
            wide.as_primitive::<IntervalMonthDayNanoType>().iter().map(|v| v.map(interval)).collect()
        }
        DataType::Duration(_) => {
            let micros = cast(array, &DataType::Duration(TimeUnit::Microsecond));
            let micros = micros.map_err(|error| KernelError::from_arrow(&error))?;
            let micros = micros.as_primitive::<DurationMicrosecondType>();
            micros.iter().map(|v| v.map(duration)).collect()
        }
        DataType::Binary => array.as_binary::<i32>().iter().map(|v| v.map(bytea::to_text)).collect(),
        _ => date_time(array)?,
    };
    Ok(Arc::new(strings))
}

fn date_time(array: &ArrayRef) -> Result<StringArray, KernelError> {
    let options = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
        .with_time_format(Some("%H:%M:%S%.f"));
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|error| KernelError::from_arrow(&error))?;
    let with_zone = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    let one = |row: usize| {
        if array.is_null(row) {
            return Ok(None);
        }
        let text = formatter.value(row).try_to_string().map_err(|error| KernelError::from_arrow(&error))?;
        Ok(Some(if with_zone { trim_zone(&text) } else { trim_fraction(&text).to_string() }))
    };
    (0..array.len()).map(one).collect()
}

/// `12:00:00.500` → `12:00:00.5`.
fn trim_fraction(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The last six characters are the offset `+hh:mm`; zero minutes go.
fn trim_zone(text: &str) -> String {
    let (time, zone) = text.split_at(text.len().saturating_sub(6));
    format!("{}{}", trim_fraction(time), zone.strip_suffix(":00").unwrap_or(zone))
}

fn float8(value: f64) -> String {
    shortest(value.is_nan(), value.is_infinite(), value.is_sign_negative(), &format!("{value:e}"), 15)
}

fn float4(value: f32) -> String {
    shortest(value.is_nan(), value.is_infinite(), value.is_sign_negative(), &format!("{value:e}"), 6)
}

/// Shortest digits that read back as the same value; exponents below −4 and from `fixed_max` on in scientific form.
fn shortest(nan: bool, infinite: bool, negative: bool, scientific: &str, fixed_max: i32) -> String {
    if nan {
        return "NaN".to_string();
    }
    if infinite {
        return if negative { "-Infinity" } else { "Infinity" }.to_string();
    }
    let (mantissa, exponent) = scientific.split_once('e').expect("{:e} prints an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} prints a whole exponent");
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < -4 || exponent >= fixed_max {
        let fraction = if digits.len() > 1 { format!(".{}", &digits[1..]) } else { String::new() };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{}{fraction}e{exponent_sign}{:02}", &digits[..1], exponent.abs());
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

fn duration(micros: i64) -> String {
    interval(IntervalMonthDayNano::new(0, (micros / 86_400_000_000) as i32, micros % 86_400_000_000 * 1_000))
}

/// Postgres' default `intervalstyle`: `1 year 2 mons 3 days 04:05:06.5`.
pub(crate) fn interval(value: IntervalMonthDayNano) -> String {
    let mut text = String::new();
    let mut previous_negative = false;
    let mut part = |amount: i32, unit: &str, text: &mut String| {
        if amount == 0 {
            return;
        }
        let space = if text.is_empty() { "" } else { " " };
        let sign = if previous_negative && amount > 0 { "+" } else { "" };
        let plural = if amount == 1 { "" } else { "s" };
        previous_negative = amount < 0;
        let _ = write!(text, "{space}{sign}{amount} {unit}{plural}");
    };
    part(value.months / 12, "year", &mut text);
    part(value.months % 12, "mon", &mut text);
    part(value.days, "day", &mut text);
    if value.nanoseconds == 0 && !text.is_empty() {
        return text;
    }
    let negative = value.nanoseconds < 0;
    let micros = (value.nanoseconds / 1_000).unsigned_abs();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let space = if text.is_empty() { "" } else { " " };
    let sign = if negative {
        "-"
    } else if previous_negative {
        "+"
    } else {
        ""
    };
    let clock = format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(text, "{space}{sign}{}", trim_fraction(&clock));
    text
}
