//! JSON lines: one object per line, its members straight into columns; values nobody wants are checked and skipped.
//!
//! Own reader because each line stands alone (a bad one is set aside with its bytes), whole numbers stay exact and are
//! never cut from fractions, decimals never pass through a float, and a number is never taken for a time unless
//! `timestamp_unit` says which unit it counts. Keys match columns exactly, else ignoring case; unknown keys are ignored;
//! of equal keys the last wins; a missing key is NULL. Objects and arrays can be read as text.

use std::collections::HashMap;

use arrow::datatypes::{DataType, SchemaRef};

use super::rows::RowBuilder;
use super::scan::{find_either, find_string_end, utf8_prefix};
use super::{TextDecoder, match_name};
use crate::ConnectorError;
use crate::options::OptionBag;

const DEPTH_MAX: usize = 128;
/// Keys whose order is remembered from line to line.
const ORDER_MAX: usize = 256;

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
    keys: HashMap<Vec<u8>, Target>,
    /// The keys of the last line in order: the next line most likely has the same.
    order: Vec<(Vec<u8>, Target)>,
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
        JsonDecoder { format, schema, outputs, is_timestamp, keys: HashMap::new(), order: vec![], scratch: vec![] }
    }

    fn target(&mut self, index: usize, key: &[u8]) -> Target {
        if let Some((expected, target)) = self.order.get(index)
            && expected == key
        {
            return *target;
        }
        let target = match self.keys.get(key) {
            Some(target) => *target,
            None => {
                let target = self.look_up(key);
                // Keys come from outside: what is remembered of them is bounded.
                if self.keys.len() < 4 * ORDER_MAX {
                    self.keys.insert(key.to_vec(), target);
                }
                target
            }
        };
        if index < self.order.len() {
            self.order[index] = (key.to_vec(), target);
        } else if index == self.order.len() && index < ORDER_MAX {
            self.order.push((key.to_vec(), target));
        }
        target
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
    fn object(&mut self, input: &[u8], at: usize, rows: &mut RowBuilder) -> Result<usize, String> {
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
                return Err(format!("expected \":\" at byte {}", pos - at));
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
                _ => return Err(format!("expected \",\" or \"}}\" at byte {}", pos - at)),
            }
        }
        unreachable!("an object has fewer members than usize can count")
    }

    fn value(&mut self, input: &[u8], pos: usize, column: usize, rows: &mut RowBuilder) -> Result<usize, String> {
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

    fn timestamp_number(&self, column: usize, text: &[u8], rows: &mut RowBuilder) -> Result<(), String> {
        let Some(unit) = self.format.timestamp_unit else {
            return Err(format!("{}: a number needs the format option timestamp_unit", rows.invalid(column, text)));
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
                    None | Some(b'\n') => Err("invalid UTF-8".into()),
                    Some(_) => Err("text after the JSON object".into()),
                }
            });
            let end = match read {
                Ok(end) => {
                    rows.finish_row(base + at as u64);
                    end
                }
                Err(reason) => {
                    // Valid JSON has no raw line end inside, so the first one ends the record.
                    let end = find_either(input, at, b'\n', b'\n');
                    let raw = &input[at..end];
                    rows.fail_row(base + at as u64, reason, raw.strip_suffix(b"\r").unwrap_or(raw));
                    end
                }
            };
            at = (end + 1).min(input.len());
        }
        at
    }
}

/// Spaces within a line.
#[inline]
fn skip_space(input: &[u8], mut pos: usize) -> usize {
    while matches!(input.get(pos), Some(b' ' | b'\t' | b'\r')) {
        pos += 1;
    }
    pos
}

struct Text {
    from: usize,
    /// Position of the closing quote.
    to: usize,
    escaped: bool,
}

#[inline]
fn string(input: &[u8], pos: usize) -> Result<Text, String> {
    if input.get(pos) != Some(&b'"') {
        return Err("expected a string".into());
    }
    let (mut to, mut escaped) = (pos + 1, false);
    loop {
        to = find_string_end(input, to);
        match input.get(to) {
            Some(b'"') => return Ok(Text { from: pos + 1, to, escaped }),
            Some(b'\\') if to + 1 < input.len() => {
                escaped = true;
                to += 2;
            }
            _ => return Err("unterminated string".into()),
        }
    }
}

/// Appends the text that `raw` stands for.
fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || "invalid escape in a string".to_string();
    let mut pos = 0;
    while pos < raw.len() {
        let next = find_either(raw, pos, b'\\', b'\\');
        out.extend_from_slice(&raw[pos..next]);
        pos = next;
        if pos == raw.len() {
            break;
        }
        let plain = match raw.get(pos + 1).ok_or_else(wrong)? {
            quoted @ (b'"' | b'\\' | b'/') => *quoted,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, length) = unicode_escape(&raw[pos..]).ok_or_else(wrong)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                pos += length;
                continue;
            }
            _ => return Err(wrong()),
        };
        out.push(plain);
        pos += 2;
    }
    Ok(())
}

/// `\uXXXX`, or two of them for a character beyond the basic plane. Postgres' text can't hold U+0000.
fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let hex = raw.get(at..at + 6)?.strip_prefix(b"\\u")?;
        hex.iter().try_fold(0, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
    };
    match unit(0)? {
        0 => None,
        high @ 0xD800..=0xDBFF => {
            let low = unit(6).filter(|low| (0xDC00..=0xDFFF).contains(low))?;
            Some((char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 12))
        }
        single => Some((char::from_u32(single)?, 6)),
    }
}

/// The end of the number at `pos`, by the grammar of JSON.
#[inline]
fn number(input: &[u8], pos: usize) -> Result<usize, String> {
    let digits = |mut at: usize| {
        let from = at;
        while input.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > from).then_some(at)
    };
    let wrong = || "invalid number".to_string();
    let whole = pos + usize::from(input[pos] == b'-');
    let mut end = digits(whole).ok_or_else(wrong)?;
    if input[whole] == b'0' && end > whole + 1 {
        return Err(wrong());
    }
    if input.get(end) == Some(&b'.') {
        end = digits(end + 1).ok_or_else(wrong)?;
    }
    if matches!(input.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(input.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign).ok_or_else(wrong)?;
    }
    Ok(end)
}

fn word(input: &[u8], pos: usize, word: &[u8]) -> Result<usize, String> {
    if input[pos..].starts_with(word) { Ok(pos + word.len()) } else { Err("expected a JSON value".into()) }
}

/// Checks the value at `pos` and gives the position after it.
fn skip_value(input: &[u8], pos: usize, depth: usize) -> Result<usize, String> {
    match input.get(pos) {
        Some(b'"') => {
            let text = string(input, pos)?;
            if text.escaped {
                unescape(&input[text.from..text.to], &mut vec![])?;
            }
            Ok(text.to + 1)
        }
        Some(b'-' | b'0'..=b'9') => number(input, pos),
        Some(b'n') => word(input, pos, b"null"),
        Some(b't') => word(input, pos, b"true"),
        Some(b'f') => word(input, pos, b"false"),
        Some(open @ (b'{' | b'[')) if depth < DEPTH_MAX => {
            let (is_object, close) = if *open == b'{' { (true, b'}') } else { (false, b']') };
            let mut pos = skip_space(input, pos + 1);
            if input.get(pos) == Some(&close) {
                return Ok(pos + 1);
            }
            loop {
                if is_object {
                    pos = skip_space(input, string(input, pos)?.to + 1);
                    if input.get(pos) != Some(&b':') {
                        return Err("expected \":\"".into());
                    }
                    pos = skip_space(input, pos + 1);
                }
                pos = skip_space(input, skip_value(input, pos, depth + 1)?);
                match input.get(pos) {
                    Some(b',') => pos = skip_space(input, pos + 1),
                    Some(byte) if *byte == close => return Ok(pos + 1),
                    _ => return Err("unterminated object or array".into()),
                }
            }
        }
        Some(b'{' | b'[') => Err(format!("nested more than {DEPTH_MAX} deep")),
        _ => Err("expected a JSON value".into()),
    }
}
