//! CREATE MATERIALIZED VIEW: plan, build, catch up, remember. Over bounded input the view is complete when the
//! statement returns; `SET background_ddl = on` returns at once and the job goes on.

use std::sync::Arc;
use std::time::Duration;

use catalog::{CatalogChange, CatalogObject, ObjectBody, ViewBody};
use plan::{PlannedView, ViewPlanOptions};
use sql::CreateMaterializedView;
use tokio::sync::mpsc::UnboundedSender;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::create_source::already_exists;
use super::error_views::{self, ErrorView};
use super::{Context, names, tag};
use crate::api::{Notice, NoticeSeverity, Response};
use crate::dataflows;
use crate::engine::Shared;
use crate::jobs::Job;
use crate::session::Session;
use crate::time::now_us;

/// Time between progress notices.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn execute(
    session: &mut Session,
    create: &CreateMaterializedView,
    text: &str,
) -> Result<Response, SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    let ddl = shared.ddl.lock().await;
    let catalog = shared.catalog();
    let (schema, name) = names::split(&create.name)?;
    let schema = names::schema_or_default(&catalog, schema, &context.session.search_path)?;
    if catalog.find(Some(&schema), &name).is_some() || shared.is_reserved(&schema, &name) {
        return already_exists(session, &name, create.if_not_exists, "CREATE MATERIALIZED VIEW");
    }
    shared.check_memory()?;
    let id = shared.allocate_id();
    let planned = plan(&context, create, id)?;
    if planned.depends_on.iter().any(|id| session.temporary_views.contains(id)) {
        let message = "materialized views must not use temporary tables or views";
        return Err(SqlError::unsupported(message, "Create the view it reads without TEMPORARY."));
    }
    planned.notices.iter().for_each(|notice| session.notice(notice));
    let mut object = object(create, &planned, id, schema.clone(), name.clone(), text);
    let errors = error_views::bind(&shared, &mut object)?;
    if let Some(errors) = &errors {
        session.notice(format!("errors of \"{name}\" are rows of materialized view \"{}\"", errors.object.name));
    }
    let reservation = shared.reserve(schema, name.clone());
    drop(ddl);
    let job = shared.jobs.start(format!("CREATE MATERIALIZED VIEW {name}"));
    let graph = Arc::new(planned.graph);
    let (worker, worker_job) = (shared.clone(), job.clone());
    let build = tokio::task::spawn_blocking(move || {
        let built = build(&worker, graph, object, errors, &worker_job);
        drop(reservation);
        drop(worker_job);
        worker.jobs.notify_finished();
        built
    });
    if session.parameters.background_ddl() {
        session.notice(format!("materialized view \"{name}\" is being built as job {}", job.id()));
        return tag("CREATE MATERIALIZED VIEW");
    }
    let _cancel = CancelOnDrop(job.clone());
    let progress = report_progress(session.notice_sender(), name, job);
    let result = tokio::select! {
        result = build => result,
        never = progress => match never {},
    };
    result.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("CREATE MATERIALIZED VIEW")
}

pub(crate) fn plan(context: &Context, create: &CreateMaterializedView, id: ObjectId) -> Result<PlannedView, SqlError> {
    for (name, value) in &create.options {
        match (name.as_str(), value.to_ascii_lowercase().as_str()) {
            ("on_error" | "dead_letter", _) => {}
            ("retain_history", _) => {
                return Err(SqlError::unsupported(
                    format!("option \"{name}\" = '{value}' is not supported"),
                    "History is kept while a subscription reads it.",
                ));
            }
            _ => {
                let message = format!("invalid option \"{name}\" = '{value}' of a materialized view");
                return Err(SqlError::new(SqlState::InvalidParameterValue, message)
                    .with_detail("Known options: on_error ('fail', 'null' or 'dead_letter'), dead_letter.")
                    .with_hint("Correct it, or remove the option."));
            }
        }
    }
    let on_error = error_views::on_error(&create.options)?;
    let options = ViewPlanOptions { emit_on_window_close: create.emit_on_window_close, on_error };
    context.planner().plan_view(id, &create.query, &create.columns, options).map_err(|e| e.to_sql_error())
}

fn object(
    create: &CreateMaterializedView,
    planned: &PlannedView,
    id: ObjectId,
    schema: String,
    name: String,
    text: &str,
) -> CatalogObject {
    CatalogObject {
        id,
        schema,
        name,
        columns: planned.columns.clone(),
        body: ObjectBody::MaterializedView(ViewBody {
            plan: serde_json::to_value(&planned.graph).expect("a graph has a JSON form"),
            key: planned.key.clone(),
            append_only: planned.append_only,
            bounds: planned.bounds.clone(),
            emit_on_window_close: create.emit_on_window_close,
            dead_letter: None,
            errors_of: None,
            options: create.options.clone(),
            ready: true,
        }),
        depends_on: planned.depends_on.clone(),
        sql: text.to_string(),
        comment: None,
        created_us: now_us(),
    }
}

/// Builds the dataflow, waits until it is complete and only then shows the view to others.
fn build(
    shared: &Shared,
    graph: Arc<dataflow::DataflowGraph>,
    object: CatalogObject,
    errors: Option<ErrorView>,
    job: &Job,
) -> Result<(), SqlError> {
    let relation = dataflows::build(shared, graph, job, false)?;
    let complete = dataflows::wait_complete(shared, &relation, job).and_then(|()| {
        errors.as_ref().map_or(Ok(()), |errors| error_views::build(shared, errors, job))?;
        let _ddl = shared.ddl.blocking_lock();
        let catalog = shared.catalog();
        if let Some(gone) = object.depends_on.iter().find(|id| catalog.get(**id).is_none()) {
            let message = format!("relation with OID {gone} was dropped while the view was being built");
            return Err(SqlError::new(SqlState::UndefinedTable, message));
        }
        let objects = std::iter::once(object).chain(errors.as_ref().map(|errors| errors.object.clone()));
        shared.change_catalog(objects.map(CatalogChange::Put).collect())
    });
    if complete.is_err() {
        errors.iter().for_each(|errors| dataflows::remove(shared, errors.object.id));
        dataflows::remove(shared, relation.id);
    }
    complete
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
