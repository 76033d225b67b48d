//! Quoting, arrays as text, `format`.

use types::{SqlError, SqlState};

use super::scalar::Returns::{Int4, Int4List, Text, TextAs, TextList};
use super::scalar::{Call, Function, lenient, strict};
use crate::system::pg_catalog::quote_ident;
use crate::system::table::Cell;

const VECTOR: u32 = 22;
const MANY: usize = 100;

pub const FUNCTIONS: &[Function] = &[
    strict("quote_ident", (1, 1), Text, |call| Ok(call.text(0).map(quote_ident).into())),
    strict("quote_literal", (1, 1), Text, |call| Ok(quote_literal(&shown(&call.arguments[0])).into())),
    lenient("quote_nullable", (1, 1), Text, |call| match &call.arguments[0] {
        Cell::Null => Ok("NULL".into()),
        value => Ok(quote_literal(&shown(value)).into()),
    }),
    strict("parse_ident", (1, 2), TextList, parse_ident),
    lenient("format", (1, MANY), Text, format),
    strict("like_escape", (2, 2), Text, |call| {
        let (pattern, escape) = (call.text(0).unwrap_or_default(), call.text(1).unwrap_or_default());
        Ok(plan::like_with_backslash(pattern, escape.chars().next()).into())
    }),
    strict("array_in", (1, 1), TextList, |call| array_in(call.text(0).unwrap_or_default())),
    strict("vectorout", (1, 1), TextAs(VECTOR), |call| {
        let items = call.list(0).unwrap_or_default().iter().map(shown);
        Ok(items.collect::<Vec<_>>().join(" ").into())
    }),
    strict("array_lower", (2, 2), Int4, |call| Ok(bounds(call).map(|_| 1).into())),
    strict("array_upper", (2, 2), Int4, |call| Ok(bounds(call).into())),
    strict("generate_subscripts", (2, 3), Int4List, |call| {
        let length = bounds(call).unwrap_or_default();
        Ok(Cell::List((1..=length).map(Cell::Int).collect()))
    }),
];

/// The length of a list that isn't empty, asked for its first dimension.
fn bounds(call: &Call) -> Option<i64> {
    let length = call.list(0)?.len() as i64;
    (length > 0 && call.int(1) == Some(1)).then_some(length)
}

/// A value as Postgres shows it.
pub fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Int(value) | Cell::Time(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Bool(value) => if *value { "t" } else { "f" }.to_string(),
        Cell::List(cells) => format!("{{{}}}", cells.iter().map(shown).collect::<Vec<_>>().join(",")),
    }
}

fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// The parts of a dotted name, folded unless quoted; `None` if it isn't one.
pub fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![];
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(_) => quoted(rest)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let part = rest[..end].trim();
                let first = part.chars().next()?;
                let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                if first.is_ascii_digit() || !part.chars().all(fits) {
                    return None;
                }
                (part.to_lowercase(), &rest[end..])
            }
        };
        parts.push(part);
        let after = after.trim_start();
        match after.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// A quoted identifier at the start of `text`, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                part.push('"');
                chars.next();
            }
            '"' if part.is_empty() => return None,
            '"' => return Some((part, &text[at + 1..])),
            c => part.push(c),
        }
    }
    None
}

fn parse_ident(call: &Call) -> Result<Cell, SqlError> {
    let text = call.text(0).unwrap_or_default();
    let parts = identifiers(text).ok_or_else(|| {
        SqlError::new(SqlState::InvalidParameterValue, format!("string is not a valid identifier: \"{text}\""))
    })?;
    Ok(parts.into())
}

/// `%s`, `%I`, `%L`, `%%` and `%n$s`.
fn format(call: &Call) -> Result<Cell, SqlError> {
    let Some(template) = call.text(0) else { return Ok(Cell::Null) };
    let invalid = |message: &str| SqlError::new(SqlState::InvalidParameterValue, message);
    let mut out = String::new();
    let mut next = 1;
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut digits = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        if !digits.is_empty() {
            chars.next_if_eq(&'$').ok_or_else(|| invalid("format() does not take a width here"))?;
            next = digits.parse().map_err(|_| invalid("number is out of range"))?;
        }
        let kind = chars.next().ok_or_else(|| invalid("unterminated format() type specifier"))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = call.arguments.get(next).ok_or_else(|| invalid("too few arguments for format()"))?;
        next += 1;
        match (kind, value) {
            ('s', value) => out.push_str(&shown(value)),
            ('I', Cell::Null) => {
                let message = "null values cannot be formatted as an SQL identifier";
                return Err(SqlError::new(SqlState::NullValueNotAllowed, message));
            }
            ('I', value) => out.push_str(&quote_ident(&shown(value))),
            ('L', Cell::Null) => out.push_str("NULL"),
            ('L', value) => out.push_str(&quote_literal(&shown(value))),
            (other, _) => return Err(invalid(&format!("unrecognized format() type specifier \"{other}\""))),
        }
    }
    Ok(out.into())
}

/// A one-dimensional array in Postgres' text form.
fn array_in(text: &str) -> Result<Cell, SqlError> {
    let malformed = || {
        SqlError::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{text}\""))
            .with_detail("Array value must start with \"{\" and end with \"}\".")
    };
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(malformed)?;
    if inner.trim().is_empty() {
        return Ok(Cell::List(vec![]));
    }
    let mut items = vec![];
    let mut chars = inner.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut item = String::new();
        let is_quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.next() {
                Some('\\') => item.push(chars.next().ok_or_else(malformed)?),
                Some('"') if is_quoted => break,
                Some('"' | '{' | '}') if !is_quoted => return Err(malformed()),
                Some(c @ ',') if !is_quoted => {
                    debug_assert_eq!(c, ',');
                    break;
                }
                Some(c) => item.push(c),
                None if is_quoted => return Err(malformed()),
                None => break,
            }
        }
        let ended = match is_quoted {
            false => {
                let trimmed = item.trim();
                if trimmed.is_empty() {
                    return Err(malformed());
                }
                items.push(if trimmed.eq_ignore_ascii_case("null") { Cell::Null } else { trimmed.into() });
                // The comma is eaten already; an item must follow it.
                chars.peek().is_none() && !inner.trim_end().ends_with(',')
            }
            true => {
                items.push(item.into());
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                match chars.next() {
                    None => true,
                    Some(',') if chars.peek().is_some() => false,
                    _ => return Err(malformed()),
                }
            }
        };
        if ended {
            return Ok(Cell::List(items));
        }
        if chars.peek().is_none() {
            return Err(malformed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(text: &str) -> Option<Vec<Cell>> {
        match array_in(text) {
            Ok(Cell::List(cells)) => Some(cells),
            _ => None,
        }
    }

    #[test]
    fn arrays_are_read_as_postgres_does() {
        assert_eq!(array("{}"), Some(vec![]));
        assert_eq!(array("{1, 2,NULL}"), Some(vec!["1".into(), "2".into(), Cell::Null]));
        assert_eq!(array(r#"{"a,b","\"", "null"}"#), Some(vec!["a,b".into(), "\"".into(), "null".into()]));
        assert_eq!(array("{a}"), Some(vec!["a".into()]));
        for wrong in ["", "1,2", "{1,}", "{,1}", "{\"a}", "{\"a\"b}", "{a\"b}"] {
            assert_eq!(array(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_split_and_folded() {
        assert_eq!(identifiers("Public.\"T 1\""), Some(vec!["public".into(), "T 1".into()]));
        assert_eq!(identifiers("a . b"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(identifiers("\"a\"\"b\""), Some(vec!["a\"b".into()]));
        for wrong in ["", "1a", "a.", "a b", "\"\"", "\"a"] {
            assert_eq!(identifiers(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn literals_are_quoted() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
    }
}
