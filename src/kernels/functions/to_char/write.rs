//! Prints the fields of a moment as a template asks.

use std::fmt::Write;

use chrono::{Datelike, NaiveDateTime};

use super::moment::Moment;
use super::template::{Case, Field, Token};

impl Token {
    pub fn write(&self, moment: &Moment, out: &mut String) {
        match self {
            Token::Text(text) => out.push_str(text),
            Token::Field { field, fill, ordinal } => {
                let start = out.len();
                field.write(moment, *fill, out);
                if let Some(case) = ordinal {
                    let suffix = ordinal_suffix(&out[start..]);
                    out.push_str(&cased(suffix, *case));
                }
            }
        }
    }
}

fn ordinal_suffix(number: &str) -> &'static str {
    let bytes = number.as_bytes();
    let teen = bytes.len() >= 2 && bytes[bytes.len() - 2] == b'1';
    match bytes.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Title => text.to_string(),
        Case::Lower => text.to_lowercase(),
    }
}

impl Field {
    fn write(self, m: &Moment, fill: bool, out: &mut String) {
        let number = |out: &mut String, value: i64, width: usize| {
            let width = if fill { width } else { 0 };
            let sign = if value < 0 { "-" } else { "" };
            let _ = write!(out, "{sign}{:0width$}", value.unsigned_abs());
        };
        let name = |out: &mut String, text: &str, case: Case, width: usize| {
            let width = if fill { width } else { 0 };
            let _ = write!(out, "{:width$}", cased(text, case));
        };
        match self {
            Field::Hour24 => number(out, m.hour, 2),
            Field::Hour12 => number(out, if m.hour % 12 == 0 { 12 } else { m.hour % 12 }, 2),
            Field::Minute => number(out, m.minute as i64, 2),
            Field::Second => number(out, m.second as i64, 2),
            Field::Fraction(digits) => {
                let value = m.micros / 10u32.pow(6 - digits);
                let _ = write!(out, "{value:0width$}", width = digits as usize);
            }
            Field::SecondOfDay => number(out, m.hour * 3_600 + (m.minute * 60 + m.second) as i64, 0),
            Field::Meridiem(case, dots) => {
                let afternoon = m.hour.rem_euclid(24) >= 12;
                let text = match (afternoon, dots) {
                    (false, false) => "AM",
                    (false, true) => "A.M.",
                    (true, false) => "PM",
                    (true, true) => "P.M.",
                };
                out.push_str(&cased(text, case));
            }
            Field::Era(case, dots) => {
                let text = match (m.year <= 0, dots) {
                    (false, false) => "AD",
                    (false, true) => "A.D.",
                    (true, false) => "BC",
                    (true, true) => "B.C.",
                };
                out.push_str(&cased(text, case));
            }
            Field::YearWithComma => {
                let _ = write!(out, "{},{:03}", m.shown_year() / 1_000, m.shown_year() % 1_000);
            }
            Field::Year(4) => number(out, m.shown_year(), 4),
            Field::Year(digits) => number(out, m.shown_year() % 10i64.pow(digits), digits as usize),
            Field::Month => number(out, m.month as i64, 2),
            Field::Day => number(out, m.day as i64, 2),
            Field::MonthName(case) => self.month_name(m, |text| name(out, text, case, 9)),
            Field::MonthShort(case) => self.month_name(m, |text| name(out, &text[..3], case, 0)),
            Field::Roman(case) => {
                if let Some(text) = (m.month as usize).checked_sub(1).and_then(|i| ROMAN.get(i)) {
                    name(out, text, case, 4);
                }
            }
            Field::Quarter if m.month > 0 => number(out, (m.month as i64 + 2) / 3, 0),
            Field::Century => number(out, (m.shown_year() + 99) / 100, 2),
            _ => {
                if let Some(calendar) = m.calendar {
                    self.write_calendar(m, calendar, &number, &name, out);
                }
            }
        }
    }

    fn month_name(self, m: &Moment, write: impl FnOnce(&str)) {
        if let Some(text) = (m.month as usize).checked_sub(1).and_then(|i| MONTHS.get(i)) {
            write(text);
        }
    }

    /// Fields that only a point in time has.
    fn write_calendar(
        self,
        m: &Moment,
        at: NaiveDateTime,
        number: &impl Fn(&mut String, i64, usize),
        name: &impl Fn(&mut String, &str, Case, usize),
        out: &mut String,
    ) {
        let date = at.date();
        let weekday = date.weekday();
        let iso = date.iso_week();
        let day_name = DAYS[weekday.num_days_from_sunday() as usize];
        let offset = m.offset_seconds.unsigned_abs();
        let sign = if m.offset_seconds < 0 { '-' } else { '+' };
        match self {
            Field::DayName(case) => name(out, day_name, case, 9),
            Field::DayShort(case) => name(out, &day_name[..3], case, 0),
            Field::IsoYear(4) => number(out, iso.year() as i64, 4),
            Field::IsoYear(digits) => number(out, iso.year() as i64 % 10i64.pow(digits), digits as usize),
            Field::DayOfYear => number(out, date.ordinal() as i64, 3),
            Field::IsoDayOfYear => {
                number(out, (iso.week0() * 7 + weekday.number_from_monday()) as i64, 3);
            }
            Field::DayOfWeek => number(out, weekday.number_from_sunday() as i64, 0),
            Field::IsoDayOfWeek => number(out, weekday.number_from_monday() as i64, 0),
            Field::WeekOfMonth => number(out, (date.day0() / 7 + 1) as i64, 0),
            Field::WeekOfYear => number(out, (date.ordinal0() / 7 + 1) as i64, 2),
            Field::IsoWeek => number(out, iso.week() as i64, 2),
            // Day 1 of the common era is Julian day 1721426.
            Field::Julian => number(out, date.num_days_from_ce() as i64 + 1_721_425, 0),
            Field::Zone(case) if m.with_zone && offset == 0 => out.push_str(&cased("UTC", case)),
            Field::Zone(_) if !m.with_zone => {}
            Field::Zone(_) | Field::Offset => {
                let _ = write!(out, "{sign}{:02}", offset / 3_600);
                if offset / 60 % 60 != 0 {
                    let _ = write!(out, ":{:02}", offset / 60 % 60);
                }
            }
            Field::ZoneHour => {
                let _ = write!(out, "{sign}{:02}", offset / 3_600);
            }
            Field::ZoneMinute => {
                let _ = write!(out, "{:02}", offset / 60 % 60);
            }
            _ => {}
        }
    }
}
