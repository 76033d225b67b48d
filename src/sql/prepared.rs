//! PREPARE, EXECUTE, DEALLOCATE. Parameter types of `PREPARE p (int, text)` become casts around the placeholders, so
//! that describing the statement finds them where it looks anyway.

use std::ops::ControlFlow;

use sqlparser::ast::{self, CastKind, Expr, VisitorMut};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use types::SqlState;

use crate::error::Failure;
use crate::statement::Statement;
use crate::tokens::{self, Parsed, accept, expect};
use crate::{parse::parse_statement, query};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "PREPARE")?;
    let name = tokens::parse_name(p)?;
    let types = if p.peek_token_ref().token == Token::LParen {
        tokens::parenthesised(p, |p| Ok(p.parse_data_type()?))?
    } else {
        vec![]
    };
    expect(p, "AS")?;
    let place = tokens::here(p);
    let mut statement = parse_statement(p)?;
    let preparable = matches!(
        statement,
        Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Subscribe(_)
    );
    if !preparable {
        return Err(Failure::invalid(place, SqlState::SyntaxError, "this statement cannot be prepared"));
    }
    if !types.is_empty() {
        query::visit_statement(&mut statement, &mut TypeParameters { types })?;
    }
    Ok(Statement::Prepare { name, statement: Box::new(statement) })
}

struct TypeParameters {
    types: Vec<ast::DataType>,
}

impl VisitorMut for TypeParameters {
    type Break = Box<Failure>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Value(value) = &*expr else { return ControlFlow::Continue(()) };
        let ast::Value::Placeholder(placeholder) = &value.value else { return ControlFlow::Continue(()) };
        let number = placeholder.trim_start_matches('$').parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        if let Some(data_type) = number.and_then(|number| self.types.get(number)) {
            *expr = Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(expr.clone()),
                data_type: data_type.clone(),
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}

/// `EXECUTE name [(value, …)]`.
pub(crate) fn parse_execute(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "EXECUTE")?;
    let name = tokens::parse_name(p)?;
    let mut parameters = vec![];
    if p.consume_token(&Token::LParen) && !p.consume_token(&Token::RParen) {
        parameters = tokens::comma_separated(p, |p| Ok(p.parse_expr()?))?;
        p.expect_token(&Token::RParen)?;
    }
    Ok(Statement::Execute { name, parameters })
}

/// `DEALLOCATE [PREPARE] name | ALL`.
pub(crate) fn parse_deallocate(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "DEALLOCATE")?;
    accept(p, "PREPARE");
    let name = if accept(p, "ALL") { None } else { Some(tokens::parse_name(p)?) };
    Ok(Statement::Deallocate { name })
}
