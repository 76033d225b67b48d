//! CREATE VIEW: a name for a query. Planned once to check it, then anew wherever it is used.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use catalog::{CatalogChange, CatalogObject, ColumnEntry, ObjectBody};
use sql::CreateView;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::create_source::already_exists;
use super::{Context, names, replaced_view, tag};
use crate::api::Response;
use crate::engine::Shared;
use crate::session::Session;
use crate::time::now_us;

pub(crate) async fn execute(session: &mut Session, create: &CreateView, text: &str) -> Result<Response, SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    let _ddl = shared.ddl.lock().await;
    let catalog = shared.catalog();
    let (schema, name) = names::split(&create.name)?;
    let planned = context.planner().plan_query(&create.query).map_err(|e| e.to_sql_error())?;
    let temporary = create.temporary || session.inherits_temporary(&planned.depends_on, &name);
    let schema = match temporary {
        true => temporary_schema(&context, schema)?,
        false => names::schema_or_default(&catalog, schema, &context.session.search_path)?,
    };
    let existing = catalog.find(Some(&schema), &name).cloned();
    if existing.is_some() && !create.or_replace {
        return already_exists(session, &name, create.if_not_exists, "CREATE VIEW");
    }
    let fields: Vec<Field> = planned.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    if create.columns.len() > fields.len() {
        return Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            "CREATE VIEW specifies more column names than columns",
        ));
    }
    let columns = view_columns(&Schema::new(fields), create)?;
    let object = CatalogObject {
        id: existing.as_ref().map_or_else(|| shared.allocate_id(), |existing| existing.id),
        schema,
        name,
        columns,
        body: ObjectBody::View { query: create.query.to_string(), temporary, names: planned.names },
        depends_on: planned.depends_on,
        sql: text.to_string(),
        comment: existing.as_ref().and_then(|existing| existing.comment.clone()),
        created_us: now_us(),
        building: None,
    };
    if let Some(existing) = &existing {
        replaced_view::check(&catalog, existing, &object)?;
    }
    if temporary && !session.temporary_views.contains(&object.id) {
        session.temporary_views.push(object.id);
    }
    let done = tokio::task::spawn_blocking({
        let shared = shared.clone();
        move || shared.change_catalog(vec![CatalogChange::Put(object)])
    });
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("CREATE VIEW")
}

/// The schema of the session's own objects, also if it was named.
fn temporary_schema(context: &Context, named: Option<String>) -> Result<String, SqlError> {
    let own = context.temporary_schema.clone();
    match named {
        Some(named) if named != "pg_temp" && named != own => Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            "cannot create temporary relation in non-temporary schema",
        )),
        _ => Ok(own),
    }
}

fn view_columns(schema: &Schema, create: &CreateView) -> Result<Vec<ColumnEntry>, SqlError> {
    let mut columns: Vec<ColumnEntry> = vec![];
    for (position, field) in schema.fields().iter().enumerate() {
        let name = create.columns.get(position).map_or_else(|| field.name().clone(), names::fold);
        if columns.iter().any(|c| c.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DuplicateColumn, message));
        }
        columns.push(ColumnEntry {
            name,
            data_type: field.data_type().clone(),
            not_null: false,
            default: None,
            generated: None,
            comment: None,
        });
    }
    Ok(columns)
}

/// Removes temporary views; goes on when the answer is dropped, as when their session ends.
pub(crate) fn drop_temporary(shared: Arc<Shared>, views: Vec<ObjectId>) -> impl Future<Output = ()> {
    let handle = shared.query_handle.clone();
    let dropping = handle.spawn_blocking(move || {
        let _ddl = shared.ddl.blocking_lock();
        let catalog = shared.catalog();
        let present: Vec<ObjectId> = views.into_iter().filter(|id| catalog.get(*id).is_some()).collect();
        if !present.is_empty()
            && let Err(error) = shared.change_catalog(vec![CatalogChange::Drop(present)])
        {
            tracing::warn!(error = %error, "cannot drop temporary views");
        }
    });
    // What went wrong has been logged.
    async move { drop(dropping.await) }
}
