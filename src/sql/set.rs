//! SET, RESET and the one-word commands.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::error::Failure;
use crate::show::parse_parameter_name;
use crate::statement::{Statement, TransactionModes};
use crate::tokens::{self, Parsed, accept, accept_all, accept_one, expect, unexpected};
use crate::{options, transaction};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "SET")?;
    if accept_all(p, &["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return set_transaction(p, true);
    }
    let scope = accept_one(p, &["SESSION", "LOCAL"]);
    let local = scope == Some("LOCAL");
    if accept(p, "TRANSACTION") {
        return set_transaction(p, false);
    }
    if accept_all(p, &["TIME", "ZONE"]) {
        return parse_value(p, local, "timezone".to_owned());
    }
    if accept(p, "NAMES") {
        return parse_value(p, local, "client_encoding".to_owned());
    }
    if accept(p, "ROLE") {
        return parse_value(p, local, "role".to_owned());
    }
    if accept(p, "AUTHORIZATION") {
        return parse_value(p, local, "session_authorization".to_owned());
    }
    let name = parse_parameter_name(p)?;
    if !p.consume_token(&Token::Eq) {
        expect(p, "TO")?;
    }
    let name = if name == "time_zone" { "timezone".to_owned() } else { name };
    parse_value(p, local, name)
}

/// One value or a list, joined by `, `; DEFAULT resets.
fn parse_value(p: &mut Parser, local: bool, name: String) -> Parsed<Statement> {
    if accept(p, "DEFAULT") {
        return Ok(Statement::Reset { name: Some(name) });
    }
    if accept(p, "INTERVAL") {
        let text = p.parse_literal_string()?;
        accept_all(p, &["HOUR", "TO", "MINUTE"]);
        return Ok(Statement::Set { local, name, value: Some(text) });
    }
    let values = tokens::comma_separated(p, parse_one_value)?;
    Ok(Statement::Set { local, name, value: Some(values.join(", ")) })
}

/// A bare word folds to lower case; quoted identifiers and strings stay.
fn parse_one_value(p: &mut Parser) -> Parsed<String> {
    match &p.peek_token_ref().token {
        Token::Word(word) => {
            let value = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
            p.advance_token();
            Ok(value)
        }
        _ => options::parse_option_value(p),
    }
}

fn set_transaction(p: &mut Parser, session: bool) -> Parsed<Statement> {
    let modes = transaction::parse_modes(p)?;
    if modes == TransactionModes::default() {
        return Err(unexpected(p, "a transaction mode"));
    }
    Ok(Statement::SetTransaction { session, modes })
}

/// `RESET name | ALL | TIME ZONE | SESSION AUTHORIZATION`.
pub(crate) fn parse_reset(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "RESET")?;
    if accept(p, "ALL") {
        return Ok(Statement::Reset { name: None });
    }
    if accept_all(p, &["TIME", "ZONE"]) {
        return Ok(Statement::Reset { name: Some("timezone".to_owned()) });
    }
    if accept_all(p, &["SESSION", "AUTHORIZATION"]) {
        return Ok(Statement::Reset { name: Some("session_authorization".to_owned()) });
    }
    Ok(Statement::Reset { name: Some(parse_parameter_name(p)?) })
}

/// FLUSH, WAIT, CANCEL JOBS, DISCARD, UNLISTEN.
pub(crate) fn parse_command(p: &mut Parser) -> Parsed<Statement> {
    let place = tokens::here(p);
    if accept(p, "FLUSH") {
        return Ok(Statement::Flush);
    }
    if accept(p, "WAIT") {
        return Ok(Statement::Wait);
    }
    if accept(p, "UNLISTEN") {
        if !p.consume_token(&Token::Mul) {
            p.parse_identifier()?;
        }
        return Ok(Statement::Unlisten);
    }
    if accept(p, "DISCARD") {
        if accept(p, "ALL") {
            return Ok(Statement::DiscardAll);
        }
        return Err(Failure::unsupported(place, "only DISCARD ALL is supported", "Use DISCARD ALL."));
    }
    expect(p, "CANCEL")?;
    if accept_one(p, &["JOBS", "JOB"]).is_none() {
        return Err(unexpected(p, "JOBS"));
    }
    let ids = tokens::comma_separated(p, parse_job_id)?;
    Ok(Statement::CancelJobs { ids })
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH DATA]`.
pub(crate) fn parse_refresh(p: &mut Parser) -> Parsed<Statement> {
    tokens::expect_all(p, &["REFRESH", "MATERIALIZED", "VIEW"])?;
    accept(p, "CONCURRENTLY");
    let name = tokens::parse_object_name(p)?;
    let place = tokens::here(p);
    if accept_all(p, &["WITH", "NO", "DATA"]) {
        let hint = "Materialized views are always populated.";
        return Err(Failure::unsupported(place, "REFRESH … WITH NO DATA is not supported", hint));
    }
    accept_all(p, &["WITH", "DATA"]);
    Ok(Statement::Refresh { name })
}

fn parse_job_id(p: &mut Parser) -> Parsed<u32> {
    match &p.peek_token_ref().token {
        Token::Number(digits, _) => match digits.parse() {
            Ok(id) => {
                p.advance_token();
                Ok(id)
            }
            Err(_) => Err(unexpected(p, "a job number")),
        },
        _ => Err(unexpected(p, "a job number")),
    }
}
