//! INSERT: rows of a query, completed by defaults and generated columns, checked, journaled, acknowledged.

use std::collections::HashSet;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Schema};
use catalog::ColumnEntry;
use sql::{Insert, ast};
use types::{SqlError, SqlState};

use super::on_conflict::{self, ConflictUpdate};
use super::write::{self, Target};
use super::{Context, insert_rows, late_rows, names, query, unique};
use crate::api::{Described, Response};
use crate::locks::{Mode, Resource};
use crate::session::Session;
use crate::tables::{self, KeyedRows, Written};

pub(crate) fn describe(
    context: &Context,
    insert: &Insert,
    parameters: &[Option<DataType>],
) -> Result<Described, SqlError> {
    let target = Target::resolve(context, &insert.table)?;
    let columns = insert_columns(&target, insert)?;
    let parameters = parameter_types(context, &target, insert, &columns, parameters)?;
    Ok(Described { parameters, columns: write::returning_columns(context, &target, &insert.returning)? })
}

pub(crate) async fn execute(
    session: &mut Session,
    insert: &Insert,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    let context = session.context();
    context.shared.check_memory()?;
    let target = Target::open(session, &context, &insert.table).await?;
    target.check_insertable()?;
    let columns = insert_columns(&target, insert)?;
    let hints: Vec<Option<DataType>> = parameters.iter().map(|p| Some(p.data_type().clone())).collect();
    let conflict = ConflictUpdate::plan(&context, &target, insert, &hints)?;
    let given = source_rows(session, &context, &target, insert, &columns, parameters).await?;
    let rows = complete(&context, &target, &columns, &given)?;
    target.check_not_null(&rows)?;
    let rows = match target.body().primary_key.is_empty() {
        true => append(session, &context, &target, rows).await?,
        false => insert_unique(session, &context, &target, (insert, conflict), rows, parameters).await?,
    };
    write::answer(&context, &target, &insert.returning, &rows, "INSERT 0")
}

/// Rows of a table without a key; those that are late are left out.
async fn append(
    session: &mut Session,
    context: &Context,
    target: &Target,
    rows: RecordBatch,
) -> Result<RecordBatch, SqlError> {
    let rows = match &target.body().watermark {
        Some(entry) => {
            // What is late depends on the rows before: writers take turns.
            session.lock(&[(Resource::Line(target.object.id), Mode::Exclusive)]).await?;
            let committed = context.shared.lines.line(target.object.id);
            let line = session.transaction.work().line(target.object.id).max(committed);
            let admitted = tables::admit(entry, line, &rows)?;
            for written in late_rows::leave_out(session, target, &admitted) {
                session.transaction.work().write(written);
            }
            admitted.rows
        }
        None => rows,
    };
    let line = tables::watermark_of(&target.object, &rows);
    let work = session.transaction.work();
    work.write(target.written(Written::Appended(rows.clone())));
    line.into_iter().for_each(|line| work.raise_line(target.object.id, line));
    Ok(rows)
}

/// Rows of a table with a key: those whose keys are not taken, and what ON CONFLICT makes of the others.
async fn insert_unique(
    session: &mut Session,
    context: &Context,
    target: &Target,
    (insert, conflict): (&Insert, Option<ConflictUpdate>),
    rows: RecordBatch,
    parameters: &[ArrayRef],
) -> Result<RecordBatch, SqlError> {
    let key = &target.body().primary_key;
    let given = KeyedRows::of(rows.clone(), key)?;
    let all: Vec<usize> = (0..given.len()).collect();
    session.lock(&given.keys.locks(target.object.id, all.clone())).await?;
    let present = unique::present(session, context, target, &given, &all)?;
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(given.len());
    let mut fresh: Vec<usize> = Vec::with_capacity(given.len());
    for row in all {
        let first = seen.insert(given.keys.bytes(row));
        match (first, present.contains_key(&row)) {
            (true, false) => fresh.push(row),
            (_, _) if insert.on_conflict.is_none() => return Err(unique::duplicate(target, &given, row)),
            (false, _) if conflict.is_some() => return Err(on_conflict::second_time()),
            (_, _) => {}
        }
    }
    let (rows, inserted) = match fresh.len() == given.len() {
        true => (rows, given.clone()),
        false => {
            let rows = on_conflict::take(&rows, fresh.iter().map(|row| *row as u32))?;
            (rows.clone(), KeyedRows::of(rows, key)?)
        }
    };
    session.transaction.work().write(target.written(Written::Inserted(inserted)));
    let Some(conflict) = conflict.filter(|_| !present.is_empty()) else { return Ok(rows) };
    let (updated, positions) = conflict.execute(session, context, target, (&given, &present), parameters).await?;
    // In the order of the given rows.
    let both = write::concat(&target.schema, &[rows, (*updated.rows).clone()])?;
    let mut order: Vec<(usize, u32)> = fresh.into_iter().chain(positions).zip(0..).collect();
    order.sort_unstable();
    on_conflict::take(&both, order.into_iter().map(|(_, row)| row))
}

/// Types of `$1`, `$2`, …, which the rows and DO UPDATE may name.
fn parameter_types(
    context: &Context,
    target: &Target,
    insert: &Insert,
    columns: &[usize],
    given: &[Option<DataType>],
) -> Result<Vec<DataType>, SqlError> {
    let Some(source) = &insert.source else { return Ok(vec![]) };
    let mut types = insert_rows::plan(context, target, columns, source, given)?.parameter_types;
    if insert.on_conflict.is_none() {
        return Ok(types);
    }
    let named = on_conflict::parameters_of(source);
    let known = (0..types.len().max(given.len())).map(|position| {
        let declared = given.get(position).cloned().flatten();
        declared.or_else(|| types.get(position).filter(|_| named.contains(&(position + 1))).cloned())
    });
    let known: Vec<Option<DataType>> = known.collect();
    if let Some(update) = ConflictUpdate::plan(context, target, insert, &known)? {
        for (position, found) in update.parameter_types().iter().enumerate() {
            match types.get_mut(position) {
                Some(_) if named.contains(&(position + 1)) => {}
                Some(untold) => *untold = found.clone(),
                None => types.push(found.clone()),
            }
        }
    }
    Ok(types)
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
    session: &mut Session,
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
    if let Some(rows) = insert_rows::of_parameters(target, columns, source, parameters)? {
        return Ok(rows);
    }
    let given: Vec<Option<DataType>> = parameters.iter().map(|p| Some(p.data_type().clone())).collect();
    let planned = insert_rows::plan(context, target, columns, source, &given)?;
    let width = planned.schema.fields().len();
    if width < columns.len() && !insert.columns.is_empty() {
        return Err(SqlError::new(SqlState::SyntaxError, "INSERT has more target columns than expressions"));
    }
    let reading = session.reading(&planned);
    let batches = query::collect(context, planned, parameters, reading).await?;
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
