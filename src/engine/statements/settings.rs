//! SET, RESET, DISCARD, FLUSH, WAIT, CANCEL JOBS: statements about the session and the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use types::{ObjectId, SqlError, SqlState};

use super::{tag, transaction};
use crate::api::{Response, TransactionStatus};
use crate::clock::ClockMessage;
use crate::parameters::Parameters;
use crate::session::Session;

pub(crate) fn set(session: &mut Session, local: bool, name: &str, value: Option<&str>) -> Result<Response, SqlError> {
    if local && !session.transaction.is_open() {
        session.warning(SqlState::NoActiveSqlTransaction, "SET LOCAL can only be used in transaction blocks");
        return tag("SET");
    }
    if TRANSACTION_MODES.contains(&name.to_ascii_lowercase().as_str()) {
        return set_mode(session, name, value);
    }
    remember(session, local, name);
    match value {
        Some(value) => {
            if Arc::make_mut(&mut session.parameters).set(name, value)? {
                session.notice(format!("parameter \"{name}\" has no effect here"));
            }
        }
        None => Arc::make_mut(&mut session.parameters).reset(name)?,
    }
    if session.transaction.status() == TransactionStatus::Idle {
        start_modes(session);
    }
    tag("SET")
}

/// Modes of the transaction that is open; it starts with those of the same name with `default_` before it.
const TRANSACTION_MODES: [&str; 3] = ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];

/// `SET transaction_read_only = …`: outside a block it is over with the statement.
fn set_mode(session: &mut Session, name: &str, value: Option<&str>) -> Result<Response, SqlError> {
    let name = name.to_ascii_lowercase();
    let default = session.parameters.get(&format!("default_{name}"));
    let value = value.map(str::to_string).or(default).unwrap_or_default();
    // Tried on a copy: a value that does not fit is an error everywhere.
    let mut parameters = (*session.parameters).clone();
    parameters.set(&name, &value)?;
    if session.transaction.status() != TransactionStatus::Idle {
        transaction::check_mode(session, &name, &parameters.get(&name).unwrap_or_default())?;
        session.parameters = Arc::new(parameters);
    }
    tag("SET")
}

/// The modes with which the next transaction starts.
fn start_modes(session: &mut Session) {
    for mode in TRANSACTION_MODES {
        let default = session.parameters.get(&format!("default_{mode}"));
        if session.parameters.get(mode) != default
            && let Some(default) = default
        {
            // It was accepted as the default.
            let _ = Arc::make_mut(&mut session.parameters).set(mode, &default);
        }
    }
}

/// What the open block has set.
#[derive(Debug, Default)]
pub(crate) struct BlockSettings {
    /// The session's parameters at BEGIN: ROLLBACK returns to them.
    at_begin: Option<Arc<Parameters>>,
    /// Values before SET LOCAL: every end of the block returns to them.
    before_local: BTreeMap<String, Option<String>>,
}

/// At BEGIN.
pub(crate) fn begin_block(session: &mut Session) {
    let at_begin = Some(session.parameters.clone());
    session.block_settings = BlockSettings { at_begin, before_local: BTreeMap::new() };
}

fn remember(session: &mut Session, local: bool, name: &str) {
    let name = name.to_ascii_lowercase();
    if local {
        let before = session.parameters.get(&name);
        session.block_settings.before_local.entry(name).or_insert(before);
    } else {
        // The last word counts.
        session.block_settings.before_local.remove(&name);
    }
}

/// At COMMIT and ROLLBACK.
pub(crate) fn end_block(session: &mut Session, committed: bool) {
    let BlockSettings { at_begin, before_local } = std::mem::take(&mut session.block_settings);
    let undone: Vec<(String, Option<String>)> = match (committed, at_begin) {
        (false, Some(at_begin)) => {
            session.parameters.all().map(|(name, _)| (name.clone(), at_begin.get(name))).collect()
        }
        _ => before_local.into_iter().collect(),
    };
    apply(session, undone);
    start_modes(session);
}

/// At ROLLBACK TO: the parameters are again as they were.
pub(crate) fn return_to(session: &mut Session, parameters: &Parameters) {
    apply(session, parameters.all().map(|(name, value)| (name.clone(), Some(value.clone()))).collect());
}

fn apply(session: &mut Session, values: Vec<(String, Option<String>)>) {
    for (name, value) in values {
        if session.parameters.get(&name) != value {
            let parameters = Arc::make_mut(&mut session.parameters);
            // Values that were accepted once; read-only parameters have not changed.
            let _ = match value {
                Some(value) => parameters.set(&name, &value).map(|_| ()),
                None => parameters.reset(&name),
            };
        }
    }
}

pub(crate) fn reset(session: &mut Session, name: Option<&str>) -> Result<Response, SqlError> {
    match name {
        Some(name) => {
            remember(session, false, name);
            Arc::make_mut(&mut session.parameters).reset(name)?;
        }
        None => {
            session.block_settings.before_local.clear();
            Arc::make_mut(&mut session.parameters).reset_all();
        }
    }
    if session.transaction.status() == TransactionStatus::Idle {
        start_modes(session);
    }
    tag("RESET")
}

/// Waits until everything admitted so far is visible everywhere.
pub(crate) async fn flush(session: &mut Session) -> Result<Response, SqlError> {
    let shared = session.engine.shared.clone();
    let stopping = || SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    let (reply, epoch) = oneshot::channel();
    shared.clock.send(ClockMessage::Barrier { reply }).map_err(|_| stopping())?;
    let epoch = epoch.await.map_err(|_| stopping())?;
    let ids: Vec<ObjectId> = shared.relations.lock().expect("not poisoned").keys().copied().collect();
    for id in ids {
        // One that failed or was dropped meanwhile does not hold FLUSH back.
        let _ = shared.oracle.wait_sealed(&[id], epoch).await;
    }
    shared.oracle.acknowledge(epoch);
    tag("FLUSH")
}

pub(crate) async fn wait(session: &mut Session) -> Result<Response, SqlError> {
    let shared = session.engine.shared.clone();
    shared.jobs.wait_all().await;
    tag("WAIT")
}

pub(crate) fn cancel_jobs(session: &mut Session, ids: &[u32]) -> Result<Response, SqlError> {
    for id in ids {
        if !session.engine.shared.jobs.cancel(*id) {
            let message = format!("job {id} does not exist");
            return Err(SqlError::new(SqlState::UndefinedObject, message).with_hint("SHOW JOBS lists running jobs."));
        }
    }
    tag("CANCEL JOBS")
}

pub(crate) async fn discard_all(session: &mut Session) -> Result<Response, SqlError> {
    if session.transaction.is_open() {
        let message = "DISCARD ALL cannot run inside a transaction block";
        return Err(SqlError::new(SqlState::ActiveSqlTransaction, message));
    }
    session.prepared.clear();
    session.cursors().clear();
    let views = std::mem::take(&mut session.temporary_views);
    super::create_view::drop_temporary(session.engine.shared.clone(), views).await;
    Arc::make_mut(&mut session.parameters).reset_all();
    tag("DISCARD ALL")
}
