//! Flink's spellings that the binder doesn't take, as expressions that it does.

use sql::ast::{self, Expr};

use super::catalog_syntax::{call, plain_arguments};

/// `FLOOR(t TO unit)` is `date_trunc`, `TIMESTAMPADD(unit, n, t)` is `t + n * INTERVAL '1 unit'`.
pub(super) fn rewrite(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Floor { expr, field: ast::CeilFloorKind::DateTimeField(unit) } => (*unit
            != ast::DateTimeField::NoDateTime)
            .then(|| call("date_trunc", vec![text(unit.to_string().to_lowercase()), expr.as_ref().clone()])),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("timestampadd") => {
            let ast::FunctionArguments::List(list) = &function.args else { return None };
            let arguments = plain_arguments(&list.args)?;
            let [Expr::Identifier(unit), count, time] = <[Expr; 3]>::try_from(arguments).ok()? else { return None };
            let interval = Expr::Interval(ast::Interval {
                value: Box::new(text(format!("1 {}", unit.value.to_lowercase()))),
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            });
            let added = binary(nested(count), ast::BinaryOperator::Multiply, interval);
            Some(nested(binary(nested(time), ast::BinaryOperator::Plus, nested(added))))
        }
        _ => None,
    }
}

fn text(text: String) -> Expr {
    Expr::Value(ast::Value::SingleQuotedString(text).into())
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn binary(left: Expr, op: ast::BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}
