//! The graph under construction: nodes beside their inferred properties, and the one place where filters and
//! projections are merged. Every node has one reader, so the last one may still be changed.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use catalog::Catalog;
use dataflow::{Edge, Exchange, Node, NodeKind};
use kernels::{OnError, ScalarExpr};
use operators::spec::{FilterProjectSpec, OperatorSpec};

use super::properties::Properties;
use super::scalar::{and, as_column, is_trivial, show, through};

/// What a node keeps, for EXPLAIN.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub text: String,
    pub unbounded: bool,
}

impl Kept {
    pub fn nothing() -> Kept {
        Kept::default()
    }

    pub fn bounded(text: impl Into<String>) -> Kept {
        Kept { text: text.into(), unbounded: false }
    }
}

pub(super) struct Graph<'a> {
    pub catalog: &'a Catalog,
    pub on_error: OnError,
    /// EMIT ON WINDOW CLOSE: patterns give what is final.
    pub emit_on_close: bool,
    pub nodes: Vec<Node>,
    pub properties: Vec<Properties>,
    /// By the node they are about, so that they go with it.
    notices: Vec<(usize, String)>,
}

/// A projected column: its expression over the input, and its name and type.
pub(super) type Projected = (ScalarExpr, FieldRef);

impl<'a> Graph<'a> {
    pub fn new(catalog: &'a Catalog, on_error: OnError) -> Self {
        Graph { catalog, on_error, emit_on_close: false, nodes: vec![], properties: vec![], notices: vec![] }
    }

    /// Appends a node; returns its index.
    pub fn push(
        &mut self,
        label: String,
        kind: NodeKind,
        inputs: Vec<Edge>,
        schema: SchemaRef,
        properties: Properties,
        kept: Kept,
    ) -> usize {
        self.nodes.push(Node {
            id: 0,
            label,
            kind,
            inputs,
            schema,
            append_only: false,
            key: None,
            bounds: vec![],
            state: kept.text,
            unbounded_state: kept.unbounded,
        });
        self.properties.push(properties);
        self.nodes.len() - 1
    }

    pub fn operator(
        &mut self,
        label: String,
        spec: OperatorSpec,
        inputs: Vec<Edge>,
        schema: SchemaRef,
        properties: Properties,
        kept: Kept,
    ) -> usize {
        self.push(label, NodeKind::Operator(spec), inputs, schema, properties, kept)
    }

    pub fn schema(&self, node: usize) -> &SchemaRef {
        &self.nodes[node].schema
    }

    /// Tells the client something about the node that is pushed next.
    pub fn notice(&mut self, text: String) {
        self.notices.push((self.nodes.len(), text));
    }

    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices).into_iter().map(|(_, text)| text).collect()
    }

    /// Everything after `node` is dropped: fusion replaces it.
    pub fn truncate_after(&mut self, node: usize) {
        self.nodes.truncate(node + 1);
        self.properties.truncate(node + 1);
        self.notices.retain(|(about, _)| *about <= node);
    }

    /// An edge that brings rows to the worker of `columns`' hash, at no cost if they are there already.
    pub fn exchanged(&self, from: usize, columns: Vec<usize>) -> Edge {
        let exchange = match &self.properties[from].distribution {
            Some(present) if *present == columns => Exchange::Pipeline,
            _ => Exchange::Hash(columns),
        };
        Edge { from, exchange }
    }

    /// Rows of `input` that satisfy `predicate`, projected; merged into what is there where possible.
    pub fn filter_project(
        &mut self,
        input: usize,
        predicate: Option<ScalarExpr>,
        projection: Option<Vec<Projected>>,
    ) -> usize {
        let identity = projection.as_ref().is_none_or(|p| self.is_identity(input, p));
        if identity && predicate.is_none() {
            if let Some(projection) = projection {
                self.rename(input, &projection);
            }
            return input;
        }
        if predicate.is_none()
            && let Some(projection) = &projection
            && self.narrow(input, projection)
        {
            return input;
        }
        let projection = if identity { None } else { projection };
        match self.merged(input, &predicate, projection.as_deref()) {
            Some((predicate, projection)) => {
                let below = self.nodes[input].inputs[0].from;
                self.truncate_after(input - 1);
                self.push_filter_project(below, predicate, projection)
            }
            None => self.push_filter_project(input, predicate, projection),
        }
    }

    fn is_identity(&self, input: usize, projection: &[Projected]) -> bool {
        projection.len() == self.schema(input).fields().len()
            && projection.iter().enumerate().all(|(i, (expr, _))| as_column(expr) == Some(i))
    }

    /// Gives the columns of a node new names, where its operator builds its own output.
    fn rename(&mut self, node: usize, projection: &[Projected]) {
        let fields: Vec<FieldRef> = projection.iter().map(|(_, field)| field.clone()).collect();
        let renamed: SchemaRef = Arc::new(Schema::new(fields));
        let node = &mut self.nodes[node];
        match &mut node.kind {
            NodeKind::Operator(
                OperatorSpec::FilterProject(FilterProjectSpec { output, .. })
                | OperatorSpec::Aggregate(operators::spec::AggregateSpec { output, .. })
                | OperatorSpec::SessionAggregate(operators::spec::SessionAggregateSpec { output, .. }),
            ) => {
                *output = renamed.clone();
                node.schema = renamed;
            }
            // Others pass batches through or persist names elsewhere; positions are what counts.
            NodeKind::Operator(_) | NodeKind::Input { .. } => {}
        }
    }

    /// Takes a projection of plain columns into the node itself: an input reads fewer columns, a top-N stops numbering.
    fn narrow(&mut self, input: usize, projection: &[Projected]) -> bool {
        let Some(columns) = projection.iter().map(|(e, _)| as_column(e)).collect::<Option<Vec<usize>>>() else {
            return false;
        };
        let mut distinct = columns.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let exprs: Vec<ScalarExpr> = columns.iter().map(|c| ScalarExpr::Column(*c)).collect();
        let properties = self.properties[input].project(&exprs);
        let catalog = self.catalog;
        let node = &mut self.nodes[input];
        match &mut node.kind {
            NodeKind::Input { relation, columns: read } if distinct.len() == columns.len() => {
                *read = columns.iter().map(|c| read[*c]).collect();
                node.schema = Arc::new(node.schema.project(&columns).expect("columns of this schema"));
                node.label = super::scan::label(catalog, *relation, &node.schema);
                self.properties[input] = properties;
                true
            }
            _ => false,
        }
    }

    /// The filter-project at `input` with another one on top, if that computes nothing twice.
    fn merged(
        &self,
        input: usize,
        predicate: &Option<ScalarExpr>,
        projection: Option<&[Projected]>,
    ) -> Option<(Option<ScalarExpr>, Option<Vec<Projected>>)> {
        let node = &self.nodes[input];
        let NodeKind::Operator(OperatorSpec::FilterProject(below)) = &node.kind else { return None };
        let computed = below.projection.as_deref();
        if let Some(computed) = computed {
            let mut uses = vec![0_usize; computed.len()];
            let mut count = |expr: &ScalarExpr| count_uses(expr, &mut uses);
            predicate.iter().for_each(&mut count);
            projection.into_iter().flatten().for_each(|(expr, _)| count(expr));
            // The predicate would be evaluated before the projection that it reads.
            let in_predicate = predicate.iter().flat_map(|p| p.columns()).any(|c| !is_trivial(&computed[c]));
            if in_predicate || uses.iter().zip(computed).any(|(uses, expr)| *uses > 1 && !is_trivial(expr)) {
                return None;
            }
        }
        let predicate = and(below.predicate.clone(), predicate.as_ref().map(|p| through(p, computed)));
        let projection = match (projection, computed) {
            (Some(projection), _) => {
                Some(projection.iter().map(|(expr, field)| (through(expr, computed), field.clone())).collect())
            }
            (None, Some(computed)) => {
                let fields = node.schema.fields().iter().cloned();
                Some(computed.iter().cloned().zip(fields).collect())
            }
            (None, None) => None,
        };
        Some((predicate, projection))
    }

    fn push_filter_project(
        &mut self,
        input: usize,
        predicate: Option<ScalarExpr>,
        projection: Option<Vec<Projected>>,
    ) -> usize {
        let schema = self.schema(input).clone();
        let mut parts = vec![];
        parts.extend(projection.as_ref().map(|projection| show_projection(projection, &schema)));
        parts.extend(predicate.as_ref().map(|p| format!("where {}", show(p, &schema))));
        let verb = if projection.is_some() { "project" } else { "filter" };
        let (exprs, output) = match projection {
            Some(projection) => {
                let (exprs, fields): (Vec<_>, Vec<_>) = projection.into_iter().unzip();
                (Some(exprs), Arc::new(Schema::new(fields)))
            }
            None => (None, schema),
        };
        let properties = match &exprs {
            Some(exprs) => self.properties[input].project(exprs),
            None => self.properties[input].clone(),
        };
        let spec = OperatorSpec::FilterProject(FilterProjectSpec {
            predicate,
            projection: exprs,
            output: output.clone(),
            null_on_error: self.on_error == OnError::Null,
        });
        let edge = Edge { from: input, exchange: Exchange::Pipeline };
        self.operator(format!("{verb} {}", parts.join(" ")), spec, vec![edge], output, properties, Kept::nothing())
    }
}

fn count_uses(expr: &ScalarExpr, uses: &mut [usize]) {
    if let ScalarExpr::Column(column) = expr {
        uses[*column] += 1;
    }
    expr.children().into_iter().for_each(|child| count_uses(child, uses));
}

fn show_projection(projection: &[Projected], input: &Schema) -> String {
    let one = |(expr, field): &Projected| {
        let text = show(expr, input);
        if &text == field.name() { text } else { format!("{text} as {}", field.name()) }
    };
    format!("[{}]", projection.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A field of an edge: always nullable, NOT NULL is enforced at the door.
pub(super) fn field(name: impl Into<String>, data_type: arrow::datatypes::DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}
