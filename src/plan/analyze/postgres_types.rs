//! Types where Postgres and DataFusion differ, set before types are coerced: integer literals that fit are `int4`,
//! the difference of two timestamps is an interval, `now()` has microseconds, row numbers are `int8`.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, cast};
use datafusion_optimizer::AnalyzerRule;

#[derive(Debug)]
pub(crate) struct PostgresTypes;

impl AnalyzerRule for PostgresTypes {
    fn name(&self) -> &str {
        "postgres_types"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(retype_node).map(|transformed| transformed.data)
    }
}

fn retype_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // LIMIT reads its literals as int8; scans hold no expressions yet.
    if matches!(plan, LogicalPlan::Limit(_) | LogicalPlan::TableScan(_)) {
        return Ok(Transformed::no(plan));
    }
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let unsigned = matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Filter(_));
    let retyped = plan.map_expressions(|expr| {
        // The sets of GROUPING SETS can't carry the alias that keeps a name.
        if matches!(expr, Expr::GroupingSet(_)) {
            return Ok(Transformed::no(expr));
        }
        let name = names.save(&expr);
        retype_expr(expr, &schema, unsigned)?.map_data(|expr| Ok(name.restore(expr)))
    })?;
    match retyped.data {
        // The schema of VALUES is not recomputed from its rows by anyone else.
        LogicalPlan::Values(values) => Ok(Transformed::yes(LogicalPlanBuilder::values(values.values)?.build()?)),
        plan => Ok(Transformed::yes(plan.recompute_schema()?)),
    }
}

fn retype_expr(expr: Expr, schema: &DFSchema, unsigned: bool) -> Result<Transformed<Expr>> {
    expr.transform_down(narrow_literal)?.transform_data(|expr| {
        expr.transform_up(|e| match &e {
            // ROW_NUMBER and its like.
            Expr::Column(_) if unsigned && matches!(e.get_type(schema), Ok(DataType::UInt64)) => {
                Ok(Transformed::yes(cast(e, DataType::Int64)))
            }
            _ => retype_operation(e, schema),
        })
    })
}

/// `5` is int4. Constant arguments of aggregates and window functions (`ntile(4)`, `count(1)`) are read by their
/// implementations as int8 and stay.
fn narrow_literal(expr: Expr) -> Result<Transformed<Expr>> {
    let is_literal = |arg: &Expr| matches!(arg, Expr::Literal(..));
    match &expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(*value) {
            Ok(narrow) => Ok(Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(narrow)), metadata.clone()))),
            Err(_) => Ok(Transformed::no(expr)),
        },
        Expr::AggregateFunction(call) if call.params.args.iter().any(is_literal) => {
            Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump))
        }
        Expr::WindowFunction(call) if call.params.args.iter().any(is_literal) => {
            Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

fn retype_operation(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            // Types that aren't known yet (placeholders) are left to coercion.
            let timestamp = |e: &Expr| matches!(e.get_type(schema), Ok(DataType::Timestamp(..)));
            match timestamp(left) && timestamp(right) {
                true => Ok(Transformed::yes(cast(expr, DataType::Interval(IntervalUnit::MonthDayNano)))),
                false => Ok(Transformed::no(expr)),
            }
        }
        Expr::ScalarFunction(call) if call.func.name() == "now" => {
            Ok(Transformed::yes(cast(expr, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))))
        }
        _ => Ok(Transformed::no(expr)),
    }
}
