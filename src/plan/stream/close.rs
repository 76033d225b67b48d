//! EMIT ON WINDOW CLOSE: the topmost operator that keeps windows holds them back; where there is none, an operator of
//! its own holds back the rows.

use arrow::datatypes::DataType;
use catalog::{CatalogObject, ColumnEntry, ObjectBody};
use dataflow::{Edge, Exchange, Node, NodeKind};
use operators::spec::{CloseSpec, OperatorSpec};

use super::graph::{Graph, Kept};
use super::properties::{TimeColumn, TimeRole};
use super::text::bound;
use crate::PlanError;

/// Makes the rows of `root` appear only when their window has closed; returns the new root.
pub(super) fn emit_on_close(graph: &mut Graph<'_>, root: usize) -> Result<usize, PlanError> {
    let mut path = vec![root];
    while let NodeKind::Operator(OperatorSpec::FilterProject(_)) =
        &graph.nodes[*path.last().expect("starts with the root")].kind
    {
        path.push(graph.nodes[*path.last().expect("starts with the root")].inputs[0].from);
    }
    let top = *path.last().expect("starts with the root");
    // A pattern has held back its rows from the start, see `match_recognize.rs`.
    if matches!(graph.nodes[top].kind, NodeKind::Operator(OperatorSpec::MatchOnClose(_))) {
        return Ok(root);
    }
    if let Some(exact) = close_inside(graph, top) {
        for node in &path {
            graph.properties[*node].append_only = exact;
        }
        return Ok(root);
    }
    let place = path.iter().position(|node| graph.properties[*node].window_end().is_some());
    let Some(place) = place else { return Err(refused(graph)) };
    let node = path[place];
    let close = close_spec(graph.properties[node].window_end().expect("just found"));
    insert_after(graph, node, close);
    // The new node and everything above it moved up by one.
    let exact = graph.properties[node + 1].append_only;
    for above in &path[..place] {
        graph.properties[above + 1].append_only = exact;
    }
    Ok(root + 1)
}

/// Sets the flag in an operator that closes windows itself; `Some(never retracts)` if it does.
fn close_inside(graph: &mut Graph<'_>, node: usize) -> Option<bool> {
    let is_window = |column: usize| graph.properties[node].time(column).is_some_and(|time| time.role != TimeRole::Time);
    let by_window = match &graph.nodes[node].kind {
        NodeKind::Operator(OperatorSpec::Aggregate(spec)) => spec.close.as_ref().is_some_and(|c| is_window(c.column)),
        NodeKind::Operator(OperatorSpec::TopN(spec)) => spec.close.as_ref().is_some_and(|c| is_window(c.column)),
        NodeKind::Operator(OperatorSpec::SessionAggregate(_) | OperatorSpec::Session(_)) => true,
        NodeKind::Operator(
            OperatorSpec::FilterProject(_)
            | OperatorSpec::Window(_)
            | OperatorSpec::PartialAggregate(_)
            | OperatorSpec::Join(_)
            | OperatorSpec::Union
            | OperatorSpec::EmitOnClose(_)
            | OperatorSpec::Recompute(_)
            | OperatorSpec::MatchOnClose(_)
            | OperatorSpec::IgnoreErrors
            | OperatorSpec::ErrorRows(_)
            | OperatorSpec::Materialize(_),
        )
        | NodeKind::Input { .. } => false,
    };
    if !by_window {
        return None;
    }
    let NodeKind::Operator(operator) = &mut graph.nodes[node].kind else { return None };
    let exact = match operator {
        OperatorSpec::Aggregate(spec) => hold(spec.close.as_mut()?),
        OperatorSpec::TopN(spec) => hold(spec.close.as_mut()?),
        OperatorSpec::SessionAggregate(spec) => hold_session(spec.session.close.as_mut()?),
        OperatorSpec::Session(spec) => hold_session(spec.close.as_mut()?),
        _ => return None,
    };
    graph.nodes[node].label.push_str(", emitted on close");
    Some(exact)
}

/// With allowed lateness, corrections follow what was emitted.
fn hold(close: &mut CloseSpec) -> bool {
    close.emit_on_close = true;
    close.bound == close.retain
}

fn hold_session(close: &mut operators::spec::SessionClose) -> bool {
    close.emit_on_close = true;
    close.bound == close.retain
}

fn close_spec(end: &TimeColumn) -> CloseSpec {
    CloseSpec {
        column: end.column,
        bound: end.close.clone(),
        retain: end.retain.clone(),
        inclusive: end.inclusive,
        emit_on_close: true,
    }
}

/// Puts an `EmitOnClose` between `node` and its reader.
fn insert_after(graph: &mut Graph<'_>, node: usize, close: CloseSpec) {
    let schema = graph.nodes[node].schema.clone();
    let passed = if close.inclusive { "<=" } else { "<" };
    let until = bound(&close.retain, graph.catalog);
    let name = schema.field(close.column).name();
    let kept = Kept::bounded(format!("rows of open windows, until {name} {passed} {until}"));
    let mut properties = graph.properties[node].clone();
    properties.append_only = close.bound == close.retain;
    // Equal rows must meet: they are held by the hash of the whole row.
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    properties.distribution = Some(all.clone());
    let inserted = Node {
        id: 0,
        label: format!("emit on close of {name}"),
        kind: NodeKind::Operator(OperatorSpec::EmitOnClose(close)),
        inputs: vec![Edge { from: node, exchange: Exchange::Hash(all) }],
        schema,
        append_only: false,
        key: None,
        bounds: vec![],
        state: kept.text,
        unbounded_state: kept.unbounded,
    };
    for later in &mut graph.nodes[node + 1..] {
        for edge in &mut later.inputs {
            if edge.from >= node {
                edge.from += 1;
            }
        }
    }
    graph.nodes.insert(node + 1, inserted);
    graph.properties.insert(node + 1, properties);
    // What was distributed by another node's hash no longer is.
    for above in node + 2..graph.properties.len() {
        graph.properties[above].distribution = None;
    }
}

fn refused(graph: &Graph<'_>) -> PlanError {
    let relation_of = |node: &Node| match &node.kind {
        NodeKind::Input { relation, .. } => graph.catalog.get(*relation).cloned(),
        NodeKind::Operator(_) => None,
    };
    let without = graph.nodes.iter().filter_map(relation_of).find(|relation| !has_watermark(relation));
    if let Some(relation) = without {
        let is_time = |c: &&ColumnEntry| matches!(c.data_type, DataType::Timestamp(..));
        let column = relation.columns.iter().find(is_time).map(|c| c.name.as_str()).unwrap_or("ts");
        return PlanError::NoWatermark { hint: format!("Declare WATERMARK FOR {column} in {}.", relation.name) };
    }
    let windowed = graph.nodes.iter().any(|node| match &node.kind {
        NodeKind::Operator(OperatorSpec::Window(_) | OperatorSpec::Session(_) | OperatorSpec::SessionAggregate(_)) => {
            true
        }
        NodeKind::Operator(OperatorSpec::Aggregate(spec)) => spec.window.is_some(),
        _ => false,
    });
    match windowed {
        true => PlanError::unsupported(
            "EMIT ON WINDOW CLOSE needs the end of a window at the top of the query",
            "Group the last step by window_end, or carry window_end into the join.",
        ),
        false => PlanError::unsupported(
            "EMIT ON WINDOW CLOSE needs a window in the query",
            "Use TUMBLE, HOP, CUMULATE or SESSION in FROM, and keep window_end or group by it.",
        ),
    }
}

fn has_watermark(relation: &CatalogObject) -> bool {
    match &relation.body {
        ObjectBody::Source(source) => source.watermark.is_some(),
        ObjectBody::Table(table) => table.watermark.is_some(),
        ObjectBody::MaterializedView(view) => !view.bounds.is_empty(),
        ObjectBody::View { .. } => false,
    }
}
