//! Dates, times and timestamps: ISO text as Postgres prints it, binary counted from 2000-01-01.
//!
//! `i32::MAX`/`MIN` days and `i64::MAX`/`MIN` microseconds are the infinities, as in Postgres.

use arrow::array::timezone::Tz;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::temporal_conversions::as_datetime_with_timezone;
use bytes::{BufMut, BytesMut};

use super::EncodeError;
use super::number::put_padded;

/// Days from 1970-01-01 to 2000-01-01.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS as i64 * DAY_MICROS;
pub const DAY_MICROS: i64 = 86_400_000_000;

pub fn date_text(days: i32, out: &mut BytesMut) {
    if put_infinity(days == i32::MAX, days == i32::MIN, out) {
        return;
    }
    let before_christ = put_date(i64::from(days), out);
    put_era(before_christ, out);
}

pub fn date_binary(days: i32, out: &mut BytesMut) -> Result<(), EncodeError> {
    let days = match days {
        i32::MAX | i32::MIN => days,
        _ => days.checked_sub(POSTGRES_EPOCH_DAYS).ok_or(EncodeError::OutOfRange("date"))?,
    };
    out.put_i32(days);
    Ok(())
}

pub fn timestamp_text(micros: i64, out: &mut BytesMut) {
    if put_infinity(micros == i64::MAX, micros == i64::MIN, out) {
        return;
    }
    let before_christ = put_moment(micros, out);
    put_era(before_christ, out);
}

/// A timestamp with time zone: what clocks in `zone` show, with the offset they have then.
pub fn instant_text(micros: i64, zone: Tz, out: &mut BytesMut) {
    if put_infinity(micros == i64::MAX, micros == i64::MIN, out) {
        return;
    }
    // Beyond the calendar of the time zone library there is only UTC.
    let local = as_datetime_with_timezone::<TimestampMicrosecondType>(micros, zone)
        .map_or(micros, |local| local.naive_local().and_utc().timestamp_micros());
    let before_christ = put_moment(local, out);
    put_offset((local - micros) / 1_000_000, out);
    put_era(before_christ, out);
}

/// Writes date and time; true if the year is before year 1.
fn put_moment(micros: i64, out: &mut BytesMut) -> bool {
    let before_christ = put_date(micros.div_euclid(DAY_MICROS), out);
    out.put_u8(b' ');
    time_text(micros.rem_euclid(DAY_MICROS), out);
    before_christ
}

/// `+02`, `-03:30`, `+00:53:28`: minutes and seconds only where there are any.
fn put_offset(seconds: i64, out: &mut BytesMut) {
    out.put_u8(if seconds < 0 { b'-' } else { b'+' });
    let seconds = seconds.unsigned_abs();
    put_padded(seconds / 3_600, 2, out);
    if seconds % 3_600 != 0 {
        out.put_u8(b':');
        put_padded(seconds / 60 % 60, 2, out);
    }
    if seconds % 60 != 0 {
        out.put_u8(b':');
        put_padded(seconds % 60, 2, out);
    }
}

pub fn timestamp_binary(micros: i64, out: &mut BytesMut) -> Result<(), EncodeError> {
    let micros = match micros {
        i64::MAX | i64::MIN => micros,
        _ => micros.checked_sub(POSTGRES_EPOCH_MICROS).ok_or(EncodeError::OutOfRange("timestamp"))?,
    };
    out.put_i64(micros);
    Ok(())
}

/// Microseconds of a day as `HH:MM:SS[.ffffff]`, zeros at the end trimmed. 24:00:00 is a valid time.
pub fn time_text(micros: i64, out: &mut BytesMut) {
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    put_padded(seconds / 3_600, 2, out);
    out.put_u8(b':');
    put_padded(seconds / 60 % 60, 2, out);
    out.put_u8(b':');
    put_padded(seconds % 60, 2, out);
    put_fraction(micros % 1_000_000, out);
}

/// `.ffffff` without zeros at the end; nothing for 0.
pub fn put_fraction(micros: u64, out: &mut BytesMut) {
    if micros == 0 {
        return;
    }
    out.put_u8(b'.');
    put_padded(micros, 6, out);
    while out.last() == Some(&b'0') {
        out.truncate(out.len() - 1);
    }
}

fn put_infinity(positive: bool, negative: bool, out: &mut BytesMut) -> bool {
    match (positive, negative) {
        (true, _) => out.put_slice(b"infinity"),
        (_, true) => out.put_slice(b"-infinity"),
        _ => return false,
    }
    true
}

/// Writes `YYYY-MM-DD`; true if the year is before year 1.
fn put_date(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil(days);
    let shown = if year > 0 { year } else { 1 - year };
    put_padded(shown.unsigned_abs(), 4, out);
    out.put_u8(b'-');
    put_padded(month, 2, out);
    out.put_u8(b'-');
    put_padded(day, 2, out);
    year <= 0
}

fn put_era(before_christ: bool, out: &mut BytesMut) {
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// Days since 1970-01-01 → year, month, day of the proleptic Gregorian calendar. Eras are 400 years of 146,097 days
/// starting on 1 March of year 0, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097).unsigned_abs();
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + i64::try_from(year_of_era).expect("below 400") + i64::from(month <= 2);
    (year, month, day)
}
