//! OVER (…): ROW_NUMBER alone is a top-N without a bound; everything else by recompute of the touched partitions.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::{Expr, Window};
use kernels::{RecomputeCall, RecomputeKind, RecomputeSpec, ScalarExpr};
use operators::spec::OperatorSpec;

use super::graph::{Graph, Kept, Projected, field};
use super::properties::Properties;
use super::text::keys;
use super::top_n;
use crate::PlanError;

pub(super) fn convert(graph: &mut Graph<'_>, window: &Window) -> Result<usize, PlanError> {
    let mut node = super::convert(graph, &window.input)?;
    if let Some(number) = top_n::row_number(window) {
        return top_n::ranked(graph, node, window, number, None);
    }
    let width = window.input.schema().fields().len();
    // One recompute per distinct PARTITION BY; their columns are brought into the order of the calls at the end.
    let mut order = vec![];
    let mut remaining: Vec<usize> = (0..window.window_expr.len()).collect();
    while let Some(first) = remaining.first() {
        let partition = &call_of(&window.window_expr[*first])?.params.partition_by;
        let mut same = vec![];
        let mut rest = vec![];
        for index in &remaining {
            let matches = &call_of(&window.window_expr[*index])?.params.partition_by == partition;
            if matches { same.push(*index) } else { rest.push(*index) }
        }
        node = recompute(graph, node, window, partition, &same)?;
        order.extend(same);
        remaining = rest;
    }
    let fields = graph.schema(node).fields().clone();
    let mut projection: Vec<Projected> = (0..width).map(|c| (ScalarExpr::Column(c), fields[c].clone())).collect();
    for call in 0..window.window_expr.len() {
        let place = order.iter().position(|o| *o == call).expect("every call was placed");
        projection.push((ScalarExpr::Column(width + place), fields[width + place].clone()));
    }
    Ok(graph.filter_project(node, None, Some(projection)))
}

fn call_of(expr: &Expr) -> Result<&WindowFunction, PlanError> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::WindowFunction(call) => Ok(call),
        _ => Err(PlanError::internal("window expressions are window calls")),
    }
}

/// Appends the columns of `calls` (indices into the node's expressions) to those of `input`.
fn recompute(
    graph: &mut Graph<'_>,
    input: usize,
    window: &Window,
    partition: &[Expr],
    calls: &[usize],
) -> Result<usize, PlanError> {
    let schema = window.input.schema();
    let mut slots = top_n::all_columns(graph, input);
    let visible = slots.columns.len();
    let same = |expr: &ScalarExpr| expr.clone();
    let key = partition.iter().map(|e| slots.add_logical(e, schema, &same)).collect::<Result<Vec<_>, _>>()?;
    let rows = graph.filter_project(input, None, Some(slots.columns));
    let below = graph.properties[rows].clone();
    let specs = calls
        .iter()
        .map(|index| RecomputeCall::from_window(&window.window_expr[*index], schema))
        .collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = specs.iter().map(|call| call.function.clone()).collect();
    let label = format!("recompute {}: {}", keys(&key, graph.schema(rows)), names.join(", "));
    if key.is_empty() {
        graph.notice(format!("\"{label}\" has no key: every change recomputes all rows"));
    }
    if below.endless {
        graph.notice(format!("the state of \"{label}\" grows without bound: it keeps all its input rows"));
    }
    let counted = graph.schema(rows).fields().len();
    let offset = window.input.schema().fields().len();
    let added = calls.iter().map(|index| {
        let f = window.schema.field(offset + index);
        field(f.name(), f.data_type().clone())
    });
    let fields: Vec<_> = graph.schema(rows).fields().iter().cloned().chain(added).collect();
    let output = Arc::new(Schema::new(fields));
    let times = below.times.iter().filter(|time| key.contains(&time.column)).cloned().collect();
    let properties = Properties {
        append_only: false,
        key: below.key.clone(),
        times,
        distribution: Some(key.clone()),
        endless: below.endless,
    };
    let edge = graph.exchanged(rows, key.clone());
    let spec = RecomputeSpec {
        key,
        kind: RecomputeKind::Window { calls: specs },
        input: graph.schema(rows).clone(),
        output: output.clone(),
    };
    let kept = Kept { text: "all input rows, for ever".into(), unbounded: below.endless };
    let node = graph.operator(label, OperatorSpec::Recompute(spec), vec![edge], output.clone(), properties, kept);
    let kept_columns = (0..visible).chain(counted..counted + calls.len());
    let projection = kept_columns.map(|c| (ScalarExpr::Column(c), output.fields()[c].clone())).collect();
    Ok(graph.filter_project(node, None, Some(projection)))
}
