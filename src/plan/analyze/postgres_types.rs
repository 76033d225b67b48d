//! Types where Postgres and DataFusion differ, set before types are coerced: integer literals that fit are `int4`,
//! a date and an interval make a timestamp, a date and an integer a date, the difference of two timestamps is an
//! interval, that of two dates an integer; `now()` has microseconds, row numbers are `int8`.

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
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) => {
            Ok(retype_moments(*left, op, *right, schema))
        }
        Expr::ScalarFunction(ref call) if call.func.name() == "now" => {
            Ok(Transformed::yes(cast(expr, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

/// What a side of + or − is, as far as these rules care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Date,
    Timestamp,
    Interval,
    Integer,
    Other,
}

impl Side {
    /// Types that aren't known yet (placeholders) are left to coercion.
    fn of(expr: &Expr, schema: &DFSchema) -> Side {
        match expr.get_type(schema) {
            Ok(DataType::Date32) => Side::Date,
            Ok(DataType::Timestamp(..)) => Side::Timestamp,
            Ok(DataType::Interval(_)) => Side::Interval,
            Ok(DataType::Int16 | DataType::Int32) => Side::Integer,
            _ => Side::Other,
        }
    }
}

/// As pg_operator has them: date_pl_interval, timestamp_mi, date_mi, date_pli and their like.
fn retype_moments(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let timestamp = |expr: Expr| cast(expr, DataType::Timestamp(TimeUnit::Microsecond, None));
    let days = |expr: Expr| cast(expr, DataType::Int32);
    let operation = |left: Expr, right: Expr| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    let interval = |expr: Expr| cast(expr, DataType::Interval(IntervalUnit::MonthDayNano));
    Transformed::yes(match (Side::of(&left, schema), op, Side::of(&right, schema)) {
        (Side::Date, _, Side::Interval) => operation(timestamp(left), right),
        (Side::Interval, Operator::Plus, Side::Date) => operation(left, timestamp(right)),
        (Side::Timestamp, Operator::Minus, Side::Timestamp) => interval(operation(left, right)),
        (Side::Timestamp, Operator::Minus, Side::Date) => interval(operation(left, timestamp(right))),
        (Side::Date, Operator::Minus, Side::Timestamp) => interval(operation(timestamp(left), right)),
        (Side::Date, Operator::Minus, Side::Date) => operation(days(left), days(right)),
        (Side::Date, _, Side::Integer) => cast(operation(days(left), days(right)), DataType::Date32),
        (Side::Integer, Operator::Plus, Side::Date) => cast(operation(days(left), days(right)), DataType::Date32),
        _ => return Transformed::no(operation(left, right)),
    })
}
