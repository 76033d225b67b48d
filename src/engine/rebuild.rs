//! Building failed views again: a thread of its own, one view at a time, from its inputs and in the background.
//!
//! A view that fails `FAILURES_IN_A_ROW_MAX` times within `ROW` waits for a person: REFRESH MATERIALIZED VIEW, or DROP.
//! How often it failed is part of the catalog, so restarts do not start counting anew. What reads it follows once it is
//! back. Until then readers are told of the failure: nothing half-built is shown. Rows of tables are nowhere else
//! than in runs and journal, which a restart takes: a failed table waits for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use catalog::{CatalogChange, CatalogObject, FailureEntry, ObjectBody};
use tokio::sync::oneshot;
use types::limits::FAILURES_IN_A_ROW_MAX;
use types::{ObjectId, SqlError, SqlState};

use crate::caught::caught;
use crate::dataflows;
use crate::engine::Shared;
use crate::failures::{EngineLookup, Failed, Stage, name_of};
use crate::recovery;
use crate::relation::Relation;
use crate::time::now_us;

/// Failures further apart are not in a row.
const ROW: Duration = Duration::from_secs(600);
/// Before the first rebuilding; each further one waits twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// Without anything that is due.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

pub(crate) enum Request {
    /// A relation has failed by itself.
    Failed(ObjectId),
    /// Recovery is over; these failed before it and are to be rebuilt.
    Recovered(Vec<ObjectId>),
    /// A person asks for it.
    Refresh { view: ObjectId, reply: oneshot::Sender<Result<(), SqlError>> },
    /// Nothing is built any more.
    Stop(oneshot::Sender<()>),
}

/// Runs until `Stop`.
pub(crate) fn run(requests: &Receiver<Request>, engine: &EngineLookup) {
    let mut recovered = false;
    let mut early = vec![];
    let mut due: BTreeMap<ObjectId, Instant> = BTreeMap::new();
    loop {
        let wait = due.values().min().map_or(SLEEP_MAX, |at| at.saturating_duration_since(Instant::now()));
        let request = match requests.recv_timeout(wait) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(shared) = engine() else { continue };
        match request {
            // The catalog does not change before recovery is over.
            Some(Request::Failed(id)) if !recovered => early.push(id),
            Some(Request::Failed(id)) => drop(plan(&shared, id).map(|at| due.insert(id, at))),
            Some(Request::Recovered(views)) => {
                recovered = true;
                note_recovered(&shared);
                due.extend(views.into_iter().map(|view| (view, Instant::now())));
                for id in early.drain(..) {
                    due.extend(plan(&shared, id).map(|at| (id, at)));
                }
            }
            Some(Request::Refresh { view, reply }) => {
                due.remove(&view);
                start_anew(&shared, view);
                // Who asked may have gone.
                let _ = reply.send(caught("building it again", || rebuild(&shared, view)));
            }
            Some(Request::Stop(reply)) => {
                drop(shared);
                let _ = reply.send(());
                return;
            }
            None => {}
        }
        let now = Instant::now();
        while let Some(id) = due.iter().find(|(_, at)| **at <= now).map(|(id, _)| *id) {
            due.remove(&id);
            // Its failures have been noted.
            let _ = caught("building it again", || rebuild(&shared, id));
        }
    }
}

/// Notes a failure in the catalog and says when to build again, if at all.
fn plan(shared: &Shared, id: ObjectId) -> Option<Instant> {
    let _ddl = shared.ddl.blocking_lock();
    let catalog = shared.catalog();
    let object = catalog.get(id).filter(|object| object.building.is_none())?;
    let failed = shared.failures.book.get(id).filter(|failed| failed.root == id)?;
    let before = catalog.failures.get(&id).filter(|before| now_us() - before.last_us < ROW.as_micros() as i64);
    let entry = FailureEntry {
        standing: true,
        times: before.map_or(0, |before| before.times) + 1,
        since_us: before.map_or(failed.since_us, |before| before.since_us),
        last_us: now_us(),
        operator: failed.operator.clone(),
        sqlstate: failed.error.state.code().into(),
        message: failed.error.message.clone(),
    };
    let times = entry.times;
    note(shared, id, Some(entry));
    shared.failures.book.update(id, |failed| failed.times = times);
    let rebuilt = matches!(object.body, ObjectBody::MaterializedView(_)) && times <= FAILURES_IN_A_ROW_MAX;
    show_stage(shared, id, if rebuilt { Stage::Failed } else { Stage::Waiting });
    rebuilt.then(|| Instant::now() + PAUSE * 2u32.pow(times - 1))
}

/// Journals what is known of a relation's failures. On a full disk it is known in this life of the server only.
fn note(shared: &Shared, id: ObjectId, failure: Option<FailureEntry>) {
    if let Err(error) = shared.change_catalog(vec![CatalogChange::Failure { id, failure }]) {
        tracing::warn!(relation = %id, error = %error.message, "cannot note a failure in the catalog");
    }
}

/// What the restart has brought back is sound again.
fn note_recovered(shared: &Shared) {
    let _ddl = shared.ddl.blocking_lock();
    let catalog = shared.catalog();
    for (id, entry) in catalog.failures.iter().filter(|(_, entry)| entry.standing) {
        if shared.oracle.failure(*id).is_none() {
            note(shared, *id, Some(FailureEntry { standing: false, ..entry.clone() }));
        }
    }
}

/// A person has removed the cause: what was before does not count.
fn start_anew(shared: &Shared, id: ObjectId) {
    let _ddl = shared.ddl.blocking_lock();
    if shared.catalog().failures.contains_key(&id) {
        note(shared, id, None);
    }
    shared.failures.book.update(id, |failed| failed.times = 0);
}

/// Says what is being done about a relation, and about what reads it because of it.
fn show_stage(shared: &Shared, root: ObjectId, stage: Stage) {
    let book = shared.failures.book.read();
    let times = book.get(&root).map_or(0, |failed| failed.times);
    for (id, failed) in book {
        if failed.root == root {
            show(shared, id, &Failed { times, ..failed }, stage);
        }
    }
}

pub(crate) fn show(shared: &Shared, id: ObjectId, failed: &Failed, stage: Stage) {
    let error = SqlError { hint: Some(hint(shared, failed.root, stage)), ..failed.error.clone() };
    shared.oracle.set_unavailable(id, error.clone());
    shared.failures.book.put(id, Failed { stage, error, ..failed.clone() });
}

fn hint(shared: &Shared, root: ObjectId, stage: Stage) -> String {
    let catalog = shared.catalog();
    let Some(object) = catalog.get(root) else { return "Other relations go on.".into() };
    let name = &object.name;
    match (stage, &object.body) {
        (Stage::Failed | Stage::Rebuilding, ObjectBody::MaterializedView(_)) => {
            "It is built again from its inputs in the background, see hw_catalog.failures; other relations go on."
                .into()
        }
        (Stage::Waiting, ObjectBody::MaterializedView(_)) => format!(
            "It failed too often to be built again by itself. Remove the cause, then REFRESH MATERIALIZED VIEW {name}."
        ),
        _ => "Everything acknowledged is on disk. A restart restores it and tries again; other relations go on.".into(),
    }
}

/// Builds a view, and then what reads it and failed with it. Readers see each when it is complete.
fn rebuild(shared: &Shared, root: ObjectId) -> Result<(), SqlError> {
    let catalog = shared.catalog();
    let inputs_first = catalog.cascade(root).into_iter().rev();
    let views = inputs_first.filter_map(|id| catalog.get(id)).filter(|object| {
        let of_root = shared.failures.book.get(object.id).is_some_and(|failed| failed.root == root);
        of_root && object.building.is_none() && matches!(object.body, ObjectBody::MaterializedView(_))
    });
    for object in views {
        let graph = recovery::graph_of(object)?.expect("a view has a plan");
        let unavailable = graph.inputs().into_iter().find_map(|input| shared.oracle.failure(input));
        match unavailable {
            // It follows when that is back.
            Some(error) if object.id != root => follow_another(shared, object.id, &error),
            Some(error) => return Err(error),
            None => rebuild_one(shared, object, graph)?,
        }
    }
    Ok(())
}

/// A view that reads another failed relation, too, comes back with that one.
fn follow_another(shared: &Shared, id: ObjectId, error: &SqlError) {
    let book = shared.failures.book.read();
    let other = book.values().find(|failed| failed.error.message == error.message).map(|failed| failed.root);
    shared.failures.book.update(id, |failed| {
        failed.root = other.unwrap_or(failed.root);
        failed.error = error.clone();
    });
    shared.oracle.set_unavailable(id, error.clone());
}

fn rebuild_one(shared: &Shared, object: &CatalogObject, graph: Arc<dataflow::DataflowGraph>) -> Result<(), SqlError> {
    let id = object.id;
    let Some(failed) = shared.failures.book.get(id) else { return Ok(()) };
    show(shared, id, &failed, Stage::Rebuilding);
    let job = shared.jobs.start_for(format!("REBUILD MATERIALIZED VIEW {}", object.name), Some(id));
    *shared.failures.job.lock().expect("not poisoned") = Some(job.clone());
    dataflows::drop_dataflow(shared, id);
    let relation = Relation::new(graph, shared.runtime.workers(), Some(object));
    shared.relations.lock().expect("not poisoned").insert(id, relation.clone());
    let built = dataflows::build_into(shared, &relation, &job, false)
        .and_then(|()| dataflows::wait_complete(shared, &relation, &job))
        .and_then(|()| shared.oracle.heal(id));
    *shared.failures.job.lock().expect("not poisoned") = None;
    shared.jobs.end(job, &built);
    match built {
        Ok(()) => {
            tracing::info!(view = object.name, "rebuilt");
            shared.failures.book.remove(id);
            let _ddl = shared.ddl.blocking_lock();
            let entry = shared.catalog().failures.get(&id).cloned();
            if let Some(entry) = entry {
                note(shared, id, Some(FailureEntry { standing: false, ..entry }));
            }
            Ok(())
        }
        Err(error) => Err(not_rebuilt(shared, object, error)),
    }
}

/// An attempt that failed: by the dataflow itself, which has told, or around it.
fn not_rebuilt(shared: &Shared, object: &CatalogObject, error: SqlError) -> SqlError {
    let id = object.id;
    let told = shared.oracle.dataflow_failure(id).is_some();
    dataflows::drop_dataflow(shared, id);
    if shared.catalog().get(id).is_none() || error.state == SqlState::AdminShutdown {
        return error;
    }
    if !told {
        let message = format!("{} has failed: it could not be built again: {}", name_of(object), error.message);
        let failure = SqlError { message, ..error.clone() };
        shared.failures.book.update(id, |failed| {
            failed.root = id;
            failed.error = failure.clone();
        });
        shared.oracle.set_unavailable(id, failure);
        // A person who cancels it does not want it again.
        if error.state == SqlState::QueryCanceled {
            show_stage(shared, id, Stage::Waiting);
        } else {
            let _ = shared.failures.rebuild.send(Request::Failed(id));
        }
    }
    error
}
