//! MATCH_RECOGNIZE in a view.
//!
//! By default the rows of a partition are kept, and a partition that is touched is searched again; what leaves is the
//! difference. So the view equals the clause over all rows so far, whatever their order and changes. With EMIT ON WINDOW
//! CLOSE each row leaves once, when no row to come can change it.

use kernels::{MatchColumn, MatchExpr, MatchSource, MatchSpec, RecomputeSpec, ScalarExpr};
use operators::spec::{MatchOnCloseSpec, OperatorSpec};

use super::graph::{Graph, Kept};
use super::properties::{Properties, TimeColumn, TimeRole};
use super::text::{bound, keys};
use crate::PlanError;
use crate::match_node::MatchNode;

pub(super) fn convert(graph: &mut Graph<'_>, node: &MatchNode) -> Result<usize, PlanError> {
    let input = super::convert(graph, &node.input)?;
    let label = format!("match recognize {}: {}", keys(&node.key, graph.schema(input)), node.text);
    // Rows stay where their partition is.
    let place = |key: &usize| node.spec.columns.iter().position(|column| *column == MatchColumn::Input(*key));
    let distribution: Option<Vec<usize>> = node.key.iter().map(place).collect();
    match graph.emit_on_close {
        true => on_close(graph, node, input, label, distribution),
        false => updating(graph, node, input, label, distribution),
    }
}

fn updating(
    graph: &mut Graph<'_>,
    node: &MatchNode,
    input: usize,
    label: String,
    distribution: Option<Vec<usize>>,
) -> Result<usize, PlanError> {
    if node.spec.timed_out {
        return Err(PlanError::unsupported(
            "WITH TIMED OUT MATCHES in a materialized view needs EMIT ON WINDOW CLOSE",
            "Add EMIT ON WINDOW CLOSE: what has timed out depends on how far time has come.",
        ));
    }
    let endless = graph.properties[input].endless;
    if node.key.is_empty() {
        graph.notice(format!("\"{label}\" has no PARTITION BY: every change searches all rows again"));
    }
    if endless {
        graph.notice(format!("the state of \"{label}\" grows without bound: it keeps all its input rows"));
    }
    let properties = Properties { append_only: false, key: None, times: vec![], distribution, endless };
    let edge = graph.exchanged(input, node.key.clone());
    let kept = Kept { text: "all input rows, for ever".into(), unbounded: endless };
    let spec = node.recompute();
    let output = spec.output.clone();
    Ok(graph.operator(label, OperatorSpec::Recompute(spec), vec![edge], output, properties, kept))
}

fn on_close(
    graph: &mut Graph<'_>,
    node: &MatchNode,
    input: usize,
    label: String,
    distribution: Option<Vec<usize>>,
) -> Result<usize, PlanError> {
    let below = graph.properties[input].clone();
    let time = time_of(graph, node, input)?;
    let matched = &node.spec;
    let unbounded = matched.limit.is_none() && matched.pattern.unbounded();
    if unbounded {
        graph.notice(format!(
            "a match of \"{label}\" can stay open for ever and hold back those after it: WITHIN would bound it"
        ));
    }
    if matched.pattern.has_end_anchor() {
        graph.notice(format!("\"{label}\" asks for the end of its partitions, which is known when the input ends"));
    }
    let times = output_times(matched, &time);
    let name = graph.schema(input).field(time.column).name().clone();
    let kept = match matched.limit {
        Some(limit) => {
            let until = bound(&time.retain.delayed(limit.distance), graph.catalog);
            Kept::bounded(format!("rows that wait and rows of open matches, until {name} < {until}"))
        }
        None => Kept { text: "rows that wait and rows of open matches".into(), unbounded: below.endless && unbounded },
    };
    let properties = Properties { append_only: true, key: None, times, distribution, endless: below.endless };
    let edge = graph.exchanged(input, node.key.clone());
    let pattern: RecomputeSpec = node.recompute();
    let output = pattern.output.clone();
    let spec = MatchOnCloseSpec { pattern, time_column: time.column, bound: time.retain };
    let label = format!("{label}, emitted on close");
    Ok(graph.operator(label, OperatorSpec::MatchOnClose(spec), vec![edge], output, properties, kept))
}

/// The watermarked column that the rows are ordered by.
fn time_of(graph: &Graph<'_>, node: &MatchNode, input: usize) -> Result<TimeColumn, PlanError> {
    let below = &graph.properties[input];
    if !below.append_only {
        return Err(PlanError::unsupported(
            "EMIT ON WINDOW CLOSE over MATCH_RECOGNIZE needs an input that is never taken back",
            "Leave EMIT ON WINDOW CLOSE out: the view then follows its input, or read from a source or an APPEND ONLY table.",
        ));
    }
    let first = node.spec.order_by.first().filter(|order| !order.descending);
    let column = first.and_then(|order| super::scalar::as_column(&order.expr));
    let time = column.and_then(|column| below.time(column));
    time.cloned().ok_or_else(|| {
        let name = column.map_or("ts".to_string(), |column| graph.schema(input).field(column).name().clone());
        PlanError::NoWatermark {
            hint: format!("Declare WATERMARK FOR {name} in the source, and begin ORDER BY with {name}, ascending."),
        }
    })
}

/// Bounds of output columns that are times of rows of the match. A match that leaves later than under watermark w began at
/// w less its limit or later, unless it waited for rows and not for time.
fn output_times(matched: &MatchSpec, time: &TimeColumn) -> Vec<TimeColumn> {
    let looks_ahead = |expr: &MatchExpr| {
        let ahead = |source: &MatchSource| matches!(source, MatchSource::Row { shift, .. } if *shift > 0);
        expr.values.iter().any(|value| ahead(&value.source))
    };
    let measures = || {
        matched.columns.iter().filter_map(|column| match column {
            MatchColumn::Measure(measure) => Some(measure),
            MatchColumn::Input(_) => None,
        })
    };
    let waits = matched.conditions.iter().flatten().chain(measures()).any(looks_ahead);
    let Some(limit) = matched.limit.filter(|_| !waits && !matched.pattern.has_end_anchor()) else { return vec![] };
    let of_match = |column: &MatchColumn| match column {
        MatchColumn::Input(input) => *input == time.column,
        MatchColumn::Measure(measure) => match measure.values.as_slice() {
            [value] if measure.expr == ScalarExpr::Column(0) => matches!(
                &value.source,
                MatchSource::Row { shift: 0, expr, .. } if *expr == ScalarExpr::Column(time.column)
            ),
            _ => false,
        },
    };
    let found = matched.columns.iter().enumerate().filter(|(_, column)| of_match(column));
    found
        .map(|(column, _)| TimeColumn {
            column,
            close: time.close.delayed(limit.distance),
            retain: time.retain.delayed(limit.distance),
            inclusive: false,
            role: TimeRole::Time,
        })
        .collect()
}
