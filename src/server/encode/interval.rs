//! Intervals in IntervalStyle `postgres`, and in binary.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::datetime::{DAY_MICROS, put_fraction};
use super::number::put_padded;

/// Postgres' three independent parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl Interval {
    /// Full days are days, as in the difference of two timestamps.
    pub fn of_micros(micros: i64) -> Interval {
        let days = i32::try_from(micros / DAY_MICROS).expect("an int8 of microseconds has fewer days than int4 holds");
        Interval { months: 0, days, micros: micros % DAY_MICROS }
    }

    pub fn binary(self, out: &mut BytesMut) {
        out.put_i64(self.micros);
        out.put_i32(self.days);
        out.put_i32(self.months);
    }

    /// `1 year 2 mons -3 days +04:05:06.7`: a sign shows on each part, a plus only after a negative one.
    pub fn text(self, out: &mut BytesMut) {
        let mut empty = true;
        let mut after_negative = false;
        for (value, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if value == 0 {
                continue;
            }
            let space = if empty { "" } else { " " };
            let plus = if after_negative && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            write!(out, "{space}{plus}{value} {unit}{plural}").expect("buffers grow");
            empty = false;
            after_negative = value < 0;
        }
        if self.micros == 0 && !empty {
            return;
        }
        if !empty {
            out.put_u8(b' ');
        }
        if self.micros < 0 {
            out.put_u8(b'-');
        } else if after_negative {
            out.put_u8(b'+');
        }
        let micros = self.micros.unsigned_abs();
        put_padded(micros / 3_600_000_000, 2, out);
        out.put_u8(b':');
        put_padded(micros / 60_000_000 % 60, 2, out);
        out.put_u8(b':');
        put_padded(micros / 1_000_000 % 60, 2, out);
        put_fraction(micros % 1_000_000, out);
    }
}
