//! SET, RESET, DISCARD, FLUSH, WAIT, CANCEL JOBS: statements about the session and the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use types::{ObjectId, SqlError, SqlState};

use super::tag;
use crate::api::Response;
use crate::clock::ClockMessage;
use crate::parameters::Parameters;
use crate::session::Session;

pub(crate) fn set(session: &mut Session, local: bool, name: &str, value: Option<&str>) -> Result<Response, SqlError> {
    if local && !session.transaction.is_open() {
        session.warning(SqlState::NoActiveSqlTransaction, "SET LOCAL can only be used in transaction blocks");
        return tag("SET");
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
    tag("SET")
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
    for (name, value) in undone {
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
