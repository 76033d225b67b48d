//! Reading the WITH clause: typed access to options, and the event-time options every source has.
//! Separate from the connectors so that an unknown option is refused the same way everywhere: what nobody took is
//! unknown, and what was asked for is the list of known ones.

use serde::{Deserialize, Serialize};

use crate::ConnectorError;

/// The options all sources share (docs/connectors, Options). Durations in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOptions {
    pub idle_timeout_us: i64,
    pub idle_advance: IdleAdvance,
    pub max_future_us: i64,
    pub allowed_lateness_us: i64,
    /// Table that keeps late rows.
    pub late_rows: Option<String>,
    /// Table that keeps malformed records.
    pub dead_letter: Option<String>,
    pub freshness: Freshness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IdleAdvance {
    #[default]
    None,
    WallClock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Freshness {
    #[default]
    Fast,
    Bound,
}

const SECOND_US: i64 = 1_000_000;

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions {
            idle_timeout_us: 60 * SECOND_US,
            idle_advance: IdleAdvance::None,
            max_future_us: 3_600 * SECOND_US,
            allowed_lateness_us: 0,
            late_rows: None,
            dead_letter: None,
            freshness: Freshness::Fast,
        }
    }
}

impl SourceOptions {
    /// Takes the shared options out of `bag`.
    pub(crate) fn take(bag: &mut OptionBag) -> Result<Self, ConnectorError> {
        let default = SourceOptions::default();
        Ok(SourceOptions {
            idle_timeout_us: bag.duration_us("idle_timeout")?.unwrap_or(default.idle_timeout_us),
            idle_advance: bag
                .choice("idle_advance", &[("none", IdleAdvance::None), ("wall_clock", IdleAdvance::WallClock)])?
                .unwrap_or_default(),
            max_future_us: bag.duration_us("max_future")?.unwrap_or(default.max_future_us),
            allowed_lateness_us: bag.duration_us("allowed_lateness")?.unwrap_or(default.allowed_lateness_us),
            late_rows: bag.take("late_rows"),
            dead_letter: bag.take("dead_letter"),
            freshness: bag
                .choice("freshness", &[("fast", Freshness::Fast), ("bound", Freshness::Bound)])?
                .unwrap_or_default(),
        })
    }
}

/// Options not yet taken, and the names asked for so far. Names compare without regard to ASCII case.
#[derive(Debug)]
pub(crate) struct OptionBag {
    connector: String,
    entries: Vec<(String, String)>,
    known: Vec<String>,
}

impl OptionBag {
    /// Later entries win over earlier ones of the same name.
    pub fn new(connector: &str, options: &[(String, String)]) -> Self {
        OptionBag { connector: connector.to_string(), entries: options.to_vec(), known: vec![] }
    }

    pub fn connector(&self) -> &str {
        &self.connector
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        if !self.known.iter().any(|known| known == name) {
            self.known.push(name.to_string());
        }
        let last = self.entries.iter().rposition(|(n, _)| n.eq_ignore_ascii_case(name))?;
        let value = self.entries[last].1.clone();
        self.entries.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        Some(value)
    }

    pub fn required(&mut self, name: &str) -> Result<String, ConnectorError> {
        let missing = ConnectorError::MissingOption { connector: self.connector.clone(), name: name.to_string() };
        self.take(name).ok_or(missing)
    }

    /// Takes `name` and reads it with `parse`; `None` from there is refused with `expected`.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConnectorError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match parse(value.trim()) {
            Some(parsed) => Ok(Some(parsed)),
            None => {
                Err(ConnectorError::InvalidOption { name: name.to_string(), value, expected: expected.to_string() })
            }
        }
    }

    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ConnectorError> {
        self.parsed(name, "true or false", parse_boolean)
    }

    pub fn integer(&mut self, name: &str) -> Result<Option<i64>, ConnectorError> {
        self.parsed(name, "an integer", |v| v.parse().ok())
    }

    /// An integer of at least `min`.
    pub fn integer_from(&mut self, name: &str, min: u64) -> Result<Option<u64>, ConnectorError> {
        self.parsed(name, &format!("an integer of at least {min}"), |v| v.parse().ok().filter(|n| *n >= min))
    }

    pub fn duration_us(&mut self, name: &str) -> Result<Option<i64>, ConnectorError> {
        self.parsed(name, "a duration such as '60 s', '500 ms' or '1 hour'", parse_duration_us)
    }

    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, ConnectorError> {
        let expected = choices.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
        self.parsed(name, &expected, |v| {
            choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(v)).map(|(_, choice)| *choice)
        })
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), ConnectorError> {
        let Some((name, _)) = self.entries.into_iter().next() else { return Ok(()) };
        let mut known = self.known;
        known.sort();
        Err(ConnectorError::UnknownOption { connector: self.connector, name, known: known.join(", ") })
    }
}

pub(crate) fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A duration as numbers with units: `60 s`, `500ms`, `1 hour 30 minutes`, `1.5 h`. A bare `0` needs no unit.
/// Negative durations are refused.
pub fn parse_duration_us(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        total = total.checked_add(scaled(number, unit_us(unit)?)?)?;
        rest = tail.trim_start();
    }
    Some(total)
}

fn unit_us(unit: &str) -> Option<i64> {
    Some(match unit.to_lowercase().as_str() {
        "us" | "µs" | "usec" | "microsecond" | "microseconds" => 1,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND_US,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND_US,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND_US,
        "d" | "day" | "days" => 86_400 * SECOND_US,
        _ => return None,
    })
}

fn scaled(number: &str, unit_us: i64) -> Option<i64> {
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(unit_us);
    }
    let exact = number.parse::<f64>().ok()? * unit_us as f64;
    (exact.is_finite() && exact < i64::MAX as f64).then_some(exact.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("60 s", Some(60_000_000)),
            ("500ms", Some(500_000)),
            ("1 hour", Some(3_600_000_000)),
            ("10 minutes", Some(600_000_000)),
            ("1 hour 30 minutes", Some(5_400_000_000)),
            ("1.5 h", Some(5_400_000_000)),
            ("0", Some(0)),
            ("2 µs", Some(2)),
            ("", None),
            ("5", None),
            ("-5 s", None),
            ("5 parsecs", None),
            ("s", None),
            ("9223372036854775807 days", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration_us(text), expected, "{text}");
        }
    }

    #[test]
    fn the_last_of_equal_names_wins_and_the_rest_is_unknown() {
        let options = [("A", "1"), ("a", "2"), ("b", "x")].map(|(n, v)| (n.to_string(), v.to_string()));
        let mut bag = OptionBag::new("file", &options);
        assert_eq!(bag.integer("a").unwrap(), Some(2));
        let error = bag.finish().unwrap_err();
        assert_eq!(error.to_string(), "unknown option \"b\" of connector \"file\"");
    }
}
