//! AST → logical plan: names, types and functions bound by DataFusion's `SqlToRel` over our own context.
//!
//! `context.rs` resolves names, `functions.rs` lists functions, `data_type.rs` maps types, `prepare.rs` rewrites what
//! the AST spells differently, `window_relation.rs` plans window table functions, `match_relation/` MATCH_RECOGNIZE, `names.rs` names result columns,
//! `error_map.rs` words errors as Postgres does. For catalog queries: `catalog_syntax.rs` (rewrites of the AST),
//! `catalog_exprs.rs` (OIDs as names, arrays as text), `function_relation.rs` and `lateral.rs` (functions in FROM),
//! `subquery.rs` (subqueries run per row), `wire_type.rs` (types that Arrow doesn't have).

mod catalog_exprs;
pub mod catalog_syntax;
pub(crate) mod context;
pub mod data_type;
mod error_map;
mod flink_syntax;
mod function_relation;
pub mod functions;
mod interval_operators;
mod lateral;
mod match_relation;
pub(crate) mod names;
mod prepare;
pub mod subquery;
mod using_columns;
mod window_relation;
pub mod wire_type;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use catalog::{Catalog, NameBinding};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use sql::ast;
use types::{ObjectId, SqlState, ToSqlState};

use crate::environment::relation_of;
use crate::{BoundExpr, Environment, PlanError, PlanSession, analyze};
use catalog_exprs::CatalogExprs;
use context::Context;

/// Binds statements of one session against one catalog snapshot.
pub(crate) struct Binder {
    context: Context,
}

impl Binder {
    pub fn new(catalog: Arc<Catalog>, session: PlanSession, environment: Arc<dyn Environment>) -> Self {
        Binder { context: Context::new(catalog, session, environment) }
    }

    pub fn options(&self) -> &ConfigOptions {
        &self.context.options
    }

    /// The query as DataFusion binds it: types not yet coerced. `values`: what the columns of a VALUES list are cast to.
    pub fn query(
        &mut self,
        query: &ast::Query,
        parameters: &[Option<DataType>],
        values: Option<&SchemaRef>,
    ) -> Result<LogicalPlan, PlanError> {
        match self.query_with(query, parameters, values, false) {
            // Postgres lets result columns share a name; the binder doesn't. Give them internal ones.
            Err(error) if [SqlState::DuplicateColumn, SqlState::AmbiguousColumn].contains(&error.sql_state()) => {
                self.query_with(query, parameters, values, true).map_err(|_| error)
            }
            planned => planned,
        }
    }

    fn query_with(
        &mut self,
        query: &ast::Query,
        parameters: &[Option<DataType>],
        values: Option<&SchemaRef>,
        distinct_names: bool,
    ) -> Result<LogicalPlan, PlanError> {
        let mut query = query.clone();
        prepare::prepare_query(&mut query, distinct_names, &|name| self.context.columns_of(name))?;
        let declared =
            parameters.iter().map(|p| p.clone().map(|t| Arc::new(Field::new("", t, true)))).collect::<Vec<_>>();
        // An all-unknown list would make every placeholder beyond it an error.
        let declared = if declared.iter().any(Option::is_some) { declared } else { vec![] };
        let mut planner_context = PlannerContext::new().with_prepare_param_data_types(declared);
        if let Some(columns) = values {
            planner_context.set_table_schema(Some(Arc::new(DFSchema::try_from(columns.as_ref().clone())?)));
        }
        let statement = ast::Statement::Query(Box::new(query));
        let planner = SqlToRel::new(&self.context);
        let bound = planner.sql_statement_to_plan_with_context(statement, &mut planner_context)?;
        Ok(self.rewrite(catalog_exprs::type_parameters(bound, self.context.environment.as_ref())?)?)
    }

    /// What the binder can't do node by node: types of Postgres, subqueries per row.
    fn rewrite(&self, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let exprs = self.catalog_exprs();
        let rewritten = plan.transform_up_with_subqueries(|node| {
            if matches!(node, LogicalPlan::TableScan(_)) {
                return Ok(Transformed::no(node));
            }
            let node = lateral::rewrite(node, self.options())?;
            let schema = merge_schema(&node.data.inputs());
            let names = NamePreserver::new(&node.data);
            let changed = node.data.map_expressions(|expr| {
                let name = names.save(&expr);
                let typed = exprs.rewrite(expr, &schema)?;
                let replaced = subquery::replace(typed.data, &schema, self.options())?;
                match typed.transformed || replaced.transformed {
                    true => Ok(Transformed::yes(name.restore(replaced.data))),
                    false => Ok(Transformed::no(replaced.data)),
                }
            })?;
            match (changed.transformed, changed.data) {
                // The schema of VALUES is not recomputed from its rows by anyone else.
                (true, LogicalPlan::Values(values)) => {
                    Ok(Transformed::yes(LogicalPlanBuilder::values(values.values)?.build()?))
                }
                // Below it, something may have changed.
                (_, plan) => Ok(Transformed::yes(plan.recompute_schema()?)),
            }
        })?;
        Ok(rewritten.data)
    }

    fn catalog_exprs(&self) -> CatalogExprs<'_> {
        CatalogExprs { environment: self.context.environment.as_ref() }
    }

    /// The plan with its columns as clients get them: names for OIDs.
    pub fn show_output(&self, plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
        Ok(self.catalog_exprs().show_output(plan)?)
    }

    /// Types of `$1..$n`; what nothing tells is text, as Postgres resolves unknown.
    pub fn parameter_types(
        &self,
        plan: &LogicalPlan,
        declared: &[Option<DataType>],
    ) -> Result<Vec<DataType>, PlanError> {
        let mut inferred = plan.get_parameter_types()?;
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|e| {
                    // `$1::int`
                    if let Expr::Cast(cast) = e
                        && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                        && placeholder.field.is_none()
                    {
                        inferred.insert(placeholder.id.clone(), Some(cast.field.data_type().clone()));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        let number = |id: &String| id.trim_start_matches('$').parse::<usize>().ok();
        let count = inferred.keys().filter_map(number).max().unwrap_or(0).max(declared.len());
        let type_of = |n: usize| {
            declared
                .get(n - 1)
                .cloned()
                .flatten()
                .or_else(|| inferred.get(&format!("${n}")).cloned().flatten())
                .unwrap_or(DataType::Utf8)
        };
        Ok((1..=count).map(type_of).collect())
    }

    /// A scalar expression over `schema`, coerced and simplified to both forms.
    pub fn scalar(&self, expr: &ast::Expr, schema: &DFSchema) -> Result<BoundExpr, PlanError> {
        let bound = self.bind(expr, schema)?;
        self.finish(bound, schema)
    }

    /// As [`scalar`](Self::scalar), cast to `target` as an assignment does.
    pub fn assignment(&self, expr: &ast::Expr, schema: &DFSchema, target: &DataType) -> Result<BoundExpr, PlanError> {
        let bound = self.bind(expr, schema)?;
        let found = bound.get_type(schema)?;
        if !data_type::assignable(&found, target) {
            return Err(PlanError::TypeMismatch {
                message: format!(
                    "expression is of type {} but {} is expected",
                    data_type::type_name(&found),
                    data_type::type_name(target)
                ),
                hint: Some("You will need to rewrite or cast the expression.".into()),
            });
        }
        let bound = self.finish(bound, schema)?;
        if bound.data_type == *target {
            return Ok(bound);
        }
        let logical = bound.logical.cast_to(target, schema)?;
        let scalar = kernels::from_logical(&logical, schema)?;
        Ok(BoundExpr { logical, scalar, data_type: target.clone() })
    }

    pub fn bind(&self, expr: &ast::Expr, schema: &DFSchema) -> Result<Expr, PlanError> {
        let mut expr = expr.clone();
        prepare::prepare_expr(&mut expr)?;
        let planner = SqlToRel::new(&self.context);
        let bound = planner.sql_to_expr(expr, schema, &mut PlannerContext::new())?;
        let bound = self.catalog_exprs().rewrite(bound, schema)?.data;
        let refused = bound.exists(|e| {
            Ok(matches!(
                e,
                Expr::AggregateFunction(_)
                    | Expr::WindowFunction(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
            ))
        })?;
        match refused {
            true => Err(PlanError::unsupported(
                "subqueries, aggregates and window functions are not supported in this expression",
                "Compute the value in a query first.",
            )),
            false => Ok(bound),
        }
    }

    /// Coerces by way of a one-column projection, so that queries and expressions go through the same rules.
    fn finish(&self, bound: Expr, schema: &DFSchema) -> Result<BoundExpr, PlanError> {
        let input =
            LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::new(schema.clone()) });
        let plan = LogicalPlan::Projection(Projection::try_new(vec![bound.alias("value")], Arc::new(input))?);
        let LogicalPlan::Projection(analysed) = analyze::analyze(plan, self.options())? else {
            return Err(PlanError::internal("analysis changed a projection into another node"));
        };
        let logical = analysed.expr.into_iter().next().map(Expr::unalias).expect("one expression was projected");
        let data_type = logical.get_type(schema)?;
        let scalar = kernels::from_logical(&logical, schema)?;
        Ok(BoundExpr { logical, scalar, data_type })
    }

    /// What the names of the query itself mean, not those inside the views it reads; sorted by name.
    pub fn name_bindings(&self) -> Vec<NameBinding> {
        self.context.bound.borrow().values().cloned().collect()
    }

    /// (catalog relations scanned, views expanded; objects named).
    pub fn relations(&self, plan: &LogicalPlan) -> (Vec<ObjectId>, Vec<ObjectId>) {
        let mut scanned = BTreeSet::new();
        scan_relations(plan, &mut scanned);
        // System relations have ids below the user range and are nobody's dependency.
        scanned.retain(|id| *id >= ObjectId::FIRST_USER);
        let named: BTreeSet<ObjectId> = self.context.bound.borrow().values().map(|bound| bound.object).collect();
        (scanned.into_iter().collect(), named.into_iter().collect())
    }
}

/// The catalog relations that a plan scans, also inside subqueries that run per row.
fn scan_relations(plan: &LogicalPlan, scanned: &mut BTreeSet<ObjectId>) {
    let visit = |node: &LogicalPlan| {
        scanned.extend(relation_of(node).map(|relation| relation.id));
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some(subquery) = subquery::RowSubquery::of(expr) {
                    scan_relations(&subquery.plan, scanned);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    };
    plan.apply_with_subqueries(visit).expect("the visitor never fails");
}
