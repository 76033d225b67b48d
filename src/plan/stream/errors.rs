//! Errors as data that can be read: the graph of a view of errors, and where they end for other readers.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use catalog::{Catalog, CatalogObject, ColumnEntry};
use dataflow::{Edge, Exchange, NodeKind};
use kernels::OnError;
use operators::spec::{ErrorRowsSpec, OperatorSpec};
use types::ObjectId;

use super::graph::{Graph, Kept, field};
use super::materialize;
use super::properties::Properties;
use crate::{PlanError, PlannedView};

const COLUMNS: [&str; 4] = ["relation", "sqlstate", "message", "failed_row"];

/// Lets the rows of `input` pass without its errors.
pub(super) fn ignore(graph: &mut Graph<'_>, input: usize) -> usize {
    let (schema, properties) = (graph.schema(input).clone(), graph.properties[input].clone());
    let edge = Edge { from: input, exchange: Exchange::Pipeline };
    graph.operator("without errors".into(), OperatorSpec::IgnoreErrors, vec![edge], schema, properties, Kept::nothing())
}

/// The view of the errors of `of`.
pub(crate) fn plan_errors(relation: ObjectId, of: &CatalogObject) -> Result<PlannedView, PlanError> {
    let catalog = Catalog::new();
    let mut graph = Graph::new(&catalog, OnError::Fail);
    // One column, because rows come along whether they are wanted or not.
    let read: Vec<usize> = (0..of.columns.len().min(1)).collect();
    let fields: Vec<_> = read.iter().map(|c| field(&of.columns[*c].name, of.columns[*c].data_type.clone())).collect();
    let kind = NodeKind::Input { relation: of.id, columns: read };
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let label = format!("input {}", of.name);
    let input = graph.push(label, kind, vec![], schema, Properties::default(), Kept::nothing());
    let output: SchemaRef = Arc::new(Schema::new(COLUMNS.map(|name| field(name, DataType::Utf8)).to_vec()));
    let spec = OperatorSpec::ErrorRows(ErrorRowsSpec { relation: of.name.clone(), output: output.clone() });
    let edge = Edge { from: input, exchange: Exchange::Pipeline };
    let rows = graph.operator("errors".into(), spec, vec![edge], output, Properties::default(), Kept::nothing());
    let columns = COLUMNS.map(|name| ColumnEntry {
        name: name.into(),
        data_type: DataType::Utf8,
        not_null: false,
        default: None,
        generated: None,
        comment: None,
    });
    materialize::finish(graph, rows, relation, columns.to_vec(), vec![of.id])
}
