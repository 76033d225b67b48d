//! From sqlparser's line and column to places in the text. Columns count characters, lines end at `\n`.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::{Failure, SqlParseError};

/// Where each line of a text begins.
pub(crate) struct Lines<'t> {
    text: &'t str,
    /// Byte offset of each line's first character.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(offset, _)| offset + 1)).collect();
        Lines { text, starts }
    }

    /// Byte offset of a location; the end of the text for the empty location or one past the end.
    pub(crate) fn byte(&self, location: Location) -> usize {
        let line = location.line.checked_sub(1).and_then(|line| self.starts.get(line as usize));
        let Some(&start) = line else { return self.text.len() };
        let column = location.column.saturating_sub(1) as usize;
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(offset, _)| start + offset)
    }

    /// 1-based character position of a location.
    pub(crate) fn position(&self, location: Location) -> u32 {
        let characters = self.text[..self.byte(location)].chars().count();
        u32::try_from(characters + 1).unwrap_or(u32::MAX)
    }

    /// The public form of a failure, with its place in the text.
    pub(crate) fn resolve(&self, failure: Failure, tokens: &[TokenWithSpan]) -> SqlParseError {
        match failure {
            Failure::Refused { mut error, at } => {
                error.position = error.position.or_else(|| at.map(|at| self.position(at)));
                SqlParseError::Refused(error)
            }
            Failure::Parser(ParserError::RecursionLimitExceeded) => SqlParseError::TooDeep { position: None },
            Failure::Parser(ParserError::TokenizerError(text)) => {
                let (message, at) = split_location(&text);
                SqlParseError::Lexical { message: as_message(message), position: self.position(at) }
            }
            Failure::Parser(ParserError::ParserError(text)) => {
                let (message, at) = split_location(&text);
                let detail = detail_of(message);
                let position = self.position(at);
                match tokens.iter().find(|t| t.span.start == at && !matches!(t.token, Token::Whitespace(_))) {
                    Some(token) => {
                        let near = &self.text[self.byte(token.span.start)..self.byte(token.span.end)];
                        SqlParseError::Syntax { near: near.to_owned(), detail, position }
                    }
                    None => SqlParseError::UnexpectedEnd { detail, position },
                }
            }
        }
    }
}

/// sqlparser puts the place at the end of its messages: ` at Line: 1, Column: 7`.
fn split_location(text: &str) -> (&str, Location) {
    let parsed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?)))
    });
    parsed.unwrap_or((text, Location::empty()))
}

/// `Expected: X, found: Y` → `Expected X.`; anything else as a sentence.
fn detail_of(message: &str) -> String {
    let expected = message.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: "));
    match expected {
        Some((expected, _)) => format!("Expected {expected}."),
        None => format!("{}.", message.trim_end_matches('.')),
    }
}

fn as_message(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}
