//! `CREATE TABLE [IF NOT EXISTS] name [(columns)] [APPEND ONLY] [WITH (…)] [FORMAT … ENCODE …] [AS query]`.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::error::Failure;
use crate::statement::{CreateTable, Statement};
use crate::tokens::{self, Parsed, accept, accept_all, at};
use crate::{columns, create_view, options, query};

/// After CREATE TABLE.
pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    let if_not_exists = tokens::parse_if_not_exists(p);
    let name = tokens::parse_object_name(p)?;
    let place = tokens::here(p);
    let named_only = p.peek_token_ref().token == Token::LParen && names_only(p);
    let list = match p.peek_token_ref().token {
        Token::LParen if !named_only => columns::parse(p)?,
        _ => columns::ColumnList::default(),
    };
    if named_only {
        return Err(Failure::unsupported(
            place,
            "a list of column names before AS is not supported",
            "Name the columns in the SELECT with AS.",
        ));
    }
    let append_only = accept_all(p, &["APPEND", "ONLY"]);
    let options = options::parse_with(p)?;
    let format = options::parse_format(p)?;
    let query = if accept(p, "AS") {
        let query = query::parse_query(p)?;
        create_view::accept_with_data(p)?;
        Some(query)
    } else {
        None
    };
    for word in ["PARTITION", "INHERITS", "TABLESPACE", "LIKE"] {
        if at(p, word) {
            return Err(Failure::unsupported(
                tokens::here(p),
                format!("{word} in CREATE TABLE is not supported"),
                "Leave the clause out.",
            ));
        }
    }
    Ok(Statement::CreateTable(CreateTable {
        name,
        if_not_exists,
        columns: list.columns,
        primary_key: list.primary_key,
        watermark: list.watermark,
        append_only,
        options,
        format,
        query,
    }))
}

/// `(a, b)` without types, as CREATE TABLE … AS allows it in Postgres.
fn names_only(p: &Parser) -> bool {
    matches!(p.peek_nth_token_ref(1).token, Token::Word(_))
        && matches!(p.peek_nth_token_ref(2).token, Token::Comma | Token::RParen)
}
