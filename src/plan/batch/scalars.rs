//! Arithmetic and casts in ad-hoc queries become calls of our own kernels, so that a query fails, rounds and prints
//! where the same query as a view does. Casts and functions that look at a `timestamptz` do so in the session's zone.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use kernels::functions::{UTC, checked_operator, postgres_cast, zoned};

use crate::PlanError;
use crate::analyze::rewrite_expressions;

/// Functions that take a moment apart, or put it together, by the clock of a zone.
const ZONED: [&str; 4] = ["date_format", "date_part", "date_trunc", "to_char"];

/// Replaces them in all nodes, also inside subqueries. The plan is analysed: its types are coerced.
/// `zone`: the session's time zone.
pub fn lower_scalars_for_batch(plan: LogicalPlan, zone: &str) -> Result<LogicalPlan, PlanError> {
    Ok(rewrite_expressions(plan, input_schema, |expr, schema| expr.transform_up(|e| lower(e, schema, zone)))?)
}

/// What the expressions of a node are over.
fn input_schema(node: &LogicalPlan) -> Result<DFSchema> {
    match node {
        LogicalPlan::TableScan(scan) => {
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())
        }
        node => Ok(merge_schema(&node.inputs())),
    }
}

fn lower(expr: Expr, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(cast) => Transformed::yes(postgres_cast(cast.field.data_type(), false, zone).call(vec![*cast.expr])),
        Expr::TryCast(cast) => {
            Transformed::yes(postgres_cast(cast.field.data_type(), true, zone).call(vec![*cast.expr]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match checked_operator(op) {
            Some(function) if numeric(&left, schema) && numeric(&right, schema) => {
                Transformed::yes(function.call(vec![*left, *right]))
            }
            _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        },
        Expr::Negative(arg) if integer(&arg, schema) => {
            let zero = lit(datafusion_common::ScalarValue::new_zero(&arg.get_type(schema)?)?);
            let minus = checked_operator(Operator::Minus).expect("minus is arithmetic");
            Transformed::yes(minus.call(vec![zero, *arg]))
        }
        Expr::ScalarFunction(call) if zone != UTC && ZONED.contains(&call.func.name()) => {
            return in_zone(call, schema, zone);
        }
        other => Transformed::no(other),
    })
}

/// The call with its instants seen in `zone`; an instant that comes out is in UTC again.
fn in_zone(mut call: ScalarFunction, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    let mut found = false;
    for arg in &mut call.args {
        if matches!(arg.get_type(schema)?, DataType::Timestamp(_, Some(_))) {
            found = true;
            *arg = postgres_cast(&zoned(zone), false, UTC).call(vec![std::mem::take(arg)]);
        }
    }
    let call = Expr::ScalarFunction(call);
    if !found {
        return Ok(Transformed::no(call));
    }
    Ok(Transformed::yes(match call.get_type(schema)? {
        DataType::Timestamp(_, Some(_)) => postgres_cast(&zoned(UTC), false, UTC).call(vec![call]),
        _ => call,
    }))
}

fn numeric(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_numeric())
}

fn integer(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer())
}
