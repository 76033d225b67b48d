//! Java's date patterns, as `DATE_FORMAT` has them in Flink and Spark: text to the tokens of `template`.
//! Letters are patterns and their number says how wide; what stands in quotes and what is no letter is text.
//! Source: `java.time.format.DateTimeFormatter`.

use types::SqlState;

use super::template::{Case, Field, Template, Token, push_text};
use crate::KernelError;

/// Digits of a second that a timestamp has.
const FRACTION_DIGITS: usize = 6;

/// Reads a pattern. Errors: `InvalidParameterValue` for letters without meaning here.
pub(super) fn parse(pattern: &str) -> Result<Template, KernelError> {
    let mut template = vec![];
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' if rest.next_if_eq(&'\'').is_some() => push_text(&mut template, '\''),
            '\'' => quoted(&mut rest, &mut template)?,
            letter if letter.is_ascii_alphabetic() => {
                let mut width = 1;
                while rest.next_if_eq(&letter).is_some() {
                    width += 1;
                }
                field(letter, width, &mut template)?;
            }
            other => push_text(&mut template, other),
        }
    }
    Ok(template)
}

fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, template: &mut Template) -> Result<(), KernelError> {
    while let Some(c) = rest.next() {
        match c {
            '\'' if rest.next_if_eq(&'\'').is_none() => return Ok(()),
            c => push_text(template, c),
        }
    }
    Err(refused("the pattern of date_format has a quote that does not end".to_owned()))
}

fn field(letter: char, width: usize, template: &mut Template) -> Result<(), KernelError> {
    let padded = width > 1;
    let (field, fill) = match (letter, width) {
        ('y' | 'u', 2) => (Field::Year(2), true),
        ('y' | 'u', 1) => (Field::Year(4), false),
        ('y' | 'u', 4) => (Field::Year(4), true),
        ('M' | 'L', 1 | 2) => (Field::Month, padded),
        ('M' | 'L', 3) => (Field::MonthShort(Case::Title), false),
        ('M' | 'L', 4) => (Field::MonthName(Case::Title), false),
        ('d', 1 | 2) => (Field::Day, padded),
        ('D', 1 | 3) => (Field::DayOfYear, padded),
        ('E', 1..=3) => (Field::DayShort(Case::Title), false),
        ('E', 4) => (Field::DayName(Case::Title), false),
        ('a', 1) => (Field::Meridiem(Case::Upper, false), false),
        ('H', 1 | 2) => (Field::Hour24, padded),
        ('h', 1 | 2) => (Field::Hour12, padded),
        ('m', 1 | 2) => (Field::Minute, padded),
        ('s', 1 | 2) => (Field::Second, padded),
        ('S', 1..=9) => (Field::Fraction(width.min(FRACTION_DIGITS) as u32), true),
        _ => {
            let pattern: String = std::iter::repeat_n(letter, width).collect();
            return Err(refused(format!("date_format has no pattern \"{pattern}\"")));
        }
    };
    template.push(Token::Field { field, fill, ordinal: None });
    if letter == 'S' {
        (FRACTION_DIGITS..width).for_each(|_| push_text(template, '0'));
    }
    Ok(())
}

fn refused(message: String) -> KernelError {
    KernelError::evaluation(SqlState::InvalidParameterValue, message)
}
