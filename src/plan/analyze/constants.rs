//! Casts of literals and arithmetic between literals become literals, by the kernels that views run. DataFusion's own
//! folding would wrap integers and cut fractions off. As in Postgres, a constant that fails fails the statement.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{Expr, LogicalPlan};

use super::expressions::rewrite_expressions;

pub(super) fn fold(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite_expressions(plan, |_| Ok(()), |expr, ()| expr.transform_up(fold_one))
}

fn fold_one(expr: Expr) -> Result<Transformed<Expr>> {
    match kernels::functions::constant(&expr) {
        Ok(Some(value)) => Ok(Transformed::yes(Expr::Literal(value, None))),
        Ok(None) => Ok(Transformed::no(expr)),
        Err(error) => Err(DataFusionError::External(Box::new(crate::PlanError::from(error)))),
    }
}
