//! `EXPLAIN [ANALYZE] [VERBOSE] [(FORMAT TEXT|JSON|DOT, VERBOSE, ANALYZE)] statement`.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use types::SqlState;

use crate::error::Failure;
use crate::statement::{ExplainFormat, ExplainOptions, Statement};
use crate::tokens::{self, Parsed, accept, expect};
use crate::{options, parse::parse_statement};

/// Postgres' options that change nothing here.
const IGNORED: [&str; 8] = ["costs", "buffers", "timing", "summary", "settings", "wal", "generic_plan", "memory"];

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "EXPLAIN")?;
    let mut explain = ExplainOptions::default();
    if option_list_follows(p) {
        tokens::parenthesised(p, |p| parse_option(p, &mut explain))?;
    } else {
        explain.analyze = accept(p, "ANALYZE");
        explain.verbose = accept(p, "VERBOSE");
    }
    let place = tokens::here(p);
    let statement = parse_statement(p)?;
    let explainable = matches!(
        statement,
        Statement::Query(_)
            | Statement::CreateMaterializedView(_)
            | Statement::CreateView(_)
            | Statement::CreateTable(_)
            | Statement::Subscribe(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Execute { .. }
            | Statement::Declare { .. }
    );
    if !explainable {
        return Err(Failure::invalid(place, SqlState::SyntaxError, "this statement has no plan to explain"));
    }
    Ok(Statement::Explain { options: explain, statement: Box::new(statement) })
}

/// A parenthesis may also begin a query.
fn option_list_follows(p: &Parser) -> bool {
    let Token::Word(word) = &p.peek_nth_token_ref(1).token else { return false };
    let word = word.value.to_lowercase();
    p.peek_token_ref().token == Token::LParen
        && (["format", "verbose", "analyze"].contains(&word.as_str()) || IGNORED.contains(&word.as_str()))
}

fn parse_option(p: &mut Parser, explain: &mut ExplainOptions) -> Parsed<()> {
    let place = tokens::here(p);
    let name = options::parse_option_name(p)?;
    match name.as_str() {
        "verbose" => explain.verbose = options::parse_optional_bool(p)?,
        "analyze" => explain.analyze = options::parse_optional_bool(p)?,
        "format" => {
            let format = options::parse_option_value(p)?;
            explain.format = match format.to_lowercase().as_str() {
                "text" => ExplainFormat::Text,
                "json" => ExplainFormat::Json,
                "dot" => ExplainFormat::Dot,
                _ => {
                    return Err(Failure::unsupported(
                        place,
                        format!("EXPLAIN format \"{format}\" is not supported"),
                        "The formats are TEXT, JSON and DOT.",
                    ));
                }
            };
        }
        other if IGNORED.contains(&other) => {
            options::parse_optional_bool(p)?;
        }
        other => {
            return Err(Failure::invalid(
                place,
                SqlState::SyntaxError,
                format!("unrecognized EXPLAIN option \"{other}\""),
            ));
        }
    }
    Ok(())
}
