//! Intervals in text: `1 year 2 mons -3 days +04:05:06.7`, `@ 90 minutes ago`, ISO 8601 `P1Y2M3DT4H5M6.7S`.
//!
//! Fractions go to the next smaller part as in Postgres: 0.5 months are 15 days, 0.5 days are 12 hours.

use arrow::datatypes::IntervalMonthDayNano;

/// Months, days and microseconds while they are added up.
#[derive(Default)]
struct Parts {
    months: i64,
    days: i64,
    micros: i64,
}

/// `None`: not an interval, or out of range.
pub fn parse(text: &str) -> Option<IntervalMonthDayNano> {
    let text = text.to_ascii_lowercase();
    let mut parts = Parts::default();
    match text.strip_prefix('p') {
        Some(iso) => parse_iso(iso, &mut parts)?,
        None => parse_words(&text, &mut parts)?,
    }
    Some(IntervalMonthDayNano {
        months: parts.months.try_into().ok()?,
        days: parts.days.try_into().ok()?,
        nanoseconds: parts.micros.checked_mul(1_000)?,
    })
}

fn parse_words(text: &str, parts: &mut Parts) -> Option<()> {
    let text = text.trim().trim_start_matches('@').trim_start();
    let (text, ago) = text.strip_suffix("ago").map_or((text, false), |rest| (rest.trim_end(), true));
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !matches!(c, '+' | '-' | '.' | ':' | '0'..='9')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let tail = tail.trim_start();
        if number.contains(':') {
            parts.add_clock(number)?;
            rest = tail;
            continue;
        }
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        // A number without unit counts seconds.
        parts.add(number, if unit.is_empty() { "s" } else { unit })?;
        rest = tail.trim_start();
    }
    if ago {
        *parts = Parts { months: -parts.months, days: -parts.days, micros: -parts.micros };
    }
    Some(())
}

fn parse_iso(text: &str, parts: &mut Parts) -> Option<()> {
    let (date, time) = text.split_once('t').unwrap_or((text, ""));
    if date.is_empty() && time.is_empty() {
        return None;
    }
    for (mut rest, units) in [(date, ["y", "m", "w", "d"]), (time, ["h", "m", "s", "s"])] {
        let names: [&str; 4] = if units[0] == "y" { ["y", "mon", "w", "d"] } else { ["h", "min", "s", "s"] };
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let at = units.iter().position(|unit| *unit == &rest[end..=end])?;
            parts.add(&rest[..end], names[at])?;
            rest = &rest[end + 1..];
        }
    }
    Some(())
}

impl Parts {
    /// `[sign]hours:minutes[:seconds[.fraction]]`
    fn add_clock(&mut self, text: &str) -> Option<()> {
        let (sign, text) = sign_of(text);
        let mut fields = text.split(':');
        let hours: i64 = fields.next()?.parse().ok()?;
        let minutes: i64 = fields.next()?.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
        let (seconds, fraction) = number_of(fields.next().unwrap_or("0"))?;
        if !(0..=60).contains(&seconds) || fields.next().is_some() {
            return None;
        }
        let seconds = hours.checked_mul(3_600)?.checked_add(minutes * 60 + seconds)?;
        self.add_micros(sign.checked_mul(seconds)?, sign as f64 * fraction, 1_000_000)
    }

    fn add(&mut self, number: &str, unit: &str) -> Option<()> {
        let (sign, number) = sign_of(number);
        let (whole, fraction) = number_of(number)?;
        let (whole, fraction) = (sign * whole, sign as f64 * fraction);
        match unit {
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" => self.add_micros(whole, fraction, 1),
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => self.add_micros(whole, fraction, 1_000),
            "s" | "sec" | "secs" | "second" | "seconds" => self.add_micros(whole, fraction, 1_000_000),
            "m" | "min" | "mins" | "minute" | "minutes" => self.add_micros(whole, fraction, 60_000_000),
            "h" | "hr" | "hrs" | "hour" | "hours" => self.add_micros(whole, fraction, 3_600_000_000),
            "d" | "day" | "days" => self.add_days(whole, fraction),
            "w" | "week" | "weeks" => {
                let days = fraction * 7.0;
                self.add_days(whole.checked_mul(7)?.checked_add(days.trunc() as i64)?, days.fract())
            }
            "mon" | "mons" | "month" | "months" => {
                self.months = self.months.checked_add(whole)?;
                let days = fraction * 30.0;
                self.add_days(days.trunc() as i64, days.fract())
            }
            "y" | "yr" | "yrs" | "year" | "years" => self.add_years(whole, fraction, 1),
            "decade" | "decades" | "dec" | "decs" => self.add_years(whole, fraction, 10),
            "c" | "cent" | "century" | "centuries" => self.add_years(whole, fraction, 100),
            "mil" | "mils" | "millennium" | "millennia" => self.add_years(whole, fraction, 1_000),
            _ => None,
        }
    }

    fn add_years(&mut self, whole: i64, fraction: f64, years: i64) -> Option<()> {
        let months = whole.checked_mul(12 * years)?.checked_add((fraction * 12.0 * years as f64).round() as i64)?;
        self.months = self.months.checked_add(months)?;
        Some(())
    }

    fn add_days(&mut self, whole: i64, fraction: f64) -> Option<()> {
        self.days = self.days.checked_add(whole)?;
        self.add_micros(0, fraction, 86_400_000_000)
    }

    fn add_micros(&mut self, whole: i64, fraction: f64, unit: i64) -> Option<()> {
        let micros = whole.checked_mul(unit)?.checked_add((fraction * unit as f64).round() as i64)?;
        self.micros = self.micros.checked_add(micros)?;
        Some(())
    }
}

fn sign_of(text: &str) -> (i64, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    }
}

/// Whole part and fraction of an unsigned decimal.
fn number_of(text: &str) -> Option<(i64, f64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if (whole.is_empty() && fraction.is_empty()) || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
    Some((whole, fraction))
}
