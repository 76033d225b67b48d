//! The function in FROM back to the clause, see `encode.rs`.

use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, TableFactor, Value,
};
use types::{SqlError, SqlState};

use super::encode::rows_name;
use super::{MATCH_FUNCTION, MatchClause, MatchOrder, MatchPattern, MatchRows, MatchSkip};
use crate::tokens::Parsed;

pub(super) fn arguments(factor: &TableFactor) -> Option<&[FunctionArg]> {
    match factor {
        TableFactor::Table { name, args: Some(args), .. } => match name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] if name.value == MATCH_FUNCTION => Some(&args.args),
            _ => None,
        },
        _ => None,
    }
}

/// `None`: some other relation.
pub(super) fn decode(factor: &TableFactor) -> Option<Parsed<MatchClause>> {
    let args = arguments(factor)?;
    let TableFactor::Table { alias, .. } = factor else { return None };
    Some(clause(args, alias.clone()).ok_or_else(|| {
        let error = SqlError::new(SqlState::SyntaxError, "row_pattern_matches is no function to call by hand");
        error.with_hint("Write table MATCH_RECOGNIZE ( … ).").into()
    }))
}

fn clause(args: &[FunctionArg], alias: Option<ast::TableAlias>) -> Option<MatchClause> {
    let named = |wanted: &str| {
        args.iter().find_map(|arg| match arg {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } if name.value == wanted => Some(expr),
            _ => None,
        })
    };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(input))) = args.first()? else { return None };
    Some(MatchClause {
        input: input.clone(),
        partition_by: list(named("partition")?)?.into_iter().cloned().collect(),
        order_by: list(named("order")?)?.into_iter().map(order).collect::<Option<_>>()?,
        measures: list(named("measures")?)?.into_iter().map(|m| pair(m, "measure")).collect::<Option<_>>()?,
        rows: rows(named("rows")?)?,
        timed_out: boolean(named("timed_out")?)?,
        after_match: skip(named("skip")?)?,
        pattern: pattern(named("pattern")?)?,
        within: named("within").cloned(),
        subsets: list(named("subsets")?)?.into_iter().map(subset).collect::<Option<_>>()?,
        defines: list(named("defines")?)?.into_iter().map(define).collect::<Option<_>>()?,
        alias,
    })
}

/// Name and arguments of a plain call.
pub(super) fn parts(expr: &Expr) -> Option<(&str, Vec<&Expr>)> {
    let Expr::Function(call) = expr else { return None };
    let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return None };
    let args = match &call.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::None => &[],
        FunctionArguments::Subquery(_) => return None,
    };
    let expr = |arg: &'_ FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => Some(()),
        _ => None,
    };
    args.iter().map(expr).collect::<Option<Vec<()>>>()?;
    let plain = args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    Some((name.value.as_str(), plain.collect()))
}

fn of<'e>(expr: &'e Expr, wanted: &str) -> Option<Vec<&'e Expr>> {
    parts(expr).and_then(|(name, args)| (name == wanted).then_some(args))
}

fn list(expr: &Expr) -> Option<Vec<&Expr>> {
    of(expr, "list")
}

fn ident(expr: &Expr) -> Option<Ident> {
    if let Expr::Identifier(name) = expr { Some(name.clone()) } else { None }
}

fn order(expr: &Expr) -> Option<MatchOrder> {
    let [key, descending, nulls] = of(expr, "order_key")?.try_into().ok()?;
    Some(MatchOrder { expr: key.clone(), descending: boolean(descending)?, nulls_first: boolean(nulls) })
}

fn pair(expr: &Expr, name: &str) -> Option<(Expr, Ident)> {
    let [value, alias] = of(expr, name)?.try_into().ok()?;
    Some((value.clone(), ident(alias)?))
}

fn define(expr: &Expr) -> Option<(Ident, Expr)> {
    pair(expr, "define").map(|(value, name)| (name, value))
}

fn subset(expr: &Expr) -> Option<(Ident, Vec<Ident>)> {
    let mut names = of(expr, "subset")?.into_iter().map(ident).collect::<Option<Vec<_>>>()?;
    if names.is_empty() {
        return None;
    }
    Some((names.remove(0), names))
}

fn rows(expr: &Expr) -> Option<MatchRows> {
    let Expr::Value(value) = expr else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let all = [MatchRows::One, MatchRows::AllShowEmpty, MatchRows::AllOmitEmpty, MatchRows::AllWithUnmatched];
    all.into_iter().find(|rows| rows_name(*rows) == text)
}

fn skip(expr: &Expr) -> Option<MatchSkip> {
    let (name, args) = parts(expr)?;
    match (name, args.as_slice()) {
        ("past_last_row", []) => Some(MatchSkip::PastLastRow),
        ("to_next_row", []) => Some(MatchSkip::ToNextRow),
        ("to_first", [name]) => Some(MatchSkip::ToFirst(ident(name)?)),
        ("to_last", [name]) => Some(MatchSkip::ToLast(ident(name)?)),
        _ => None,
    }
}

fn pattern(expr: &Expr) -> Option<MatchPattern> {
    if let Expr::Identifier(name) = expr {
        return Some(MatchPattern::Variable(name.clone()));
    }
    let (name, args) = parts(expr)?;
    let all = || args.iter().map(|arg| pattern(arg)).collect::<Option<Vec<_>>>();
    match (name, args.as_slice()) {
        ("pattern_empty", []) => Some(MatchPattern::Empty),
        ("pattern_start", []) => Some(MatchPattern::Start),
        ("pattern_end", []) => Some(MatchPattern::End),
        ("pattern_concat", _) => Some(MatchPattern::Concat(all()?)),
        ("pattern_alternate", _) => Some(MatchPattern::Alternate(all()?)),
        ("pattern_permute", _) => Some(MatchPattern::Permute(all()?)),
        ("pattern_exclude", [body]) => Some(MatchPattern::Exclude(Box::new(pattern(body)?))),
        ("pattern_repeat", [body, min, max, greedy]) => Some(MatchPattern::Repeat {
            body: Box::new(pattern(body)?),
            min: number(min)?,
            max: number(max),
            greedy: boolean(greedy)?,
        }),
        _ => None,
    }
}

fn boolean(expr: &Expr) -> Option<bool> {
    let Expr::Value(value) = expr else { return None };
    if let Value::Boolean(value) = &value.value { Some(*value) } else { None }
}

fn number(expr: &Expr) -> Option<u32> {
    let Expr::Value(value) = expr else { return None };
    if let Value::Number(digits, _) = &value.value { digits.to_string().parse().ok() } else { None }
}
