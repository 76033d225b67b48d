//! Takes every `MATCH_RECOGNIZE ( … ) alias` out of a token stream. In its place stands a TABLESAMPLE, which sqlparser
//! reads behind a table or a subquery, with a number that leads back to the clause; nobody can write one like it.

use sqlparser::ast::{Expr, TableFactor, TableSampleKind, Value};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::clause::{self, Body};
use crate::tokens::{self, Parsed};
use crate::window_call::select_star_from;

/// A placeholder with a space in it is no token of any text.
const MARK: &str = "match recognize ";

/// The clauses of a text.
#[derive(Debug, Default)]
pub(crate) struct Lifted {
    bodies: Vec<Body>,
}

/// The tokens without the clauses, and the clauses. `parser` makes a parser over tokens.
///
/// Errors: those of the clauses, placed.
pub(crate) fn lift(
    tokens: Vec<TokenWithSpan>,
    parser: impl Fn(Vec<TokenWithSpan>) -> Parser<'static>,
) -> Parsed<(Vec<TokenWithSpan>, Lifted)> {
    let mut lifted = Lifted::default();
    if !tokens.iter().any(|token| tokens::is_word(&token.token, "MATCH_RECOGNIZE")) {
        return Ok((tokens, lifted));
    }
    let mut rest = vec![];
    let mut at = 0;
    while at < tokens.len() {
        if !begins(&tokens[at..]) {
            rest.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let word = tokens[at].span;
        let mut clause = parser(tokens[at + 1..].to_vec());
        let body = clause::parse(&mut clause)?;
        let end = at + clause.index();
        stand_in(&mut rest, lifted.bodies.len(), word, tokens[end].span);
        lifted.bodies.push(body);
        at = end + 1;
    }
    Ok((rest, lifted))
}

fn begins(tokens: &[TokenWithSpan]) -> bool {
    let mut visible = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    visible.next().is_some_and(|token| tokens::is_word(&token.token, "MATCH_RECOGNIZE"))
        && !matches!(tokens[0].token, Token::Whitespace(_))
        && visible.next().is_some_and(|token| token.token == Token::LParen)
}

fn stand_in(rest: &mut Vec<TokenWithSpan>, number: usize, word: Span, end: Span) {
    let sample = Word { value: "TABLESAMPLE".into(), quote_style: None, keyword: Keyword::TABLESAMPLE };
    rest.push(TokenWithSpan::new(Token::Word(sample), word));
    rest.push(TokenWithSpan::new(Token::LParen, word));
    rest.push(TokenWithSpan::new(Token::Placeholder(format!("{MARK}{number}")), word));
    rest.push(TokenWithSpan::new(Token::RParen, end));
}

impl Lifted {
    /// Puts the clause back where its stand-in is. An OFFSET that the stand-in took for its own is given back: it is the
    /// query's.
    pub(crate) fn restore(&self, factor: &mut TableFactor) -> Parsed<Option<Expr>> {
        let (TableFactor::Table { sample, .. } | TableFactor::Derived { sample, .. }) = &mut *factor else {
            return Ok(None);
        };
        let Some(TableSampleKind::AfterTableAlias(stand_in)) = &*sample else { return Ok(None) };
        let number = stand_in.quantity.as_ref().and_then(|quantity| number(&quantity.value));
        let Some(body) = number.and_then(|number| self.bodies.get(number)) else { return Ok(None) };
        let offset = stand_in.offset.clone();
        *sample = None;
        let input = Box::new(select_star_from(factor.clone()));
        let clause = body.clone().over(input);
        super::check::check(&clause)?;
        *factor = clause.into_factor();
        Ok(offset)
    }
}

fn number(value: &Expr) -> Option<usize> {
    let Expr::Value(value) = value else { return None };
    let Value::Placeholder(mark) = &value.value else { return None };
    mark.strip_prefix(MARK)?.parse().ok()
}
