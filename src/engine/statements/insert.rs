//! INSERT: rows of a query, completed by defaults and generated columns, checked, journaled, acknowledged.

use std::collections::HashSet;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Schema};
use catalog::ColumnEntry;
use sql::{Insert, OnConflict, ast};
use types::{DeltaBatch, SqlError, SqlState};

use super::write::{self, Target, Writing};
use super::{Context, insert_rows, late_rows, names, query};
use crate::api::{Described, Response};
use crate::session::Session;
use crate::tables::{self, TableChange};

pub(crate) fn describe(
    context: &Context,
    insert: &Insert,
    parameters: &[Option<DataType>],
) -> Result<Described, SqlError> {
    let target = Target::resolve(context, &insert.table)?;
    let columns = insert_columns(&target, insert)?;
    let parameters = match &insert.source {
        Some(source) => insert_rows::plan(context, &target, &columns, source, parameters)?.parameter_types,
        None => vec![],
    };
    Ok(Described { parameters, columns: write::returning_columns(context, &target, &insert.returning)? })
}

pub(crate) async fn execute(
    session: &mut Session,
    insert: &Insert,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    let context = session.context();
    context.shared.check_memory()?;
    if insert.on_conflict == OnConflict::DoUpdate {
        return Err(SqlError::unsupported(
            "INSERT ... ON CONFLICT DO UPDATE is not supported",
            "Use ON CONFLICT DO NOTHING, or UPDATE the row.",
        ));
    }
    let target = Target::resolve(&context, &insert.table)?;
    target.check_insertable()?;
    let columns = insert_columns(&target, insert)?;
    let given = source_rows(&context, &target, insert, &columns, parameters).await?;
    let rows = complete(&context, &target, &columns, &given)?;
    target.check_not_null(&rows)?;
    let writer = context.shared.tables.get(target.object.id);
    let mut writing = Writing::lock(&context, &target, &writer).await;
    let rows = match &target.body().primary_key {
        key if key.is_empty() => rows,
        key => {
            write::check_own_writes(session, &target)?;
            writing.settle().await?;
            unique(&context, &target, key, rows, insert.on_conflict.clone())?
        }
    };
    let mut changes = vec![];
    let rows = match &target.body().watermark {
        Some(entry) => {
            writing.settle().await?;
            let line = context.shared.tables.line(target.object.id);
            let admitted = tables::admit(entry, line, &rows)?;
            changes.extend(late_rows::leave_out(session, &target, &admitted));
            admitted.rows
        }
        None => rows,
    };
    changes.push(TableChange::new(target.object.id, DeltaBatch::inserts(rows.clone())));
    write::commit_changes(session, writing, changes).await?;
    write::answer(&context, &target, &insert.returning, &rows, "INSERT 0")
}

/// Columns of the table that the statement gives, in its order.
fn insert_columns(target: &Target, insert: &Insert) -> Result<Vec<usize>, SqlError> {
    let all = &target.object.columns;
    if insert.columns.is_empty() {
        return Ok((0..all.len()).filter(|c| all[*c].generated.is_none()).collect());
    }
    let mut columns = vec![];
    for ident in &insert.columns {
        let name = names::fold(ident);
        let position = all.iter().position(|c| c.name == name).ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", target.object.name);
            SqlError::new(SqlState::UndefinedColumn, message)
        })?;
        if columns.contains(&position) {
            return Err(SqlError::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        if all[position].generated.is_some() {
            return Err(SqlError::new(
                SqlState::GeneratedAlways,
                format!("cannot insert a value into column \"{name}\""),
            )
            .with_detail(format!("Column \"{name}\" is a generated column.")));
        }
        columns.push(position);
    }
    Ok(columns)
}

/// The given columns, coerced to the table's types.
async fn source_rows(
    context: &Context,
    target: &Target,
    insert: &Insert,
    columns: &[usize],
    parameters: &[ArrayRef],
) -> Result<RecordBatch, SqlError> {
    let Some(source) = &insert.source else {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        return RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &options)
            .map_err(|e| SqlError::internal(e.to_string()));
    };
    let given: Vec<Option<DataType>> = parameters.iter().map(|p| Some(p.data_type().clone())).collect();
    let planned = insert_rows::plan(context, target, columns, source, &given)?;
    let width = planned.schema.fields().len();
    if width < columns.len() && !insert.columns.is_empty() {
        return Err(SqlError::new(SqlState::SyntaxError, "INSERT has more target columns than expressions"));
    }
    let batches = query::collect(context, planned, parameters).await?;
    let fields: Vec<_> = columns[..width].iter().map(|c| target.schema.field(*c).clone()).collect();
    let schema = std::sync::Arc::new(Schema::new(fields));
    let coerced: Result<Vec<RecordBatch>, SqlError> = batches
        .iter()
        .map(|batch| {
            let arrays: Result<Vec<ArrayRef>, SqlError> = (0..width)
                .map(|i| {
                    let column = &target.object.columns[columns[i]];
                    write::coerce(batch.column(i), &column.data_type, &column.name)
                })
                .collect();
            RecordBatch::try_new(schema.clone(), arrays?).map_err(|e| SqlError::internal(e.to_string()))
        })
        .collect();
    write::concat(&schema, &coerced?)
}

/// All columns of the table: given ones, defaults, then generated ones over those.
fn complete(
    context: &Context,
    target: &Target,
    columns: &[usize],
    given: &RecordBatch,
) -> Result<RecordBatch, SqlError> {
    let rows = given.num_rows();
    let mut arrays: Vec<ArrayRef> = vec![];
    for (position, column) in target.object.columns.iter().enumerate() {
        let from = columns.iter().position(|c| *c == position).filter(|i| *i < given.num_columns());
        arrays.push(match (from, &column.default) {
            (Some(i), _) => given.column(i).clone(),
            (None, Some(default)) => default_values(context, column, default, rows)?,
            (None, None) => new_null_array(&column.data_type, rows),
        });
    }
    let build = |arrays: Vec<ArrayRef>| {
        RecordBatch::try_new(target.schema.clone(), arrays).map_err(|e| SqlError::internal(e.to_string()))
    };
    generate(context, target, build(arrays)?)
}

/// Recomputes the generated columns of complete rows.
pub(crate) fn generate(context: &Context, target: &Target, rows: RecordBatch) -> Result<RecordBatch, SqlError> {
    if target.object.columns.iter().all(|c| c.generated.is_none()) {
        return Ok(rows);
    }
    let mut arrays = rows.columns().to_vec();
    for (position, column) in target.object.columns.iter().enumerate() {
        if let Some(text) = &column.generated {
            let expr = stored_expr(text)?;
            arrays[position] = write::assign(context, &expr, &rows, None, &column.data_type)?;
        }
    }
    RecordBatch::try_new(target.schema.clone(), arrays).map_err(|e| SqlError::internal(e.to_string()))
}

fn default_values(context: &Context, column: &ColumnEntry, text: &str, rows: usize) -> Result<ArrayRef, SqlError> {
    let expr = stored_expr(text)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let none = RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &options)
        .map_err(|e| SqlError::internal(e.to_string()))?;
    write::assign(context, &expr, &none, None, &column.data_type)
}

/// An expression kept as text in the catalog.
pub(super) fn stored_expr(text: &str) -> Result<ast::Expr, SqlError> {
    sql::parse_expression(text).map_err(|e| types::ToSqlState::to_sql_error(&e))
}

/// Drops or refuses rows whose key is taken, by a present row or by an earlier one of the statement.
fn unique(
    context: &Context,
    target: &Target,
    key: &[usize],
    rows: RecordBatch,
    on_conflict: OnConflict,
) -> Result<RecordBatch, SqlError> {
    let relation = context.shared.relation(target.object.id).expect("a table has its relation");
    let keys = write::key_rows(&rows, key)?;
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let owned: Vec<Vec<u8>> = (0..rows.num_rows()).map(|row| keys.row(row).as_ref().to_vec()).collect();
    let mut fresh = Vec::with_capacity(rows.num_rows());
    for (row, bytes) in owned.iter().enumerate() {
        let taken = !seen.insert(bytes) || crate::reads::key_present(&relation, &rows, key, row);
        if taken && on_conflict == OnConflict::Error {
            return Err(duplicate(target, key, &rows, row));
        }
        fresh.push(!taken);
    }
    filter_record_batch(&rows, &BooleanArray::from(fresh)).map_err(|e| SqlError::internal(e.to_string()))
}

pub(crate) fn duplicate(target: &Target, key: &[usize], rows: &RecordBatch, row: usize) -> SqlError {
    let names: Vec<&str> = key.iter().map(|c| target.object.columns[*c].name.as_str()).collect();
    let values: Vec<String> = key
        .iter()
        .map(|c| arrow::util::display::array_value_to_string(rows.column(*c), row).unwrap_or_default())
        .collect();
    let message = format!("duplicate key value violates unique constraint \"{}_pkey\"", target.object.name);
    SqlError::new(SqlState::UniqueViolation, message).with_detail(format!(
        "Key ({})=({}) already exists.",
        names.join(", "),
        values.join(", ")
    ))
}
