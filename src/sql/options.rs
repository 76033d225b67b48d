//! `WITH (name = value, …)` and `FORMAT … ENCODE … (…)`.
//!
//! Option names may be bare, dotted (`nexmark.table.type`) or quoted (`'scan.startup.mode'`), and come out in lower
//! case; values come out as text.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::statement::{FormatClause, OptionList};
use crate::tokens::{self, Parsed, accept, at, at_all, expect, unexpected};

/// `WITH (…)` if it is next. Not `WITH` of a query: an opening parenthesis must follow.
pub(crate) fn parse_with(p: &mut Parser) -> Parsed<OptionList> {
    if !at(p, "WITH") || p.peek_nth_token_ref(1).token != Token::LParen {
        return Ok(vec![]);
    }
    expect(p, "WITH")?;
    parse_list(p)
}

/// `(name = value, …)`, possibly empty.
pub(crate) fn parse_list(p: &mut Parser) -> Parsed<OptionList> {
    p.expect_token(&Token::LParen)?;
    if p.consume_token(&Token::RParen) {
        return Ok(vec![]);
    }
    let options = tokens::comma_separated(p, |p| {
        let name = parse_option_name(p)?;
        p.expect_token(&Token::Eq)?;
        Ok((name, parse_option_value(p)?))
    })?;
    p.expect_token(&Token::RParen)?;
    Ok(options)
}

/// `FORMAT PLAIN ENCODE CSV (…)` if it is next.
pub(crate) fn parse_format(p: &mut Parser) -> Parsed<Option<FormatClause>> {
    if !at(p, "FORMAT") || at_all(p, &["FORMAT", "AS"]) {
        return Ok(None);
    }
    expect(p, "FORMAT")?;
    let format = parse_upper_word(p, "a format such as PLAIN")?;
    expect(p, "ENCODE")?;
    let encode = parse_upper_word(p, "an encoding such as CSV or JSON")?;
    let options = if p.peek_token_ref().token == Token::LParen { parse_list(p)? } else { vec![] };
    Ok(Some(FormatClause { format, encode, options }))
}

fn parse_upper_word(p: &mut Parser, expected: &str) -> Parsed<String> {
    match p.peek_token_ref().token.clone() {
        Token::Word(word) => {
            p.advance_token();
            Ok(word.value.to_uppercase())
        }
        _ => Err(unexpected(p, expected)),
    }
}

pub(crate) fn parse_option_name(p: &mut Parser) -> Parsed<String> {
    let mut name = String::new();
    loop {
        match p.peek_token_ref().token.clone() {
            Token::Word(word) => name.push_str(&word.value.to_lowercase()),
            Token::SingleQuotedString(text) => name.push_str(&text.to_lowercase()),
            // `fields.1.kind` tokenises as a word and the number `.1`, or a number and a period.
            Token::Number(digits, _) if !name.is_empty() => name.push_str(&digits),
            _ => return Err(unexpected(p, "an option name")),
        }
        p.advance_token();
        match &p.peek_token_ref().token {
            Token::Period => {
                p.advance_token();
                name.push('.');
            }
            Token::Number(digits, _) if digits.starts_with('.') => {}
            Token::Word(_) if name.ends_with('.') => {}
            _ => return Ok(name),
        }
    }
}

/// A string, number, boolean or bare (also dotted) word, as text.
pub(crate) fn parse_option_value(p: &mut Parser) -> Parsed<String> {
    let negative = p.consume_token(&Token::Minus);
    let token = p.peek_token_ref().token.clone();
    let value = match token {
        Token::Number(digits, _) if negative => format!("-{digits}"),
        Token::Number(digits, _) => digits,
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::DoubleQuotedString(text)
        | Token::UnicodeStringLiteral(text)
            if !negative =>
        {
            text
        }
        Token::DollarQuotedString(text) if !negative => text.value,
        Token::Word(word) if !negative => {
            p.advance_token();
            let mut value = word.value;
            while p.consume_token(&Token::Period) {
                value.push('.');
                value.push_str(&p.parse_identifier()?.value);
            }
            return Ok(value);
        }
        _ => return Err(unexpected(p, "an option value")),
    };
    p.advance_token();
    Ok(value)
}

/// `= true`, `true`, `on`, `1`, or nothing at all, which means true.
pub(crate) fn parse_optional_bool(p: &mut Parser) -> Parsed<bool> {
    tokens::skip(p, &Token::Eq);
    if matches!(p.peek_token_ref().token, Token::Comma | Token::RParen | Token::EOF | Token::SemiColon) {
        return Ok(true);
    }
    for (word, value) in [("true", true), ("on", true), ("false", false), ("off", false)] {
        if accept(p, word) {
            return Ok(value);
        }
    }
    let value = match &p.peek_token_ref().token {
        Token::Number(digits, _) | Token::SingleQuotedString(digits) => match digits.to_lowercase().as_str() {
            "1" | "true" | "on" | "t" => true,
            "0" | "false" | "off" | "f" => false,
            _ => return Err(unexpected(p, "true or false")),
        },
        _ => return Err(unexpected(p, "true or false")),
    };
    p.advance_token();
    Ok(value)
}
