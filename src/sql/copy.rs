//! `COPY (query | SUBSCRIBE …) | table [(columns)] TO STDOUT [WITH (…)]`. The reading direction is refused.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::error::Failure;
use crate::statement::{CopySource, Statement};
use crate::tokens::{self, Parsed, accept, at, expect};
use crate::{options, query, subscribe};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "COPY")?;
    let from = if p.consume_token(&Token::LParen) {
        let from = if at(p, "SUBSCRIBE") {
            CopySource::Subscribe(subscribe::parse(p)?)
        } else {
            CopySource::Query(query::parse_query(p)?)
        };
        p.expect_token(&Token::RParen)?;
        from
    } else if at(p, "SUBSCRIBE") {
        CopySource::Subscribe(subscribe::parse(p)?)
    } else {
        let name = tokens::parse_object_name(p)?;
        CopySource::Relation { name, columns: tokens::optional_idents(p)? }
    };
    let place = tokens::here(p);
    if accept(p, "FROM") {
        return Err(Failure::unsupported(
            place,
            "COPY FROM is not supported",
            "Use INSERT with many rows, or CREATE SOURCE with connector = 'file'.",
        ));
    }
    expect(p, "TO")?;
    let place = tokens::here(p);
    if !accept(p, "STDOUT") {
        return Err(Failure::unsupported(
            place,
            "COPY TO a file or program is not supported",
            "Use COPY … TO STDOUT and redirect it in the client.",
        ));
    }
    Ok(Statement::CopyTo { from, options: parse_options(p)? })
}

/// `[WITH] (FORMAT csv, HEADER, …)` or the old `[WITH] CSV HEADER`. Names in lower case.
fn parse_options(p: &mut Parser) -> Parsed<Vec<(String, Option<String>)>> {
    accept(p, "WITH");
    if p.peek_token_ref().token == Token::LParen {
        return tokens::parenthesised(p, |p| {
            let name = options::parse_option_name(p)?;
            tokens::skip(p, &Token::Eq);
            let bare = matches!(p.peek_token_ref().token, Token::Comma | Token::RParen);
            let value = if bare { None } else { Some(options::parse_option_value(p)?) };
            Ok((name, value))
        });
    }
    let mut parsed = vec![];
    while !tokens::at_end(p) {
        let name = options::parse_option_name(p)?;
        let (name, value) = match name.as_str() {
            "csv" | "text" | "binary" => ("format".to_owned(), Some(name)),
            "header" => (name, None),
            _ => {
                accept(p, "AS");
                (name, Some(options::parse_option_value(p)?))
            }
        };
        parsed.push((name, value));
    }
    Ok(parsed)
}
