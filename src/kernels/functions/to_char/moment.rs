//! A value taken apart into the fields that a template can ask for.

use arrow::array::timezone::Tz;
use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use types::SqlState;

use crate::KernelError;

/// The fields a template can ask for.
pub(super) struct Moment {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: i64,
    pub minute: u32,
    pub second: u32,
    pub micros: u32,
    /// Absent for intervals: calendar patterns print nothing then.
    pub calendar: Option<NaiveDateTime>,
    pub offset_seconds: i32,
    pub with_zone: bool,
}

impl Moment {
    pub fn of_timestamp(micros: i64, zone: Option<Tz>) -> Result<Moment, KernelError> {
        let utc = DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| KernelError::evaluation(SqlState::DatetimeFieldOverflow, "timestamp out of range"))?;
        let offset = zone.map_or(0, |zone| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc());
        let local = utc.naive_utc() + chrono::Duration::seconds(offset as i64);
        Ok(Moment {
            year: local.year() as i64,
            month: local.month(),
            day: local.day(),
            hour: local.hour() as i64,
            minute: local.minute(),
            second: local.second(),
            micros: local.nanosecond() / 1_000,
            calendar: Some(local),
            offset_seconds: offset,
            with_zone: zone.is_some(),
        })
    }

    pub fn of_interval(value: IntervalMonthDayNano) -> Moment {
        let micros = value.nanoseconds / 1_000;
        let seconds = micros / 1_000_000;
        Moment {
            year: (value.months / 12) as i64,
            month: (value.months % 12).unsigned_abs(),
            day: value.days.unsigned_abs(),
            hour: seconds / 3_600,
            minute: (seconds / 60 % 60).unsigned_abs() as u32,
            second: (seconds % 60).unsigned_abs() as u32,
            micros: (micros % 1_000_000).unsigned_abs() as u32,
            calendar: None,
            offset_seconds: 0,
            with_zone: false,
        }
    }

    /// Years before the common era count backwards from 1 BC, which is year 0.
    pub fn shown_year(&self) -> i64 {
        match self.calendar {
            Some(_) if self.year <= 0 => 1 - self.year,
            _ => self.year,
        }
    }
}
