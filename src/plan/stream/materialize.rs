//! The end of every graph: the rows at the workers that own them, kept readable.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use catalog::{Catalog, ColumnEntry};
use dataflow::{DataflowGraph, Edge, Exchange, NodeKind};
use kernels::{OnError, ScalarExpr};
use operators::spec::{MaterializeSpec, OperatorSpec, SortColumn};
use types::ObjectId;

use super::graph::{Graph, Kept, field};
use super::properties::Properties;
use super::text::columns as column_list;
use super::top_n;
use crate::{PlanError, PlannedView, TableChanges};

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
        names: vec![],
        notices,
    })
}

/// The graph that keeps a table readable: its own rows, by primary key or as a whole.
pub(crate) fn table_graph(
    relation: ObjectId,
    name: &str,
    columns: &[ColumnEntry],
    primary_key: &[usize],
    changes: TableChanges,
) -> DataflowGraph {
    let catalog = Catalog::new();
    let mut graph = Graph::new(&catalog, OnError::Fail);
    let fields: Vec<_> = columns.iter().map(|c| field(&c.name, c.data_type.clone())).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let rows = match changes {
        TableChanges::Updatable | TableChanges::AppendOnly => {
            let key = (!primary_key.is_empty()).then(|| primary_key.to_vec());
            let append_only = changes == TableChanges::AppendOnly;
            let properties = Properties { append_only, key, ..Properties::default() };
            table_input(&mut graph, relation, name, schema.clone(), properties)
        }
        TableChanges::Upsert => last_per_key(&mut graph, relation, name, &schema, primary_key),
    };
    push(&mut graph, rows, relation, schema);
    into_graph(graph, relation)
}

fn table_input(
    graph: &mut Graph<'_>,
    relation: ObjectId,
    name: &str,
    schema: SchemaRef,
    properties: Properties,
) -> usize {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let label = format!("input {name} {}", column_list(&all, &schema));
    let kind = NodeKind::Input { relation, columns: all };
    graph.push(label, kind, vec![], schema, properties, Kept::nothing())
}

/// The rows of a connector, of each key the one whose partition and position sort last.
fn last_per_key(
    graph: &mut Graph<'_>,
    relation: ObjectId,
    name: &str,
    schema: &SchemaRef,
    primary_key: &[usize],
) -> usize {
    let width = schema.fields().len();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(field("hw_partition", DataType::Utf8));
    fields.push(field("hw_position", DataType::Int64));
    let properties = Properties { append_only: true, ..Properties::default() };
    let input = table_input(graph, relation, name, Arc::new(Schema::new(fields)), properties);
    let last = |column| SortColumn { column, descending: true, nulls_first: false };
    let order_by = vec![last(width), last(width + 1)];
    let top = top_n::push(graph, input, primary_key.to_vec(), order_by, 0, Some(1), false);
    let shown = (0..width).map(|c| (ScalarExpr::Column(c), schema.fields()[c].clone())).collect();
    graph.filter_project(top, None, Some(shown))
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
