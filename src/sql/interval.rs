//! Constant intervals to microseconds: Postgres' verbose, abbreviated and ISO 8601 forms, and the standard's
//! `INTERVAL '1:30' MINUTE TO SECOND`. Days are 24 hours; months and years have no fixed length and are refused.

use sqlparser::ast::{self, DateTimeField, Expr};
use types::{SqlError, SqlState};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// Microseconds of a constant interval: `INTERVAL '…' [field [TO field]]`, `INTERVAL n field`, `'…'::interval`,
/// possibly in parentheses or negated.
///
/// Errors: 22007 for malformed text, 0A000 for months and years, 22008 out of range, 42804 for other expressions.
pub fn interval_us(expr: &Expr) -> Result<i64, SqlError> {
    match expr {
        Expr::Nested(inner) => interval_us(inner),
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
            interval_us(expr)?.checked_neg().ok_or_else(|| out_of_range("-"))
        }
        Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } => interval_us(expr),
        Expr::Interval(interval) => {
            let (text, negative) = literal_text(&interval.value).ok_or_else(|| not_constant(expr))?;
            let us = match (&interval.leading_field, &interval.last_field) {
                (None, _) => interval_text_us(&text)?,
                (Some(field), None) => with_unit(&text, unit_of(field)?)?,
                (Some(first), Some(last)) => ranged(&text, unit_of(first)?, unit_of(last)?)?,
            };
            if negative { us.checked_neg().ok_or_else(|| out_of_range(&text)) } else { Ok(us) }
        }
        Expr::Cast { expr: inner, data_type: ast::DataType::Interval { .. }, .. } => {
            let (text, _) = literal_text(inner).ok_or_else(|| not_constant(expr))?;
            interval_text_us(&text)
        }
        Expr::TypedString(typed) if matches!(typed.data_type, ast::DataType::Interval { .. }) => {
            interval_text_us(&typed.value.value.clone().into_string().ok_or_else(|| not_constant(expr))?)
        }
        other => Err(not_constant(other)),
    }
}

/// The text of a string or number literal, and whether a minus stands before it.
fn literal_text(expr: &Expr) -> Option<(String, bool)> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => Some((digits.to_string(), false)),
            other => Some((other.clone().into_string()?, false)),
        },
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => literal_text(expr).map(|(text, minus)| (text, !minus)),
        Expr::Nested(inner) => literal_text(inner),
        _ => None,
    }
}

/// Microseconds of interval text without fields, as Postgres reads it: `1 day 2 hours`, `1:30`, `10` (seconds), `1h`,
/// `500ms`, `P1DT2H`, `@ 5 minutes ago`. Errors as [`interval_us`].
pub fn interval_text_us(text: &str) -> Result<i64, SqlError> {
    let lower = text.trim().to_lowercase();
    if let Some(iso) = lower.strip_prefix('p') {
        return iso_us(text, iso);
    }
    let mut rest = lower.trim_start_matches('@').trim();
    let ago = rest.strip_suffix("ago").map(str::trim_end);
    rest = ago.unwrap_or(rest);
    let mut total = 0i64;
    let mut parts = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.:".contains(c))).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if number.contains(':') {
            total = add(text, total, clock_us(text, number, HOUR)?)?;
            rest = after.trim_start();
        } else {
            let after = after.trim_start();
            let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let unit = if unit.is_empty() { SECOND } else { unit_named(text, unit)? };
            total = add(text, total, scaled(text, number, unit)?)?;
            rest = after.trim_start();
        }
        parts += 1;
    }
    if parts == 0 {
        return Err(malformed(text));
    }
    if ago.is_some() { total.checked_neg().ok_or_else(|| out_of_range(text)) } else { Ok(total) }
}

/// `INTERVAL '10' SECOND`; text that names its own units keeps them.
fn with_unit(text: &str, unit: i64) -> Result<i64, SqlError> {
    match scaled(text, text.trim(), unit) {
        Ok(us) => Ok(us),
        Err(error) if error.state == SqlState::DatetimeFieldOverflow => Err(error),
        Err(_) => interval_text_us(text),
    }
}

/// `'1:30' MINUTE TO SECOND`, `'1 2:03' DAY TO MINUTE`, `'5:6:7' HOUR TO SECOND`.
fn ranged(text: &str, first: i64, last: i64) -> Result<i64, SqlError> {
    if first <= last {
        return Err(malformed(text));
    }
    let trimmed = text.trim();
    let negative = trimmed.starts_with('-');
    let unsigned = trimmed.trim_start_matches(['-', '+']);
    let (days, clock) = match unsigned.split_once(' ') {
        Some((days, clock)) if first == DAY => (days, clock.trim()),
        Some(_) => return interval_text_us(text),
        None if first == DAY && !unsigned.contains(':') => (unsigned, ""),
        None => ("", unsigned),
    };
    let mut total = if days.is_empty() { 0 } else { scaled(text, days, DAY)? };
    if !clock.is_empty() {
        let largest = if first == DAY { HOUR } else { first };
        total = add(text, total, clock_us(text, clock, largest)?)?;
    }
    if negative { total.checked_neg().ok_or_else(|| out_of_range(text)) } else { Ok(total) }
}

/// `a:b[:c]` where `a` counts `largest`: hours or minutes.
fn clock_us(text: &str, clock: &str, largest: i64) -> Result<i64, SqlError> {
    let (negative, clock) = match clock.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, clock.strip_prefix('+').unwrap_or(clock)),
    };
    let units = [HOUR, MINUTE, SECOND];
    let from = units.iter().position(|unit| *unit == largest).unwrap_or(0);
    let fields: Vec<&str> = clock.split(':').collect();
    if fields.len() > units.len() - from {
        return Err(malformed(text));
    }
    let mut total = 0i64;
    for (n, (field, unit)) in fields.iter().zip(&units[from..]).enumerate() {
        let fraction_allowed = *unit == SECOND;
        if field.starts_with(['-', '+']) || (field.contains('.') && !fraction_allowed) {
            return Err(malformed(text));
        }
        let us = scaled(text, field, *unit)?;
        if n > 0 && us >= 60 * unit {
            return Err(SqlError::new(
                SqlState::DatetimeFieldOverflow,
                format!("interval field value out of range: \"{text}\""),
            ));
        }
        total = add(text, total, us)?;
    }
    Ok(if negative { -total } else { total })
}

/// `1dt2h3m4.5s` after the P.
fn iso_us(text: &str, iso: &str) -> Result<i64, SqlError> {
    let (date, time) = iso.split_once('t').unwrap_or((iso, ""));
    let mut total = 0i64;
    let mut parts = 0;
    for (section, units) in
        [(date, &[('w', WEEK), ('d', DAY)][..]), (time, &[('h', HOUR), ('m', MINUTE), ('s', SECOND)])]
    {
        let mut rest = section;
        while let Some(end) = rest.find(|c: char| c.is_alphabetic()) {
            let letter = rest[end..].chars().next().expect("found");
            let unit = match units.iter().find(|(name, _)| *name == letter) {
                Some((_, unit)) => *unit,
                None if letter == 'y' || letter == 'm' => return Err(calendar(text)),
                None => return Err(malformed(text)),
            };
            total = add(text, total, scaled(text, &rest[..end], unit)?)?;
            rest = &rest[end + letter.len_utf8()..];
            parts += 1;
        }
        if !rest.is_empty() {
            return Err(malformed(text));
        }
    }
    if parts == 0 { Err(malformed(text)) } else { Ok(total) }
}

/// A decimal number of units, exact to the microsecond.
fn scaled(text: &str, number: &str, unit: i64) -> Result<i64, SqlError> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(malformed(text));
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| out_of_range(text))? };
    // Twelve digits are more than a microsecond of a week needs.
    let fraction = &fraction[..fraction.len().min(12)];
    let scale = 10i128.pow(fraction.len() as u32);
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| malformed(text))? };
    let us = i128::from(whole) * i128::from(unit) + (part * i128::from(unit) + scale / 2) / scale;
    let us = i64::try_from(us).map_err(|_| out_of_range(text))?;
    Ok(if negative { -us } else { us })
}

fn add(text: &str, total: i64, us: i64) -> Result<i64, SqlError> {
    total.checked_add(us).ok_or_else(|| out_of_range(text))
}

fn unit_named(text: &str, unit: &str) -> Result<i64, SqlError> {
    Ok(match unit {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => 1,
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => WEEK,
        "mon" | "mons" | "month" | "months" | "y" | "yr" | "yrs" | "year" | "years" | "decade" | "decades" | "c"
        | "cent" | "century" | "centuries" | "mil" | "mils" | "millennium" | "millennia" => return Err(calendar(text)),
        _ => return Err(malformed(text)),
    })
}

fn unit_of(field: &DateTimeField) -> Result<i64, SqlError> {
    Ok(match field {
        DateTimeField::Microsecond | DateTimeField::Microseconds => 1,
        DateTimeField::Millisecond | DateTimeField::Milliseconds => 1_000,
        DateTimeField::Second | DateTimeField::Seconds => SECOND,
        DateTimeField::Minute | DateTimeField::Minutes => MINUTE,
        DateTimeField::Hour | DateTimeField::Hours => HOUR,
        DateTimeField::Day | DateTimeField::Days => DAY,
        DateTimeField::Week(_) | DateTimeField::Weeks => WEEK,
        other => return Err(calendar(&other.to_string())),
    })
}

fn malformed(text: &str) -> SqlError {
    SqlError::new(SqlState::InvalidDatetimeFormat, format!("invalid input syntax for type interval: \"{text}\""))
}

fn out_of_range(text: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, format!("interval out of range: \"{text}\""))
}

fn calendar(text: &str) -> SqlError {
    SqlError::unsupported(
        format!("interval \"{text}\" has no fixed length"),
        "Use days or smaller units; months and years vary in length.",
    )
}

fn not_constant(expr: &Expr) -> SqlError {
    SqlError::new(SqlState::DatatypeMismatch, format!("a constant interval is needed instead of {expr}"))
        .with_hint("Write it like INTERVAL '10 seconds'.")
}
