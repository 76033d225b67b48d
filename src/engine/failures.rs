//! Failure has walls: what becomes of a dataflow whose operator panicked, broke an invariant or met a limit.
//!
//! The host has stopped it before it tells (`dataflow/host.rs`), on the thread that would have gone on. On that thread,
//! and in this order: the oracle marks the relation and everything that reads it as failed, so whoever waits for them or
//! asks from now on is told; the checkpointer leaves them out, so no checkpoint claims what was not worked out; the
//! clock takes them from the workers; `rebuild.rs` does what can be done about it. Everybody else goes on.
//!
//! The book says of every failed relation why, since when and what is being done: for `hw_catalog.failures`, metrics,
//! `/readyz` and new sessions.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};

use catalog::CatalogObject;
use coordinator::oracle::Oracle;
use operators::OperatorError;
use types::{ObjectId, SqlError, ToSqlState};

use crate::clock::ClockMessage;
use crate::engine::Shared;
use crate::jobs::Job;
use crate::rebuild::Request;
use crate::source_stats::Health;
use crate::time::now_us;

/// Finds the engine, once it is there and as long as it is.
pub(crate) type EngineLookup = Arc<dyn Fn() -> Option<Arc<Shared>> + Send + Sync>;

/// Where failures are reported.
#[derive(Clone)]
pub(crate) struct Failures {
    pub oracle: Arc<Oracle>,
    pub clock: Sender<ClockMessage>,
    pub rebuild: Sender<Request>,
    pub engine: EngineLookup,
    pub book: Arc<Book>,
    /// What is being built again.
    pub job: Arc<Mutex<Option<Job>>>,
}

/// All relations of the catalog that cannot be read because something failed.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<ObjectId, Failed>>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    /// The relation that failed by itself: this one, or one that it reads.
    pub root: ObjectId,
    /// Number and label.
    pub operator: String,
    pub error: SqlError,
    pub since_us: i64,
    /// How often the root has failed in a row.
    pub times: u32,
    pub stage: Stage,
}

/// What is being done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It will be built again.
    Failed,
    Rebuilding,
    /// For a person.
    Waiting,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Failed => "failed",
            Stage::Rebuilding => "rebuilding",
            Stage::Waiting => "waiting",
        }
    }
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Failed>> {
        self.0.lock().expect("no panic while holding the book")
    }

    pub fn read(&self) -> BTreeMap<ObjectId, Failed> {
        self.lock().clone()
    }

    pub fn get(&self, relation: ObjectId) -> Option<Failed> {
        self.lock().get(&relation).cloned()
    }

    pub fn put(&self, relation: ObjectId, failed: Failed) {
        self.lock().insert(relation, failed);
    }

    pub fn remove(&self, relation: ObjectId) {
        self.lock().remove(&relation);
    }

    /// Changes what is noted of a relation.
    pub fn update(&self, relation: ObjectId, change: impl FnOnce(&mut Failed)) {
        if let Some(failed) = self.lock().get_mut(&relation) {
            change(failed);
        }
    }
}

impl Failures {
    /// Marks a relation as failed, and what reads it. Gives all whose dataflow had not failed before; `tell` is to
    /// follow when the checkpointer knows of them.
    pub fn mark(&self, dataflow: ObjectId, operator: u32, cause: &OperatorError) -> Vec<ObjectId> {
        if self.oracle.dataflow_failure(dataflow).is_some() {
            return vec![];
        }
        let (operator, error) = self.describe(dataflow, operator, cause);
        self.mark_with(dataflow, operator, &error)
    }

    /// The same for a failure that is described already.
    pub fn mark_with(&self, dataflow: ObjectId, operator: String, error: &SqlError) -> Vec<ObjectId> {
        let failed = self.oracle.fail(dataflow, error);
        let (message, detail) = (&error.message, error.detail.as_deref().unwrap_or_default());
        tracing::error!(relation = %dataflow, operator, stopped = failed.len(), detail, "{message}");
        let catalog = (self.engine)().map(|shared| shared.catalog());
        let in_catalog = |id: &&ObjectId| catalog.as_ref().is_some_and(|catalog| catalog.get(**id).is_some());
        for id in failed.iter().filter(in_catalog) {
            let before = self.book.get(*id);
            let (since_us, times) = before.map_or((now_us(), 0), |before| (before.since_us, before.times));
            let (root, operator, error, stage) = (dataflow, operator.clone(), error.clone(), Stage::Failed);
            self.book.put(*id, Failed { root, operator, error, since_us, times, stage });
        }
        failed
    }

    /// The clock takes it, and what reads it, from the workers; then it is rebuilt if it can be.
    pub fn tell(&self, dataflow: ObjectId) {
        // An error means that the receiver has stopped, and everything else is about to.
        let _ = self.clock.send(ClockMessage::Failed { dataflow });
        let _ = self.rebuild.send(Request::Failed(dataflow));
    }

    /// The operator, and what readers and writers are told.
    fn describe(&self, dataflow: ObjectId, operator: u32, cause: &OperatorError) -> (String, SqlError) {
        let engine = (self.engine)();
        let object = engine.as_ref().and_then(|shared| shared.catalog().get(dataflow).cloned());
        let relation = engine.as_ref().and_then(|shared| shared.relation(dataflow));
        let node = relation.and_then(|relation| relation.graph.nodes.iter().find(|n| n.id == operator).cloned());
        let name = object.map_or("the query of a subscription".into(), |object| name_of(&object));
        let what = match cause {
            OperatorError::Panic { .. } => "panicked",
            OperatorError::Internal { .. } | OperatorError::Arrow(_) => "broke an invariant",
            OperatorError::Limit { .. } | OperatorError::Types(_) | OperatorError::Kernel(_) => "stopped",
        };
        let operator = node.map_or(operator.to_string(), |node| format!("{operator} ({})", node.label));
        let error = SqlError::new(cause.sql_state(), format!("{name} has failed: {}", text_of(cause)))
            .with_detail(format!("Its operator {operator} {what}; nothing that reads it can be read."))
            .with_hint("Other relations go on. hw_catalog.failures says what is being done.");
        (operator, error)
    }
}

pub(crate) fn name_of(object: &CatalogObject) -> String {
    format!("{} \"{}\"", object.kind_name(), object.name)
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

/// What cannot be used although the server is ready: failed relations, sources that can't be read, a line each.
pub(crate) fn degraded(shared: &Shared) -> Vec<String> {
    let catalog = shared.catalog();
    let failed = shared.failures.book.read();
    let relations = failed.iter().filter_map(|(id, failed)| {
        let (object, stage) = (catalog.get(*id)?, failed.stage.name());
        Some(match failed.root == *id {
            true => format!("{} ({stage})", failed.error.message),
            false => format!("{} cannot be read ({stage}): {}", name_of(object), failed.error.message),
        })
    });
    let mut lines: Vec<String> = relations.collect();
    for source in shared.lock_sources().values() {
        let reading = source.stats.read();
        let what = match reading.health() {
            Health::Well => continue,
            Health::Retrying => "cannot be read, and is tried again",
            Health::Degraded => "is not read as a whole any more",
            Health::Failed => "has stopped",
        };
        lines.push(format!("source \"{}\" {what}: {}", source.name, reading.error().unwrap_or_default()));
    }
    lines
}

#[cfg(test)]
mod tests;
