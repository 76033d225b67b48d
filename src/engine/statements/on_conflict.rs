//! INSERT … ON CONFLICT: what becomes of rows whose key is taken. DO UPDATE is a query over the rows that are there and the
//! rows that were given, joined by key: so it may hold parameters and subqueries, as UPDATE may.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use plan::PlannedQuery;
use sql::{ConflictAction, ConflictTarget, Insert, OnConflict, ast};
use types::{SqlError, SqlState, ToSqlState};

use super::found_rows::{self, FoundRows};
use super::write::{self, Target};
use super::{Context, names, query, update};
use crate::session::Session;
use crate::tables::{KeyedRows, RowAt};

/// The name of the given row in DO UPDATE.
const EXCLUDED: &str = "excluded";

/// DO UPDATE, planned.
pub(crate) struct ConflictUpdate {
    assigned: Vec<usize>,
    planned: PlannedQuery,
}

impl ConflictUpdate {
    /// `None` if the statement has none. `parameters`: types that are known.
    pub fn plan(
        context: &Context,
        target: &Target,
        insert: &Insert,
        parameters: &[Option<DataType>],
    ) -> Result<Option<ConflictUpdate>, SqlError> {
        let Some(on_conflict) = &insert.on_conflict else { return Ok(None) };
        check_target(target, on_conflict)?;
        let ConflictAction::Update { assignments, selection } = &on_conflict.action else { return Ok(None) };
        let assigned = update::assigned(target, assignments)?;
        let query = joined(target, insert, assignments, selection.as_ref());
        let planned = query::plan(context, &query, parameters)?;
        update::check_values(target, &planned, &assigned)?;
        let planned = plan::mark_target(planned).map_err(|e| e.to_sql_error())?;
        Ok(Some(ConflictUpdate { assigned, planned }))
    }

    pub fn parameter_types(&self) -> &[DataType] {
        &self.planned.parameter_types
    }

    /// Updates the rows that are there; `given` are the rows with their keys, which are locked. Returns the new rows, each
    /// with the position of the given one.
    pub async fn execute(
        self,
        session: &mut Session,
        context: &Context,
        target: &Target,
        (given, present): (&KeyedRows, &HashMap<usize, RowAt>),
        parameters: &[ArrayRef],
    ) -> Result<(KeyedRows, Vec<usize>), SqlError> {
        let mut positions: Vec<usize> = present.keys().copied().collect();
        positions.sort_unstable();
        let there: Vec<RecordBatch> = positions.iter().map(|position| present[position].batch()).collect();
        let mut reading = session.reading(&self.planned);
        reading.target = Some(write::concat(&target.schema, &there)?);
        reading.proposed = Some(take(&given.rows, positions.iter().map(|position| *position as u32))?);
        let whole = found_rows::collect(context, target, self.planned, parameters, reading).await?;
        let found = FoundRows::of(target, &whole)?;
        let by_key: HashMap<&[u8], usize> = positions.iter().map(|p| (given.keys.bytes(*p), *p)).collect();
        let of_row = |row| by_key[found.rows.keys.bytes(row)];
        let positions = (0..found.rows.len()).map(of_row).collect();
        let after = update::apply(session, context, target, &self.assigned, found).await?;
        Ok((after, positions))
    }
}

/// Rows of a batch in another order.
pub(crate) fn take(rows: &RecordBatch, positions: impl Iterator<Item = u32>) -> Result<RecordBatch, SqlError> {
    let positions = UInt32Array::from_iter_values(positions);
    take_record_batch(rows, &positions).map_err(|e| SqlError::internal(e.to_string()))
}

/// 21000: one statement may touch a row once.
pub(crate) fn second_time() -> SqlError {
    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
    SqlError::new(SqlState::CardinalityViolation, message).with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}

/// 42P10 unless the target is the primary key; without a target that is meant.
fn check_target(target: &Target, on_conflict: &OnConflict) -> Result<(), SqlError> {
    let key = &target.body().primary_key;
    match &on_conflict.target {
        None => Ok(()),
        Some(ConflictTarget::Constraint(name)) => {
            let (name, table) = (names::fold(name), &target.object.name);
            if !key.is_empty() && name == format!("{table}_pkey") {
                return Ok(());
            }
            let message = format!("constraint \"{name}\" for table \"{table}\" does not exist");
            Err(SqlError::new(SqlState::UndefinedObject, message))
        }
        Some(ConflictTarget::Columns(columns)) => {
            let mut named = BTreeSet::new();
            for column in columns {
                let name = names::fold(column);
                let position = target.object.columns.iter().position(|c| c.name == name);
                let missing = || SqlError::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist"));
                named.insert(position.ok_or_else(missing)?);
            }
            if !key.is_empty() && named == key.iter().copied().collect() {
                return Ok(());
            }
            let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
            Err(SqlError::new(SqlState::InvalidColumnReference, message))
        }
    }
}

/// `SELECT t.columns, values FROM table [AS t], table AS excluded WHERE t.key = excluded.key [AND (selection)]`.
fn joined(
    target: &Target,
    insert: &Insert,
    assignments: &[(ast::Ident, ast::Expr)],
    selection: Option<&ast::Expr>,
) -> ast::Query {
    let mut query = sql::select_from(&insert.table, insert.alias.as_ref());
    let mut proposed = sql::select_from(&insert.table, Some(&ast::Ident::new(EXCLUDED)));
    let (ast::SetExpr::Select(select), ast::SetExpr::Select(other)) = (query.body.as_mut(), proposed.body.as_mut())
    else {
        unreachable!("selects were made")
    };
    select.from.append(&mut other.from);
    let name = match &insert.alias {
        Some(alias) => alias.clone(),
        None => ast::Ident::with_quote('"', &target.object.name),
    };
    let column = |of: &ast::Ident, column: usize| {
        let column = ast::Ident::with_quote('"', &target.object.columns[column].name);
        ast::Expr::CompoundIdentifier(vec![of.clone(), column])
    };
    let own = (0..target.object.columns.len()).map(|position| column(&name, position));
    select.projection = own
        .chain(assignments.iter().map(|(_, value)| value.clone()))
        .enumerate()
        .map(|(i, expr)| ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::new(format!("c{i}")) })
        .collect();
    let excluded = ast::Ident::new(EXCLUDED);
    let and = |left, right| binary(left, ast::BinaryOperator::And, right);
    let same = |key: &usize| binary(column(&name, *key), ast::BinaryOperator::Eq, column(&excluded, *key));
    let same_key = target.body().primary_key.iter().map(same).reduce(and);
    let selection = selection.map(|expr| ast::Expr::Nested(Box::new(expr.clone())));
    select.selection = same_key.into_iter().chain(selection).reduce(and);
    query
}

fn binary(left: ast::Expr, op: ast::BinaryOperator, right: ast::Expr) -> ast::Expr {
    ast::Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// Numbers of the parameters that a query names.
pub(crate) fn parameters_of(query: &ast::Query) -> BTreeSet<usize> {
    let mut numbers = BTreeSet::new();
    let _ = ast::visit_expressions(query, |expr| {
        if let ast::Expr::Value(value) = expr
            && let ast::Value::Placeholder(name) = &value.value
        {
            numbers.extend(name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()));
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    numbers
}
