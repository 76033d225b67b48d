//! BEGIN, COMMIT, ROLLBACK, savepoints, SET TRANSACTION, and what a transaction's modes allow.

use std::collections::HashSet;
use std::sync::Arc;

use sql::{SavepointAction, Statement, TransactionModes};
use types::{SqlError, SqlState};

use super::{settings, tag};
use crate::api::{Response, TransactionStatus};
use crate::parameters::Parameters;
use crate::session::Session;

/// The tag is the statement that the client wrote.
pub(crate) fn begin(session: &mut Session, modes: &TransactionModes, start: bool) -> Result<Response, SqlError> {
    match session.transaction.begin() {
        true => settings::begin_block(session),
        false => session.warning(SqlState::ActiveSqlTransaction, "there is already a transaction in progress"),
    }
    set_modes(session, modes)?;
    tag(if start { "START TRANSACTION" } else { "BEGIN" })
}

/// SET TRANSACTION of the open block, or SET SESSION CHARACTERISTICS for those that come.
pub(crate) fn set_transaction(
    session: &mut Session,
    characteristics: bool,
    modes: &TransactionModes,
) -> Result<Response, SqlError> {
    if characteristics {
        for (name, value) in named(modes) {
            settings::set(session, false, &format!("default_{name}"), Some(&value))?;
        }
    } else if session.transaction.is_open() {
        set_modes(session, modes)?;
    } else {
        session.warning(SqlState::NoActiveSqlTransaction, "SET TRANSACTION can only be used in transaction blocks");
    }
    tag("SET")
}

fn named(modes: &TransactionModes) -> Vec<(&'static str, String)> {
    let on = |on: bool| if on { "on" } else { "off" }.to_string();
    let isolation = modes.isolation.clone().map(|level| ("transaction_isolation", level));
    let read_only = modes.read_only.map(|value| ("transaction_read_only", on(value)));
    let deferrable = modes.deferrable.map(|value| ("transaction_deferrable", on(value)));
    isolation.into_iter().chain(read_only).chain(deferrable).collect()
}

fn set_modes(session: &mut Session, modes: &TransactionModes) -> Result<(), SqlError> {
    for (name, value) in named(modes) {
        check_mode(session, name, &value)?;
        Arc::make_mut(&mut session.parameters).set(name, &value)?;
    }
    Ok(())
}

/// 25001 for what cannot be changed any more.
pub(crate) fn check_mode(session: &Session, name: &str, value: &str) -> Result<(), SqlError> {
    let parameters: &Parameters = &session.parameters;
    let changes = parameters.get(name).as_deref() != Some(value);
    if !changes || !session.transaction.has_begun() {
        return Ok(());
    }
    let message = match (name, value) {
        ("transaction_isolation", _) => "SET TRANSACTION ISOLATION LEVEL must be called before any query",
        ("transaction_read_only", "off") => "transaction read-write mode must be set before any query",
        _ => return Ok(()),
    };
    Err(SqlError::new(SqlState::ActiveSqlTransaction, message))
}

/// Definitions take effect at once and the block's writes at COMMIT: a definition after a write would overtake it.
/// Statements that only came together are committed first.
pub(crate) async fn before_definition(session: &mut Session) -> Result<(), SqlError> {
    if session.transaction.is_open() && session.transaction.work().has_writes() {
        let message = "a definition after a write in the same transaction block is not supported";
        return Err(SqlError::unsupported(message, "COMMIT first: definitions take effect at once, writes at COMMIT."));
    }
    match session.transaction.before_definition() {
        Some(work) => session.commit(work).await,
        None => Ok(()),
    }
}

/// 25006 for statements that would change something in a READ ONLY transaction; 0A000 for writes that must not be less
/// than SERIALIZABLE.
pub(crate) fn check_modes(session: &Session, statement: &Statement) -> Result<(), SqlError> {
    let Some(command) = changes(statement) else { return Ok(()) };
    let parameters: &Parameters = &session.parameters;
    if parameters.is_on("transaction_read_only") {
        let message = format!("cannot execute {command} in a read-only transaction");
        return Err(SqlError::new(SqlState::ReadOnlySqlTransaction, message));
    }
    let writes = matches!(statement, Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_));
    if writes && parameters.get("transaction_isolation").as_deref() == Some("serializable") {
        return Err(SqlError::unsupported(
            "writing in a SERIALIZABLE transaction is not supported",
            "Use READ COMMITTED or REPEATABLE READ; SERIALIZABLE transactions can read.",
        ));
    }
    Ok(())
}

/// Statements after which a transaction's instant is fixed.
pub(crate) fn is_query(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Declare { .. }
            | Statement::CopyTo { .. }
    )
}

/// The command if it changes tables or the catalog.
fn changes(statement: &Statement) -> Option<&'static str> {
    use sql::ObjectKind;
    Some(match statement {
        Statement::Insert(_) => "INSERT",
        Statement::Update(_) => "UPDATE",
        Statement::Delete(_) => "DELETE",
        Statement::CreateSource(_) => "CREATE SOURCE",
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateView(_) => "CREATE VIEW",
        Statement::CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::Comment { .. } => "COMMENT",
        Statement::Drop(drop) => match drop.kind {
            ObjectKind::Source => "DROP SOURCE",
            ObjectKind::Table => "DROP TABLE",
            ObjectKind::View => "DROP VIEW",
            ObjectKind::MaterializedView => "DROP MATERIALIZED VIEW",
            ObjectKind::Schema => "DROP SCHEMA",
            ObjectKind::Index => "DROP INDEX",
        },
        _ => return None,
    })
}

/// Says which definitions of a block stay although it was rolled back.
fn warn_of_definitions(session: &mut Session, committed: bool) {
    let definitions = session.transaction.take_definitions();
    if !committed && !definitions.is_empty() {
        let message = format!("{} took effect at once and is not rolled back", definitions.join(", "));
        session.warning(SqlState::Warning, message);
    }
}

/// Journals the transaction's writes as one entry; a failed block rolls back, as in Postgres.
pub(crate) async fn commit(session: &mut Session) -> Result<Response, SqlError> {
    let outside = session.transaction.status() == TransactionStatus::Idle;
    if outside {
        session.warning(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
    }
    let work = session.transaction.end();
    settings::end_block(session, work.is_some());
    session.cursors().clear();
    warn_of_definitions(session, work.is_some());
    match work {
        Some(work) => {
            session.commit(work).await?;
            tag("COMMIT")
        }
        // Nothing was open, so nothing was undone.
        None if outside => tag("COMMIT"),
        None => tag("ROLLBACK"),
    }
}

pub(crate) fn rollback(session: &mut Session) -> Result<Response, SqlError> {
    if session.transaction.status() == TransactionStatus::Idle {
        session.warning(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
    }
    // The writes were never journaled; the locks go.
    drop(session.transaction.end());
    settings::end_block(session, false);
    warn_of_definitions(session, false);
    session.cursors().clear();
    tag("ROLLBACK")
}

pub(crate) fn savepoint(session: &mut Session, action: SavepointAction, name: &str) -> Result<Response, SqlError> {
    if session.transaction.status() == TransactionStatus::Idle {
        let message = format!("{} can only be used in transaction blocks", action.command());
        return Err(SqlError::new(SqlState::NoActiveSqlTransaction, message));
    }
    match action {
        SavepointAction::Define => {
            let cursors: HashSet<String> = session.cursors().keys().cloned().collect();
            let advisory = session.engine.shared.advisory.mark(session.id());
            session.transaction.define_savepoint(name, advisory, session.parameters.clone(), cursors)?;
        }
        SavepointAction::Release => session.transaction.release_savepoint(name)?,
        SavepointAction::RollBackTo => {
            let savepoint = session.transaction.roll_back_to(name)?;
            let (parameters, cursors) = (savepoint.parameters.clone(), savepoint.cursors.clone());
            let advisory = savepoint.advisory;
            session.engine.shared.advisory.roll_back(session.id(), advisory);
            session.cursors().retain(|name, _| cursors.contains(name));
            settings::return_to(session, &parameters);
        }
    }
    tag(action.tag())
}
