//! UPDATE: the rows a query finds, retracted and inserted again with the assigned values.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::DataType;
use plan::PlannedQuery;
use sql::{Update, ast};
use types::{SqlError, SqlState};

use super::delete::affected_rows;
use super::found_rows::{self, FoundRows};
use super::write::{self, Target};
use super::{Context, insert, names, query, unique};
use crate::api::{Described, Response};
use crate::session::Session;
use crate::tables::{KeyedRows, Written};

pub(crate) fn describe(
    context: &Context,
    update: &Update,
    parameters: &[Option<DataType>],
) -> Result<Described, SqlError> {
    let target = Target::resolve(context, &update.table)?;
    let (_, found) = query_of(&target, update)?;
    let parameters = query::plan(context, &found, parameters)?.parameter_types;
    Ok(Described { parameters, columns: write::returning_columns(context, &target, &update.returning)? })
}

pub(crate) async fn execute(
    session: &mut Session,
    update: &Update,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    let context = session.context();
    context.shared.check_memory()?;
    let target = Target::open(session, &context, &update.table).await?;
    target.check_updatable()?;
    let (assigned, found) = query_of(&target, update)?;
    let hints: Vec<Option<DataType>> = parameters.iter().map(|p| Some(p.data_type().clone())).collect();
    let planned = query::plan(&context, &found, &hints)?;
    check_values(&target, &planned, &assigned)?;
    let found = found_rows::find(session, &context, &target, planned, parameters).await?;
    let after = apply(session, &context, &target, &assigned, found).await?;
    write::answer(&context, &target, &update.returning, &after.rows, "UPDATE")
}

/// Assigned columns, and the query that finds the rows with the new values behind them.
fn query_of(target: &Target, update: &Update) -> Result<(Vec<usize>, ast::Query), SqlError> {
    let assigned = assigned(target, &update.assignments)?;
    let values = update.assignments.iter().map(|(_, value)| value.clone()).collect();
    let found = affected_rows(target, &update.table, update.alias.as_ref(), values, update.selection.as_ref())?;
    Ok((assigned, found))
}

/// The columns that SET assigns.
pub(crate) fn assigned(target: &Target, assignments: &[(ast::Ident, ast::Expr)]) -> Result<Vec<usize>, SqlError> {
    let mut assigned = vec![];
    for (ident, _) in assignments {
        let name = names::fold(ident);
        let column = target.object.columns.iter().position(|c| c.name == name).ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", target.object.name);
            SqlError::new(SqlState::UndefinedColumn, message)
        })?;
        if target.object.columns[column].generated.is_some() {
            let message = format!("column \"{name}\" can only be updated to DEFAULT");
            return Err(SqlError::new(SqlState::GeneratedAlways, message)
                .with_detail(format!("Column \"{name}\" is a generated column.")));
        }
        if assigned.contains(&column) {
            let message = format!("multiple assignments to same column \"{name}\"");
            return Err(SqlError::new(SqlState::SyntaxError, message));
        }
        assigned.push(column);
    }
    Ok(assigned)
}

/// 42804 if what `planned` gives behind the table's columns cannot be assigned.
pub(crate) fn check_values(target: &Target, planned: &PlannedQuery, assigned: &[usize]) -> Result<(), SqlError> {
    let values = planned.schema.fields().iter().skip(target.schema.fields().len());
    for (value, column) in values.zip(assigned) {
        let entry = &target.object.columns[*column];
        write::check_assignable(value.data_type(), &entry.data_type, &entry.name)?;
    }
    Ok(())
}

/// Gives the rows their new values, checks them, and makes that part of the transaction.
pub(crate) async fn apply(
    session: &mut Session,
    context: &Context,
    target: &Target,
    assigned: &[usize],
    found: FoundRows,
) -> Result<KeyedRows, SqlError> {
    let FoundRows { rows: before, values } = found;
    let after = updated(context, target, assigned, &before, &values)?;
    target.check_not_null(&after)?;
    let after = KeyedRows::of(after, &target.body().primary_key)?;
    if !target.body().primary_key.is_empty() {
        unique::check_updated(session, context, target, &before, &after).await?;
    }
    session.transaction.work().write(target.written(Written::Updated { before, after: after.clone() }));
    Ok(after)
}

/// The rows with the assigned values, and what is generated from them.
fn updated(
    context: &Context,
    target: &Target,
    assigned: &[usize],
    before: &KeyedRows,
    values: &[ArrayRef],
) -> Result<RecordBatch, SqlError> {
    let mut arrays: Vec<ArrayRef> = before.rows.columns().to_vec();
    for (value, column) in values.iter().zip(assigned) {
        let entry = &target.object.columns[*column];
        arrays[*column] = write::coerce(value, &entry.data_type, &entry.name)?;
    }
    // NULLs where none may be are found next.
    let options = RecordBatchOptions::new().with_row_count(Some(before.len()));
    let rows = RecordBatch::try_new_with_options(target.schema.clone(), arrays, &options);
    insert::generate(context, target, rows.map_err(|e| SqlError::internal(e.to_string()))?)
}
