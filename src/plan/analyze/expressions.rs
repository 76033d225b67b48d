//! Rewriting all expressions of a plan, subqueries included, without changing the names of its columns.

use datafusion_common::Result;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan};

/// Applies `rewrite` to the root of every expression, from the leaves of the plan up. `context` is made once per node
/// from the node before the rewrite. Nodes of our own keep their expressions.
pub(crate) fn rewrite_expressions<C>(
    plan: LogicalPlan,
    context: impl Fn(&LogicalPlan) -> Result<C>,
    rewrite: impl Fn(Expr, &C) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Extension(_)) {
            return Ok(Transformed::no(node));
        }
        let context = context(&node)?;
        let names = NamePreserver::new(&node);
        let mut one = |expr: Expr| {
            let name = names.save(&expr);
            let rewritten = rewrite(expr, &context)?;
            match rewritten.transformed {
                true => Ok(rewritten.update_data(|expr| name.restore(expr))),
                false => Ok(rewritten),
            }
        };
        let node = node.map_expressions(|expr| match expr {
            // An alias would hide that it is a grouping set.
            Expr::GroupingSet(_) => datafusion_common::tree_node::TreeNode::map_children(expr, &mut one),
            expr => one(expr),
        })?;
        match node.transformed {
            true => node.map_data(LogicalPlan::recompute_schema),
            false => Ok(node),
        }
    });
    Ok(rewritten?.data)
}
