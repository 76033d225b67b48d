//! Values in text form, as Postgres' input functions accept them.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, UInt32Array,
    IntervalMonthDayNanoArray, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use types::{SqlError, SqlState};

use super::{array, interval, numeric};
use crate::encode::pg_type;

pub fn decode(oid: u32, text: &str) -> Result<ArrayRef, SqlError> {
    let trimmed = text.trim();
    Ok(match oid {
        pg_type::BOOL => Arc::new(BooleanArray::from(vec![boolean(trimmed).ok_or_else(|| invalid(oid, text))?])),
        pg_type::INT2 => Arc::new(Int16Array::from(vec![integer::<i16>(oid, text)?])),
        pg_type::INT4 => Arc::new(Int32Array::from(vec![integer::<i32>(oid, text)?])),
        pg_type::INT8 => Arc::new(Int64Array::from(vec![integer::<i64>(oid, text)?])),
        pg_type::OID => Arc::new(UInt32Array::from(vec![integer::<u32>(oid, text)?])),
        pg_type::FLOAT4 => Arc::new(Float32Array::from(vec![float::<f32>(oid, text)?])),
        pg_type::FLOAT8 => Arc::new(Float64Array::from(vec![float::<f64>(oid, text)?])),
        pg_type::NUMERIC => numeric::from_text(trimmed)?,
        pg_type::BYTEA => Arc::new(BinaryArray::from(vec![bytes(text)?.as_slice()])),
        pg_type::UUID => Arc::new(StringArray::from(vec![uuid(trimmed).ok_or_else(|| invalid(oid, text))?])),
        pg_type::DATE | pg_type::TIME | pg_type::TIMESTAMP | pg_type::TIMESTAMPTZ | pg_type::INTERVAL => {
            time_value(oid, trimmed)?
        }
        _ if pg_type::element_of(oid).is_some() => array::from_text(oid, trimmed)?,
        _ => Arc::new(StringArray::from(vec![text])),
    })
}

/// `invalid input syntax for type …`
pub fn invalid(oid: u32, text: &str) -> SqlError {
    let state = match oid {
        pg_type::DATE | pg_type::TIME | pg_type::TIMESTAMP | pg_type::TIMESTAMPTZ | pg_type::INTERVAL => {
            SqlState::InvalidDatetimeFormat
        }
        _ => SqlState::InvalidTextRepresentation,
    };
    SqlError::new(state, format!("invalid input syntax for type {}: \"{text}\"", pg_type::name(oid)))
}

/// Any unambiguous prefix of true, false, yes, no, on, off; or 1, 0.
fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let is_prefix = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    match () {
        () if text == "1" || is_prefix("true", 1) || is_prefix("yes", 1) || is_prefix("on", 2) => Some(true),
        () if text == "0" || is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) => Some(false),
        () => None,
    }
}

fn integer<T: FromStr<Err = std::num::ParseIntError>>(oid: u32, text: &str) -> Result<T, SqlError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.trim().parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow | NegOverflow => out_of_range(oid, text),
        _ => invalid(oid, text),
    })
}

fn out_of_range(oid: u32, text: &str) -> SqlError {
    let message = format!("value \"{text}\" is out of range for type {}", pg_type::name(oid));
    SqlError::new(SqlState::NumericValueOutOfRange, message)
}

/// Rust reads all of Postgres' spellings (NaN, inf, Infinity, any case).
fn float<T: FromStr + Into<f64> + Copy>(oid: u32, text: &str) -> Result<T, SqlError> {
    let trimmed = text.trim();
    let value: T = trimmed.parse().map_err(|_| invalid(oid, text))?;
    // An infinity must be spelled; a number that became one is too large.
    if value.into().is_infinite() && trimmed.bytes().any(|b| b.is_ascii_digit()) {
        return Err(out_of_range(oid, text));
    }
    Ok(value)
}

/// `\x…` hex, else the escape format: `\\` and `\ooo`.
fn bytes(text: &str) -> Result<Vec<u8>, SqlError> {
    let malformed = || invalid(pg_type::BYTEA, text);
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if let Some(hex) = text.strip_prefix("\\x") {
        let hex: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        if hex.len() % 2 != 0 {
            return Err(malformed());
        }
        let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        return hex.chunks(2).map(|chunk| pair(chunk).ok_or_else(malformed)).collect();
    }
    let mut out = vec![];
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return Err(malformed()),
            _ => {
                out.push(byte);
                tail
            }
        };
    }
    Ok(out)
}

/// Lower-case and hyphenated. Accepts braces and hyphens anywhere between pairs, as Postgres.
fn uuid(text: &str) -> Option<String> {
    let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let digits: String = inner.chars().filter(|&c| c != '-').collect::<String>().to_ascii_lowercase();
    let valid = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| hyphenated(&digits))
}

/// 32 hex digits as 8-4-4-4-12.
pub fn hyphenated(digits: &str) -> String {
    let part = |from: usize, to: usize| &digits[from..to];
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

fn time_value(oid: u32, text: &str) -> Result<ArrayRef, SqlError> {
    if let Some(infinity) = infinity(text) {
        let micros = TimestampMicrosecondArray::from(vec![if infinity { i64::MAX } else { i64::MIN }]);
        match oid {
            pg_type::DATE => return Ok(Arc::new(Date32Array::from(vec![if infinity { i32::MAX } else { i32::MIN }]))),
            pg_type::TIMESTAMP => return Ok(Arc::new(micros)),
            pg_type::TIMESTAMPTZ => return Ok(Arc::new(micros.with_timezone("UTC"))),
            _ => {}
        }
    }
    if oid == pg_type::INTERVAL {
        let value = interval::parse(text).ok_or_else(|| invalid(oid, text))?;
        return Ok(Arc::new(IntervalMonthDayNanoArray::from(vec![value])));
    }
    let target = pg_type::data_type(oid).expect("date and time types are known");
    // The date of a timestamp is what Postgres takes from it.
    let value = match oid {
        pg_type::DATE => {
            text.get(..10).filter(|_| matches!(text.as_bytes().get(10), Some(b' ' | b'T'))).unwrap_or(text)
        }
        _ => text,
    };
    parse(value, &target).ok_or_else(|| invalid(oid, text))
}

fn infinity(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    }
}

fn parse(text: &str, target: &DataType) -> Option<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&StringArray::from(vec![text]), target, &options).ok()
}
