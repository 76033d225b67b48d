//! The grammar of what stands between the parentheses, ISO/IEC 9075-2 with three additions: WITHIN behind the pattern,
//! the subsets or the definitions, WITH TIMED OUT MATCHES, and DEFINE may be missing.

use sqlparser::ast::{self, Expr, Ident, TableAlias};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use types::SqlState;

use super::{MatchClause, MatchOrder, MatchPattern, MatchRows, MatchSkip, pattern};
use crate::error::Failure;
use crate::tokens::{self, Parsed, accept, accept_all, comma_separated, expect, expect_all, unexpected};

/// A clause without its input, which stands before it.
#[derive(Debug, Clone)]
pub(super) struct Body {
    partition_by: Vec<Expr>,
    order_by: Vec<MatchOrder>,
    measures: Vec<(Expr, Ident)>,
    rows: MatchRows,
    timed_out: bool,
    after_match: MatchSkip,
    pattern: MatchPattern,
    within: Option<Expr>,
    subsets: Vec<(Ident, Vec<Ident>)>,
    defines: Vec<(Ident, Expr)>,
    alias: Option<TableAlias>,
}

impl Body {
    pub(super) fn over(self, input: Box<ast::Query>) -> MatchClause {
        MatchClause {
            input,
            partition_by: self.partition_by,
            order_by: self.order_by,
            measures: self.measures,
            rows: self.rows,
            timed_out: self.timed_out,
            after_match: self.after_match,
            pattern: self.pattern,
            within: self.within,
            subsets: self.subsets,
            defines: self.defines,
            alias: self.alias,
        }
    }
}

/// Everything after the word, the alias included.
pub(super) fn parse(p: &mut Parser) -> Parsed<Body> {
    p.expect_token(&Token::LParen)?;
    let partition_by = match accept_all(p, &["PARTITION", "BY"]) {
        true => comma_separated(p, |p| Ok(p.parse_expr()?))?,
        false => vec![],
    };
    let order_by = match accept_all(p, &["ORDER", "BY"]) {
        true => comma_separated(p, order)?,
        false => vec![],
    };
    let measures = match accept(p, "MEASURES") {
        true => comma_separated(p, measure)?,
        false => vec![],
    };
    let (rows, timed_out) = rows_per_match(p)?;
    let after_match = match accept_all(p, &["AFTER", "MATCH", "SKIP"]) {
        true => skip(p)?,
        false => MatchSkip::PastLastRow,
    };
    expect(p, "PATTERN")?;
    let pattern = pattern::parse(p)?;
    let mut within = None;
    accept_within(p, &mut within)?;
    let subsets = match accept(p, "SUBSET") {
        true => comma_separated(p, subset)?,
        false => vec![],
    };
    accept_within(p, &mut within)?;
    let defines = match accept(p, "DEFINE") {
        true => comma_separated(p, define)?,
        false => vec![],
    };
    accept_within(p, &mut within)?;
    if p.peek_token_ref().token != Token::RParen {
        return Err(unexpected(p, "the next part of MATCH_RECOGNIZE or )"));
    }
    p.advance_token();
    let alias = p.maybe_parse_table_alias()?;
    Ok(Body {
        partition_by,
        order_by,
        measures,
        rows,
        timed_out,
        after_match,
        pattern,
        within,
        subsets,
        defines,
        alias,
    })
}

fn order(p: &mut Parser) -> Parsed<MatchOrder> {
    let order = p.parse_order_by_expr()?;
    let (descending, nulls_first) = (order.options.asc == Some(false), order.options.nulls_first);
    Ok(MatchOrder { expr: order.expr, descending, nulls_first })
}

fn measure(p: &mut Parser) -> Parsed<(Expr, Ident)> {
    let expr = p.parse_expr()?;
    accept(p, "AS");
    Ok((expr, p.parse_identifier()?))
}

fn rows_per_match(p: &mut Parser) -> Parsed<(MatchRows, bool)> {
    let mut rows = MatchRows::One;
    if accept(p, "ONE") {
        expect_all(p, &["ROW", "PER", "MATCH"])?;
    } else if accept(p, "ALL") {
        expect_all(p, &["ROWS", "PER", "MATCH"])?;
        rows = if accept(p, "OMIT") {
            expect_all(p, &["EMPTY", "MATCHES"])?;
            MatchRows::AllOmitEmpty
        } else if accept_all(p, &["WITH", "UNMATCHED"]) {
            expect(p, "ROWS")?;
            MatchRows::AllWithUnmatched
        } else {
            if accept(p, "SHOW") {
                expect_all(p, &["EMPTY", "MATCHES"])?;
            }
            MatchRows::AllShowEmpty
        };
    }
    let timed_out = accept(p, "WITH");
    if timed_out {
        expect_all(p, &["TIMED", "OUT", "MATCHES"])?;
    }
    Ok((rows, timed_out))
}

fn skip(p: &mut Parser) -> Parsed<MatchSkip> {
    if accept(p, "PAST") {
        expect_all(p, &["LAST", "ROW"])?;
        return Ok(MatchSkip::PastLastRow);
    }
    expect(p, "TO")?;
    if accept_all(p, &["NEXT", "ROW"]) {
        return Ok(MatchSkip::ToNextRow);
    }
    // FIRST and LAST are names, too: they are words of the clause only before another name.
    let qualified = matches!(&p.peek_nth_token_ref(1).token, Token::Word(word)
        if !["PATTERN"].iter().any(|clause| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(clause)));
    let first = qualified && accept(p, "FIRST");
    if qualified && !first && !accept(p, "LAST") {
        return Err(unexpected(p, "FIRST, LAST, NEXT ROW or a variable"));
    }
    let variable = p.parse_identifier()?;
    Ok(if first { MatchSkip::ToFirst(variable) } else { MatchSkip::ToLast(variable) })
}

fn accept_within(p: &mut Parser, within: &mut Option<Expr>) -> Parsed<()> {
    let place = tokens::here(p);
    if !accept(p, "WITHIN") {
        return Ok(());
    }
    if within.is_some() {
        return Err(Failure::invalid(place, SqlState::SyntaxError, "WITHIN is given twice"));
    }
    *within = Some(p.parse_expr()?);
    Ok(())
}

fn subset(p: &mut Parser) -> Parsed<(Ident, Vec<Ident>)> {
    let name = p.parse_identifier()?;
    p.expect_token(&Token::Eq)?;
    Ok((name, tokens::parenthesised(p, |p| Ok(p.parse_identifier()?))?))
}

fn define(p: &mut Parser) -> Parsed<(Ident, Expr)> {
    let name = p.parse_identifier()?;
    expect(p, "AS")?;
    Ok((name, p.parse_expr()?))
}
