//! The entry: splits text into statements and sends each to the file of its first word.
//!
//! Invariant: a statement's text is its own slice of the source, without the semicolon; after parsing, every query in
//! it is normalised (`query.rs`).

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use types::limits::SQL_BYTES_MAX;
use types::{SqlError, SqlState};

use crate::dialect::HighwaterDialect;
use crate::error::{Failure, SqlParseError};
use crate::match_recognize::{self, Lifted};
use crate::position::Lines;
use crate::statement::{ParsedStatement, Statement};
use crate::tokens::{self, Parsed, unexpected};
use crate::{
    copy, create, cursor, dml, drop, explain, nesting, prepared, query, refused, set, show, subquery_error, subscribe,
    transaction,
};

/// How deep parentheses, subqueries and calls may nest; each level costs the parser some kilobytes of stack.
const NESTING_DEPTH_MAX: usize = 50;

static DIALECT: HighwaterDialect = HighwaterDialect {};

/// Parses all statements of a text. Empty or comment-only text gives none.
///
/// Errors: 42601 with position for syntax; 54000 for text over the limit; 54001 for nesting over the limit; 0A000 for
/// statements we know but don't have; others as the clause at fault says.
pub fn parse(sql: &str) -> Result<Vec<ParsedStatement>, SqlParseError> {
    let (lines, tokens) = tokenise(sql)?;
    let work = || {
        let (plain, lifted) = match_recognize::lift(tokens.clone(), parser_over)?;
        parse_all(&mut parser_over(plain.clone()), sql, &lines, &lifted).map_err(|failure| match failure {
            Failure::Parser(error @ ParserError::ParserError(_)) => {
                Failure::Parser(subquery_error::sharpen(error, &plain, NESTING_DEPTH_MAX))
            }
            other => other,
        })
    };
    on_suitable_stack(&tokens, work).map_err(|failure| lines.resolve(failure, &tokens))
}

/// Parses one expression, for example the stored text of a default. Errors as [`parse`].
pub fn parse_expression(sql: &str) -> Result<ast::Expr, SqlParseError> {
    let (lines, tokens) = tokenise(sql)?;
    let work = || {
        let mut parser = parser_over(tokens.clone());
        let mut expr = parser.parse_expr()?;
        if !tokens::at_end(&parser) {
            return Err(unexpected(&parser, "the end of the expression"));
        }
        query::normalise(&mut expr, &Lifted::default())?;
        Ok(expr)
    };
    on_suitable_stack(&tokens, work).map_err(|failure| lines.resolve(failure, &tokens))
}

/// Stack for parsing the deepest text that the limits let through.
const LARGE_STACK_BYTES: usize = 32 * 1024 * 1024;

/// Runs the parser here, or for deeply nested text on a thread of its own, since a caller's stack may be small.
fn on_suitable_stack<T: Send>(tokens: &[TokenWithSpan], work: impl FnOnce() -> Parsed<T> + Send) -> Parsed<T> {
    if !nesting::needs_large_stack(tokens) {
        return work();
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("sql-parse".to_owned()).stack_size(LARGE_STACK_BYTES);
        let thread = builder.spawn_scoped(scope, work).map_err(|error| {
            SqlError::new(SqlState::InsufficientResources, format!("cannot start a thread for parsing: {error}"))
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn tokenise(sql: &str) -> Result<(Lines<'_>, Vec<TokenWithSpan>), SqlParseError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(SqlParseError::TooLong { bytes: sql.len() });
    }
    let lines = Lines::new(sql);
    let tokens = Tokenizer::new(&DIALECT, sql)
        .tokenize_with_location()
        .map_err(|error| lines.resolve(Failure::Parser(error.into()), &[]))?;
    if let Some(at) = nesting::too_deep(&tokens) {
        return Err(SqlParseError::TooDeep { position: Some(lines.position(at)) });
    }
    Ok((lines, tokens))
}

fn parser_over(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&DIALECT).with_recursion_limit(NESTING_DEPTH_MAX).with_tokens_with_locations(tokens)
}

fn parse_all(p: &mut Parser, sql: &str, lines: &Lines, lifted: &Lifted) -> Parsed<Vec<ParsedStatement>> {
    let mut statements = vec![];
    loop {
        while p.consume_token(&Token::SemiColon) {}
        if p.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        let start = lines.byte(tokens::here(p));
        let mut statement = parse_statement(p)?;
        if !tokens::at_end(p) {
            return Err(unexpected(p, "the end of the statement"));
        }
        query::normalise_statement(&mut statement, lifted)?;
        let end = lines.byte(last_token_end(p));
        statements.push(ParsedStatement { text: sql[start..end].to_owned(), statement });
    }
}

/// Where the last token that was taken ends; looking ahead may have left whitespace behind it.
fn last_token_end(p: &Parser) -> Location {
    let mut index = p.index().saturating_sub(1);
    while index > 0 && matches!(p.token_at(index).token, Token::Whitespace(_)) {
        index -= 1;
    }
    p.token_at(index).span.end
}

/// One statement, up to but without its semicolon; queries in it are not yet normalised.
pub(crate) fn parse_statement(p: &mut Parser) -> Parsed<Statement> {
    if p.peek_token_ref().token == Token::LParen {
        return query::parse(p);
    }
    let Some(word) = tokens::peek_word(p) else {
        return Err(unexpected(p, "a statement"));
    };
    match word.as_str() {
        "select" | "values" | "table" | "with" => query::parse(p),
        "create" => create::parse(p),
        "drop" => drop::parse(p),
        "comment" => drop::parse_comment(p),
        "insert" => dml::parse_insert(p),
        "update" => dml::parse_update(p),
        "delete" => dml::parse_delete(p),
        "subscribe" => subscribe::parse(p).map(Statement::Subscribe),
        "copy" => copy::parse(p),
        "explain" => explain::parse(p),
        "show" => show::parse(p),
        "describe" | "desc" => show::parse_describe(p),
        "set" => set::parse(p),
        "reset" => set::parse_reset(p),
        "refresh" => set::parse_refresh(p),
        "flush" | "wait" | "cancel" | "discard" | "unlisten" => set::parse_command(p),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => transaction::parse(p),
        "prepare" => prepared::parse(p),
        "execute" => prepared::parse_execute(p),
        "deallocate" => prepared::parse_deallocate(p),
        "declare" => cursor::parse_declare(p),
        "fetch" => cursor::parse_fetch(p),
        "close" => cursor::parse_close(p),
        _ => Err(refused::statement(p).unwrap_or_else(|| unexpected(p, "a statement"))),
    }
}
