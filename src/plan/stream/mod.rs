//! Logical plan → graph of incremental operators, one file per logical node.
//!
//! `convert` gives the index of a graph node whose rows have exactly the columns of the logical node, by position.
//! Exchanges are put where an operator needs its keys together. `graph.rs` merges filters and projections,
//! `properties.rs` carries what is inferred, `close.rs` applies EMIT ON WINDOW CLOSE, `materialize.rs` ends the graph.
//! What has no operator is refused by name.

mod aggregate;
mod close;
mod errors;
mod expiry;
mod graph;
mod join;
mod match_recognize;
mod materialize;
mod null_on_error;
mod properties;
mod scalar;
mod scan;
pub(crate) mod text;
mod top_n;
mod union;
mod window;
mod window_function;

use catalog::{Catalog, ColumnEntry};
use dataflow::DataflowGraph;
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, Volatility};
use kernels::{OnError, ScalarExpr, from_logical};
use types::ObjectId;

use crate::match_node::MatchNode;
use crate::window_node::WindowNode;
use crate::{PlanError, PlannedView, ViewPlanOptions};
use graph::{Graph, Projected, field};

pub(crate) use errors::plan_errors;
pub(crate) use materialize::table_graph;
pub(crate) use scalar::substitute;

/// Plans an optimised query as the view `relation`.
pub(crate) fn plan_view(
    catalog: &Catalog,
    relation: ObjectId,
    plan: &LogicalPlan,
    columns: Vec<ColumnEntry>,
    depends_on: Vec<ObjectId>,
    options: ViewPlanOptions,
) -> Result<PlannedView, PlanError> {
    refuse_impure(plan)?;
    let mut graph = Graph::new(catalog, options.on_error);
    graph.emit_on_close = options.emit_on_window_close;
    let mut root = convert(&mut graph, plan)?;
    if options.emit_on_window_close {
        root = close::emit_on_close(&mut graph, root)?;
    }
    if options.on_error == OnError::Null {
        null_on_error::apply(&mut graph.nodes);
    }
    materialize::finish(graph, root, relation, columns, depends_on)
}

/// Checks what every view's graph promises: topological order, one output.
pub(crate) fn assert_well_formed(graph: &DataflowGraph) {
    for (index, node) in graph.nodes.iter().enumerate() {
        assert!(node.inputs.iter().all(|edge| edge.from < index), "nodes are in topological order");
    }
}

fn convert(graph: &mut Graph<'_>, plan: &LogicalPlan) -> Result<usize, PlanError> {
    match plan {
        LogicalPlan::TableScan(scan) => scan::convert(graph, plan, scan),
        LogicalPlan::SubqueryAlias(alias) => convert(graph, &alias.input),
        LogicalPlan::Projection(projection) => {
            let input = convert(graph, &projection.input)?;
            let projected = project_all(&projection.expr, projection.input.schema(), &projection.schema)?;
            Ok(top_n::project(graph, input, projected))
        }
        LogicalPlan::Filter(filter) => match top_n::numbered_filter(graph, filter)? {
            Some(node) => Ok(node),
            None => {
                let input = convert(graph, &filter.input)?;
                let predicate = from_logical(&filter.predicate, filter.input.schema())?;
                Ok(graph.filter_project(input, Some(predicate), None))
            }
        },
        LogicalPlan::Aggregate(aggregate) => aggregate::convert(graph, aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => aggregate::distinct(graph, input),
        LogicalPlan::Join(join) => join::convert(graph, join),
        LogicalPlan::Union(union) => union::convert(graph, union),
        LogicalPlan::Window(window) => window_function::convert(graph, window),
        // Order is no property of a relation; under LIMIT it is taken in by top_n.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => convert(graph, &sort.input),
        LogicalPlan::Limit(limit) => top_n::limit(graph, limit),
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            match (node.downcast_ref::<WindowNode>(), node.downcast_ref::<MatchNode>()) {
                (Some(window), _) => window::convert(graph, window),
                (None, Some(pattern)) => match_recognize::convert(graph, pattern),
                (None, None) => Err(PlanError::internal("an extension node that is not ours")),
            }
        }
        other => Err(refused(other)),
    }
}

fn refused(plan: &LogicalPlan) -> PlanError {
    let (what, hint) = match plan {
        LogicalPlan::Values(_) => ("VALUES", "Put the rows into a table and read that."),
        LogicalPlan::EmptyRelation(_) => ("a query without FROM", "Read from a source, table or view."),
        LogicalPlan::Unnest(_) => ("unnest", "Unnest when reading the view."),
        LogicalPlan::RecursiveQuery(_) => ("WITH RECURSIVE", "Run the recursive query ad hoc."),
        LogicalPlan::Subquery(_) => ("a correlated LATERAL subquery", "Rewrite it as a join."),
        LogicalPlan::Distinct(_) => ("DISTINCT ON", "Use ROW_NUMBER() … = 1."),
        _ => ("this query", "Run it ad hoc."),
    };
    PlanError::unsupported(format!("{what} is not supported in a materialized view"), hint)
}

/// Functions whose value depends on the clock, the session or chance: a retraction would not match its insertion.
fn refuse_impure(plan: &LogicalPlan) -> Result<(), PlanError> {
    let mut impure = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarFunction(call) = e
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    impure.get_or_insert((call.func.name().to_string(), call.func.signature().volatility));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match impure {
        None => Ok(()),
        Some((name, Volatility::Volatile)) => Err(PlanError::unsupported(
            format!("volatile function {name}() is not supported in a materialized view"),
            "Compute the value where the row is inserted.",
        )),
        Some((name, _)) => Err(PlanError::unsupported(
            format!("function {name}() is not supported in a materialized view"),
            "Its value changes without any input changing; use it in the query that reads the view.",
        )),
    }
}

/// `exprs` over `input`, named and typed as `output`.
fn project_all(exprs: &[Expr], input: &DFSchema, output: &DFSchema) -> Result<Vec<Projected>, PlanError> {
    exprs
        .iter()
        .zip(output.fields())
        .map(|(expr, out)| Ok((from_logical(expr, input)?, field(out.name(), out.data_type().clone()))))
        .collect()
}

/// Expressions that an operator needs as columns: each distinct one once.
#[derive(Default)]
struct Slots {
    columns: Vec<Projected>,
}

impl Slots {
    fn add(&mut self, expr: ScalarExpr, name: &str, data_type: arrow::datatypes::DataType) -> usize {
        match self.columns.iter().position(|(present, _)| *present == expr) {
            Some(position) => position,
            None => {
                self.columns.push((expr, field(name, data_type)));
                self.columns.len() - 1
            }
        }
    }

    /// A logical expression over `schema`, after `translate`.
    fn add_logical(
        &mut self,
        expr: &Expr,
        schema: &DFSchema,
        translate: &dyn Fn(&ScalarExpr) -> ScalarExpr,
    ) -> Result<usize, PlanError> {
        let scalar = from_logical(expr, schema)?;
        let (name, data_type) = (name_of(expr, &scalar, schema), expr.get_type(schema)?);
        Ok(self.add(translate(&scalar), &name, data_type))
    }
}

/// A readable name for an expression that becomes a column.
fn name_of(expr: &Expr, scalar: &ScalarExpr, schema: &DFSchema) -> String {
    match expr {
        // Aliases of group expressions and arguments are the binder's, never the user's.
        Expr::Alias(alias) => name_of(&alias.expr, scalar, schema),
        Expr::Column(column) => column.name.clone(),
        _ => scalar::show(scalar, schema.as_arrow()),
    }
}
