//! EXPLAIN. The text of a view is stable: one line per operator, its input indented below it; exchanges have a line of
//! their own.

use dataflow::{DataflowGraph, Exchange, Node, NodeKind};
use operators::spec::OperatorSpec;
use sql::ExplainFormat;

use crate::{PlanError, PlannedQuery, PlannedView};

/// The lines of `EXPLAIN CREATE MATERIALIZED VIEW`; `verbose` adds columns with types and notices.
pub fn explain_view(view: &PlannedView, format: ExplainFormat, verbose: bool) -> Vec<String> {
    let mut lines = explain_graph(&view.graph, format, verbose);
    if verbose && format == ExplainFormat::Text {
        lines.extend(view.notices.iter().map(|notice| format!("notice: {notice}")));
    }
    lines
}

/// The same of a persisted graph.
pub fn explain_graph(graph: &DataflowGraph, format: ExplainFormat, verbose: bool) -> Vec<String> {
    match format {
        ExplainFormat::Text => {
            let mut lines = vec![];
            text(graph, graph.nodes.len() - 1, 0, verbose, &mut lines);
            lines
        }
        ExplainFormat::Json => json(graph),
        ExplainFormat::Dot => dot(graph),
    }
}

/// The lines of `EXPLAIN SELECT`: the logical plan as bound.
pub fn explain_query(query: &PlannedQuery, format: ExplainFormat, verbose: bool) -> Result<Vec<String>, PlanError> {
    let text = match format {
        ExplainFormat::Text if verbose => query.logical.display_indent_schema().to_string(),
        ExplainFormat::Text => query.logical.display_indent().to_string(),
        ExplainFormat::Json => query.logical.display_pg_json().to_string(),
        ExplainFormat::Dot => query.logical.display_graphviz().to_string(),
    };
    Ok(text.lines().map(str::to_string).collect())
}

fn text(graph: &DataflowGraph, index: usize, depth: usize, verbose: bool, lines: &mut Vec<String>) {
    let node = &graph.nodes[index];
    let indent = "  ".repeat(depth);
    lines.push(format!("{indent}{} ({})", node.label, facts(node).join("; ")));
    if verbose {
        let fields = node.schema.fields().iter();
        let columns: Vec<String> =
            fields.map(|f| format!("{} {}", f.name(), crate::type_name(f.data_type()))).collect();
        lines.push(format!("{indent}  | operator {}: {}", node.id, columns.join(", ")));
    }
    for edge in &node.inputs {
        let mut depth = depth + 1;
        if let Exchange::Hash(columns) = &edge.exchange {
            let by = match columns.is_empty() {
                true => "to one worker".to_string(),
                false => format!("by {}", names(&graph.nodes[edge.from], columns)),
            };
            lines.push(format!("{}exchange {by}", "  ".repeat(depth)));
            depth += 1;
        }
        text(graph, edge.from, depth, verbose, lines);
    }
}

/// What is inferred about a node, in a fixed order.
fn facts(node: &Node) -> Vec<String> {
    let mut facts = vec![];
    let is_partial = matches!(&node.kind, NodeKind::Operator(OperatorSpec::PartialAggregate(_)));
    if !is_partial {
        facts.push(if node.append_only { "append-only".to_string() } else { "retracting".to_string() });
    }
    if let Some(key) = &node.key {
        facts.push(if key.is_empty() { "one row".to_string() } else { format!("key {}", names(node, key)) });
    }
    if !node.bounds.is_empty() {
        let columns: Vec<usize> = node.bounds.iter().map(|(column, _)| *column).collect();
        facts.push(format!("watermark on {}", names(node, &columns)));
    }
    if !node.state.is_empty() {
        facts.push(format!("keeps {}", node.state));
    }
    if node.unbounded_state {
        facts.push("grows without bound".into());
    }
    if is_partial {
        facts.push("per batch".into());
    }
    facts
}

fn names(node: &Node, columns: &[usize]) -> String {
    let names: Vec<&str> = columns.iter().map(|c| node.schema.field(*c).name().as_str()).collect();
    format!("[{}]", names.join(", "))
}

fn json(graph: &DataflowGraph) -> Vec<String> {
    let node = |node: &Node| {
        let inputs: Vec<serde_json::Value> = node
            .inputs
            .iter()
            .map(|edge| match &edge.exchange {
                Exchange::Pipeline => serde_json::json!({ "operator": graph.nodes[edge.from].id }),
                Exchange::Hash(columns) => serde_json::json!({
                    "operator": graph.nodes[edge.from].id,
                    "exchange": columns.iter().map(|c| graph.nodes[edge.from].schema.field(*c).name()).collect::<Vec<_>>(),
                }),
            })
            .collect();
        let column_names =
            |columns: &[usize]| columns.iter().map(|c| node.schema.field(*c).name().clone()).collect::<Vec<_>>();
        serde_json::json!({
            "id": node.id,
            "operator": node.label,
            "inputs": inputs,
            "append_only": node.append_only,
            "key": node.key.as_ref().map(|key| column_names(key)),
            "watermark": column_names(&node.bounds.iter().map(|(c, _)| *c).collect::<Vec<_>>()),
            "keeps": node.state,
            "unbounded": node.unbounded_state,
            "recompute": matches!(&node.kind, NodeKind::Operator(OperatorSpec::Recompute(_))),
        })
    };
    let nodes: Vec<serde_json::Value> = graph.nodes.iter().map(node).collect();
    let text = serde_json::to_string_pretty(&nodes).expect("a JSON value always prints");
    text.lines().map(str::to_string).collect()
}

fn dot(graph: &DataflowGraph) -> Vec<String> {
    let mut lines = vec!["digraph plan {".to_string()];
    for node in &graph.nodes {
        let label = format!("{}\\n{}", node.label, facts(node).join("\\n")).replace('"', "'");
        lines.push(format!("  n{} [shape=box, label=\"{label}\"];", node.id));
        for edge in &node.inputs {
            let from = &graph.nodes[edge.from];
            let text = match &edge.exchange {
                Exchange::Pipeline => String::new(),
                Exchange::Hash(columns) => format!(" [label=\"exchange {}\"]", names(from, columns)),
            };
            lines.push(format!("  n{} -> n{}{text};", from.id, node.id));
        }
    }
    lines.push("}".into());
    lines
}
