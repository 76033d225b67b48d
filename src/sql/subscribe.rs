//! `SUBSCRIBE [TO] name | (query) [WITH (SNAPSHOT [= bool], PROGRESS [= bool])] [AS OF epoch]`.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use types::SqlState;

use crate::error::Failure;
use crate::statement::{Subscribe, SubscribeTarget};
use crate::tokens::{self, Parsed, accept, accept_all, at, expect};
use crate::{options, query};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Subscribe> {
    expect(p, "SUBSCRIBE")?;
    accept(p, "TO");
    let is_query =
        p.peek_token_ref().token == Token::LParen || ["SELECT", "VALUES", "WITH"].iter().any(|word| at(p, word));
    let target = if is_query {
        SubscribeTarget::Query(query::parse_query(p)?)
    } else {
        accept_all(p, &["MATERIALIZED", "VIEW"]);
        SubscribeTarget::Relation(tokens::parse_object_name(p)?)
    };
    let mut subscribe = Subscribe { target, snapshot: true, progress: false, as_of: None };
    if accept(p, "WITH") {
        tokens::parenthesised(p, |p| parse_option(p, &mut subscribe))?;
    }
    if accept_all(p, &["AS", "OF"]) {
        subscribe.as_of = Some(p.parse_literal_uint()?);
    }
    Ok(subscribe)
}

fn parse_option(p: &mut Parser, subscribe: &mut Subscribe) -> Parsed<()> {
    let place = tokens::here(p);
    let name = options::parse_option_name(p)?;
    match name.as_str() {
        "snapshot" => subscribe.snapshot = options::parse_optional_bool(p)?,
        "progress" => subscribe.progress = options::parse_optional_bool(p)?,
        _ => {
            return Err(Failure::invalid(
                place,
                SqlState::InvalidParameterValue,
                format!("unrecognized SUBSCRIBE option \"{name}\""),
            ));
        }
    }
    Ok(())
}
