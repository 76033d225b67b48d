//! Types of expressions inside the clause, by way of small plans, so that the rules are those of every other query.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef};
use datafusion_expr::{Aggregate, EmptyRelation, Expr, ExprSchemable, LogicalPlan, Projection, Volatility};
use kernels::{RecomputeCall, ScalarExpr, from_logical};

use crate::{PlanError, analyze};

fn nothing(schema: &DFSchemaRef) -> Arc<LogicalPlan> {
    Arc::new(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: schema.clone() }))
}

/// The persisted form of an expression over `schema`, and its type.
pub(super) fn scalar(
    expr: Expr,
    schema: &DFSchemaRef,
    options: &ConfigOptions,
) -> Result<(ScalarExpr, DataType), PlanError> {
    refuse(&expr)?;
    let plan = LogicalPlan::Projection(Projection::try_new(vec![expr.alias("value")], nothing(schema))?);
    let LogicalPlan::Projection(analysed) = analyze::analyze(plan, options)? else {
        return Err(PlanError::internal("analysis changed a projection into another node"));
    };
    let expr = analysed.expr.into_iter().next().map(Expr::unalias).expect("one expression was projected");
    let data_type = expr.get_type(schema)?;
    Ok((from_logical(&expr, schema)?, data_type))
}

/// The persisted form of an aggregate over `schema`, and its type.
pub(super) fn aggregate(
    expr: Expr,
    schema: &DFSchemaRef,
    options: &ConfigOptions,
) -> Result<(RecomputeCall, DataType), PlanError> {
    refuse(&expr)?;
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(nothing(schema), vec![], vec![expr])?);
    let analysed = analyze::analyze(plan, options)?;
    let aggregate = find(&analysed).ok_or_else(|| PlanError::internal("analysis lost an aggregate"))?;
    let data_type = aggregate.schema.field(0).data_type().clone();
    Ok((RecomputeCall::from_aggregate(&aggregate.aggr_expr[0], aggregate.input.schema())?, data_type))
}

fn find(plan: &LogicalPlan) -> Option<&Aggregate> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Some(aggregate),
        other => other.inputs().into_iter().find_map(find),
    }
}

/// What has no place in the clause.
fn refuse(expr: &Expr) -> Result<(), PlanError> {
    let mut refused = Ok(());
    expr.apply(|expr| {
        refused = match expr {
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                Err(PlanError::unsupported(
                    "subqueries are not supported in MATCH_RECOGNIZE",
                    "Join the input with the subquery first.",
                ))
            }
            Expr::WindowFunction(_) => Err(PlanError::unsupported(
                "window functions are not supported in MATCH_RECOGNIZE",
                "Compute them in a subquery that is the input.",
            )),
            Expr::Placeholder(_) => Err(PlanError::unsupported(
                "parameters are not supported in MATCH_RECOGNIZE",
                "Select the parameter as a column of the input.",
            )),
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Err(PlanError::unsupported(
                    format!("function {}() is not supported in MATCH_RECOGNIZE", call.func.name()),
                    "Select its value as a column of the input.",
                ))
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    })?;
    refused
}

/// A schema of columns that have a position and no name.
pub(super) fn positional(prefix: &str, types: impl Iterator<Item = DataType>) -> Result<DFSchemaRef, PlanError> {
    let fields = types.enumerate().map(|(n, t)| arrow::datatypes::Field::new(format!("{prefix}{n}"), t, true));
    let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    Ok(Arc::new(DFSchema::try_from(schema)?))
}
