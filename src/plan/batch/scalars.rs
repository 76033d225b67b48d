//! Arithmetic and casts in ad-hoc queries become calls of our own kernels, so that a query fails, rounds and prints
//! where the same query as a view does.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use kernels::functions::{checked_operator, postgres_cast};

use crate::PlanError;
use crate::analyze::rewrite_expressions;

/// Replaces them in all nodes, also inside subqueries. The plan is analysed: its types are coerced.
pub fn lower_scalars_for_batch(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    Ok(rewrite_expressions(plan, input_schema, |expr, schema| expr.transform_up(|e| lower(e, schema)))?)
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

fn lower(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(cast) => Transformed::yes(postgres_cast(cast.field.data_type(), false).call(vec![*cast.expr])),
        Expr::TryCast(cast) => Transformed::yes(postgres_cast(cast.field.data_type(), true).call(vec![*cast.expr])),
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
        other => Transformed::no(other),
    })
}

fn numeric(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_numeric())
}

fn integer(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer())
}
