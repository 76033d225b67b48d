//! The graph of operators behind one relation: what the planner builds, the catalog persists and the workers render.

use arrow::datatypes::SchemaRef;
use operators::spec::OperatorSpec;
use serde::{Deserialize, Serialize};
use types::{EventTimeBound, ObjectId};

/// Nodes in topological order; the last one is the `Materialize` of `relation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataflowGraph {
    /// Version of this persisted form.
    pub version: u16,
    pub relation: ObjectId,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Operator id: stable for ever within the relation; state files name it.
    pub id: u32,
    /// What EXPLAIN prints, e.g. `aggregate [auction] count(*)`.
    pub label: String,
    pub kind: NodeKind,
    pub inputs: Vec<Edge>,
    /// Rows that leave this node.
    pub schema: SchemaRef,
    /// Inferred: never retracts.
    pub append_only: bool,
    /// Inferred: columns that identify a row of the output.
    pub key: Option<Vec<usize>>,
    /// Inferred: (column, bound): rows whose column is below (≤ for window ends) the bound never change again.
    pub bounds: Vec<(usize, EventTimeBound)>,
    /// What it keeps and until when, for EXPLAIN; empty if nothing.
    pub state: String,
    /// True if nothing bounds what it keeps.
    pub unbounded_state: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NodeKind {
    /// Reads a source, table or view: these columns of it, in this order.
    Input {
        relation: ObjectId,
        columns: Vec<usize>,
    },
    Operator(OperatorSpec),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Index into `nodes`, smaller than the reader's own.
    pub from: usize,
    pub exchange: Exchange,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Exchange {
    /// Stays on the worker.
    Pipeline,
    /// To the worker that owns the vnode of these columns' hash (none: one worker).
    Hash(Vec<usize>),
}

impl DataflowGraph {
    pub const VERSION: u16 = 1;

    /// Relations this graph reads, without repetition, ascending.
    pub fn inputs(&self) -> Vec<ObjectId> {
        let mut inputs: Vec<ObjectId> = self
            .nodes
            .iter()
            .filter_map(|node| match &node.kind {
                NodeKind::Input { relation, .. } => Some(*relation),
                NodeKind::Operator(_) => None,
            })
            .collect();
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }

    pub fn output(&self) -> &Node {
        self.nodes.last().expect("a graph ends with its Materialize")
    }
}
