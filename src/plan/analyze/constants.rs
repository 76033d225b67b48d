//! Casts of literals and arithmetic between literals become literals, by the kernels that views run. DataFusion's own
//! folding would wrap integers and cut fractions off. As in Postgres, a constant that fails fails the statement.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{Expr, LogicalPlan};

use super::expressions::rewrite_expressions;

/// `zone`: the session's, in which times without zone are meant. A view keeps the instants it was created with.
pub(super) fn fold(plan: LogicalPlan, zone: &str) -> Result<LogicalPlan> {
    rewrite_expressions(plan, |_| Ok(()), |expr, ()| expr.transform_up(|expr| fold_one(expr, zone)))
}

fn fold_one(expr: Expr, zone: &str) -> Result<Transformed<Expr>> {
    match kernels::functions::constant(&expr, zone) {
        Ok(Some(value)) => Ok(Transformed::yes(Expr::Literal(value, None))),
        Ok(None) => Ok(Transformed::no(expr)),
        Err(error) => Err(DataFusionError::External(Box::new(crate::PlanError::from(error)))),
    }
}
