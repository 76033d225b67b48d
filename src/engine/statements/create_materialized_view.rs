//! CREATE MATERIALIZED VIEW: plan, then build (`building.rs`). Over bounded input the view is complete when the
//! statement returns; `SET background_ddl = on` returns at once and the job goes on.

use catalog::{CatalogObject, ObjectBody, ViewBody};
use plan::{PlannedView, ViewPlanOptions};
use sql::CreateMaterializedView;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::building::{self, Order};
use super::create_source::already_exists;
use super::{Context, error_views, names};
use crate::api::Response;
use crate::session::Session;
use crate::time::now_us;

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
    if catalog.find(Some(&schema), &name).is_some() {
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
    let mut object = object(create, &planned, id, schema, name, text);
    let errors = error_views::bind(&shared, &mut object)?;
    if let Some(errors) = &errors {
        session.notice(format!("errors of \"{}\" are rows of materialized view \"{}\"", object.name, errors.name));
    }
    let views = catalog.views_behind(&object.depends_on);
    drop(ddl);
    let order = Order { errors, views, ..Order::of(object) };
    building::execute(session, &shared, order, "CREATE MATERIALIZED VIEW").await
}

pub(crate) fn plan(context: &Context, create: &CreateMaterializedView, id: ObjectId) -> Result<PlannedView, SqlError> {
    for (name, value) in &create.options {
        match (name.as_str(), value.to_ascii_lowercase().as_str()) {
            ("on_error" | "dead_letter", _) => {}
            ("retain_history", value) if connectors::parse_duration_us(value).is_some() => {}
            _ => {
                let message = format!("invalid option \"{name}\" = '{value}' of a materialized view");
                return Err(SqlError::new(SqlState::InvalidParameterValue, message)
                    .with_detail(
                        "Known options: on_error ('fail', 'null' or 'dead_letter'), dead_letter, \
                         retain_history (a duration such as '1 hour').",
                    )
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
            names: planned.names.clone(),
        }),
        depends_on: planned.depends_on.clone(),
        sql: text.to_string(),
        comment: None,
        created_us: now_us(),
        building: None,
    }
}
