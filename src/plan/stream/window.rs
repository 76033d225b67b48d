//! Window table functions that stay operators of their own: rows with their window columns. Where an aggregate sits
//! on top, `aggregate.rs` takes the node back ([`peel`]) and fuses the two.

use arrow::datatypes::{Schema, SchemaRef};
use dataflow::{Edge, Exchange, NodeKind};
use kernels::{ScalarExpr, from_logical};
use operators::spec::{FilterProjectSpec, OperatorSpec, SessionClose, SessionSpec, WindowKind, WindowSpec};
use std::sync::Arc;

use super::graph::{Graph, Kept, field};
use super::properties::{Properties, TimeColumn, TimeRole};
use super::scalar::as_column;
use super::text::{bound, columns, duration};
use crate::PlanError;
use crate::window_node::{WINDOW_COLUMNS, WINDOW_TIME_BEFORE_END_US, WindowFunction, WindowNode, window_column_type};

pub(super) fn convert(graph: &mut Graph<'_>, window: &WindowNode) -> Result<usize, PlanError> {
    let input = super::convert(graph, &window.input)?;
    let column = |expr| -> Result<usize, PlanError> {
        as_column(&from_logical(expr, window.input.schema())?)
            .ok_or_else(|| PlanError::internal("window arguments are columns"))
    };
    let time_column = column(&window.time)?;
    match (&window.function, window.kind()) {
        (WindowFunction::Session { gap_us, partition_by }, _) => {
            let keys = partition_by.iter().flatten().map(column).collect::<Result<Vec<_>, _>>()?;
            Ok(session(graph, input, time_column, *gap_us, keys))
        }
        (_, Some(kind)) => Ok(assign(graph, input, time_column, kind)),
        (_, None) => Err(PlanError::internal("only SESSION has no kind")),
    }
}

fn assign(graph: &mut Graph<'_>, input: usize, time_column: usize, kind: WindowKind) -> usize {
    let schema = with_window_columns(graph.schema(input));
    let label = format!("window {} on {}", kind_text(&kind), graph.schema(input).field(time_column).name());
    let width = graph.schema(input).fields().len();
    let mut properties = graph.properties[input].clone();
    properties.times.extend(window_times(&graph.properties[input], time_column, &kind, [width, width + 1, width + 2]));
    if !matches!(kind, WindowKind::Tumble { .. }) {
        // A row is in several windows: the key needs the window, too.
        properties.key = properties.key.map(|key| key.into_iter().chain([width, width + 1]).collect());
    }
    let spec = OperatorSpec::Window(WindowSpec { kind, time_column });
    let edge = Edge { from: input, exchange: Exchange::Pipeline };
    graph.operator(label, spec, vec![edge], schema, properties, Kept::nothing())
}

/// Bounds of window_start, window_end, window_time at `positions`, given that of the time column.
pub(super) fn window_times(
    input: &Properties,
    time_column: usize,
    kind: &WindowKind,
    positions: [usize; 3],
) -> Vec<TimeColumn> {
    let Some(time) = input.time(time_column) else { return vec![] };
    let size_us = match kind {
        WindowKind::Tumble { size_us, .. } | WindowKind::Hop { size_us, .. } | WindowKind::Cumulate { size_us, .. } => {
            *size_us
        }
    };
    // A window is closed once its end is at most the bound, so a column that lies before the end by x passes at
    // bound − x.
    let at = |column: usize, before_end_us: i64, role: TimeRole| TimeColumn {
        column,
        close: time.close.delayed(before_end_us),
        retain: time.retain.delayed(before_end_us),
        inclusive: true,
        role,
    };
    vec![
        at(positions[1], 0, TimeRole::WindowEnd),
        at(positions[0], size_us, TimeRole::WindowStart),
        at(positions[2], WINDOW_TIME_BEFORE_END_US, TimeRole::WindowTime),
    ]
}

/// Bounds of a session's columns at `positions` (start, end, time): the start tells nothing.
pub(super) fn session_times(close: Option<&SessionClose>, positions: [usize; 3]) -> Vec<TimeColumn> {
    let Some(close) = close else { return vec![] };
    let at = |column: usize, before_end_us: i64, role: TimeRole| TimeColumn {
        column,
        close: close.bound.delayed(before_end_us),
        retain: close.retain.delayed(before_end_us),
        inclusive: false,
        role,
    };
    vec![at(positions[1], 0, TimeRole::WindowEnd), at(positions[2], WINDOW_TIME_BEFORE_END_US, TimeRole::WindowTime)]
}

pub(super) fn session_close(properties: &Properties, time_column: usize) -> Option<SessionClose> {
    let time = properties.time(time_column)?;
    Some(SessionClose { bound: time.close.clone(), retain: time.retain.clone(), emit_on_close: false })
}

fn session(graph: &mut Graph<'_>, input: usize, time_column: usize, gap_us: i64, keys: Vec<usize>) -> usize {
    let below = graph.properties[input].clone();
    let close = session_close(&below, time_column);
    let width = graph.schema(input).fields().len();
    let schema = with_window_columns(graph.schema(input));
    let label = format!(
        "session {} gap {} on {}",
        columns(&keys, graph.schema(input)),
        duration(gap_us),
        graph.schema(input).field(time_column).name()
    );
    // The row's own time tells nothing: an old row changes its window while its session still grows.
    let times = session_times(close.as_ref(), [width, width + 1, width + 2]);
    let kept = kept_by_session(graph, close.as_ref(), below.endless, &label, "rows");
    let properties = Properties {
        append_only: false,
        key: below.key.clone(),
        times,
        distribution: Some(keys.clone()),
        endless: below.endless,
    };
    let edge = graph.exchanged(input, keys.clone());
    let spec = OperatorSpec::Session(SessionSpec { time_column, gap_us, partition_by: keys, close });
    graph.operator(label, spec, vec![edge], schema, properties, kept)
}

pub(super) fn kept_by_session(
    graph: &mut Graph<'_>,
    close: Option<&SessionClose>,
    endless: bool,
    label: &str,
    what: &str,
) -> Kept {
    match close {
        Some(close) => Kept::bounded(format!(
            "{what} of open sessions, until window_end < {}",
            bound(&close.retain, graph.catalog)
        )),
        None => {
            if endless {
                graph.notice(format!(
                    "the state of \"{label}\" grows without bound: sessions never close without a watermark"
                ));
            }
            Kept { text: format!("{what} of all sessions, for ever"), unbounded: endless }
        }
    }
}

fn with_window_columns(input: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = input.fields().iter().cloned().collect();
    fields.extend(WINDOW_COLUMNS.iter().map(|name| field(*name, window_column_type())));
    Arc::new(Schema::new(fields))
}

pub(super) fn kind_text(kind: &WindowKind) -> String {
    let offset = |us: &i64| if *us == 0 { String::new() } else { format!(" offset {}", duration(*us)) };
    match kind {
        WindowKind::Tumble { size_us, offset_us } => format!("tumble {}{}", duration(*size_us), offset(offset_us)),
        WindowKind::Hop { slide_us, size_us, offset_us } => {
            format!("hop {} of {}{}", duration(*slide_us), duration(*size_us), offset(offset_us))
        }
        WindowKind::Cumulate { step_us, size_us, offset_us } => {
            format!("cumulate {} up to {}{}", duration(*step_us), duration(*size_us), offset(offset_us))
        }
    }
}

/// A window operator that may be taken back, and the filter-project between it and the end of the graph.
pub(super) struct Peeled {
    /// The node that feeds the window.
    pub below: usize,
    /// Columns of that node; window columns come after them.
    pub width: usize,
    pub function: PeeledFunction,
    pub predicate: Option<ScalarExpr>,
    pub projection: Option<Vec<ScalarExpr>>,
}

pub(super) enum PeeledFunction {
    Window(WindowSpec),
    Session(SessionSpec),
}

/// The window at the end of the graph, possibly under one filter-project.
pub(super) fn peel(graph: &Graph<'_>, node: usize) -> Option<Peeled> {
    let (window, between) = match &graph.nodes[node].kind {
        NodeKind::Operator(OperatorSpec::FilterProject(spec)) => (graph.nodes[node].inputs[0].from, Some(spec)),
        _ => (node, None),
    };
    let function = match &graph.nodes[window].kind {
        NodeKind::Operator(OperatorSpec::Window(spec)) => PeeledFunction::Window(spec.clone()),
        NodeKind::Operator(OperatorSpec::Session(spec)) => PeeledFunction::Session(spec.clone()),
        _ => return None,
    };
    let below = graph.nodes[window].inputs[0].from;
    let (predicate, projection) = match between.cloned() {
        Some(FilterProjectSpec { predicate, projection, .. }) => (predicate, projection),
        None => (None, None),
    };
    Some(Peeled { below, width: graph.schema(below).fields().len(), function, predicate, projection })
}
