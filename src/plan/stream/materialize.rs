//! The end of every graph: the rows at the workers that own them, kept readable.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use catalog::{Catalog, ColumnEntry};
use dataflow::{DataflowGraph, Edge, Exchange, NodeKind};
use kernels::OnError;
use operators::spec::{MaterializeSpec, OperatorSpec};
use types::ObjectId;

use super::graph::{Graph, Kept, field};
use super::properties::Properties;
use super::text::columns as column_list;
use crate::{PlanError, PlannedView};

pub(super) fn finish(
    mut graph: Graph<'_>,
    root: usize,
    relation: ObjectId,
    columns: Vec<ColumnEntry>,
    depends_on: Vec<ObjectId>,
) -> Result<PlannedView, PlanError> {
    if columns.len() != graph.schema(root).fields().len() {
        return Err(PlanError::internal("the plan has other columns than the query"));
    }
    let fields: Vec<_> = columns.iter().map(|c| field(&c.name, c.data_type.clone())).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let key = push(&mut graph, root, relation, schema);
    let properties = graph.properties.last().expect("just pushed").clone();
    let notices = graph.take_notices();
    Ok(PlannedView {
        graph: into_graph(graph, relation),
        columns,
        key,
        append_only: properties.append_only,
        bounds: bounds(&properties),
        depends_on,
        notices,
    })
}

/// The graph that keeps a table readable: its own rows, by primary key or as a whole.
pub(crate) fn table_graph(
    relation: ObjectId,
    name: &str,
    columns: &[ColumnEntry],
    primary_key: &[usize],
    append_only: bool,
) -> DataflowGraph {
    let catalog = Catalog::new();
    let mut graph = Graph::new(&catalog, OnError::Fail);
    let fields: Vec<_> = columns.iter().map(|c| field(&c.name, c.data_type.clone())).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let key = (!primary_key.is_empty()).then(|| primary_key.to_vec());
    let properties = Properties { append_only, key, ..Properties::default() };
    let all: Vec<usize> = (0..columns.len()).collect();
    let label = format!("input {name} {}", column_list(&all, &schema));
    let kind = NodeKind::Input { relation, columns: all };
    let input = graph.push(label, kind, vec![], schema.clone(), properties, Kept::nothing());
    push(&mut graph, input, relation, schema);
    into_graph(graph, relation)
}

/// Appends the Materialize; returns its key.
fn push(graph: &mut Graph<'_>, input: usize, relation: ObjectId, schema: SchemaRef) -> Option<Vec<usize>> {
    let below = graph.properties[input].clone();
    // Where rows already lie by the hash of the key's columns, the key takes that order and nothing moves.
    let same_columns = |a: &[usize], b: &[usize]| a.len() == b.len() && a.iter().all(|c| b.contains(c));
    let key = below.key.clone().map(|key| match &below.distribution {
        Some(present) if same_columns(present, &key) => present.clone(),
        _ => key,
    });
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let edge = match &key {
        Some(key) => graph.exchanged(input, key.clone()),
        None => Edge { from: input, exchange: Exchange::Hash(all) },
    };
    let label = match &key {
        Some(key) if key.is_empty() => "materialize one row".into(),
        Some(key) => format!("materialize by {}", column_list(key, &schema)),
        None => "materialize whole rows".into(),
    };
    let properties = Properties { key: key.clone(), ..below.clone() };
    let spec = OperatorSpec::Materialize(MaterializeSpec {
        relation,
        key: key.clone(),
        schema: schema.clone(),
        append_only: below.append_only,
        errors_apart: graph.on_error == OnError::DeadLetter,
    });
    let kept = Kept { text: "the rows of the relation".into(), unbounded: below.endless && below.append_only };
    graph.operator(label, spec, vec![edge], schema, properties, kept);
    key
}

fn bounds(properties: &Properties) -> Vec<(usize, types::EventTimeBound)> {
    properties.times.iter().map(|time| (time.column, time.retain.clone())).collect()
}

/// Numbers the operators and writes down what was inferred.
fn into_graph(graph: Graph<'_>, relation: ObjectId) -> DataflowGraph {
    let mut nodes = graph.nodes;
    for (index, (node, properties)) in nodes.iter_mut().zip(&graph.properties).enumerate() {
        node.id = index as u32;
        node.append_only = properties.append_only;
        node.key = properties.key.clone();
        node.bounds = bounds(properties);
    }
    let graph = DataflowGraph { version: DataflowGraph::VERSION, relation, nodes };
    super::assert_well_formed(&graph);
    graph
}
