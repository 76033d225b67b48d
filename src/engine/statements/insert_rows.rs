//! The query of an INSERT, planned for its target. In a VALUES list every value is cast to its column by itself, DEFAULT
//! stands for the column's default, and a parameter that stands alone has the column's type.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use plan::PlannedQuery;
use sql::ast;
use types::{SqlError, SqlState, ToSqlState};

use super::insert::stored_expr;
use super::write::{self, Target};
use super::{Context, query};

/// `columns`: what the statement gives, as positions in the table. `parameters`: types that the client declared.
pub(super) fn plan(
    context: &Context,
    target: &Target,
    columns: &[usize],
    source: &ast::Query,
    parameters: &[Option<DataType>],
) -> Result<PlannedQuery, SqlError> {
    let hints = parameter_hints(target, columns, source, parameters);
    let ast::SetExpr::Values(values) = source.body.as_ref() else {
        let planned = query::plan(context, source, &hints)?;
        check_width(planned.schema.fields().len(), columns.len())?;
        return Ok(planned);
    };
    for row in &values.rows {
        check_width(row.content.len(), columns.len())?;
    }
    let fields: Vec<_> = columns.iter().map(|c| target.schema.field(*c).clone()).collect();
    let source = with_defaults(target, columns, source)?;
    let planned = context.planner().plan_values(&source, &hints, &Arc::new(Schema::new(fields)));
    planned.map_err(|e| e.to_sql_error())
}

/// The rows of a VALUES list of nothing but parameters, which need no plan: a prepared INSERT is executed many times.
/// `None` for all others, also for those that are wrong.
pub(super) fn of_parameters(
    target: &Target,
    columns: &[usize],
    source: &ast::Query,
    parameters: &[ArrayRef],
) -> Result<Option<RecordBatch>, SqlError> {
    let plain = source.with.is_none() && source.order_by.is_none() && source.limit_clause.is_none();
    let (true, None, ast::SetExpr::Values(values)) = (plain, &source.fetch, source.body.as_ref()) else {
        return Ok(None);
    };
    let mut given: Vec<Vec<ArrayRef>> = columns.iter().map(|_| Vec::with_capacity(values.rows.len())).collect();
    for row in &values.rows {
        if row.content.len() != columns.len() {
            return Ok(None);
        }
        for ((expr, column), arrays) in row.content.iter().zip(columns).zip(&mut given) {
            let Some(parameter) = placeholder(expr).and_then(|number| parameters.get(number - 1)) else {
                return Ok(None);
            };
            let column = &target.object.columns[*column];
            arrays.push(write::coerce(parameter, &column.data_type, &column.name)?);
        }
    }
    let internal = |e: arrow::error::ArrowError| SqlError::internal(e.to_string());
    let column = |arrays: &Vec<ArrayRef>| match arrays.as_slice() {
        [one] => Ok(one.clone()),
        several => concat(&several.iter().map(|array| array.as_ref()).collect::<Vec<_>>()).map_err(internal),
    };
    let arrays: Vec<ArrayRef> = given.iter().map(column).collect::<Result<_, _>>()?;
    let fields: Vec<Field> = columns.iter().map(|c| target.schema.field(*c).clone().with_nullable(true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(values.rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map(Some).map_err(internal)
}

/// The number of a parameter that stands alone.
fn placeholder(expr: &ast::Expr) -> Option<usize> {
    let ast::Expr::Value(value) = expr else { return None };
    let ast::Value::Placeholder(name) = &value.value else { return None };
    name.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}

fn check_width(width: usize, columns: usize) -> Result<(), SqlError> {
    if width > columns {
        return Err(SqlError::new(SqlState::SyntaxError, "INSERT has more expressions than target columns"));
    }
    Ok(())
}

/// The list with DEFAULT replaced by what the columns default to.
fn with_defaults(target: &Target, columns: &[usize], source: &ast::Query) -> Result<ast::Query, SqlError> {
    let mut source = source.clone();
    let ast::SetExpr::Values(values) = source.body.as_mut() else { return Ok(source) };
    for row in &mut values.rows {
        for (expr, column) in row.content.iter_mut().zip(columns) {
            if is_default(expr) {
                *expr = match &target.object.columns[*column].default {
                    Some(text) => stored_expr(text)?,
                    None => ast::Expr::Value(ast::Value::Null.into()),
                };
            }
        }
    }
    Ok(source)
}

fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// Types of parameters that stand alone in a VALUES list: those of their columns.
fn parameter_hints(
    target: &Target,
    columns: &[usize],
    source: &ast::Query,
    given: &[Option<DataType>],
) -> Vec<Option<DataType>> {
    let mut hints = given.to_vec();
    let ast::SetExpr::Values(values) = source.body.as_ref() else { return hints };
    for row in &values.rows {
        for (position, expr) in row.content.iter().enumerate() {
            let ast::Expr::Value(value) = expr else { continue };
            let ast::Value::Placeholder(name) = &value.value else { continue };
            let Some(number) = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) else { continue };
            if number == 0 || number > u16::MAX as usize {
                continue;
            }
            if hints.len() < number {
                hints.resize(number, None);
            }
            let column = columns.get(position).map(|c| target.object.columns[*c].data_type.clone());
            hints[number - 1] = hints[number - 1].take().or(column);
        }
    }
    hints
}
