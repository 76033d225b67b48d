//! Top-N: `ROW_NUMBER() OVER (…) <= k` in a filter, and ORDER BY … LIMIT.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use dataflow::NodeKind;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::Sort as SortExpr;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, Filter, Limit, LogicalPlan, Operator, Projection, Window};
use kernels::{ScalarExpr, from_logical};
use operators::spec::{CloseSpec, OperatorSpec, SortColumn, TopNSpec};

use super::graph::{Graph, Kept, Projected, field};
use super::properties::{Properties, TimeColumn};
use super::text::{bound, columns, keys};
use super::{Slots, project_all};
use crate::PlanError;

/// `WHERE rn <= k` over `ROW_NUMBER() … AS rn`: `None` if the filter is something else.
pub(super) fn numbered_filter(graph: &mut Graph<'_>, filter: &Filter) -> Result<Option<usize>, PlanError> {
    let schema = filter.input.schema();
    let parts = split_conjunction(&filter.predicate);
    let numbered = parts.iter().flat_map(|part| part.column_refs()).find_map(|column| {
        let position = schema.maybe_index_of_column(column)?;
        Some((position, window_below(&filter.input, position)?))
    });
    let Some((position, window)) = numbered else { return Ok(None) };
    let number = row_number(window).expect("window_below found it");
    let is_number = |expr: &Expr| is_column_at(expr, schema, position);
    let Some(limit) = parts.iter().filter_map(|part| upper_bound(part, &is_number)).min() else { return Ok(None) };
    let input = super::convert(graph, &window.input)?;
    let node = ranked(graph, input, window, number, Some(limit))?;
    let node = above_window(graph, &filter.input, node)?;
    // Whatever `≤ limit` doesn't say stays a filter; the row numbers are those of the partition.
    let rest = parts.into_iter().filter(|part| !says_only_at_most(part, &is_number, limit));
    let rest = rest.cloned().reduce(Expr::and).map(|rest| from_logical(&rest, schema)).transpose()?;
    Ok(Some(match rest {
        Some(rest) => graph.filter_project(node, Some(rest), None),
        None => node,
    }))
}

/// The ROW_NUMBER that column `position` of `plan` is, through aliases and projections.
fn window_below(plan: &LogicalPlan, position: usize) -> Option<&Window> {
    match plan {
        LogicalPlan::Window(window) if position == window.input.schema().fields().len() => {
            row_number(window).map(|_| window)
        }
        LogicalPlan::SubqueryAlias(alias) => window_below(&alias.input, position),
        LogicalPlan::Projection(projection) => {
            let schema = projection.input.schema();
            let width = schema.fields().len();
            let below = (0..width).find(|below| is_column_at(&projection.expr[position], schema, *below))?;
            window_below(&projection.input, below)
        }
        _ => None,
    }
}

/// The projections between the window, which is `node`, and `plan`.
fn above_window(graph: &mut Graph<'_>, plan: &LogicalPlan, node: usize) -> Result<usize, PlanError> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => above_window(graph, &alias.input, node),
        LogicalPlan::Projection(projection) => {
            let below = above_window(graph, &projection.input, node)?;
            let projected = project_all(&projection.expr, projection.input.schema(), &projection.schema)?;
            Ok(graph.filter_project(below, None, Some(projected)))
        }
        _ => Ok(node),
    }
}

/// Whether `expr` is that column, under names and casts.
fn is_column_at(expr: &Expr, schema: &datafusion_common::DFSchema, position: usize) -> bool {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column) == Some(position),
        Expr::Alias(alias) => is_column_at(&alias.expr, schema, position),
        Expr::Cast(cast) => is_column_at(&cast.expr, schema, position),
        _ => false,
    }
}

/// The parameters of a lone ROW_NUMBER().
pub(super) fn row_number(window: &Window) -> Option<&datafusion_expr::expr::WindowFunction> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let expr = match expr {
        Expr::Alias(alias) => &alias.expr,
        other => other,
    };
    match expr {
        Expr::WindowFunction(call) if call.fun.name() == "row_number" => Some(call),
        _ => None,
    }
}

/// The k of `rn <= k`, `rn < k + 1`, `rn = k`, `k >= rn`.
fn upper_bound(part: &Expr, is_number: &dyn Fn(&Expr) -> bool) -> Option<u64> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
    let (op, value) = match (is_number(left), is_number(right)) {
        (true, false) => (*op, constant(right)?),
        (false, true) => (op.swap()?, constant(left)?),
        _ => return None,
    };
    let limit = match op {
        Operator::LtEq | Operator::Eq => value,
        Operator::Lt => value.checked_sub(1)?,
        _ => return None,
    };
    Some(u64::try_from(limit).unwrap_or(0))
}

fn says_only_at_most(part: &Expr, is_number: &dyn Fn(&Expr) -> bool, limit: u64) -> bool {
    let equality = matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }));
    // `rn = 1` and `rn <= 1` are the same.
    upper_bound(part, is_number).is_some_and(|k| k >= limit && (!equality || k == 1))
}

fn constant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Cast(cast) => constant(&cast.expr),
        Expr::Literal(value, _) => match value {
            ScalarValue::Int64(Some(v)) => Some(*v),
            ScalarValue::Int32(Some(v)) => Some(i64::from(*v)),
            ScalarValue::UInt64(Some(v)) => i64::try_from(*v).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// ROW_NUMBER with or without a bound: input columns, then the number.
pub(super) fn ranked(
    graph: &mut Graph<'_>,
    input: usize,
    window: &Window,
    number: &datafusion_expr::expr::WindowFunction,
    limit: Option<u64>,
) -> Result<usize, PlanError> {
    let schema = window.input.schema();
    let mut slots = all_columns(graph, input);
    let width = slots.columns.len();
    let same = |expr: &ScalarExpr| expr.clone();
    let params = &number.params;
    let partition_by =
        params.partition_by.iter().map(|e| slots.add_logical(e, schema, &same)).collect::<Result<Vec<_>, _>>()?;
    let order_by = sort_columns(&params.order_by, &mut slots, schema)?;
    let rows = graph.filter_project(input, None, Some(slots.columns));
    let counted = graph.schema(rows).fields().len();
    let name = window.schema.field(width).name().clone();
    let number_type = window.schema.field(width).data_type().clone();
    let node = push(graph, rows, partition_by, order_by, 0, limit, true);
    // Helper columns go, and ROW_NUMBER gets the type that the planner gave it (unsigned in DataFusion).
    let fields: Vec<_> = graph.schema(node).fields().iter().cloned().collect();
    let mut projection: Vec<Projected> = (0..width).map(|c| (ScalarExpr::Column(c), fields[c].clone())).collect();
    let counter = ScalarExpr::Column(counted);
    let counter = match number_type {
        DataType::Int64 => counter,
        other => ScalarExpr::Cast { arg: Box::new(counter), to: other, try_cast: false },
    };
    projection.push((counter, field(name, window.schema.field(width).data_type().clone())));
    Ok(graph.filter_project(node, None, Some(projection)))
}

/// A projection over what may be a top-N whose number nobody reads any more: then it isn't computed.
pub(super) fn project(graph: &mut Graph<'_>, input: usize, projection: Vec<Projected>) -> usize {
    let node = graph.filter_project(input, None, Some(projection));
    let NodeKind::Operator(OperatorSpec::FilterProject(spec)) = &graph.nodes[node].kind else { return node };
    let Some(exprs) = spec.projection.clone() else { return node };
    let reads = exprs.iter().chain(&spec.predicate).flat_map(|e| e.columns()).max();
    let top_n = graph.nodes[node].inputs[0].from;
    let numbered = match &graph.nodes[top_n].kind {
        NodeKind::Operator(OperatorSpec::TopN(spec)) => spec.with_row_number,
        _ => false,
    };
    // The number is the last column. What is no top-N may have no column at all (`SELECT 1 FROM t`).
    let is_counter = |column: usize| column + 1 >= graph.schema(top_n).fields().len();
    if !numbered || reads.is_some_and(is_counter) {
        return node;
    }
    let fields = graph.schema(node).fields().clone();
    let predicate = spec.predicate.clone();
    graph.truncate_after(top_n);
    let NodeKind::Operator(OperatorSpec::TopN(top)) = graph.nodes[top_n].kind.clone() else {
        unreachable!("checked above")
    };
    let below = graph.nodes[top_n].inputs[0].from;
    graph.truncate_after(below);
    let top = push(graph, below, top.partition_by, top.order_by, top.offset, top.limit, false);
    graph.filter_project(top, predicate, Some(exprs.into_iter().zip(fields.iter().cloned()).collect()))
}

/// LIMIT, with the ORDER BY below it if there is one.
pub(super) fn limit(graph: &mut Graph<'_>, limit: &Limit) -> Result<usize, PlanError> {
    let amount = |expr: Option<&Expr>| match expr {
        None => Ok(None),
        Some(Expr::Literal(value, _)) if value.is_null() => Ok(None),
        Some(expr) => match constant(expr).map(u64::try_from) {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => {
                Err(PlanError::invalid(types::SqlState::InvalidParameterValue, "LIMIT and OFFSET must not be negative"))
            }
            None => Err(PlanError::unsupported(
                "LIMIT and OFFSET of a materialized view must be constants",
                "Write the number.",
            )),
        },
    };
    let fetch = amount(limit.fetch.as_deref())?;
    let skip = amount(limit.skip.as_deref())?.unwrap_or(0);
    ordered_limit(graph, &limit.input, skip, fetch)
}

fn ordered_limit(
    graph: &mut Graph<'_>,
    plan: &LogicalPlan,
    offset: u64,
    limit: Option<u64>,
) -> Result<usize, PlanError> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => ordered_limit(graph, &alias.input, offset, limit),
        // A projection keeps rows and their order, so the limit goes below it.
        LogicalPlan::Projection(Projection { expr, input, schema, .. }) if has_sort(input) => {
            let node = ordered_limit(graph, input, offset, limit)?;
            let projected = project_all(expr, input.schema(), schema)?;
            Ok(graph.filter_project(node, None, Some(projected)))
        }
        LogicalPlan::Sort(sort) => {
            let input = super::convert(graph, &sort.input)?;
            let mut slots = all_columns(graph, input);
            let width = slots.columns.len();
            let order_by = sort_columns(&sort.expr, &mut slots, sort.input.schema())?;
            let rows = graph.filter_project(input, None, Some(slots.columns));
            let node = push(graph, rows, vec![], order_by, offset, limit, false);
            let fields: Vec<_> = graph.schema(node).fields().iter().cloned().collect();
            let visible = (0..width).map(|c| (ScalarExpr::Column(c), fields[c].clone())).collect();
            Ok(graph.filter_project(node, None, Some(visible)))
        }
        other => {
            let input = super::convert(graph, other)?;
            Ok(push(graph, input, vec![], vec![], offset, limit, false))
        }
    }
}

fn has_sort(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(p) => has_sort(&p.input),
        LogicalPlan::SubqueryAlias(a) => has_sort(&a.input),
        _ => false,
    }
}

pub(super) fn all_columns(graph: &Graph<'_>, node: usize) -> Slots {
    let fields = graph.schema(node).fields().iter().enumerate();
    Slots { columns: fields.map(|(c, f)| (ScalarExpr::Column(c), f.clone())).collect() }
}

fn sort_columns(
    sorts: &[SortExpr],
    slots: &mut Slots,
    schema: &datafusion_common::DFSchema,
) -> Result<Vec<SortColumn>, PlanError> {
    let same = |expr: &ScalarExpr| expr.clone();
    sorts
        .iter()
        .map(|sort| {
            let column = slots.add_logical(&sort.expr, schema, &same)?;
            Ok(SortColumn { column, descending: !sort.asc, nulls_first: sort.nulls_first })
        })
        .collect()
}

/// A top-N over node `rows`.
pub(super) fn push(
    graph: &mut Graph<'_>,
    rows: usize,
    partition_by: Vec<usize>,
    order_by: Vec<SortColumn>,
    offset: u64,
    limit: Option<u64>,
    with_row_number: bool,
) -> usize {
    let input = graph.schema(rows).clone();
    let below = graph.properties[rows].clone();
    let mut fields: Vec<_> = input.fields().iter().cloned().collect();
    if with_row_number {
        fields.push(field("row_number", DataType::Int64));
    }
    let output = Arc::new(Schema::new(fields));
    let label = label(&input, &partition_by, &order_by, offset, limit);
    let times: Vec<TimeColumn> =
        below.times.iter().filter(|time| partition_by.contains(&time.column)).cloned().collect();
    let close = close_spec(&times);
    let kept = kept(graph, &label, close.as_ref(), &input, &below, limit);
    let number = input.fields().len();
    let numbered = || with_row_number.then(|| partition_by.iter().copied().chain([number]).collect::<Vec<_>>());
    let key = match limit {
        Some(1) => Some(partition_by.clone()),
        _ => below.key.clone().or_else(numbered),
    };
    let properties =
        Properties { append_only: false, key, times, distribution: Some(partition_by.clone()), endless: below.endless };
    let edge = graph.exchanged(rows, partition_by.clone());
    let spec = OperatorSpec::TopN(TopNSpec {
        partition_by,
        order_by,
        offset,
        limit,
        with_row_number,
        append_only: below.append_only,
        input,
        output: output.clone(),
        close,
    });
    graph.operator(label, spec, vec![edge], output, properties, kept)
}

fn close_spec(times: &[TimeColumn]) -> Option<CloseSpec> {
    let end = times.iter().find(|t| t.role == super::properties::TimeRole::WindowEnd).or_else(|| times.first())?;
    Some(CloseSpec {
        column: end.column,
        bound: end.close.clone(),
        retain: end.retain.clone(),
        inclusive: end.inclusive,
        emit_on_close: false,
    })
}

fn label(input: &Schema, partition_by: &[usize], order_by: &[SortColumn], offset: u64, limit: Option<u64>) -> String {
    let order = |sort: &SortColumn| {
        let direction = if sort.descending { " desc" } else { "" };
        format!("{}{direction}", input.field(sort.column).name())
    };
    let mut text = match limit {
        Some(limit) if partition_by.is_empty() => format!("top {limit}"),
        Some(limit) => format!("top {limit} per {}", columns(partition_by, input)),
        None => format!("row number over {}", keys(partition_by, input)),
    };
    if !order_by.is_empty() {
        text.push_str(&format!(" by {}", order_by.iter().map(order).collect::<Vec<_>>().join(", ")));
    }
    if offset > 0 {
        text.push_str(&format!(" after {offset}"));
    }
    text
}

fn kept(
    graph: &mut Graph<'_>,
    label: &str,
    close: Option<&CloseSpec>,
    input: &Schema,
    below: &Properties,
    limit: Option<u64>,
) -> Kept {
    if let Some(close) = close {
        let name = input.field(close.column).name();
        let passed = if close.inclusive { "<=" } else { "<" };
        return Kept::bounded(format!("all input rows, until {name} {passed} {}", bound(&close.retain, graph.catalog)));
    }
    let shown_only = below.append_only && limit.is_some();
    let text = if shown_only { "the rows that are shown" } else { "all input rows, for ever" };
    let unbounded = below.endless && !shown_only;
    if unbounded {
        graph.notice(format!("the state of \"{label}\" grows without bound: rows that may move up must be at hand"));
    }
    Kept { text: text.into(), unbounded }
}

#[cfg(test)]
mod tests {
    use crate::ViewPlanOptions;
    use crate::tests::view;

    #[test]
    fn constants_over_a_relation_whose_columns_nobody_reads() {
        let planned = view("SELECT 1 AS one FROM bid", ViewPlanOptions::default());
        assert_eq!(planned.expect("it can be planned").columns.len(), 1);
    }
}
