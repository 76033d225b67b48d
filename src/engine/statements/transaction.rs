//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT.

use types::{SqlError, SqlState};

use super::{settings, tag, write};
use crate::api::Response;
use crate::session::Session;
use crate::tables;

pub(crate) fn begin(session: &mut Session) -> Result<Response, SqlError> {
    match session.transaction.begin() {
        true => settings::begin_block(session),
        false => session.warning(SqlState::ActiveSqlTransaction, "there is already a transaction in progress"),
    }
    tag("BEGIN")
}

/// Journals the block's writes as one entry; a failed block rolls back, as in Postgres.
pub(crate) async fn commit(session: &mut Session) -> Result<Response, SqlError> {
    let status = session.transaction.status();
    let (committed, writes) = session.transaction.end();
    settings::end_block(session, committed);
    session.cursors().clear();
    if status == crate::api::TransactionStatus::Idle {
        session.warning(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
        return tag("COMMIT");
    }
    if !committed {
        return tag("ROLLBACK");
    }
    if !writes.is_empty() {
        let ticket = tables::append(&session.engine.shared, writes)?;
        write::acknowledged(ticket).await?;
    }
    tag("COMMIT")
}

pub(crate) fn rollback(session: &mut Session) -> Result<Response, SqlError> {
    if session.transaction.status() == crate::api::TransactionStatus::Idle {
        session.warning(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
    }
    // The writes were never journaled.
    let _ = session.transaction.end();
    settings::end_block(session, false);
    session.cursors().clear();
    tag("ROLLBACK")
}

/// Savepoints are accepted inside a block so that drivers can probe; rolling back to one is not possible.
pub(crate) fn savepoint(session: &mut Session, command: &str) -> Result<Response, SqlError> {
    if !session.transaction.is_open() {
        let message = format!("{command} can only be used in transaction blocks");
        return Err(SqlError::new(SqlState::NoActiveSqlTransaction, message));
    }
    if command.starts_with("ROLLBACK") {
        return Err(SqlError::unsupported("ROLLBACK TO SAVEPOINT is not supported", "ROLLBACK the whole block."));
    }
    tag(command)
}
