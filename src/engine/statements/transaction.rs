//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT.

use types::{ObjectId, SqlError, SqlState};

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

/// Definitions take effect at once and the block's writes at COMMIT: a definition after a write would overtake it.
pub(crate) fn check_definition(session: &Session) -> Result<(), SqlError> {
    if session.transaction.is_open() && session.transaction.has_writes() {
        let message = "a definition after a write in the same transaction block is not supported";
        return Err(SqlError::unsupported(message, "COMMIT first: definitions take effect at once, writes at COMMIT."));
    }
    Ok(())
}

/// Says which definitions of a block stay although it was rolled back.
fn warn_of_definitions(session: &mut Session, committed: bool) {
    let definitions = session.transaction.take_definitions();
    if !committed && !definitions.is_empty() {
        let message = format!("{} took effect at once and is not rolled back", definitions.join(", "));
        session.warning(SqlState::Warning, message);
    }
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
    warn_of_definitions(session, committed);
    if !committed {
        return tag("ROLLBACK");
    }
    if !writes.is_empty() {
        check_tables(session, writes.iter().map(|change| change.table))?;
        let ticket = tables::append(&session.engine.shared, writes)?;
        write::acknowledged(ticket).await?;
    }
    tag("COMMIT")
}

/// The tables that a block has written must still be there.
fn check_tables(session: &Session, mut tables: impl Iterator<Item = ObjectId>) -> Result<(), SqlError> {
    let catalog = session.engine.shared.catalog();
    match tables.find(|table| catalog.get(*table).is_none()) {
        None => Ok(()),
        Some(gone) => Err(SqlError::new(SqlState::UndefinedTable, format!("relation with OID {gone} does not exist"))
            .with_detail(
                "A table that this transaction block has written was dropped meanwhile; nothing was written.",
            )),
    }
}

pub(crate) fn rollback(session: &mut Session) -> Result<Response, SqlError> {
    if session.transaction.status() == crate::api::TransactionStatus::Idle {
        session.warning(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
    }
    // The writes were never journaled.
    let _ = session.transaction.end();
    settings::end_block(session, false);
    warn_of_definitions(session, false);
    session.cursors().clear();
    tag("ROLLBACK")
}

/// Savepoints are accepted inside a block so that drivers can probe; rolling back to one is not possible.
pub(crate) fn savepoint(session: &mut Session, command: &str) -> Result<Response, SqlError> {
    if !session.transaction.is_open() {
        let command = if command == "ROLLBACK" { "ROLLBACK TO SAVEPOINT" } else { command };
        let message = format!("{command} can only be used in transaction blocks");
        return Err(SqlError::new(SqlState::NoActiveSqlTransaction, message));
    }
    if command.starts_with("ROLLBACK") {
        return Err(SqlError::unsupported("ROLLBACK TO SAVEPOINT is not supported", "ROLLBACK the whole block."));
    }
    tag(command)
}
