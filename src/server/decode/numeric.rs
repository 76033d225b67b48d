//! Numerics of any scale → Decimal128 of just that scale; the conversion to the statement's type comes after.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::datatypes::DECIMAL128_MAX_PRECISION;
use types::{SqlError, SqlState};

use super::text::invalid;
use crate::encode::pg_type;

/// Digits after the point that are kept; more are an error.
const SCALE_MAX: i32 = 38;

/// `[+-]digits[.digits][e[+-]digits]`
pub fn from_text(text: &str) -> Result<ArrayRef, SqlError> {
    let malformed = || invalid(pg_type::NUMERIC, text);
    if ["nan", "infinity", "-infinity", "inf", "-inf"].contains(&text.to_ascii_lowercase().as_str()) {
        return Err(no_such_value());
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| malformed())?),
        None => (text, 0),
    };
    let (negative, unsigned) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    if (whole.is_empty() && fraction.is_empty()) || !digits.clone().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let mut value = 0i128;
    for digit in digits {
        value = push(value, i128::from(digit - b'0'), 10)?;
    }
    let fraction = i32::try_from(fraction.len()).map_err(|_| too_large())?;
    let scale = fraction.checked_sub(exponent).ok_or_else(too_large)?;
    decimal(if negative { -value } else { value }, scale)
}

/// The base-10,000 form: digits of weight, weight − 1, …
pub fn from_binary(digits: &[i16], weight: i16, sign: u16, scale: u16) -> Result<ArrayRef, SqlError> {
    let malformed = || SqlError::new(SqlState::InvalidBinaryRepresentation, "invalid numeric in binary parameter");
    let negative = match sign {
        0 => false,
        0x4000 => true,
        0xc000 | 0xd000 | 0xf000 => return Err(no_such_value()),
        _ => return Err(malformed()),
    };
    let mut value = 0i128;
    for &digit in digits {
        if !(0..10_000).contains(&digit) {
            return Err(malformed());
        }
        value = push(value, i128::from(digit), 10_000)?;
    }
    // The last digit stands for 10,000^(weight − count + 1).
    let count = i32::try_from(digits.len()).map_err(|_| malformed())?;
    let mut own_scale = 4 * (count - 1 - i32::from(weight));
    while own_scale > i32::from(scale) && value % 10 == 0 && value != 0 {
        value /= 10;
        own_scale -= 1;
    }
    decimal(if negative { -value } else { value }, own_scale)
}

fn push(value: i128, digit: i128, base: i128) -> Result<i128, SqlError> {
    value.checked_mul(base).and_then(|value| value.checked_add(digit)).ok_or_else(too_large)
}

/// `value` × 10^−`scale`.
fn decimal(mut value: i128, mut scale: i32) -> Result<ArrayRef, SqlError> {
    if value == 0 {
        scale = scale.clamp(0, SCALE_MAX);
    }
    while scale < 0 {
        value = push(value, 0, 10)?;
        scale += 1;
    }
    while scale > SCALE_MAX && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    if scale > SCALE_MAX || value.unsigned_abs() >= 10u128.pow(u32::from(DECIMAL128_MAX_PRECISION)) {
        return Err(too_large());
    }
    let array = Decimal128Array::from(vec![value])
        .with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale as i8)
        .expect("scale and precision were checked");
    Ok(Arc::new(array))
}

fn too_large() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "numeric has more than 38 digits")
}

fn no_such_value() -> SqlError {
    SqlError::unsupported("numeric has no NaN and no infinity here", "Use double precision for such values.")
}
