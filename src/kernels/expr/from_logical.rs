//! Bound logical expressions (after DataFusion's type coercion and optimizer) into the persisted form.
//! What a view cannot hold (volatile functions, `now()`, subqueries left over) is refused here by name.

use std::sync::Arc;

use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, Like, ScalarFunction};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator, Volatility};

use super::{Literal, ScalarExpr, scalar_value_to_literal};
use crate::KernelError;

/// Functions of the clock: they mean something in a temporal filter, which the planner takes out before.
const CLOCK_FUNCTIONS: [&str; 6] =
    ["now", "current_timestamp", "current_date", "current_time", "today", "localtimestamp"];

/// Functions that exist only as a rewrite to other expressions; the optimizer does it, unless it was not run.
const REWRITTEN_FUNCTIONS: [&str; 7] =
    ["coalesce", "nvl", "nvl2", "arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type"];

/// `expr` over columns of `schema` by position; aliases are stripped.
///
/// Errors: `Unsupported` names what has no persisted form; `Internal` if a column is not in `schema`.
pub fn from_logical(expr: &Expr, schema: &DFSchema) -> Result<ScalarExpr, KernelError> {
    let convert = |e: &Expr| from_logical(e, schema);
    let boxed = |e: &Expr| from_logical(e, schema).map(Box::new);
    let is = |e: &Expr, distinct: bool, value: Literal| {
        let op = if distinct { Operator::IsDistinctFrom } else { Operator::IsNotDistinctFrom };
        Ok(ScalarExpr::binary(&op.to_string(), convert(e)?, ScalarExpr::Literal(value)))
    };
    let unknown = || Literal::Null(arrow::datatypes::DataType::Boolean);
    match expr {
        Expr::Alias(alias) => convert(&alias.expr),
        Expr::Column(column) => {
            schema.index_of_column(column).map(ScalarExpr::Column).map_err(KernelError::from_planning)
        }
        Expr::Literal(value, _) => Ok(ScalarExpr::Literal(scalar_value_to_literal(value))),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            supported_operator(*op)?;
            Ok(ScalarExpr::binary(&op.to_string(), convert(left)?, convert(right)?))
        }
        Expr::Not(arg) => Ok(ScalarExpr::Not(boxed(arg)?)),
        Expr::Negative(arg) => Ok(ScalarExpr::Negative(boxed(arg)?)),
        Expr::IsNull(arg) => Ok(ScalarExpr::IsNull(boxed(arg)?)),
        Expr::IsNotNull(arg) => Ok(ScalarExpr::IsNotNull(boxed(arg)?)),
        Expr::IsTrue(arg) => is(arg, false, Literal::Boolean(true)),
        Expr::IsNotTrue(arg) => is(arg, true, Literal::Boolean(true)),
        Expr::IsFalse(arg) => is(arg, false, Literal::Boolean(false)),
        Expr::IsNotFalse(arg) => is(arg, true, Literal::Boolean(false)),
        Expr::IsUnknown(arg) => is(arg, false, unknown()),
        Expr::IsNotUnknown(arg) => is(arg, true, unknown()),
        Expr::Between(between) => between_comparisons(between, schema),
        Expr::Like(like) => {
            if like.escape_char.is_some_and(|c| c != '\\') {
                return Err(KernelError::unsupported("LIKE with an escape character other than backslash"));
            }
            Ok(ScalarExpr::Like {
                arg: boxed(&like.expr)?,
                pattern: boxed(&like.pattern)?,
                negated: like.negated,
                case_insensitive: like.case_insensitive,
            })
        }
        Expr::SimilarTo(like) => similar_to(like, schema),
        Expr::Case(case) => convert_case(case, schema),
        Expr::Cast(cast) => {
            Ok(ScalarExpr::Cast { arg: boxed(&cast.expr)?, to: cast.field.data_type().clone(), try_cast: false })
        }
        Expr::TryCast(cast) => {
            Ok(ScalarExpr::Cast { arg: boxed(&cast.expr)?, to: cast.field.data_type().clone(), try_cast: true })
        }
        Expr::InList(InList { expr, list, negated }) => Ok(ScalarExpr::InList {
            arg: boxed(expr)?,
            list: list.iter().map(convert).collect::<Result<_, _>>()?,
            negated: *negated,
        }),
        Expr::ScalarFunction(call) => convert_function(expr, call, schema),
        other => Err(KernelError::unsupported(unsupported_name(other))),
    }
}

fn convert_function(expr: &Expr, call: &ScalarFunction, schema: &DFSchema) -> Result<ScalarExpr, KernelError> {
    let name = call.func.name();
    if call.func.signature().volatility == Volatility::Volatile {
        return Err(KernelError::unsupported(format!("the volatile function \"{name}\" in a maintained query")));
    }
    if CLOCK_FUNCTIONS.contains(&name) {
        return Err(KernelError::unsupported(format!("\"{name}\" outside a filter on a timestamp")));
    }
    if REWRITTEN_FUNCTIONS.contains(&name) {
        let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
        let result = call.func.simplify(call.args.clone(), &context).map_err(KernelError::from_planning)?;
        return match result {
            ExprSimplifyResult::Simplified(rewritten) => from_logical(&rewritten, schema),
            ExprSimplifyResult::Original(_) => Err(KernelError::unsupported(format!("this call of \"{name}\""))),
        };
    }
    let (_, field) = expr.to_field(schema).map_err(KernelError::from_planning)?;
    Ok(ScalarExpr::Function {
        name: name.to_string(),
        args: call.args.iter().map(|arg| from_logical(arg, schema)).collect::<Result<_, _>>()?,
        return_type: field.data_type().clone(),
        nullable: field.is_nullable(),
    })
}

fn convert_case(case: &Case, schema: &DFSchema) -> Result<ScalarExpr, KernelError> {
    let boxed = |e: &Expr| from_logical(e, schema).map(Box::new);
    let branch = |(when, then): &(Box<Expr>, Box<Expr>)| Ok((from_logical(when, schema)?, from_logical(then, schema)?));
    Ok(ScalarExpr::Case {
        operand: case.expr.as_deref().map(boxed).transpose()?,
        branches: case.when_then_expr.iter().map(branch).collect::<Result<_, KernelError>>()?,
        otherwise: case.else_expr.as_deref().map(boxed).transpose()?,
    })
}

fn between_comparisons(between: &Between, schema: &DFSchema) -> Result<ScalarExpr, KernelError> {
    let arg = from_logical(&between.expr, schema)?;
    let low = ScalarExpr::binary(">=", arg.clone(), from_logical(&between.low, schema)?);
    let high = ScalarExpr::binary("<=", arg, from_logical(&between.high, schema)?);
    let both = ScalarExpr::binary("AND", low, high);
    Ok(if between.negated { ScalarExpr::Not(Box::new(both)) } else { both })
}

/// SIMILAR TO with a constant pattern is a regular expression that must match the whole string.
fn similar_to(like: &Like, schema: &DFSchema) -> Result<ScalarExpr, KernelError> {
    let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = like.pattern.as_ref() else {
        return Err(KernelError::unsupported("SIMILAR TO with a pattern that is not a constant"));
    };
    let regex = similar_to_regex(pattern, like.escape_char.unwrap_or('\\'));
    let op = if like.negated { Operator::RegexNotMatch } else { Operator::RegexMatch };
    let right = ScalarExpr::Literal(Literal::Utf8(regex));
    Ok(ScalarExpr::binary(&op.to_string(), from_logical(&like.expr, schema)?, right))
}

/// SQL:2016 §8.6: `%` and `_` are wildcards, `| * + ? {m,n} () []` work as in a regular expression, all else is literal.
fn similar_to_regex(pattern: &str, escape: char) -> String {
    let mut regex = String::from("(?s)^(?:");
    let mut chars = pattern.chars();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        match c {
            c if c == escape => {
                let literal = chars.next().unwrap_or(escape);
                if !literal.is_alphanumeric() {
                    regex.push('\\');
                }
                regex.push(literal);
            }
            '[' | ']' => {
                in_brackets = c == '[';
                regex.push(c);
            }
            _ if in_brackets => regex.push(c),
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '.' | '^' | '$' | '\\' => regex.extend(['\\', c]),
            _ => regex.push(c),
        }
    }
    regex.push_str(")$");
    regex
}

/// Operators that have a kernel; the rest (JSON paths, text search) need functions that do not exist here.
fn supported_operator(op: Operator) -> Result<(), KernelError> {
    match super::compile::operator(&op.to_string()) {
        Some(_) => Ok(()),
        None => Err(KernelError::unsupported(format!("operator \"{op}\""))),
    }
}

fn unsupported_name(expr: &Expr) -> String {
    match expr {
        Expr::AggregateFunction(f) => format!("the aggregate function \"{}\" in this place", f.func.name()),
        Expr::WindowFunction(f) => format!("the window function \"{}\" in this place", f.fun.name()),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
            "this form of subquery".to_string()
        }
        Expr::OuterReferenceColumn(_, column) => format!("this correlated reference to \"{}\"", column.name),
        Expr::Placeholder(_) => "a parameter in a maintained query".to_string(),
        Expr::Unnest(_) => "UNNEST in this place".to_string(),
        Expr::GroupingSet(_) => "GROUPING SETS in this place".to_string(),
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => "a lambda function".to_string(),
        Expr::ScalarVariable(..) => "a session variable in a maintained query".to_string(),
        other => format!("expression {other}"),
    }
}
