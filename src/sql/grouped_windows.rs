//! Grouped windows, `GROUP BY TUMBLE(ts, INTERVAL …), k` with `TUMBLE_START(ts, …)` and its kin, rewritten on the tree
//! into window table functions: FROM becomes the windowed relation, the call in GROUP BY becomes `window_start,
//! window_end`, `X_START` → `window_start`, `X_END` → `window_end`, `X_ROWTIME` → `window_time`.
//!
//! WHERE moves into the windowed relation, since a session is made of the rows that pass it. The alias (or name) of the
//! relation stays usable outside. SESSION takes the other grouping columns as its partition.

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderByKind, SelectItem, SetExpr,
    Spanned, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Location;
use types::{SqlError, SqlState};

use crate::error::Failure;
use crate::query::visit_all;
use crate::session_keys::WINDOW_COLUMNS;
use crate::tokens::Parsed;
use crate::window_call::{WindowCall, WindowCallKind, column_name, select_star_from, unqualified};

/// Rewrites the SELECTs that are this query's own; subqueries have been visited before.
pub(crate) fn rewrite(query: &mut ast::Query) -> Parsed<()> {
    let rewritten = rewrite_body(&mut query.body)?;
    // ORDER BY belongs to the query, but names the windows of its only SELECT.
    if let (Some(window), Some(order_by)) = (rewritten, query.order_by.as_mut())
        && let OrderByKind::Expressions(items) = &mut order_by.kind
    {
        for item in items {
            window.replace_in(&mut item.expr)?;
        }
    }
    Ok(())
}

/// The window of the body if it is one SELECT with a grouped window.
fn rewrite_body(body: &mut SetExpr) -> Parsed<Option<GroupedWindow>> {
    match body {
        SetExpr::Select(select) => rewrite_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            rewrite_body(left)?;
            rewrite_body(right)?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn rewrite_select(select: &mut ast::Select) -> Parsed<Option<GroupedWindow>> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(None) };
    let mut windows = keys.iter().enumerate().filter_map(|(n, key)| Some((n, GroupedWindow::of(key)?)));
    let Some((position, window)) = windows.next() else { return Ok(None) };
    if windows.next().is_some() {
        return Err(Failure::invalid(
            window.place,
            SqlState::WindowingError,
            "GROUP BY cannot have more than one grouped window",
        ));
    }
    drop(windows);
    let time_name = column_name(&window.time).ok_or_else(|| {
        Failure::invalid(
            window.place,
            SqlState::InvalidParameterValue,
            "the time argument of a window must be a column",
        )
    })?;
    let window = GroupedWindow { time_name, ..window };

    name_window_columns(&mut select.projection);
    let mut uses_window_time = false;
    for item in &mut select.projection {
        uses_window_time |= window.replace_in(item)?;
    }
    uses_window_time |= window.replace_in(&mut select.having)?;
    uses_window_time |= window.replace_in(&mut select.qualify)?;

    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return Ok(None) };
    keys.remove(position);
    let partition_by = window.partition_of(keys)?;
    let window_columns = &WINDOW_COLUMNS[..if uses_window_time { 3 } else { 2 }];
    keys.splice(position..position, window_columns.iter().map(|name| Expr::Identifier(Ident::new(*name))));
    window.put_into_from(select, partition_by)?;
    Ok(Some(window))
}

/// The call found in GROUP BY.
struct GroupedWindow {
    kind: WindowCallKind,
    place: Location,
    time: Expr,
    /// Folded, without qualifier.
    time_name: String,
    intervals: Vec<Expr>,
}

impl GroupedWindow {
    fn of(key: &Expr) -> Option<GroupedWindow> {
        let Expr::Function(function) = key else { return None };
        let kind = WindowCallKind::of(&function.name)?;
        let mut args = arguments(function)?.into_iter();
        let time = args.next()?;
        let place = function.name.span().start;
        Some(GroupedWindow { kind, place, time, time_name: String::new(), intervals: args.collect() })
    }

    /// Replaces `X_START(…)` and so on by columns. True if `window_time` was among them.
    fn replace_in(&self, node: &mut impl VisitMut) -> Parsed<bool> {
        let mut visitor = Replace { window: self, uses_window_time: false };
        visit_all(node, &mut visitor)?;
        Ok(visitor.uses_window_time)
    }

    /// The other grouping columns, for SESSION.
    fn partition_of(&self, keys: &[Expr]) -> Parsed<Vec<Expr>> {
        if self.kind != WindowCallKind::Session {
            return Ok(vec![]);
        }
        let column = |key: &Expr| {
            unqualified(key).ok_or_else(|| {
                Failure::unsupported(
                    key.span().start,
                    "sessions grouped by an expression are not supported",
                    "Compute the key in a subquery and group by its column.",
                )
            })
        };
        keys.iter().map(column).collect()
    }

    fn put_into_from(&self, select: &mut ast::Select, partition_by: Vec<Expr>) -> Parsed<()> {
        let joined = select.from.len() != 1 || !select.from[0].joins.is_empty();
        let alias = match select.from.first().map(|from| &from.relation) {
            _ if joined => None,
            Some(TableFactor::Table { name, alias, args: None, .. }) => {
                let own_name = name.0.last().and_then(|part| part.as_ident()).cloned();
                alias.clone().or_else(|| Some(alias_named(own_name?)))
            }
            Some(TableFactor::Derived { alias, .. }) => {
                alias.clone().or_else(|| Some(alias_named(Ident::new("input"))))
            }
            _ => None,
        };
        let Some(alias) = alias else {
            return Err(Failure::unsupported(
                self.place,
                format!("{}(…) in GROUP BY needs one table or subquery in FROM", self.kind.name().to_uppercase()),
                "Put the join into a subquery or view, or use the window as a table function in FROM.",
            ));
        };
        let relation = &mut select.from[0].relation;
        let mut input = select_star_from(relation.clone());
        if let SetExpr::Select(inner) = input.body.as_mut() {
            inner.selection = select.selection.take();
        }
        let call = WindowCall {
            kind: self.kind,
            input: Box::new(input),
            time_column: unqualified(&self.time).expect("checked to be a column"),
            intervals: self.intervals.clone(),
            partition_by,
            alias: Some(TableAlias { columns: vec![], ..alias }),
        };
        let factor = call.into_factor();
        // Checks the number of intervals.
        crate::window_call::interpret(&factor).expect("a window call")?;
        *relation = factor;
        Ok(())
    }
}

fn alias_named(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: vec![], at: None }
}

/// A bare `TUMBLE_START(…)` keeps its function's name as the column name, as Postgres names calls.
fn name_window_columns(projection: &mut [SelectItem]) {
    for item in projection {
        if let SelectItem::UnnamedExpr(Expr::Function(function)) = item
            && let Some((kind, column)) = auxiliary(&function.name)
        {
            let suffix = column.trim_start_matches("window_");
            let suffix = if suffix == "time" { "rowtime" } else { suffix };
            let alias = Ident::new(format!("{}_{suffix}", kind.name()));
            *item = SelectItem::ExprWithAlias { expr: Expr::Function(function.clone()), alias };
        }
    }
}

/// `TUMBLE_START` → (Tumble, "window_start").
fn auxiliary(name: &ast::ObjectName) -> Option<(WindowCallKind, &'static str)> {
    let [ast::ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return None };
    let name = name.value.to_lowercase();
    let (kind, suffix) = name.split_once('_')?;
    let kind = WindowCallKind::ALL.into_iter().find(|k| k.name() == kind)?;
    let column = match suffix {
        "start" => "window_start",
        "end" => "window_end",
        "rowtime" => "window_time",
        _ => return None,
    };
    Some((kind, column))
}

fn arguments(function: &ast::Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let expr = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(expr).collect()
}

struct Replace<'w> {
    window: &'w GroupedWindow,
    uses_window_time: bool,
}

impl VisitorMut for Replace<'_> {
    type Break = Box<Failure>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(function) = &*expr else { return ControlFlow::Continue(()) };
        let Some((kind, column)) = auxiliary(&function.name) else { return ControlFlow::Continue(()) };
        let args = arguments(function).unwrap_or_default();
        let same_time = args.first().and_then(column_name).is_some_and(|name| name == self.window.time_name);
        if kind != self.window.kind || !same_time || args[1..] != self.window.intervals[..] {
            let error = SqlError::new(
                SqlState::GroupingError,
                format!("{}(…) does not match the window in GROUP BY", function.name.to_string().to_uppercase()),
            )
            .with_hint("Give it the same time column and intervals as in GROUP BY.");
            return ControlFlow::Break(Box::new(Failure::from(error).placed(function.name.span().start)));
        }
        self.uses_window_time |= column == "window_time";
        *expr = Expr::Identifier(Ident::new(column));
        ControlFlow::Continue(())
    }
}
