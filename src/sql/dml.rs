//! INSERT, UPDATE, DELETE: sqlparser's grammar, reduced to what one writer per table can do.

use sqlparser::ast::{self, AssignmentTarget, FromTable, Ident, ObjectName, OnInsert, TableFactor};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Location;
use types::{SqlError, SqlState};

use crate::error::Failure;
use crate::statement::{ConflictAction, ConflictTarget, Delete, Insert, OnConflict, Statement, Update};
use crate::tokens::{self, Parsed};

pub(crate) fn parse_insert(p: &mut Parser) -> Parsed<Statement> {
    let place = tokens::here(p);
    let token = p.next_token();
    let ast::Statement::Insert(insert) = p.parse_insert(token)? else {
        return Err(Failure::unsupported(
            place,
            "INSERT OVERWRITE DIRECTORY is not supported",
            "Use COPY … TO STDOUT.",
        ));
    };
    let ast::TableObject::TableName(table) = insert.table else {
        return Err(Failure::unsupported(place, "INSERT into a function is not supported", "Name a table."));
    };
    let strange = insert.or.is_some()
        || insert.overwrite
        || insert.has_table_keyword
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || !insert.assignments.is_empty();
    if strange {
        return Err(Failure::invalid(place, SqlState::SyntaxError, "this form of INSERT is not part of the language"));
    }
    let on_conflict = match insert.on {
        None => None,
        Some(OnInsert::OnConflict(given)) => Some(on_conflict(given, place)?),
        Some(_) => {
            return Err(Failure::unsupported(
                place,
                "ON DUPLICATE KEY UPDATE is not supported",
                "Use ON CONFLICT (…) DO UPDATE.",
            ));
        }
    };
    Ok(Statement::Insert(Insert {
        table,
        alias: insert.table_alias.map(|alias| alias.alias),
        columns: insert.columns.into_iter().map(|name| single(name, place)).collect::<Parsed<_>>()?,
        source: insert.source,
        on_conflict,
        returning: insert.returning.unwrap_or_default(),
    }))
}

fn on_conflict(given: ast::OnConflict, place: Location) -> Parsed<OnConflict> {
    let target = match given.conflict_target {
        None => None,
        Some(ast::ConflictTarget::Columns(columns)) => Some(ConflictTarget::Columns(columns)),
        Some(ast::ConflictTarget::OnConstraint(name)) => Some(ConflictTarget::Constraint(single(name, place)?)),
    };
    let action = match given.action {
        ast::OnConflictAction::DoNothing => ConflictAction::Nothing,
        ast::OnConflictAction::DoUpdate(_) if target.is_none() => {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            let error =
                SqlError::new(SqlState::SyntaxError, message).with_hint("For example, ON CONFLICT (column_name).");
            return Err(Failure::from(error).placed(place));
        }
        ast::OnConflictAction::DoUpdate(update) => {
            let assignments = assignments(update.assignments, place)?;
            ConflictAction::Update { assignments, selection: update.selection }
        }
    };
    Ok(OnConflict { target, action })
}

pub(crate) fn parse_update(p: &mut Parser) -> Parsed<Statement> {
    let place = tokens::here(p);
    let token = p.next_token();
    let ast::Statement::Update(update) = p.parse_update(token)? else {
        return Err(Failure::invalid(place, SqlState::SyntaxError, "this form of UPDATE is not part of the language"));
    };
    if update.from.is_some() || !update.table.joins.is_empty() {
        return Err(Failure::unsupported(
            place,
            "UPDATE … FROM is not supported",
            "Use a subquery in SET and WHERE: SET a = (SELECT … ).",
        ));
    }
    refuse_order_and_limit(place, "UPDATE", !update.order_by.is_empty() || update.limit.is_some())?;
    let (table, alias) = target(update.table.relation, place)?;
    let assignments = assignments(update.assignments, place)?;
    let returning = update.returning.unwrap_or_default();
    Ok(Statement::Update(Update { table, alias, assignments, selection: update.selection, returning }))
}

fn assignments(given: Vec<ast::Assignment>, place: Location) -> Parsed<Vec<(Ident, ast::Expr)>> {
    let mut assignments = vec![];
    for assignment in given {
        match assignment.target {
            AssignmentTarget::ColumnName(name) => assignments.push((single(name, place)?, assignment.value)),
            AssignmentTarget::Tuple(names) => {
                let values = match assignment.value {
                    ast::Expr::Tuple(values) if values.len() == names.len() => values,
                    _ => {
                        return Err(Failure::unsupported(
                            place,
                            "SET (a, b) = … needs a list of as many values",
                            "Assign each column by itself.",
                        ));
                    }
                };
                for (name, value) in names.into_iter().zip(values) {
                    assignments.push((single(name, place)?, value));
                }
            }
        }
    }
    Ok(assignments)
}

pub(crate) fn parse_delete(p: &mut Parser) -> Parsed<Statement> {
    let place = tokens::here(p);
    let token = p.next_token();
    let ast::Statement::Delete(delete) = p.parse_delete(token)? else {
        return Err(Failure::invalid(place, SqlState::SyntaxError, "this form of DELETE is not part of the language"));
    };
    if delete.using.is_some() || !delete.tables.is_empty() {
        return Err(Failure::unsupported(
            place,
            "DELETE … USING is not supported",
            "Use a subquery: WHERE key IN (SELECT …).",
        ));
    }
    refuse_order_and_limit(place, "DELETE", !delete.order_by.is_empty() || delete.limit.is_some())?;
    let (FromTable::WithFromKeyword(mut from) | FromTable::WithoutKeyword(mut from)) = delete.from;
    let (1, Some(from)) = (from.len(), from.pop()) else {
        return Err(Failure::unsupported(place, "DELETE from several tables is not supported", "Use one DELETE each."));
    };
    if !from.joins.is_empty() {
        return Err(Failure::unsupported(place, "DELETE from a join is not supported", "Use a subquery in WHERE."));
    }
    let (table, alias) = target(from.relation, place)?;
    let returning = delete.returning.unwrap_or_default();
    Ok(Statement::Delete(Delete { table, alias, selection: delete.selection, returning }))
}

fn refuse_order_and_limit(place: Location, verb: &str, given: bool) -> Parsed<()> {
    if !given {
        return Ok(());
    }
    Err(Failure::unsupported(
        place,
        format!("ORDER BY and LIMIT in {verb} are not supported"),
        "Choose the rows in WHERE, for example by a subquery with LIMIT.",
    ))
}

/// The relation an UPDATE or DELETE writes to.
fn target(factor: TableFactor, place: Location) -> Parsed<(ObjectName, Option<Ident>)> {
    match factor {
        TableFactor::Table { name, alias, args: None, .. } => Ok((name, alias.map(|alias| alias.name))),
        _ => Err(Failure::invalid(place, SqlState::WrongObjectType, "only tables can be changed")),
    }
}

/// A column name; a qualifier in front of it is dropped, there is only one table.
fn single(mut name: ObjectName, place: Location) -> Parsed<Ident> {
    match name.0.pop() {
        Some(ast::ObjectNamePart::Identifier(ident)) => Ok(ident),
        _ => Err(Failure::invalid(place, SqlState::SyntaxError, "a column name is needed here")),
    }
}
