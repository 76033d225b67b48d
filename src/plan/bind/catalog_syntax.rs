//! Syntax of catalog queries that the binder doesn't take, rewritten to what it does: `ARRAY(SELECT …)`,
//! `OPERATOR(pg_catalog.~)`, COLLATE, `LIKE … ESCAPE`, set-returning functions in the SELECT list.

use sql::ast::{self, BinaryOperator, Expr};
use types::SqlState;

use crate::PlanError;

/// The function that `ARRAY(SELECT …)` becomes; `subquery.rs` replaces it.
pub(crate) const ARRAY_SUBQUERY: &str = "array_subquery";
/// Turns a LIKE pattern with another escape character into one with the usual backslash.
const LIKE_ESCAPE: &str = "like_escape";
/// Collations that sort by bytes, as everything does here.
const COLLATIONS: [&str; 4] = ["default", "C", "POSIX", "ucs_basic"];

/// Rewrites one expression whose parts have been rewritten.
pub(crate) fn rewrite(expr: &mut Expr) -> Result<(), PlanError> {
    let replacement = match expr {
        Expr::Function(call) => array_subquery(call),
        Expr::Collate { expr: inner, collation } => {
            let name = last_name(collation);
            if !COLLATIONS.contains(&name.as_str()) {
                let message = format!("collation \"{name}\" for encoding \"UTF8\" does not exist");
                return Err(PlanError::invalid(SqlState::UndefinedObject, message));
            }
            Some(inner.as_ref().clone())
        }
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                *op = operator(parts)?;
            }
            None
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            if let Some(escape) = escape_char.take() {
                let escape = Expr::Value(escape);
                let pattern_was = std::mem::replace(pattern.as_mut(), escape.clone());
                **pattern = with_backslash(pattern_was, escape);
            }
            None
        }
        _ => None,
    };
    if let Some(replacement) = replacement {
        *expr = replacement;
    }
    Ok(())
}

/// Calls of set-returning functions in a SELECT list return a list each, which UNNEST turns into rows.
pub(crate) fn unnest_sets(select: &mut ast::Select) {
    for item in &mut select.projection {
        let (ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let Expr::Function(function) = &expr else { continue };
        let name = last_name(&function.name).to_lowercase();
        if ["generate_series", "generate_subscripts"].contains(&name.as_str()) && function.over.is_none() {
            *expr = call("unnest", vec![expr.clone()]);
        }
    }
}

/// A function in FROM sees the relations on its left without saying LATERAL. Window functions have their own shape.
pub(crate) fn make_lateral(factor: &mut ast::TableFactor) {
    if sql::window_call(factor).is_some() || sql::is_match_clause(factor) {
        return;
    }
    let ast::TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } = factor else { return };
    *factor = ast::TableFactor::Function {
        lateral: true,
        name: name.clone(),
        args: std::mem::take(&mut args.args),
        with_ordinality: *with_ordinality,
        alias: alias.take(),
    };
}

/// A pattern whose escape character is `escape` as one whose escape character is the backslash.
fn with_backslash(pattern: Expr, escape: Expr) -> Expr {
    match (text_of(&pattern), text_of(&escape)) {
        (Some(text), Some(escape)) => {
            let text = like_with_backslash(text, escape.chars().next());
            Expr::Value(ast::Value::SingleQuotedString(text).into())
        }
        _ => call(LIKE_ESCAPE, vec![pattern, escape]),
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// A LIKE pattern with the given escape character (none: nothing is escaped) as one with backslashes.
pub fn like_with_backslash(pattern: &str, escape: Option<char>) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                if let Some(next) = chars.next() {
                    text.push('\\');
                    text.push(next);
                }
            }
            '\\' => text.push_str("\\\\"),
            c => text.push(c),
        }
    }
    text
}

fn array_subquery(call_: &ast::Function) -> Option<Expr> {
    let ast::FunctionArguments::Subquery(query) = &call_.args else { return None };
    let name = last_name(&call_.name);
    name.eq_ignore_ascii_case("array").then(|| call(ARRAY_SUBQUERY, vec![Expr::Subquery(query.clone())]))
}

/// `pg_catalog.~` and the like.
fn operator(parts: &[String]) -> Result<BinaryOperator, PlanError> {
    let symbol = match parts {
        [symbol] => symbol,
        [schema, symbol] if schema == "pg_catalog" => symbol,
        _ => return Err(unknown_operator(&parts.join("."))),
    };
    Ok(match symbol.as_str() {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "&" => BinaryOperator::BitwiseAnd,
        "|" => BinaryOperator::BitwiseOr,
        other => return Err(unknown_operator(other)),
    })
}

fn unknown_operator(symbol: &str) -> PlanError {
    PlanError::invalid(SqlState::UndefinedFunction, format!("operator does not exist: {symbol}"))
}

/// The last part of a name, folded unless it was quoted.
pub(crate) fn last_name(name: &ast::ObjectName) -> String {
    match name.0.last().and_then(|part| part.as_ident()) {
        Some(ident) if ident.quote_style.is_some() => ident.value.clone(),
        Some(ident) => ident.value.to_lowercase(),
        None => String::new(),
    }
}

/// The arguments of a call; `None` if some are named, or no expressions.
pub(crate) fn plain_arguments(arguments: &[ast::FunctionArg]) -> Option<Vec<Expr>> {
    let argument = |argument: &ast::FunctionArg| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    arguments.iter().map(argument).collect()
}

/// A call of a function by its plain name.
pub(crate) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let argument = |expr| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr));
    Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![ast::Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
