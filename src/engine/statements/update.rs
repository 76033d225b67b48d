//! UPDATE: the rows a query finds, retracted and inserted again with the assigned values.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use sql::{Update, ast};
use types::{DeltaBatch, SqlError, SqlState};

use super::delete::affected_rows;
use super::write::{self, Target, Writing};
use super::{Context, insert, names, query};
use crate::api::{Described, Response};
use crate::session::Session;

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
    let target = Target::resolve(&context, &update.table)?;
    target.check_updatable()?;
    write::check_own_writes(session, &target)?;
    let writer = context.shared.tables.get(target.object.id);
    let mut writing = Writing::lock(&context, &target, &writer).await;
    writing.settle().await?;
    let (assigned, found) = query_of(&target, update)?;
    let hints: Vec<Option<DataType>> = parameters.iter().map(|p| Some(p.data_type().clone())).collect();
    let planned = query::plan(&context, &found, &hints)?;
    let values = planned.schema.fields().iter().skip(target.schema.fields().len());
    for (value, column) in values.zip(&assigned) {
        let entry = &target.object.columns[*column];
        write::check_assignable(value.data_type(), &entry.data_type, &entry.name)?;
    }
    let batches = query::collect(&context, planned, parameters).await?;
    let (before, after) = before_and_after(&context, &target, &assigned, batches)?;
    target.check_not_null(&after)?;
    check_keys(&context, &target, &before, &after)?;
    let delta =
        DeltaBatch::concat(&target.schema, &[DeltaBatch::inserts(before).negate(), DeltaBatch::inserts(after.clone())]);
    write::commit_delta(session, writing, delta).await?;
    write::answer(&context, &target, &update.returning, &after, "UPDATE")
}

/// Assigned columns, and the query that finds the rows with the new values behind them.
fn query_of(target: &Target, update: &Update) -> Result<(Vec<usize>, ast::Query), SqlError> {
    let mut assigned = vec![];
    let mut values = vec![];
    for (ident, value) in &update.assignments {
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
        values.push(value.clone());
    }
    let found = affected_rows(target, &update.table, update.alias.as_ref(), values, update.selection.as_ref())?;
    Ok((assigned, found))
}

fn before_and_after(
    context: &Context,
    target: &Target,
    assigned: &[usize],
    batches: Vec<RecordBatch>,
) -> Result<(RecordBatch, RecordBatch), SqlError> {
    let width = target.schema.fields().len();
    let before = write::concat(&target.schema, &query::with_schema(batches.clone(), &target.schema, 0..width)?)?;
    let after: Result<Vec<RecordBatch>, SqlError> = batches
        .iter()
        .map(|batch| {
            let mut arrays: Vec<ArrayRef> = batch.columns()[..width].to_vec();
            for (i, column) in assigned.iter().enumerate() {
                let entry = &target.object.columns[*column];
                arrays[*column] = write::coerce(batch.column(width + i), &entry.data_type, &entry.name)?;
            }
            RecordBatch::try_new(target.schema.clone(), arrays).map_err(|e| SqlError::internal(e.to_string()))
        })
        .collect();
    let after = write::concat(&target.schema, &after?)?;
    Ok((before, insert::generate(context, target, after)?))
}

/// 23505 if a new key is taken by a row that stays, or twice by new rows.
fn check_keys(context: &Context, target: &Target, before: &RecordBatch, after: &RecordBatch) -> Result<(), SqlError> {
    let key = &target.body().primary_key;
    if key.is_empty() {
        return Ok(());
    }
    let relation = context.shared.relation(target.object.id).expect("a table has its relation");
    let (old, new) = (write::key_rows(before, key)?, write::key_rows(after, key)?);
    let leaving: std::collections::HashSet<Vec<u8>> =
        (0..before.num_rows()).map(|row| old.row(row).as_ref().to_vec()).collect();
    let mut seen = std::collections::HashSet::new();
    for row in 0..after.num_rows() {
        let bytes = new.row(row).as_ref().to_vec();
        let taken = !leaving.contains(&bytes) && crate::reads::key_present(&relation, after, key, row);
        if taken || !seen.insert(bytes) {
            return Err(insert::duplicate(target, key, after, row));
        }
    }
    Ok(())
}
