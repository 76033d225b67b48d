//! `to_char(timestamp | date | time | interval, text)` with Postgres' template patterns.
//! DataFusion's takes strftime patterns and returns a Postgres pattern unchanged: silently wrong, hence replaced.

use std::fmt::Write;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use types::SqlState;

use crate::KernelError;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    signature: Signature,
}

impl ToChar {
    pub fn new() -> Self {
        ToChar { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    /// Everything becomes a timestamp in microseconds or an interval.
    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, _] = take_function_args("to_char", arg_types)?;
        let value = match value {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Time32(_) | DataType::Time64(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return plan_err!("to_char of type {other} is not supported"),
        };
        Ok(vec![value, DataType::Utf8])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let [values, formats] = take_function_args("to_char", args.args)?;
        let values = values.into_array(if scalar { 1 } else { rows })?;
        let result = match &formats {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(format))) => {
                let template = parse(format);
                format_rows(&values, |_| Some(&template))
            }
            ColumnarValue::Scalar(_) => format_rows(&values, |_| None),
            ColumnarValue::Array(formats) => {
                let templates: Vec<Option<Template>> =
                    formats.as_string::<i32>().iter().map(|format| format.map(parse)).collect();
                format_rows(&values, |row| templates[row].as_ref())
            }
        };
        let result = result.map_err(KernelError::into_datafusion)?;
        match scalar {
            true => ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

fn format_rows<'a>(
    values: &ArrayRef,
    template: impl Fn(usize) -> Option<&'a Template>,
) -> Result<ArrayRef, KernelError> {
    let zone = match values.data_type() {
        DataType::Timestamp(_, Some(zone)) => Some(Tz::from_str(zone).map_err(|e| KernelError::from_arrow(&e))?),
        _ => None,
    };
    let values = match values.data_type() {
        // A literal that skipped coercion.
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Interval(IntervalUnit::MonthDayNano) => {
            values.clone()
        }
        _ => {
            cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(|e| KernelError::from_arrow(&e))?
        }
    };
    let mut builder = StringBuilder::with_capacity(values.len(), values.len() * 24);
    let mut text = String::new();
    for row in 0..values.len() {
        let Some(template) = template(row).filter(|_| values.is_valid(row)) else {
            builder.append_null();
            continue;
        };
        text.clear();
        let moment = match values.data_type() {
            DataType::Interval(_) => Moment::of_interval(values.as_primitive::<IntervalMonthDayNanoType>().value(row)),
            _ => Moment::of_timestamp(values.as_primitive::<TimestampMicrosecondType>().value(row), zone)?,
        };
        template.iter().for_each(|token| token.write(&moment, &mut text));
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

/// The fields a template can ask for.
struct Moment {
    year: i64,
    month: u32,
    day: u32,
    hour: i64,
    minute: u32,
    second: u32,
    micros: u32,
    /// Absent for intervals: calendar patterns print nothing then.
    calendar: Option<NaiveDateTime>,
    offset_seconds: i32,
    with_zone: bool,
}

impl Moment {
    fn of_timestamp(micros: i64, zone: Option<Tz>) -> Result<Moment, KernelError> {
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

    fn of_interval(value: arrow::datatypes::IntervalMonthDayNano) -> Moment {
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
}

type Template = Vec<Token>;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    Field {
        field: Field,
        /// FM: no zeros or blanks for padding.
        fill: bool,
        ordinal: Option<Case>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Case {
    Upper,
    Title,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    Fraction(u32),
    SecondOfDay,
    Meridiem(Case, bool),
    Era(Case, bool),
    YearWithComma,
    Year(u32),
    IsoYear(u32),
    MonthName(Case),
    MonthShort(Case),
    Month,
    DayName(Case),
    DayShort(Case),
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    Roman(Case),
    Zone(Case),
    ZoneHour,
    ZoneMinute,
    Offset,
}

/// Longer spellings before their prefixes. Numeric patterns are read in upper and lower case.
const PATTERNS: &[(&str, Field)] = &[
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("Y,YYY", Field::YearWithComma),
    ("IYYY", Field::IsoYear(4)),
    ("YYYY", Field::Year(4)),
    ("IDDD", Field::IsoDayOfYear),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("IYY", Field::IsoYear(3)),
    ("YYY", Field::Year(3)),
    ("DDD", Field::DayOfYear),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("HH", Field::Hour12),
    ("MI", Field::Minute),
    ("SS", Field::Second),
    ("MS", Field::Fraction(3)),
    ("US", Field::Fraction(6)),
    ("MM", Field::Month),
    ("DD", Field::Day),
    ("IY", Field::IsoYear(2)),
    ("YY", Field::Year(2)),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("WW", Field::WeekOfYear),
    ("CC", Field::Century),
    ("OF", Field::Offset),
    ("I", Field::IsoYear(1)),
    ("Y", Field::Year(1)),
    ("D", Field::DayOfWeek),
    ("W", Field::WeekOfMonth),
    ("J", Field::Julian),
    ("Q", Field::Quarter),
];

/// Patterns whose spelling decides the case of the output; read before [`PATTERNS`].
const CASED: &[(&str, Field)] = &[
    ("MONTH", Field::MonthName(Case::Upper)),
    ("Month", Field::MonthName(Case::Title)),
    ("month", Field::MonthName(Case::Lower)),
    ("MON", Field::MonthShort(Case::Upper)),
    ("Mon", Field::MonthShort(Case::Title)),
    ("mon", Field::MonthShort(Case::Lower)),
    ("DAY", Field::DayName(Case::Upper)),
    ("Day", Field::DayName(Case::Title)),
    ("day", Field::DayName(Case::Lower)),
    ("DY", Field::DayShort(Case::Upper)),
    ("Dy", Field::DayShort(Case::Title)),
    ("dy", Field::DayShort(Case::Lower)),
    ("A.M.", Field::Meridiem(Case::Upper, true)),
    ("P.M.", Field::Meridiem(Case::Upper, true)),
    ("a.m.", Field::Meridiem(Case::Lower, true)),
    ("p.m.", Field::Meridiem(Case::Lower, true)),
    ("AM", Field::Meridiem(Case::Upper, false)),
    ("PM", Field::Meridiem(Case::Upper, false)),
    ("am", Field::Meridiem(Case::Lower, false)),
    ("pm", Field::Meridiem(Case::Lower, false)),
    ("B.C.", Field::Era(Case::Upper, true)),
    ("A.D.", Field::Era(Case::Upper, true)),
    ("b.c.", Field::Era(Case::Lower, true)),
    ("a.d.", Field::Era(Case::Lower, true)),
    ("BC", Field::Era(Case::Upper, false)),
    ("AD", Field::Era(Case::Upper, false)),
    ("bc", Field::Era(Case::Lower, false)),
    ("ad", Field::Era(Case::Lower, false)),
    ("RM", Field::Roman(Case::Upper)),
    ("rm", Field::Roman(Case::Lower)),
];

fn parse(format: &str) -> Template {
    let mut template = vec![];
    let mut rest = format;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = parse_quoted(quoted, &mut template);
            continue;
        }
        let fill = !starts_with_ignore_case(rest, "FM");
        let after = if fill { rest } else { &rest[2..] };
        if let Some((length, field)) = parse_field(after) {
            rest = &after[length..];
            let ordinal = match rest.get(..2) {
                Some("TH") => Some(Case::Upper),
                Some("th") => Some(Case::Lower),
                _ => None,
            };
            rest = if ordinal.is_some() { &rest[2..] } else { rest };
            template.push(Token::Field { field, fill, ordinal });
            continue;
        }
        rest = after;
        let mut chars = rest.chars();
        if let Some(c) = chars.next() {
            push_text(&mut template, c);
            rest = chars.as_str();
        }
    }
    template
}

fn parse_quoted<'a>(quoted: &'a str, template: &mut Template) -> &'a str {
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.as_str(),
            '\\' => chars.next().into_iter().for_each(|escaped| push_text(template, escaped)),
            c => push_text(template, c),
        }
    }
    chars.as_str()
}

fn push_text(template: &mut Template, c: char) {
    match template.last_mut() {
        Some(Token::Text(text)) => text.push(c),
        _ => template.push(Token::Text(c.to_string())),
    }
}

fn parse_field(rest: &str) -> Option<(usize, Field)> {
    let zone = |case| {
        (!starts_with_ignore_case(rest, "TZH") && !starts_with_ignore_case(rest, "TZM"))
            .then_some((2, Field::Zone(case)))
    };
    match rest.get(..2) {
        Some("TZ") => return zone(Case::Upper).or_else(|| numeric_field(rest)),
        Some("tz") => return zone(Case::Lower).or_else(|| numeric_field(rest)),
        _ => {}
    }
    let cased = CASED.iter().find(|(spelling, _)| rest.starts_with(spelling));
    cased.map(|(spelling, field)| (spelling.len(), *field)).or_else(|| numeric_field(rest))
}

fn numeric_field(rest: &str) -> Option<(usize, Field)> {
    let found = PATTERNS.iter().find(|(spelling, _)| starts_with_ignore_case(rest, spelling));
    found.map(|(spelling, field)| (spelling.len(), *field))
}

fn starts_with_ignore_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

impl Token {
    fn write(&self, moment: &Moment, out: &mut String) {
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

impl Moment {
    /// Years before the common era count backwards from 1 BC, which is year 0.
    fn shown_year(&self) -> i64 {
        match self.calendar {
            Some(_) if self.year <= 0 => 1 - self.year,
            _ => self.year,
        }
    }
}
