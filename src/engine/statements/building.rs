//! Building an object that takes longer than a moment: it stands in the catalog as *building* first, so its name is
//! taken and a crash knows of it; then its dataflow is created and catches up; when it is complete it is shown to others.
//!
//! Failure, cancellation and a crash remove it. After a crash a background job goes on instead, because its statement
//! has been acknowledged (`resume`).

use std::sync::Arc;
use std::time::Duration;

use catalog::{Building, CatalogChange, CatalogObject, ObjectBody};
use connectors::ConfiguredSource;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use types::{DeltaBatch, ObjectId, SqlError, SqlState};

use super::{drop, error_views, tag};
use crate::api::{Notice, NoticeSeverity, Response};
use crate::caught::caught;
use crate::clock::ClockMessage;
use crate::dataflows;
use crate::engine::Shared;
use crate::jobs::Job;
use crate::recovery;
use crate::relation::Relation;
use crate::session::Session;
use crate::tables::{self, TableChange};

/// Time between progress notices.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What is to be built.
pub(crate) struct Order {
    /// With its plan.
    pub object: CatalogObject,
    /// Of a table with a connector.
    pub source: Option<ConfiguredSource>,
    /// First rows of a table.
    pub rows: Option<DeltaBatch>,
    /// Of a view with `on_error = 'dead_letter'`: the one that shows its errors.
    pub errors: Option<CatalogObject>,
    /// The plain views that its plan has been made of.
    pub views: Vec<Arc<CatalogObject>>,
}

impl Order {
    /// Nothing but the object.
    pub fn of(object: CatalogObject) -> Order {
        Order { object, source: None, rows: None, errors: None, views: vec![] }
    }
}

/// Builds the object; with `background_ddl` returns once that is certain to happen. The caller has given up `ddl`.
pub(crate) async fn execute(
    session: &mut Session,
    shared: &Arc<Shared>,
    mut order: Order,
    command: &str,
) -> Result<Response, SqlError> {
    let background = session.parameters.background_ddl();
    let building = Some(if background { Building::Background } else { Building::Foreground });
    order.object.building = building;
    order.errors.iter_mut().for_each(|errors| errors.building = building);
    let (kind, name) = (order.object.kind_name(), order.object.name.clone());
    let job = shared.jobs.start_for(format!("{command} {name}"), Some(order.object.id));
    let (announced, certain) = oneshot::channel();
    let (worker, worker_job) = (shared.clone(), job.clone());
    let build = tokio::task::spawn_blocking(move || {
        let built = build(&worker, order, &worker_job, announced);
        worker.jobs.end(worker_job, &built);
        built
    });
    if background && certain.await.is_ok() {
        session.notice(format!("{kind} \"{name}\" is being built as job {}", job.id()));
        return tag(command);
    }
    let _cancel = CancelOnDrop(job.clone());
    let progress = report_progress(session.notices_of().0.clone(), name, job);
    let result = tokio::select! {
        result = build => result,
        never = progress => match never {},
    };
    result.map_err(|e| SqlError::internal(e.to_string()))??;
    tag(command)
}

/// Takes up a background job after a restart. A view of errors comes with its view.
pub(crate) fn resume(shared: &Arc<Shared>, object: Arc<CatalogObject>) {
    if error_views::errors_of(&object).is_some() {
        return;
    }
    let command = format!("CREATE {} {}", object.kind_name().to_uppercase(), object.name);
    let job = shared.jobs.start_for(command, Some(object.id));
    let shared = shared.clone();
    let handle = shared.query_handle.clone();
    handle.spawn_blocking(move || {
        let errors = error_views::of(&shared.catalog(), &object);
        let objects: Vec<_> = std::iter::once(object).chain(errors).collect();
        let built = caught("the job", || complete(&shared, &objects, &job)).inspect_err(|error| {
            tracing::warn!(object = %objects[0].id, error = %error, "a background job failed after the restart");
            abandon(&shared, &objects);
        });
        shared.jobs.end(job, &built);
    });
}

fn build(shared: &Shared, order: Order, job: &Job, announced: oneshot::Sender<()>) -> Result<(), SqlError> {
    let objects: Vec<_> = std::iter::once(order.object).chain(order.errors).map(Arc::new).collect();
    announce(shared, &objects, &order.views)?;
    // Whoever waits for it may have gone.
    let _ = announced.send(());
    let build = || {
        fill(shared, &objects[0], order.source, order.rows, job)?;
        complete(shared, &objects, job)
    };
    caught("the statement", build).inspect_err(|_| abandon(shared, &objects))
}

/// Puts the objects, each after what it reads, into the catalog as being built.
fn announce(shared: &Shared, objects: &[Arc<CatalogObject>], views: &[Arc<CatalogObject>]) -> Result<(), SqlError> {
    let _ddl = shared.ddl.blocking_lock();
    let catalog = shared.catalog();
    let changed = |view: &&Arc<CatalogObject>| catalog.get(view.id).is_none_or(|now| now.body != view.body);
    if let Some(view) = views.iter().find(changed) {
        let message = format!("view \"{}\" was replaced while \"{}\" was being planned", view.name, objects[0].name);
        return Err(SqlError::new(SqlState::SerializationFailure, message).with_hint("Run the statement again."));
    }
    for object in objects {
        if catalog.find(Some(&object.schema), &object.name).is_some() {
            let message = format!("relation \"{}\" already exists", object.name);
            return Err(SqlError::new(SqlState::DuplicateTable, message));
        }
        let present = |id: &ObjectId| catalog.get(*id).is_some() || objects.iter().any(|other| other.id == *id);
        if let Some(gone) = object.depends_on.iter().find(|id| !present(id)) {
            let message = format!("relation with OID {gone} was dropped while \"{}\" was being planned", object.name);
            return Err(SqlError::new(SqlState::UndefinedTable, message));
        }
    }
    shared.change_catalog(objects.iter().map(|object| CatalogChange::Put((**object).clone())).collect())
}

/// Brings the first rows of a table on their way.
fn fill(
    shared: &Shared,
    object: &CatalogObject,
    source: Option<ConfiguredSource>,
    rows: Option<DeltaBatch>,
    job: &Job,
) -> Result<(), SqlError> {
    if let (Some(configured), ObjectBody::Table(table)) = (source, &object.body) {
        let body = table.source.as_ref().expect("it was configured from this");
        recovery::register_source(shared, object, configured, body, None, Default::default())?;
    }
    if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
        create(shared, object, job)?;
        let admitted = tables::append(shared, vec![TableChange::new(object.id, rows)])?.admitted;
        let stopping = |_| SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
        admitted.blocking_recv().map_err(stopping)?;
    }
    Ok(())
}

fn create(shared: &Shared, object: &CatalogObject, job: &Job) -> Result<Arc<Relation>, SqlError> {
    let graph = recovery::graph_of(object)?.expect("what is built has a plan");
    dataflows::build(shared, graph, job, false)
}

/// Creates the relations that are not there yet, waits until they are complete, and shows them to everyone.
fn complete(shared: &Shared, objects: &[Arc<CatalogObject>], job: &Job) -> Result<(), SqlError> {
    for object in objects {
        let relation = match shared.relation(object.id) {
            Some(relation) => relation,
            None => create(shared, object, job)?,
        };
        dataflows::wait_complete(shared, &relation, job)?;
    }
    if let ObjectBody::Table(table) = &objects[0].body
        && table.source.as_ref().is_some_and(|source| source.bounded)
    {
        // From here on the rows are the table's: the files they came from may go.
        let (reply, done) = oneshot::channel();
        let stopping = || SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
        shared.clock.send(ClockMessage::CheckpointNow { reply }).map_err(|_| stopping())?;
        done.blocking_recv().map_err(|_| stopping())?;
    }
    let _ddl = shared.ddl.blocking_lock();
    job.check()?;
    let catalog = shared.catalog();
    let mut built = vec![];
    for object in objects {
        let Some(present) = catalog.get(object.id) else {
            let message = format!("{} \"{}\" was dropped while it was being built", object.kind_name(), object.name);
            return Err(SqlError::new(SqlState::UndefinedTable, message));
        };
        built.push(CatalogChange::Put(CatalogObject { building: None, ..(**present).clone() }));
    }
    shared.change_catalog(built)
}

/// Removes what was not completed, wherever it stands.
fn abandon(shared: &Shared, objects: &[Arc<CatalogObject>]) {
    let _ddl = shared.ddl.blocking_lock();
    let catalog = shared.catalog();
    let readers_first = objects.iter().rev().map(|object| object.id);
    let known: Vec<ObjectId> = readers_first.clone().filter(|id| catalog.get(*id).is_some()).collect();
    let removed = if known.is_empty() { Ok(()) } else { drop::remove(shared, known, vec![]) };
    if let Err(error) = removed {
        tracing::warn!(object = %objects[0].id, error = %error, "cannot remove what is unfinished, the next start does");
    }
    for id in readers_first.filter(|id| shared.relation(*id).is_some()) {
        dataflows::remove(shared, id);
    }
}

/// Tells the client now and then how far the build is.
async fn report_progress(notices: UnboundedSender<Notice>, name: String, job: Job) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        // The client may have gone; the build is cancelled by dropping this statement.
        let _ = notices.send(Notice {
            severity: NoticeSeverity::Notice,
            state: SqlState::SuccessfulCompletion,
            message: format!("building \"{name}\": {} rows read", job.rows()),
            detail: None,
            hint: None,
        });
    }
}

/// A statement that is dropped (cancelled) takes its job with it.
struct CancelOnDrop(Job);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
