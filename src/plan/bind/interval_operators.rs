//! `interval * number`, `number * interval` and `interval / number`, which the binder has no types for, as calls.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Expr, ExprSchemable};
use sql::ast::BinaryOperator;

#[derive(Debug)]
pub(crate) struct IntervalOperators;

impl ExprPlanner for IntervalOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_interval = |side: &Expr| matches!(side.get_type(schema), Ok(DataType::Interval(_)));
        let is_number = |side: &Expr| side.get_type(schema).is_ok_and(|t| t.is_numeric());
        let call = |name: &str, interval: Expr, number: Expr| {
            let function = kernels::functions::scalar_function(name).expect("it is one of ours");
            PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![interval, number])))
        };
        Ok(match expr.op {
            BinaryOperator::Multiply if is_interval(&expr.left) && is_number(&expr.right) => {
                call("interval_mul", expr.left, expr.right)
            }
            BinaryOperator::Multiply if is_number(&expr.left) && is_interval(&expr.right) => {
                call("interval_mul", expr.right, expr.left)
            }
            BinaryOperator::Divide if is_interval(&expr.left) && is_number(&expr.right) => {
                call("interval_div", expr.left, expr.right)
            }
            _ => PlannerResult::Original(expr),
        })
    }
}
