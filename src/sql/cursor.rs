//! DECLARE, FETCH, CLOSE. Cursors go forward only; FETCH may wait: `FETCH 10 FROM c WITH (timeout = '1s')`.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};
use types::SqlState;

use crate::error::Failure;
use crate::interval::interval_text_us;
use crate::statement::{FetchCount, Statement};
use crate::tokens::{self, Parsed, accept, accept_all, accept_one, expect, unexpected};
use crate::{options, parse::parse_statement};

/// `DECLARE name [INSENSITIVE] [NO SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query | SUBSCRIBE …`.
pub(crate) fn parse_declare(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "DECLARE")?;
    let name = tokens::parse_name(p)?;
    loop {
        let place = tokens::here(p);
        if accept_all(p, &["NO", "SCROLL"]) || accept_one(p, &["INSENSITIVE", "ASENSITIVE"]).is_some() {
            continue;
        }
        if let Some(word) = accept_one(p, &["SCROLL", "BINARY"]) {
            return Err(Failure::unsupported(
                place,
                format!("{word} cursors are not supported"),
                "Declare the cursor without it: cursors go forward, in the format the client asks for.",
            ));
        }
        break;
    }
    expect(p, "CURSOR")?;
    let hold = accept_all(p, &["WITH", "HOLD"]);
    accept_all(p, &["WITHOUT", "HOLD"]);
    expect(p, "FOR")?;
    let place = tokens::here(p);
    let statement = parse_statement(p)?;
    if !matches!(statement, Statement::Query(_) | Statement::Subscribe(_)) {
        return Err(Failure::invalid(place, SqlState::SyntaxError, "a cursor needs a query or SUBSCRIBE"));
    }
    Ok(Statement::Declare { name, statement: Box::new(statement), hold })
}

/// `FETCH [NEXT | [FORWARD] [n | ALL]] [FROM | IN] name [WITH (timeout = …)]`.
pub(crate) fn parse_fetch(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "FETCH")?;
    let place = tokens::here(p);
    let backward = ["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"];
    if p.peek_nth_token_ref(1).token != Token::EOF
        && let Some(word) = backward.iter().find(|word| tokens::at(p, word))
        && !matches!(p.peek_nth_token_ref(1).token, Token::SemiColon)
    {
        return Err(backward_refused(place, word));
    }
    let count = parse_count(p)?;
    accept_one(p, &["FROM", "IN"]);
    let name = tokens::parse_name(p)?;
    let mut timeout_ms = None;
    if accept(p, "WITH") {
        tokens::parenthesised(p, |p| {
            timeout_ms = Some(parse_timeout(p)?);
            Ok(())
        })?;
    }
    Ok(Statement::Fetch { name, count, timeout_ms })
}

fn backward_refused(place: Location, word: &str) -> Failure {
    Failure::unsupported(place, format!("FETCH {word} is not supported"), "Cursors go forward only.")
}

fn parse_count(p: &mut Parser) -> Parsed<FetchCount> {
    let place = tokens::here(p);
    // A cursor may bear one of these names: then nothing but the end follows.
    let last = matches!(p.peek_nth_token_ref(1).token, Token::EOF | Token::SemiColon);
    if last || accept(p, "NEXT") {
        return Ok(FetchCount::Count(1));
    }
    accept(p, "FORWARD");
    if accept(p, "ALL") {
        return Ok(FetchCount::All);
    }
    if p.consume_token(&Token::Minus) {
        return Err(backward_refused(place, "with a negative count"));
    }
    match &p.peek_token_ref().token {
        Token::Number(digits, _) => match digits.parse() {
            Ok(count) => {
                p.advance_token();
                Ok(FetchCount::Count(count))
            }
            Err(_) => Err(unexpected(p, "a number of rows")),
        },
        _ => Ok(FetchCount::Count(1)),
    }
}

/// Milliseconds of `timeout [=] '1s' | 500` (a bare number is seconds).
fn parse_timeout(p: &mut Parser) -> Parsed<u64> {
    let place = tokens::here(p);
    let name = options::parse_option_name(p)?;
    if name != "timeout" {
        return Err(Failure::invalid(
            place,
            SqlState::InvalidParameterValue,
            format!("unrecognized FETCH option \"{name}\""),
        ));
    }
    tokens::skip(p, &Token::Eq);
    accept(p, "INTERVAL");
    let place = tokens::here(p);
    let text = options::parse_option_value(p)?;
    let us = interval_text_us(&text).map_err(|error| Failure::from(error).placed(place))?;
    u64::try_from(us / 1_000)
        .map_err(|_| Failure::invalid(place, SqlState::InvalidParameterValue, "timeout must not be negative"))
}

/// `CLOSE name | ALL`.
pub(crate) fn parse_close(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "CLOSE")?;
    let name = if accept(p, "ALL") { None } else { Some(tokens::parse_name(p)?) };
    Ok(Statement::Close { name })
}
