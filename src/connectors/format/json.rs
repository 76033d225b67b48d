//! JSON lines: one object per line, its members straight into columns; values nobody wants are checked and skipped.
//!
//! Own reader because each line stands alone (a bad one is set aside with its bytes), whole numbers stay exact and are
//! never cut from fractions, decimals never pass through a float, and a number is never taken for a time unless
//! `timestamp_unit` says which unit it counts. Keys match columns exactly, else ignoring case; unknown keys are ignored;
//! of equal keys the last wins; a missing key is NULL. Objects and arrays can be read as text.

use std::collections::HashMap;

use arrow::datatypes::{DataType, SchemaRef};

use super::json_syntax::{number, skip_space, skip_value, string, unescape, word};
use super::rows::{Malformed, RowBuilder};
use super::scan::{find_either, utf8_prefix};
use super::{TextDecoder, match_name};
use crate::ConnectorError;
use crate::options::OptionBag;

/// Keys that are remembered from line to line.
const KEYS_MAX: usize = 1_024;

/// How values are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonFormat {
    /// What a number in a timestamp column counts; `None`: such a number is malformed.
    pub timestamp_unit: Option<TimestampUnit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampUnit {
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

impl JsonFormat {
    pub fn take(bag: &mut OptionBag) -> Result<Self, ConnectorError> {
        use TimestampUnit::*;
        let units = [("s", Second), ("ms", Millisecond), ("us", Microsecond), ("ns", Nanosecond)];
        let timestamp_unit = bag.choice("timestamp_unit", &units)?;
        // Flink's name for a choice between two spellings that are both read anyway.
        bag.choice("json.timestamp-format.standard", &[("SQL", ()), ("ISO-8601", ())])?;
        Ok(JsonFormat { timestamp_unit })
    }
}

/// Decodes one file.
pub(crate) struct JsonDecoder {
    format: JsonFormat,
    schema: SchemaRef,
    /// Output column of each declared column.
    outputs: Vec<Option<usize>>,
    is_timestamp: Vec<bool>,
    /// Keys that have occurred, and where to find each.
    keys: Vec<(Vec<u8>, Target)>,
    key_index: HashMap<Vec<u8>, usize>,
    /// The keys of the last line in order: the next line most likely has the same.
    order: Vec<usize>,
    scratch: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    output: Option<usize>,
    exact: bool,
}

impl JsonDecoder {
    pub fn new(format: JsonFormat, schema: SchemaRef, projection: &[usize]) -> Self {
        let mut outputs = vec![None; schema.fields().len()];
        projection.iter().enumerate().for_each(|(output, column)| outputs[*column] = Some(output));
        let is_timestamp = projection.iter().map(|c| matches!(schema.field(*c).data_type(), DataType::Timestamp(..)));
        let is_timestamp = is_timestamp.collect();
        JsonDecoder {
            format,
            schema,
            outputs,
            is_timestamp,
            keys: vec![],
            key_index: HashMap::new(),
            order: vec![],
            scratch: vec![],
        }
    }

    fn target(&mut self, index: usize, key: &[u8]) -> Target {
        if let Some(expected) = self.order.get(index)
            && self.keys[*expected].0 == key
        {
            return self.keys[*expected].1;
        }
        let found = match self.key_index.get(key) {
            Some(found) => *found,
            // Keys come from outside: what is remembered of them is bounded.
            None if self.keys.len() >= KEYS_MAX => return self.look_up(key),
            None => {
                self.keys.push((key.to_vec(), self.look_up(key)));
                self.key_index.insert(key.to_vec(), self.keys.len() - 1);
                self.keys.len() - 1
            }
        };
        if index < self.order.len() {
            self.order[index] = found;
        } else if index == self.order.len() && index < KEYS_MAX {
            self.order.push(found);
        }
        self.keys[found].1
    }

    fn look_up(&self, key: &[u8]) -> Target {
        let nothing = Target { output: None, exact: true };
        let Ok(key) = std::str::from_utf8(key) else { return nothing };
        let names = self.schema.fields().iter().map(|f| f.name().as_str());
        match match_name(names, key) {
            Some(column) => Target { output: self.outputs[column], exact: self.schema.field(column).name() == key },
            None => nothing,
        }
    }

    /// Reads the object that starts at `at`; gives the position after it.
    fn object(&mut self, input: &[u8], at: usize, rows: &mut RowBuilder) -> Result<usize, Malformed> {
        let mut pos = skip_space(input, at);
        if input.get(pos) != Some(&b'{') {
            return Err("not a JSON object".into());
        }
        pos = skip_space(input, pos + 1);
        if input.get(pos) == Some(&b'}') {
            return Ok(pos + 1);
        }
        for index in 0.. {
            let key = string(input, pos)?;
            let target = if key.escaped {
                let mut unescaped = vec![];
                unescape(&input[key.from..key.to], &mut unescaped)?;
                self.target(index, &unescaped)
            } else {
                self.target(index, &input[key.from..key.to])
            };
            pos = skip_space(input, key.to + 1);
            if input.get(pos) != Some(&b':') {
                return Err(format!("expected \":\" at byte {}", pos - at).into());
            }
            pos = skip_space(input, pos + 1);
            // A key that matches only without regard to case doesn't replace one that is there.
            pos = match target.output {
                Some(column) if target.exact || !rows.is_set(column) => self.value(input, pos, column, rows)?,
                _ => skip_value(input, pos, 0)?,
            };
            pos = skip_space(input, pos);
            match input.get(pos) {
                Some(b',') => pos = skip_space(input, pos + 1),
                Some(b'}') => return Ok(pos + 1),
                _ => return Err(format!("expected \",\" or \"}}\" at byte {}", pos - at).into()),
            }
        }
        unreachable!("an object has fewer members than usize can count")
    }

    fn value(&mut self, input: &[u8], pos: usize, column: usize, rows: &mut RowBuilder) -> Result<usize, Malformed> {
        match input.get(pos) {
            Some(b'"') => {
                let text = string(input, pos)?;
                let raw = &input[text.from..text.to];
                if text.escaped {
                    self.scratch.clear();
                    unescape(raw, &mut self.scratch)?;
                    rows.set_text(column, &self.scratch)?;
                } else {
                    rows.set_text(column, raw)?;
                }
                Ok(text.to + 1)
            }
            Some(b'-' | b'0'..=b'9') => {
                let end = number(input, pos)?;
                let text = &input[pos..end];
                if self.is_timestamp[column] {
                    self.timestamp_number(column, text, rows)?;
                } else if *rows.data_type(column) == DataType::Boolean {
                    return Err(rows.invalid(column, text));
                } else {
                    rows.set_text(column, text)?;
                }
                Ok(end)
            }
            Some(b'n') => {
                let end = word(input, pos, b"null")?;
                rows.set_null(column);
                Ok(end)
            }
            Some(b't' | b'f') => {
                let end = word(input, pos, if input[pos] == b't' { b"true" } else { b"false" })?;
                if !matches!(rows.data_type(column), DataType::Boolean | DataType::Utf8) {
                    return Err(rows.invalid(column, &input[pos..end]));
                }
                rows.set_text(column, &input[pos..end])?;
                Ok(end)
            }
            Some(b'{' | b'[') => {
                let end = skip_value(input, pos, 0)?;
                if *rows.data_type(column) != DataType::Utf8 {
                    return Err(rows.invalid(column, &input[pos..end]));
                }
                rows.set_text(column, &input[pos..end])?;
                Ok(end)
            }
            _ => Err("expected a JSON value".into()),
        }
    }

    fn timestamp_number(&self, column: usize, text: &[u8], rows: &mut RowBuilder) -> Result<(), Malformed> {
        let Some(unit) = self.format.timestamp_unit else {
            let mut why = rows.invalid(column, text);
            why.reason += ": a number needs the format option timestamp_unit";
            return Err(why);
        };
        let scale = match unit {
            TimestampUnit::Second => 6,
            TimestampUnit::Millisecond => 3,
            TimestampUnit::Microsecond => 0,
            TimestampUnit::Nanosecond => -3,
        };
        let micros = super::text::parse_decimal(text, 38, scale).and_then(|(micros, _)| i64::try_from(micros).ok());
        rows.set_timestamp(column, micros.ok_or_else(|| rows.invalid(column, text))?);
        Ok(())
    }
}

impl TextDecoder for JsonDecoder {
    fn begin(&mut self, _head: &[u8], _complete: bool) -> Result<Option<usize>, ConnectorError> {
        Ok(Some(0))
    }

    fn decode(&mut self, input: &[u8], base: u64, complete: bool, rows_max: usize, rows: &mut RowBuilder) -> usize {
        let whole = match input.iter().rposition(|b| *b == b'\n') {
            _ if complete => input.len(),
            Some(newline) => newline + 1,
            None => return 0,
        };
        let input = &input[..whole];
        let valid_utf8 = utf8_prefix(input);
        let mut at = 0;
        while at < input.len() && rows.row_count() + rows.errors.len() < rows_max {
            let start = skip_space(input, at);
            if start == input.len() || input[start] == b'\n' {
                at = (start + 1).min(input.len());
                continue;
            }
            let read = self.object(input, start, rows).and_then(|end| {
                let end = skip_space(input, end);
                match input.get(end) {
                    None | Some(b'\n') if end <= valid_utf8 || std::str::from_utf8(&input[at..end]).is_ok() => Ok(end),
                    None | Some(b'\n') => Err(Malformed::invalid_utf8()),
                    Some(_) => Err("text after the JSON object".into()),
                }
            });
            let end = match read {
                Ok(end) => {
                    rows.finish_row(base + at as u64);
                    end
                }
                Err(why) => {
                    // Valid JSON has no raw line end inside, so the first one ends the record.
                    let end = find_either(input, at, b'\n', b'\n');
                    let raw = &input[at..end];
                    rows.fail_row(base + at as u64, why, raw.strip_suffix(b"\r").unwrap_or(raw));
                    end
                }
            };
            at = (end + 1).min(input.len());
        }
        at
    }
}
