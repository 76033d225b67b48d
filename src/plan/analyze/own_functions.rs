//! Calls that the library's binder makes from syntax (EXTRACT, `a[1]`, ARRAY[…]) are calls of its own functions; those of
//! our registry take their place, so that a function means the same however it is written.

use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::AnalyzerRule;
use kernels::functions::in_place_of;

use super::rewrite_expressions;

#[derive(Debug)]
pub(crate) struct OwnFunctions;

impl AnalyzerRule for OwnFunctions {
    fn name(&self) -> &str {
        "own_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |_| Ok(()), |expr, ()| expr.transform_up(replace))
    }
}

fn replace(mut expr: Expr) -> Result<Transformed<Expr>> {
    if let Expr::ScalarFunction(call) = &mut expr
        && let Some(ours) = in_place_of(&call.func)
    {
        call.func = ours;
        return Ok(Transformed::yes(expr));
    }
    Ok(Transformed::no(expr))
}
