//! Small algebra on scalar expressions: substitution of columns, and how they read in EXPLAIN.

use arrow::datatypes::{DataType, Schema};
use kernels::{Literal, ScalarExpr};

/// `expr` with column i replaced by `by(i)`.
pub(crate) fn substitute(expr: &ScalarExpr, by: &dyn Fn(usize) -> ScalarExpr) -> ScalarExpr {
    substitute_after(expr, &|expr| match expr {
        ScalarExpr::Column(column) => by(column),
        ScalarExpr::Cast { arg, to, try_cast } => cast(*arg, to, try_cast),
        other => other,
    })
}

/// `expr` with every subexpression, and then itself, replaced by what `by` makes of it.
pub(super) fn substitute_after(expr: &ScalarExpr, by: &dyn Fn(ScalarExpr) -> ScalarExpr) -> ScalarExpr {
    let each = |list: &[ScalarExpr]| list.iter().map(|e| substitute_after(e, by)).collect::<Vec<_>>();
    let one = |e: &ScalarExpr| substitute_after(e, by);
    let boxed = |e: &ScalarExpr| Box::new(one(e));
    by(match expr {
        ScalarExpr::Column(column) => ScalarExpr::Column(*column),
        ScalarExpr::Literal(literal) => ScalarExpr::Literal(literal.clone()),
        ScalarExpr::Binary { op, left, right } => {
            ScalarExpr::Binary { op: op.clone(), left: boxed(left), right: boxed(right) }
        }
        ScalarExpr::Not(arg) => ScalarExpr::Not(boxed(arg)),
        ScalarExpr::NullOnError(arg) => ScalarExpr::NullOnError(boxed(arg)),
        ScalarExpr::Negative(arg) => ScalarExpr::Negative(boxed(arg)),
        ScalarExpr::IsNull(arg) => ScalarExpr::IsNull(boxed(arg)),
        ScalarExpr::IsNotNull(arg) => ScalarExpr::IsNotNull(boxed(arg)),
        ScalarExpr::Case { operand, branches, otherwise } => ScalarExpr::Case {
            operand: operand.as_deref().map(boxed),
            branches: branches.iter().map(|(when, then)| (one(when), one(then))).collect(),
            otherwise: otherwise.as_deref().map(boxed),
        },
        ScalarExpr::Cast { arg, to, try_cast } => {
            ScalarExpr::Cast { arg: boxed(arg), to: to.clone(), try_cast: *try_cast }
        }
        ScalarExpr::InList { arg, list, negated } => {
            ScalarExpr::InList { arg: boxed(arg), list: each(list), negated: *negated }
        }
        ScalarExpr::Like { arg, pattern, negated, case_insensitive } => ScalarExpr::Like {
            arg: boxed(arg),
            pattern: boxed(pattern),
            negated: *negated,
            case_insensitive: *case_insensitive,
        },
        ScalarExpr::Function { name, args, return_type, nullable } => ScalarExpr::Function {
            name: name.clone(),
            args: each(args),
            return_type: return_type.clone(),
            nullable: *nullable,
        },
    })
}

/// `arg::to`. Row numbers are int8 with us and unsigned in DataFusion's plans; the way there and back is no cast.
fn cast(arg: ScalarExpr, to: DataType, try_cast: bool) -> ScalarExpr {
    match arg {
        ScalarExpr::Cast { arg, to: DataType::UInt64, .. } if to == DataType::Int64 => *arg,
        arg => ScalarExpr::Cast { arg: Box::new(arg), to, try_cast },
    }
}

/// `expr` over the outputs of `projection`, as an expression over its inputs.
pub(super) fn through(expr: &ScalarExpr, projection: Option<&[ScalarExpr]>) -> ScalarExpr {
    match projection {
        Some(projection) => substitute(expr, &|column| projection[column].clone()),
        None => expr.clone(),
    }
}

/// Costs nothing to evaluate twice.
pub(super) fn is_trivial(expr: &ScalarExpr) -> bool {
    matches!(expr, ScalarExpr::Column(_) | ScalarExpr::Literal(_))
}

pub(super) fn as_column(expr: &ScalarExpr) -> Option<usize> {
    match expr {
        ScalarExpr::Column(column) => Some(*column),
        _ => None,
    }
}

pub(super) fn and(left: Option<ScalarExpr>, right: Option<ScalarExpr>) -> Option<ScalarExpr> {
    match (left, right) {
        (Some(left), Some(right)) => Some(ScalarExpr::binary("AND", left, right)),
        (one, None) | (None, one) => one,
    }
}

/// The parts of a conjunction.
pub(super) fn conjuncts(expr: &ScalarExpr) -> Vec<&ScalarExpr> {
    match expr {
        ScalarExpr::Binary { op, left, right } if op == "AND" => {
            conjuncts(left).into_iter().chain(conjuncts(right)).collect()
        }
        other => vec![other],
    }
}

/// `(column, c)` if `expr` is the column plus c microseconds.
pub(super) fn column_plus_interval(expr: &ScalarExpr) -> Option<(usize, i64)> {
    match expr {
        ScalarExpr::Column(column) => Some((*column, 0)),
        ScalarExpr::Binary { op, left, right } if op == "+" || op == "-" => {
            let (column, before) = column_plus_interval(left)?;
            let by = interval_us(right)?;
            let by = if op == "-" { by.checked_neg()? } else { by };
            Some((column, before.checked_add(by)?))
        }
        _ => None,
    }
}

fn interval_us(expr: &ScalarExpr) -> Option<i64> {
    match expr {
        // Days are 24 hours here: timestamps carry no zone.
        ScalarExpr::Literal(Literal::Interval { months: 0, days, nanoseconds }) if nanoseconds % 1_000 == 0 => {
            i64::from(*days).checked_mul(86_400_000_000)?.checked_add(nanoseconds / 1_000)
        }
        ScalarExpr::Cast { arg, .. } => interval_us(arg),
        _ => None,
    }
}

/// How `expr` reads in EXPLAIN.
pub(super) fn show(expr: &ScalarExpr, input: &Schema) -> String {
    let inner = |e: &ScalarExpr| show(e, input);
    let operand = |e: &ScalarExpr| match e {
        ScalarExpr::Binary { .. } => format!("({})", inner(e)),
        _ => inner(e),
    };
    let list = |exprs: &[ScalarExpr]| exprs.iter().map(inner).collect::<Vec<_>>().join(", ");
    let not = |negated: &bool| if *negated { "not " } else { "" };
    match expr {
        ScalarExpr::Column(column) => input.field(*column).name().clone(),
        ScalarExpr::Literal(literal) => show_literal(literal),
        ScalarExpr::Binary { op, left, right } if op == "AND" => {
            format!("{} and {}", inner(left), inner(right))
        }
        ScalarExpr::Binary { op, left, right } => {
            format!("{} {} {}", operand(left), op.to_lowercase(), operand(right))
        }
        ScalarExpr::Not(arg) => format!("not {}", operand(arg)),
        ScalarExpr::Negative(arg) => format!("-{}", operand(arg)),
        ScalarExpr::IsNull(arg) => format!("{} is null", operand(arg)),
        ScalarExpr::IsNotNull(arg) => format!("{} is not null", operand(arg)),
        ScalarExpr::Case { .. } => "case …".into(),
        ScalarExpr::Cast { arg, to, .. } => format!("{}::{}", operand(arg), crate::type_name(to)),
        ScalarExpr::InList { arg, list: values, negated } => {
            format!("{} {}in ({})", operand(arg), not(negated), list(values))
        }
        ScalarExpr::Like { arg, pattern, negated, case_insensitive } => {
            let like = if *case_insensitive { "ilike" } else { "like" };
            format!("{} {}{like} {}", operand(arg), not(negated), inner(pattern))
        }
        ScalarExpr::Function { name, args, .. } => format!("{name}({})", list(args)),
        // What is computed, not what becomes of failures.
        ScalarExpr::NullOnError(arg) => inner(arg),
    }
}

fn show_literal(literal: &Literal) -> String {
    match literal {
        Literal::Null(_) => "null".into(),
        Literal::Boolean(value) => value.to_string(),
        Literal::Int { value, .. } => value.to_string(),
        Literal::UInt { value, .. } => value.to_string(),
        Literal::Float { bits, .. } => f64::from_bits(*bits).to_string(),
        Literal::Utf8(text) => format!("'{}'", text.replace('\'', "''")),
        Literal::Binary(bytes) => format!("<{} bytes>", bytes.len()),
        Literal::Decimal { value, scale, .. } => show_decimal(value, *scale),
        Literal::Interval { months, days, nanoseconds } => {
            let mut parts = vec![];
            if *months != 0 {
                parts.push(format!("{months} months"));
            }
            if *days != 0 {
                parts.push(format!("{days} days"));
            }
            if *nanoseconds != 0 || parts.is_empty() {
                parts.push(super::text::duration(nanoseconds / 1_000));
            }
            format!("interval '{}'", parts.join(" "))
        }
        Literal::Ipc { .. } => "<constant>".into(),
    }
}

/// An unscaled decimal with its point.
fn show_decimal(unscaled: &str, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else { return format!("{unscaled}e{}", -i32::from(scale)) };
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    if scale == 0 || digits.contains('.') {
        return unscaled.to_string();
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}
