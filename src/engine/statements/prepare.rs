//! PREPARE, EXECUTE, DEALLOCATE in SQL (the protocol's own prepared statements live in the front end).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use futures::future::BoxFuture;
use sql::{ParsedStatement, Statement, ast};
use types::{SqlError, SqlState};

use super::{tag, write};
use crate::api::{Described, Prepared, Response};
use crate::session::Session;

pub(crate) fn prepare(session: &mut Session, name: &str, statement: &Statement) -> Result<Response, SqlError> {
    if session.prepared.contains_key(name) {
        let message = format!("prepared statement \"{name}\" already exists");
        return Err(SqlError::new(SqlState::DuplicatePreparedStatement, message));
    }
    let parsed = ParsedStatement { text: String::new(), statement: statement.clone() };
    let prepared = session.describe(Arc::new(parsed), vec![])?;
    session.prepared.insert(name.to_string(), prepared);
    tag("PREPARE")
}

fn find<'a>(session: &'a Session, name: &str) -> Result<&'a Prepared, SqlError> {
    let missing = || {
        let message = format!("prepared statement \"{name}\" does not exist");
        SqlError::new(SqlState::InvalidSqlStatementName, message)
    };
    session.prepared.get(name).ok_or_else(missing)
}

pub(crate) fn describe(session: &Session, name: &str) -> Result<Described, SqlError> {
    let columns = find(session, name)?.described.columns.clone();
    Ok(Described { parameters: vec![], columns })
}

pub(crate) fn execute<'a>(
    session: &'a mut Session,
    name: &str,
    arguments: &[ast::Expr],
    _outer: &[ArrayRef],
) -> BoxFuture<'a, Result<Response, SqlError>> {
    let prepared = find(session, name).cloned();
    let parameters = prepared.and_then(|prepared| {
        let types = &prepared.described.parameters;
        if types.len() != arguments.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let detail = format!("Expected {} parameters but got {}.", types.len(), arguments.len());
            return Err(SqlError::new(SqlState::SyntaxError, message).with_detail(detail));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &options)
            .map_err(|e| SqlError::internal(e.to_string()))?;
        let context = session.context();
        let values = arguments.iter().zip(types).map(|(expr, ty)| write::assign(&context, expr, &one, None, ty));
        let values: Vec<ArrayRef> = values.collect::<Result<_, _>>()?;
        Ok((prepared, values))
    });
    Box::pin(async move {
        let (prepared, values) = parameters?;
        session.execute(&prepared, values).await
    })
}

pub(crate) fn deallocate(session: &mut Session, name: Option<&str>) -> Result<Response, SqlError> {
    match name {
        None => {
            session.prepared.clear();
            tag("DEALLOCATE ALL")
        }
        Some(name) => {
            find(session, name)?;
            session.prepared.remove(name);
            tag("DEALLOCATE")
        }
    }
}
