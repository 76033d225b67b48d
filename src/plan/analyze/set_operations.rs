//! EXCEPT ALL and INTERSECT ALL count copies: the n-th copy of a row on the left meets the n-th on the right. The
//! library's plan is the join of a set, by the columns alone, which keeps or drops all copies at once.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, JoinType, NullEquality, Result};
use datafusion_expr::{Distinct, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion_functions_window::expr_fn::row_number;
use datafusion_optimizer::AnalyzerRule;

/// The number of a copy, by side.
const COPIES: [&str; 2] = ["__copy", "__other_copy"];

#[derive(Debug)]
pub(crate) struct SetOperationsOfCopies;

impl AnalyzerRule for SetOperationsOfCopies {
    fn name(&self) -> &str {
        "set_operations_of_copies"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if of_copies(&join) => by_copy(join).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(plan.data)
    }
}

/// Only set operations make joins by all columns in which NULLs are equal; those without ALL are over a DISTINCT.
fn of_copies(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

fn by_copy(mut join: Join) -> Result<LogicalPlan> {
    let shown: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    join.left = Arc::new(numbered(&join.left, COPIES[0])?);
    join.right = Arc::new(numbered(&join.right, COPIES[1])?);
    let [left, right] = COPIES.map(|name| Expr::Column(Column::from_name(name)));
    join.on.push((left, right));
    let joined = Join::try_new(
        join.left,
        join.right,
        join.on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(shown)?.build()
}

/// The rows with a number among their equals.
fn numbered(plan: &LogicalPlan, name: &str) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = row_number().partition_by(columns).build()?.alias(name);
    LogicalPlanBuilder::from(plan.clone()).window(vec![number])?.build()
}
