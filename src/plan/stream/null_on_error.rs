//! `on_error = 'null'`, put into a finished graph: every operation that can fail gives NULL where it does, wherever it
//! stands (projections, conditions of filters and joins, arguments of aggregates), and so does a sum that leaves its type.

use dataflow::{Node, NodeKind};
use kernels::{MatchColumn, MatchSource, MatchSpec, RecomputeCall, RecomputeKind, ScalarExpr};
use operators::spec::OperatorSpec;

use super::scalar::substitute_after;

pub(super) fn apply(nodes: &mut [Node]) {
    for node in nodes {
        let NodeKind::Operator(spec) = &mut node.kind else { continue };
        match spec {
            OperatorSpec::FilterProject(spec) => {
                spec.predicate.iter_mut().for_each(guard);
                spec.projection.iter_mut().flatten().for_each(guard);
            }
            OperatorSpec::Join(spec) => spec.filter.iter_mut().for_each(guard),
            OperatorSpec::PartialAggregate(spec) | OperatorSpec::Aggregate(spec) => spec.null_on_error = true,
            OperatorSpec::SessionAggregate(spec) => spec.null_on_error = true,
            OperatorSpec::Recompute(spec) => match &mut spec.kind {
                RecomputeKind::Aggregate { calls } | RecomputeKind::Window { calls } => {
                    calls.iter_mut().for_each(guard_call);
                }
                RecomputeKind::Match(pattern) => guard_pattern(pattern),
            },
            OperatorSpec::MatchOnClose(spec) => match &mut spec.pattern.kind {
                RecomputeKind::Match(pattern) => guard_pattern(pattern),
                RecomputeKind::Aggregate { .. } | RecomputeKind::Window { .. } => {}
            },
            OperatorSpec::Window(_)
            | OperatorSpec::Session(_)
            | OperatorSpec::TopN(_)
            | OperatorSpec::Union
            | OperatorSpec::EmitOnClose(_)
            | OperatorSpec::IgnoreErrors
            | OperatorSpec::ErrorRows(_)
            | OperatorSpec::Materialize(_) => {}
        }
    }
}

fn guard_call(call: &mut RecomputeCall) {
    call.args.iter_mut().for_each(guard);
    call.filter.iter_mut().for_each(guard);
    call.order_by.iter_mut().for_each(|sort| guard(&mut sort.expr));
}

fn guard_pattern(pattern: &mut MatchSpec) {
    pattern.skip_faults_pass = true;
    let measures = pattern.columns.iter_mut().filter_map(|column| match column {
        MatchColumn::Measure(measure) => Some(measure),
        MatchColumn::Input(_) => None,
    });
    for expr in pattern.conditions.iter_mut().flatten().chain(measures) {
        guard(&mut expr.expr);
        for value in &mut expr.values {
            match &mut value.source {
                MatchSource::Row { expr, .. } => guard(expr),
                MatchSource::Aggregate { call, .. } => guard_call(call),
                MatchSource::MatchNumber | MatchSource::TimedOut => {}
            }
        }
    }
}

fn guard(expr: &mut ScalarExpr) {
    *expr = substitute_after(expr, &|expr| match can_fail(&expr) {
        true => ScalarExpr::NullOnError(Box::new(expr)),
        false => expr,
    });
}

/// Whether the operation itself can fail, beyond its operands.
fn can_fail(expr: &ScalarExpr) -> bool {
    match expr {
        ScalarExpr::Binary { op, .. } => {
            !matches!(op.as_str(), "AND" | "OR" | "=" | "!=" | "<>" | "<" | "<=" | ">" | ">=")
        }
        ScalarExpr::Negative(_) | ScalarExpr::Cast { .. } | ScalarExpr::Like { .. } | ScalarExpr::Function { .. } => {
            true
        }
        ScalarExpr::Column(_)
        | ScalarExpr::Literal(_)
        | ScalarExpr::Not(_)
        | ScalarExpr::IsNull(_)
        | ScalarExpr::IsNotNull(_)
        | ScalarExpr::Case { .. }
        | ScalarExpr::InList { .. }
        | ScalarExpr::NullOnError(_) => false,
    }
}
