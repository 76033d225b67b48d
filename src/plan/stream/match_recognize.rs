//! MATCH_RECOGNIZE in a view: the rows of a partition are kept, and a partition that is touched is searched again; what
//! leaves is the difference. So the view equals the clause over all rows so far, whatever their order and changes.

use kernels::MatchColumn;
use operators::spec::OperatorSpec;

use super::graph::{Graph, Kept};
use super::properties::Properties;
use super::text::keys;
use crate::PlanError;
use crate::match_node::MatchNode;

pub(super) fn convert(graph: &mut Graph<'_>, node: &MatchNode) -> Result<usize, PlanError> {
    if node.spec.timed_out {
        return Err(PlanError::unsupported(
            "WITH TIMED OUT MATCHES is not supported in a materialized view",
            "Use it in a query: what has timed out depends on how far time has come.",
        ));
    }
    let input = super::convert(graph, &node.input)?;
    let below = graph.properties[input].clone();
    let spec = node.recompute();
    let label = format!("match recognize {}: {}", keys(&node.key, graph.schema(input)), node.text);
    if node.key.is_empty() {
        graph.notice(format!("\"{label}\" has no PARTITION BY: every change searches all rows again"));
    }
    if below.endless {
        graph.notice(format!("the state of \"{label}\" grows without bound: it keeps all its input rows"));
    }
    // Rows stay where their partition is.
    let place = |key: &usize| node.spec.columns.iter().position(|column| *column == MatchColumn::Input(*key));
    let distribution: Option<Vec<usize>> = node.key.iter().map(place).collect();
    let properties = Properties { append_only: false, key: None, times: vec![], distribution, endless: below.endless };
    let edge = graph.exchanged(input, node.key.clone());
    let kept = Kept { text: "all input rows, for ever".into(), unbounded: below.endless };
    let output = spec.output.clone();
    Ok(graph.operator(label, OperatorSpec::Recompute(spec), vec![edge], output, properties, kept))
}
