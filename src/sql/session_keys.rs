//! `SESSION(t, ts, gap) … GROUP BY k, window_start, window_end` without PARTITION BY: sessions are per k.
//!
//! Only where the session is the whole FROM of the grouping SELECT; elsewhere no PARTITION BY means one session over
//! all rows. Keys that are expressions can't be columns of the input and are refused with a hint.

use sqlparser::ast::{self, Expr, GroupByExpr, SelectItem, SetExpr, Spanned};

use crate::error::Failure;
use crate::tokens::Parsed;
use crate::window_call::{self, WindowCallKind, column_name, unqualified};

/// The columns a window table function adds.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

pub(crate) fn infer(query: &mut ast::Query) -> Parsed<()> {
    infer_in(&mut query.body)
}

fn infer_in(body: &mut SetExpr) -> Parsed<()> {
    match body {
        SetExpr::Select(select) => infer_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            infer_in(left)?;
            infer_in(right)
        }
        _ => Ok(()),
    }
}

fn infer_select(select: &mut ast::Select) -> Parsed<()> {
    let [from] = select.from.as_mut_slice() else { return Ok(()) };
    if !from.joins.is_empty() {
        return Ok(());
    }
    let Some(call) = window_call::interpret(&from.relation) else { return Ok(()) };
    let mut call = call?;
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(()) };
    if call.kind != WindowCallKind::Session || !call.partition_by.is_empty() {
        return Ok(());
    }
    let keys: Vec<&Expr> = keys.iter().map(|key| resolve_ordinal(key, &select.projection)).collect();
    let is_window_column = |key: &&Expr| column_name(key).is_some_and(|name| WINDOW_COLUMNS.contains(&name.as_str()));
    if !keys.iter().any(is_window_column) {
        return Ok(());
    }
    for key in keys.into_iter().filter(|key| !is_window_column(key)) {
        let column = unqualified(key).ok_or_else(|| {
            Failure::unsupported(
                key.span().start,
                "sessions grouped by an expression need PARTITION BY",
                "Compute the key in a subquery: SESSION((SELECT *, expr AS k FROM t), …) GROUP BY k, ….",
            )
        })?;
        call.partition_by.push(column);
    }
    from.relation = call.into_factor();
    Ok(())
}

/// `GROUP BY 1` names the first item of the SELECT list.
fn resolve_ordinal<'e>(key: &'e Expr, projection: &'e [SelectItem]) -> &'e Expr {
    if let Expr::Value(value) = key
        && let ast::Value::Number(digits, _) = &value.value
        && let Some(position) = digits.to_string().parse::<usize>().ok().and_then(|n| n.checked_sub(1))
        && let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = projection.get(position)
    {
        return expr;
    }
    key
}
