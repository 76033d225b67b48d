//! `WATERMARK FOR col AS expr`: which column, and how far behind.

use arrow::datatypes::{DataType, SchemaRef};
use sql::{WatermarkDefinition, ast};
use types::SqlState;

use crate::{PlanError, type_name};

/// (column position, delay in microseconds) of `col` or `col - INTERVAL …`.
///
/// Errors: the column is unknown or no timestamp, or the expression has another form.
pub fn watermark_delay(definition: &WatermarkDefinition, columns: &SchemaRef) -> Result<(usize, i64), PlanError> {
    let name = fold(&definition.column);
    let position =
        columns.index_of(&name).map_err(|_| PlanError::UndefinedColumn { name: format!("\"{name}\""), hint: None })?;
    let found = columns.field(position).data_type();
    if !matches!(found, DataType::Timestamp(..)) {
        return Err(PlanError::TypeMismatch {
            message: format!("watermark column \"{name}\" is of type {}", type_name(found)),
            hint: Some("A watermark needs a column of type timestamp.".into()),
        });
    }
    let delay_us = delay(&definition.expr, &name)?;
    if delay_us < 0 {
        return Err(PlanError::Invalid {
            state: SqlState::InvalidParameterValue,
            message: "the delay of a watermark must not be negative".into(),
            hint: Some(form(&name)),
        });
    }
    Ok((position, delay_us))
}

fn delay(expr: &ast::Expr, column: &str) -> Result<i64, PlanError> {
    let refused = || PlanError::unsupported("this form of watermark is not supported", form(column));
    match expr {
        ast::Expr::Nested(inner) => delay(inner, column),
        ast::Expr::Identifier(ident) if fold(ident) == column => Ok(0),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Minus, right } => match left.as_ref() {
            ast::Expr::Identifier(ident) if fold(ident) == column => sql::interval_us(right).map_err(PlanError::Sql),
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

fn form(column: &str) -> String {
    format!("Write WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds'.")
}

fn fold(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
