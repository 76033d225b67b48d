//! Failure has walls: what becomes of a dataflow whose operator panicked, broke an invariant or met a limit.
//!
//! The host has stopped it before it tells (`dataflow/host.rs`), on the thread that would have gone on. On that thread,
//! and in this order: the oracle marks the relation and everything that reads it as failed, so whoever waits for them or
//! asks from now on is told; the checkpointer leaves them out, so no checkpoint claims what was not worked out; the
//! clock takes them from the workers. Everybody else goes on.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use coordinator::oracle::Oracle;
use operators::OperatorError;
use types::{ObjectId, SqlError, ToSqlState};

use crate::clock::ClockMessage;
use crate::engine::Shared;

/// Finds the engine, once it is there and as long as it is.
pub(crate) type EngineLookup = Arc<dyn Fn() -> Option<Arc<Shared>> + Send + Sync>;

/// Where failures are reported.
#[derive(Clone)]
pub(crate) struct Failures {
    pub oracle: Arc<Oracle>,
    pub clock: Sender<ClockMessage>,
    pub engine: EngineLookup,
}

impl Failures {
    /// Marks a relation as failed, and what reads it. Gives all that had not failed before; `tell` is to follow when
    /// the checkpointer knows of them.
    pub fn mark(&self, dataflow: ObjectId, operator: u32, cause: &OperatorError) -> Vec<ObjectId> {
        if self.oracle.failure(dataflow).is_some() {
            return vec![];
        }
        let error = self.describe(dataflow, operator, cause);
        let failed = self.oracle.fail(dataflow, &error);
        let (message, detail) = (error.message, error.detail.unwrap_or_default());
        tracing::error!(relation = %dataflow, operator, stopped = failed.len(), detail, "{message}");
        failed
    }

    /// The clock takes it, and what reads it, from the workers.
    pub fn tell(&self, dataflow: ObjectId) {
        // An error means the clock has stopped, and the workers with it.
        let _ = self.clock.send(ClockMessage::Failed { dataflow });
    }

    /// What readers and writers are told.
    fn describe(&self, dataflow: ObjectId, operator: u32, cause: &OperatorError) -> SqlError {
        let engine = (self.engine)();
        let object = engine.as_ref().and_then(|shared| shared.catalog().get(dataflow).cloned());
        let relation = engine.as_ref().and_then(|shared| shared.relation(dataflow));
        let node = relation.and_then(|relation| relation.graph.nodes.iter().find(|n| n.id == operator).cloned());
        let (name, hint) = match &object {
            Some(object) => (
                format!("{} \"{}\"", object.kind_name(), object.name),
                "Other relations go on. The server's log has more; everything acknowledged is kept.",
            ),
            None => ("the query of a subscription".into(), "Subscribe again to start it anew."),
        };
        let what = match cause {
            OperatorError::Panic { .. } => "panicked",
            OperatorError::Internal { .. } | OperatorError::Arrow(_) => "broke an invariant",
            OperatorError::Limit { .. } | OperatorError::Types(_) | OperatorError::Kernel(_) => "stopped",
        };
        let label = node.map(|node| format!(" ({})", node.label)).unwrap_or_default();
        SqlError::new(cause.sql_state(), format!("{name} has failed: {}", text_of(cause)))
            .with_detail(format!("Its operator {operator}{label} {what}; nothing that reads it can be read."))
            .with_hint(hint)
    }
}

/// The cause with what caused it.
fn text_of(cause: &OperatorError) -> String {
    let mut text = cause.to_string();
    let mut source = std::error::Error::source(cause);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// The failure of a relation that writers are about to change.
pub(crate) fn check_writable(shared: &Shared, table: ObjectId) -> Result<(), SqlError> {
    shared.oracle.failure(table).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
