//! Casts in the time zone of a session: what `timestamptz` looks like as text, date or time of day, and which instant
//! a time without zone means. The instants themselves have no zone: their Arrow type is always UTC.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::temporal_conversions::as_datetime_with_timezone;
use types::SqlState;

use super::cast::cast_array;
use crate::KernelError;

/// The zone in which views compute, and the one in which [`cast_array`] casts.
pub const UTC: &str = "UTC";

/// As [`cast_array`], with `zone` (an IANA name or a fixed offset) as the session's time zone.
///
/// Errors: those of `cast_array`; `Evaluation` for an unknown zone.
pub fn cast_array_in(array: &ArrayRef, to: &DataType, try_cast: bool, zone: &str) -> Result<ArrayRef, KernelError> {
    use DataType as T;
    if zone == UTC {
        return cast_array(array, to, try_cast);
    }
    let zoned = zoned(zone);
    let cast = |array: &ArrayRef, to: &T| cast_array(array, to, try_cast);
    match (array.data_type(), to) {
        // A date is midnight, as a time without zone.
        (T::Date32, T::Timestamp(_, Some(_))) => {
            let midnight = cast(array, &T::Timestamp(TimeUnit::Microsecond, None))?;
            cast(&cast(&midnight, &zoned)?, to)
        }
        (from, T::Timestamp(_, Some(_))) if from.is_string() || matches!(from, T::Timestamp(_, None)) => {
            cast(&cast(array, &zoned)?, to)
        }
        (T::Timestamp(_, Some(_)), to) if to.is_string() => cast(&cast(array, &zoned)?, to),
        (T::Timestamp(_, Some(_)), T::Timestamp(_, None) | T::Date32 | T::Time64(_)) => cast(&local(array, zone)?, to),
        _ => cast(array, to),
    }
}

/// Timestamps of `zone`: the same instants, which functions then take apart in that zone.
pub fn zoned(zone: &str) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()))
}

/// Errors: `Evaluation` for an unknown zone.
pub fn check(zone: &str) -> Result<(), KernelError> {
    parse(zone).map(|_| ())
}

fn parse(zone: &str) -> Result<Tz, KernelError> {
    let unknown = |_| {
        let message = format!("time zone \"{zone}\" not recognized");
        KernelError::evaluation(SqlState::InvalidParameterValue, message)
    };
    zone.parse().map_err(unknown)
}

/// What clocks in `zone` show at these instants, without zone.
fn local(instants: &ArrayRef, zone: &str) -> Result<ArrayRef, KernelError> {
    let zone = parse(zone)?;
    let instants = cast_array(instants, &zoned(UTC), false)?;
    let clock = |micros: i64| {
        let local = as_datetime_with_timezone::<TimestampMicrosecondType>(micros, zone);
        local.map_or(micros, |local| local.naive_local().and_utc().timestamp_micros())
    };
    let clocks: TimestampMicrosecondArray = instants.as_primitive::<TimestampMicrosecondType>().unary(clock);
    Ok(Arc::new(clocks.with_timezone_opt(None::<Arc<str>>)))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    const BERLIN: &str = "Europe/Berlin";

    fn text(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn check(array: &ArrayRef, expected: &[&str]) {
        let shown = cast_array_in(array, &DataType::Utf8, false, BERLIN).unwrap();
        let shown: Vec<&str> = shown.as_string::<i32>().iter().map(|value| value.unwrap()).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn text_without_offset_is_local_time() {
        let written = text(&["2026-01-01 12:00:00", "2026-07-01 12:00:00", "2026-07-01 12:00:00+00"]);
        let instants = cast_array_in(&written, &zoned(UTC), false, BERLIN).unwrap();
        check(&instants, &["2026-01-01 12:00:00+01", "2026-07-01 12:00:00+02", "2026-07-01 14:00:00+02"]);
        let utc = cast_array(&instants, &DataType::Utf8, false).unwrap();
        assert_eq!(utc.as_string::<i32>().value(1), "2026-07-01 10:00:00+00");
    }

    #[test]
    fn clocks_and_calendars_are_local() {
        let late = cast_array(&text(&["2026-01-01 23:30:00+00"]), &zoned(UTC), false).unwrap();
        for (to, expected) in [
            (DataType::Timestamp(TimeUnit::Microsecond, None), "2026-01-02 00:30:00"),
            (DataType::Date32, "2026-01-02"),
            (DataType::Time64(TimeUnit::Microsecond), "00:30:00"),
        ] {
            let local = cast_array_in(&late, &to, false, BERLIN).unwrap();
            check(&local, &[expected]);
        }
    }

    #[test]
    fn local_times_become_instants() {
        let noon =
            cast_array(&text(&["2026-01-01 12:00:00"]), &DataType::Timestamp(TimeUnit::Microsecond, None), false);
        check(&cast_array_in(&noon.unwrap(), &zoned(UTC), false, BERLIN).unwrap(), &["2026-01-01 12:00:00+01"]);
        let day = cast_array(&text(&["2026-01-01"]), &DataType::Date32, false).unwrap();
        check(&cast_array_in(&day, &zoned(UTC), false, BERLIN).unwrap(), &["2026-01-01 00:00:00+01"]);
    }
}
