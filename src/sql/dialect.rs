//! The dialect: PostgreSQL's, plus what streaming SQL adds to the grammar of expressions and aliases.
//!
//! `dialect()` answers with PostgreSQL's type id, so every check of sqlparser for PostgreSQL holds here too; methods
//! that PostgreSQL overrides are passed on one by one. Our additions: `TABLE name [PARTITION BY …]` as a function
//! argument, `EMIT ON WINDOW CLOSE` not taken for an alias, `FOR SYSTEM_TIME AS OF`, RUNNING and FINAL before a call.

use std::any::TypeId;

use sqlparser::ast::{self, Expr};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::{match_recognize, tokens};

/// PostgreSQL with window table functions and EMIT.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct HighwaterDialect {}

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// Passes boolean properties on to PostgreSQL's dialect.
macro_rules! as_postgres {
    ($($name:ident),* $(,)?) => { $(fn $name(&self) -> bool { POSTGRES.$name() })* };
}

impl Dialect for HighwaterDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    as_postgres!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );

    /// Unlike PostgreSQL's: with expression names every nested call is parsed twice, 2^depth in all.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    /// IS DISTINCT FROM binds tighter than AND, as every IS; BETWEEN SYMMETRIC takes its bounds in either order.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let left = Box::new(expr.clone());
        let is = POSTGRES.prec_value(Precedence::Is);
        if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            return Some(parser.parse_subexpr(is).map(|right| Expr::IsDistinctFrom(left, Box::new(right))));
        }
        if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            return Some(parser.parse_subexpr(is).map(|right| Expr::IsNotDistinctFrom(left, Box::new(right))));
        }
        if parser.parse_keywords(&[Keyword::BETWEEN, Keyword::SYMMETRIC]) {
            return Some(parser.parse_between(*left, false).map(either_order));
        }
        if parser.parse_keywords(&[Keyword::NOT, Keyword::BETWEEN, Keyword::SYMMETRIC]) {
            let between = parser.parse_between(*left, false).map(either_order);
            let not = |expr| Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(expr) };
            return Some(between.map(|between| Expr::Nested(Box::new(not(between)))));
        }
        None
    }

    /// `TABLE name [PARTITION BY a, b]` as an argument of a window table function; `RUNNING f(…)` and `FINAL f(…)`, which
    /// become calls of functions of that name; literals that continue on the next line.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if let Some(text) = continued_literal(parser) {
            return Some(Ok(Expr::Value(ast::Value::SingleQuotedString(text).into())));
        }
        let semantics = ["running", "final"].into_iter().find(|word| tokens::at(parser, word));
        if let Some(semantics) = semantics
            && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_))
            && parser.peek_nth_token_ref(2).token == Token::LParen
        {
            parser.advance_token();
            return Some(parser.parse_prefix().map(|call| match_recognize::call(semantics, vec![call])));
        }
        if !tokens::at(parser, "TABLE") || !matches!(parser.peek_nth_token_ref(1).token, Token::Word(_)) {
            return None;
        }
        Some(parse_table_argument(parser))
    }

    fn is_select_item_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        // ON begins ON CONFLICT after the SELECT of an INSERT.
        let clause = *keyword == Keyword::ON || emit_clause_begins(parser);
        explicit || (self.is_column_alias(keyword, parser) && !clause)
    }

    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        explicit || (self.is_table_alias(keyword, parser) && !emit_clause_begins(parser))
    }
}

/// True if the word just read is the EMIT of `EMIT ON WINDOW CLOSE`.
fn emit_clause_begins(parser: &Parser) -> bool {
    tokens::is_word(&parser.get_current_token().token, "EMIT")
        && tokens::is_word(&parser.peek_nth_token_ref(0).token, "ON")
        && tokens::is_word(&parser.peek_nth_token_ref(1).token, "WINDOW")
}

/// `x BETWEEN a AND b` as `(x BETWEEN a AND b OR x BETWEEN b AND a)`.
fn either_order(between: Expr) -> Expr {
    let Expr::Between { expr, negated, low, high } = &between else { return between };
    let swapped = Expr::Between { expr: expr.clone(), negated: *negated, low: high.clone(), high: low.clone() };
    let op = ast::BinaryOperator::Or;
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(between), op, right: Box::new(swapped) }))
}

/// `'a'` and `'b'` on the line below are `'ab'`, as the standard has it. `None` if nothing continues.
fn continued_literal(parser: &mut Parser) -> Option<String> {
    let continues = |parser: &Parser| {
        let (this, next) = (parser.peek_nth_token_ref(0), parser.peek_nth_token_ref(1));
        matches!((&this.token, &next.token), (Token::SingleQuotedString(_), Token::SingleQuotedString(_)))
            && next.span.start.line > this.span.end.line
    };
    if !continues(parser) {
        return None;
    }
    let mut text = String::new();
    loop {
        let more = continues(parser);
        let Token::SingleQuotedString(part) = parser.next_token().token else { return Some(text) };
        text.push_str(&part);
        if !more {
            return Some(text);
        }
    }
}

/// The result is `(SELECT * FROM name DISTRIBUTE BY a, b)`; `window_call.rs` takes the keys out of it again.
fn parse_table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.expect_keyword_is(Keyword::TABLE)?;
    let name = parser.parse_object_name(true)?;
    let mut query = crate::window_call::select_star_from(crate::window_call::table_factor(name));
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY])
        && let ast::SetExpr::Select(select) = query.body.as_mut()
    {
        select.distribute_by = parse_partition_columns(parser)?;
    }
    Ok(Expr::Subquery(Box::new(query)))
}

/// Columns up to the next argument: after a comma only a bare column name continues the list.
fn parse_partition_columns(parser: &mut Parser) -> Result<Vec<Expr>, ParserError> {
    let parenthesised = parser.consume_token(&Token::LParen);
    let mut columns = vec![parse_column(parser)?];
    while parser.peek_token_ref().token == Token::Comma && (parenthesised || column_follows(parser)) {
        parser.expect_token(&Token::Comma)?;
        columns.push(parse_column(parser)?);
    }
    if parenthesised {
        parser.expect_token(&Token::RParen)?;
    }
    Ok(columns)
}

fn parse_column(parser: &mut Parser) -> Result<Expr, ParserError> {
    let mut parts = vec![parser.parse_identifier()?];
    while parser.consume_token(&Token::Period) {
        parts.push(parser.parse_identifier()?);
    }
    Ok(if parts.len() == 1 { Expr::Identifier(parts.remove(0)) } else { Expr::CompoundIdentifier(parts) })
}

/// `, name` followed by a comma, a parenthesis closing the call, or a period.
fn column_follows(parser: &Parser) -> bool {
    matches!(parser.peek_nth_token_ref(1).token, Token::Word(_))
        && matches!(parser.peek_nth_token_ref(2).token, Token::Comma | Token::RParen | Token::Period)
}
