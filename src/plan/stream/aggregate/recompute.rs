//! Aggregates without an accumulator of ours: the group's rows are kept and its answers recomputed, all calls together.

use arrow::datatypes::SchemaRef;
use datafusion_expr::Aggregate;
use kernels::{RecomputeCall, RecomputeKind, RecomputeSpec, ScalarExpr};
use operators::spec::OperatorSpec;

use super::super::Slots;
use super::super::graph::{Graph, Kept};
use super::super::properties::{Properties, TimeColumn};
use super::super::scalar::substitute;
use super::super::text::keys as key_text;
use super::keep_one;
use crate::PlanError;

/// All calls together by recompute of the touched groups.
pub(super) fn convert(
    graph: &mut Graph<'_>,
    input: usize,
    aggregate: &Aggregate,
    output: SchemaRef,
) -> Result<usize, PlanError> {
    let schema = aggregate.input.schema();
    let mut slots = Slots::default();
    let same = |expr: &ScalarExpr| expr.clone();
    let keys = aggregate
        .group_expr
        .iter()
        .map(|expr| slots.add_logical(expr, schema, &same))
        .collect::<Result<Vec<_>, _>>()?;
    let mut calls =
        aggregate.aggr_expr.iter().map(|e| RecomputeCall::from_aggregate(e, schema)).collect::<Result<Vec<_>, _>>()?;
    let source = graph.schema(input).clone();
    for call in &mut calls {
        let mut place = |expr: &mut ScalarExpr| {
            for column in expr.columns() {
                let f = source.field(column);
                slots.add(ScalarExpr::Column(column), f.name(), f.data_type().clone());
            }
            *expr = substitute(expr, &|column| {
                let find = |(e, _): &super::super::Projected| *e == ScalarExpr::Column(column);
                ScalarExpr::Column(slots.columns.iter().position(find).expect("just added"))
            });
        };
        call.args.iter_mut().for_each(&mut place);
        call.filter.iter_mut().for_each(&mut place);
        call.order_by.iter_mut().for_each(|sort| place(&mut sort.expr));
    }
    let names: Vec<String> = calls.iter().map(|c| c.function.clone()).collect();
    let rows = graph.filter_project(input, None, Some(keep_one(slots, &source)));
    let below = graph.properties[rows].clone();
    let label = format!("recompute {}: {}", key_text(&keys, graph.schema(rows)), names.join(", "));
    if keys.is_empty() {
        graph.notice(format!("\"{label}\" has no key: every change recomputes all rows"));
    }
    if below.endless {
        graph.notice(format!("the state of \"{label}\" grows without bound: it keeps all its input rows"));
    }
    let times = keys.iter().enumerate().filter_map(|(position, column)| {
        below.time(*column).map(|time| TimeColumn { column: position, ..time.clone() })
    });
    let positions: Vec<usize> = (0..keys.len()).collect();
    let properties = Properties {
        append_only: false,
        key: Some(positions.clone()),
        times: times.collect(),
        distribution: Some(positions),
        endless: below.endless,
    };
    let edge = graph.exchanged(rows, keys.clone());
    let spec = RecomputeSpec {
        key: keys,
        kind: RecomputeKind::Aggregate { calls },
        input: graph.schema(rows).clone(),
        output: output.clone(),
    };
    let kept = Kept { text: "all input rows, for ever".into(), unbounded: below.endless };
    Ok(graph.operator(label, OperatorSpec::Recompute(spec), vec![edge], output, properties, kept))
}
