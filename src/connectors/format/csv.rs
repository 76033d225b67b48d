//! CSV: records of delimited fields. Fields are slices of the input; only those with doubled quotes are copied.
//!
//! Own splitter because NULL (nothing) and '' (`""`) must differ, offsets must be exact, and a stray quote must not
//! swallow the file: a quoted field that never closes, or runs on for more than `QUOTED_RECORD_BYTES_MAX`, makes its
//! first line malformed and reading goes on with the next. That rule looks at bytes from the record's start only, so
//! it gives the same records wherever reading began.

use arrow::datatypes::SchemaRef;

use super::rows::{Malformed, RowBuilder};
use super::scan::{find_either, utf8_prefix};
use super::{TextDecoder, match_name};
use crate::ConnectorError;
use crate::options::OptionBag;

const QUOTED_RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How the file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CsvFormat {
    pub header: bool,
    pub delimiter: u8,
    pub quote: u8,
    /// Unquoted text that means NULL.
    pub null: Vec<u8>,
}

impl CsvFormat {
    /// Takes the options under our names, RisingWave's and Flink's.
    pub fn take(bag: &mut OptionBag) -> Result<Self, ConnectorError> {
        let byte = |text: &str| match text {
            "\\t" | "tab" => Some(b'\t'),
            _ => <[u8; 1]>::try_from(text.as_bytes()).ok().map(|[b]| b).filter(|b| !matches!(b, b'\n' | b'\r')),
        };
        let expected = "one character";
        let header = bag.boolean("header")?;
        let without = bag.boolean("without_header")?;
        let mut delimiter = bag.take("delimiter");
        let flink = bag.take("csv.field-delimiter");
        delimiter = delimiter.or(flink);
        let delimiter = match delimiter {
            None => b',',
            Some(value) => byte(&value).ok_or(ConnectorError::InvalidOption {
                name: "delimiter".into(),
                value,
                expected: expected.into(),
            })?,
        };
        let quote = bag.parsed("quote", expected, byte)?;
        let quote = quote.or(bag.parsed("csv.quote-character", expected, byte)?);
        let null = bag.take("null");
        let null = null.or(bag.take("csv.null-literal")).unwrap_or_default();
        Ok(CsvFormat {
            header: header.or(without.map(|without| !without)).unwrap_or(false),
            delimiter,
            quote: quote.unwrap_or(b'"'),
            null: null.into_bytes(),
        })
    }
}

/// Decodes one file.
pub(crate) struct CsvDecoder {
    format: CsvFormat,
    path: String,
    schema: SchemaRef,
    projection: Vec<usize>,
    /// Output column of each field of a record.
    targets: Vec<Option<usize>>,
    scratch: Vec<u8>,
}

impl CsvDecoder {
    pub fn new(format: CsvFormat, path: &str, schema: SchemaRef, projection: &[usize]) -> Self {
        let mut targets = vec![None; schema.fields().len()];
        projection.iter().enumerate().for_each(|(output, column)| targets[*column] = Some(output));
        let projection = projection.to_vec();
        CsvDecoder { format, path: path.to_string(), schema, projection, targets, scratch: vec![] }
    }

    fn match_header(&mut self, names: &[String]) -> Result<(), ConnectorError> {
        let mut targets = vec![None; names.len()];
        for (column, field) in self.schema.fields().iter().enumerate() {
            let at = match_name(names.iter().map(String::as_str), field.name());
            let missing = || ConnectorError::MissingColumn {
                column: field.name().clone(),
                path: self.path.clone(),
                found: names.join(", "),
            };
            let at = at.ok_or_else(missing)?;
            if let Some(output) = self.projection.iter().position(|c| *c == column) {
                targets[at] = Some(output);
            }
        }
        self.targets = targets;
        Ok(())
    }

    /// One record from `at` on. Gives where the next one starts, or `None` if this one isn't complete.
    fn record(&mut self, input: &[u8], at: usize, block: &Block, rows: &mut RowBuilder) -> Option<usize> {
        let CsvDecoder { format, targets, scratch, .. } = self;
        let mut problem: Option<Malformed> = None;
        let scanned = scan_record(format, input, at, block.complete, scratch, |index, text, quoted| {
            if let Some(Some(column)) = targets.get(index) {
                if !quoted && text == format.null {
                    rows.set_null(*column);
                } else if problem.is_none() {
                    problem = rows.set_text(*column, text).err();
                }
            }
        });
        let record = match scanned {
            Some(record) => record,
            None => {
                rows.abandon_row();
                return None;
            }
        };
        let raw = &input[at..record.end];
        if record.end > block.valid_utf8 && std::str::from_utf8(raw).is_err() {
            problem = Some(Malformed::invalid_utf8());
        } else if let Some(malformed) = record.malformed {
            problem = Some(malformed.into());
        } else if record.fields != targets.len() {
            problem = Some(format!("expected {} fields, found {}", targets.len(), record.fields).into());
        }
        match problem {
            None => rows.finish_row(block.base + at as u64),
            Some(why) => rows.fail_row(block.base + at as u64, why, raw),
        }
        Some(record.next)
    }
}

struct Block {
    base: u64,
    complete: bool,
    valid_utf8: usize,
}

impl TextDecoder for CsvDecoder {
    fn begin(&mut self, head: &[u8], complete: bool) -> Result<Option<usize>, ConnectorError> {
        if !self.format.header {
            return Ok(Some(0));
        }
        if head.is_empty() {
            return Ok(complete.then_some(0));
        }
        let mut names = vec![];
        let scanned = scan_record(&self.format, head, 0, complete, &mut self.scratch, |_, text, _| {
            names.push(String::from_utf8_lossy(text).into_owned());
        });
        let Some(record) = scanned else { return Ok(None) };
        self.match_header(&names)?;
        Ok(Some(record.next))
    }

    fn decode(&mut self, input: &[u8], base: u64, complete: bool, rows_max: usize, rows: &mut RowBuilder) -> usize {
        let block = Block { base, complete, valid_utf8: utf8_prefix(input) };
        let mut at = 0;
        while at < input.len() && rows.row_count() + rows.errors.len() < rows_max {
            // Blank lines are not records.
            let next = match (input[at], input.get(at + 1)) {
                (b'\n', _) => Some(at + 1),
                (b'\r', Some(b'\n')) => Some(at + 2),
                (b'\r', None) if complete => Some(at + 1),
                (b'\r', None) => None,
                _ => self.record(input, at, &block, rows),
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }
}

struct Record {
    fields: usize,
    /// End of the text, without the line end.
    end: usize,
    next: usize,
    malformed: Option<&'static str>,
}

const UNTERMINATED: &str = "unterminated quoted field";

/// Splits the record at `at`; `on_field` gets index, unquoted text and whether it was quoted.
/// `None` if the record isn't complete yet.
fn scan_record(
    format: &CsvFormat,
    input: &[u8],
    at: usize,
    complete: bool,
    scratch: &mut Vec<u8>,
    mut on_field: impl FnMut(usize, &[u8], bool),
) -> Option<Record> {
    let (mut pos, mut index, mut any_quoted) = (at, 0, false);
    let record = loop {
        if input.get(pos) == Some(&format.quote) {
            any_quoted = true;
            let close = match closing_quote(input, pos + 1, format.quote, scratch) {
                Quoted::Closed { at } if at + 1 == input.len() && !complete => return None,
                Quoted::Closed { at } => at,
                Quoted::Open if complete || input.len() - at > QUOTED_RECORD_BYTES_MAX => {
                    break first_line(input, at, UNTERMINATED);
                }
                Quoted::Open => return None,
            };
            let text = if scratch.is_empty() { &input[pos + 1..close] } else { scratch.as_slice() };
            on_field(index, text, true);
            pos = close + 1;
            match (input.get(pos), input.get(pos + 1)) {
                (Some(byte), _) if *byte == format.delimiter => {}
                (None, _) => break Record { fields: index + 1, end: pos, next: pos, malformed: None },
                (Some(b'\n'), _) => break Record { fields: index + 1, end: pos, next: pos + 1, malformed: None },
                (Some(b'\r'), Some(b'\n')) => {
                    break Record { fields: index + 1, end: pos, next: pos + 2, malformed: None };
                }
                (Some(b'\r'), None) if complete => {
                    break Record { fields: index + 1, end: pos, next: pos + 1, malformed: None };
                }
                (Some(b'\r'), None) => return None,
                (Some(_), _) => {
                    let end = find_either(input, pos, b'\n', b'\n');
                    if end == input.len() && !complete {
                        return None;
                    }
                    let next = (end + 1).min(input.len());
                    break Record { fields: index + 1, end, next, malformed: Some("text after a closing quote") };
                }
            }
        } else {
            let end = find_either(input, pos, format.delimiter, b'\n');
            let last = input.get(end) != Some(&format.delimiter);
            if end == input.len() && !complete {
                return None;
            }
            if last {
                let text_end = end - usize::from(end > pos && input[end - 1] == b'\r');
                on_field(index, &input[pos..text_end], false);
                let next = (end + 1).min(input.len());
                break Record { fields: index + 1, end: text_end, next, malformed: None };
            }
            on_field(index, &input[pos..end], false);
            pos = end;
        }
        pos += 1;
        index += 1;
    };
    if any_quoted && record.malformed.is_none() && record.next - at > QUOTED_RECORD_BYTES_MAX {
        return Some(first_line(input, at, UNTERMINATED));
    }
    Some(record)
}

fn first_line(input: &[u8], at: usize, malformed: &'static str) -> Record {
    let end = find_either(input, at, b'\n', b'\n');
    Record { fields: 0, end, next: (end + 1).min(input.len()), malformed: Some(malformed) }
}

enum Quoted {
    Closed { at: usize },
    Open,
}

/// Finds the quote that closes the field whose text starts at `from`. If quotes are doubled in it, `scratch` holds the
/// unquoted text; otherwise it is empty.
fn closing_quote(input: &[u8], from: usize, quote: u8, scratch: &mut Vec<u8>) -> Quoted {
    scratch.clear();
    let (mut copied, mut pos) = (from, from);
    loop {
        pos = find_either(input, pos, quote, quote);
        if pos == input.len() {
            return Quoted::Open;
        }
        if input.get(pos + 1) != Some(&quote) {
            if !scratch.is_empty() {
                scratch.extend_from_slice(&input[copied..pos]);
            }
            return Quoted::Closed { at: pos };
        }
        scratch.extend_from_slice(&input[copied..=pos]);
        pos += 2;
        copied = pos;
    }
}
