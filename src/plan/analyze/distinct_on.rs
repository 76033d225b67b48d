//! `SELECT DISTINCT ON (k) … ORDER BY k, o` is row 1 of each k in that order: the window form has an incremental
//! operator (top-N), and the same meaning in batch.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::{Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, col, lit};
use datafusion_functions_window::expr_fn::row_number;
use datafusion_optimizer::AnalyzerRule;

const RANK: &str = "__distinct_rank";

#[derive(Debug)]
pub(crate) struct DistinctOnAsRowNumber;

impl AnalyzerRule for DistinctOnAsRowNumber {
    fn name(&self) -> &str {
        "distinct_on_as_row_number"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Distinct(Distinct::On(on)) => first_rows(on).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(plan.data)
    }
}

fn first_rows(on: DistinctOn) -> Result<LogicalPlan> {
    let order = on.sort_expr.clone().unwrap_or_default();
    let number = row_number().partition_by(on.on_expr.clone()).order_by(order.clone()).build()?.alias(RANK);
    let input = Arc::unwrap_or_clone(on.input);
    let ranked = LogicalPlanBuilder::from(input).window(vec![number])?.filter(col(RANK).eq(lit(1_i64)))?;
    let ranked = if order.is_empty() { ranked } else { ranked.sort(order)? };
    // Names and qualifiers of the node that is replaced.
    let fields = on.schema.iter().zip(on.select_expr);
    let select: Vec<Expr> = fields
        .map(|((qualifier, field), expr)| match &expr {
            Expr::Column(_) => expr,
            _ => expr.unalias().alias_qualified(qualifier.cloned(), field.name()),
        })
        .collect();
    ranked.project(select)?.build()
}
