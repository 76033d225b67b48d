//! `on_error = 'dead_letter'`: the view that shows another one's errors, and comes and goes with it.
//!
//! The rows of a view with this option are read whatever errors it holds. Each error is a row of the view beside it,
//! named by the option `dead_letter`, else `<view>_errors`; where the failing row is taken back or corrected, so is that
//! one: it shows what is wrong, not what was.

use std::sync::Arc;

use catalog::{Catalog, CatalogObject, ObjectBody, ViewBody};
use kernels::OnError;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::keeping_tables;
use crate::engine::Shared;

const ON_ERROR: &str = "on_error";
const DEAD_LETTER: &str = "dead_letter";

/// What the options of a view say about errors. Options that are none of its business are passed over.
pub(super) fn on_error(options: &[(String, String)]) -> Result<OnError, SqlError> {
    let find = |wanted: &str| options.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let invalid = |name: &str, value: &str| {
        let message = format!("invalid value \"{value}\" for option \"{name}\"");
        SqlError::new(SqlState::InvalidParameterValue, message)
    };
    let on_error = match find(ON_ERROR).map(|value| value.to_ascii_lowercase()).as_deref() {
        None | Some("fail") => OnError::Fail,
        Some("null") => OnError::Null,
        Some("dead_letter") => OnError::DeadLetter,
        Some(other) => {
            return Err(invalid(ON_ERROR, other)
                .with_detail("Option \"on_error\" takes 'fail', 'null' or 'dead_letter'.")
                .with_hint("Correct the value, or remove the option if it has a default."));
        }
    };
    match find(DEAD_LETTER) {
        Some(name) if on_error != OnError::DeadLetter => {
            Err(invalid(DEAD_LETTER, name).with_hint("It names the view of errors of on_error = 'dead_letter'."))
        }
        _ => Ok(on_error),
    }
}

/// The view of errors that `view` asks for, with both knowing each other. The caller holds `ddl`.
pub(super) fn bind(shared: &Shared, view: &mut CatalogObject) -> Result<Option<CatalogObject>, SqlError> {
    let ObjectBody::MaterializedView(body) = &view.body else { unreachable!("a materialized view is being made") };
    if on_error(&body.options)? != OnError::DeadLetter {
        return Ok(None);
    }
    let asked = body.options.iter().rev().find(|(name, _)| name == DEAD_LETTER);
    let name = match asked {
        None => format!("{}_errors", view.name),
        Some((_, text)) => match keeping_tables::split(DEAD_LETTER, text)? {
            (None, name) => name,
            (Some(schema), name) if schema == view.schema => name,
            (Some(_), _) => {
                let message = format!("the errors of view \"{}\" must be in its schema", view.name);
                return Err(SqlError::new(SqlState::InvalidParameterValue, message).with_hint("Leave the schema out."));
            }
        },
    };
    let schema = view.schema.clone();
    if shared.catalog().find(Some(&schema), &name).is_some() || name == view.name {
        return Err(SqlError::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists"))
            .with_detail(format!("Errors of view \"{}\" are to be shown under this name.", view.name))
            .with_hint("Choose another with the option dead_letter."));
    }
    let id = shared.allocate_id();
    let planned = plan::plan_errors(id, view).map_err(|e| e.to_sql_error())?;
    let object = CatalogObject {
        id,
        schema,
        name,
        columns: planned.columns,
        body: ObjectBody::MaterializedView(ViewBody {
            plan: serde_json::to_value(&planned.graph).expect("a graph has a JSON form"),
            key: planned.key,
            append_only: planned.append_only,
            bounds: planned.bounds,
            emit_on_window_close: false,
            dead_letter: None,
            errors_of: Some(view.id),
            options: vec![],
            names: vec![],
        }),
        depends_on: planned.depends_on,
        sql: view.sql.clone(),
        comment: None,
        created_us: view.created_us,
        building: None,
    };
    let ObjectBody::MaterializedView(body) = &mut view.body else { unreachable!("seen above") };
    body.dead_letter = Some(id);
    Ok(Some(object))
}

/// The view that shows the errors of `view`.
pub(super) fn of(catalog: &Catalog, view: &CatalogObject) -> Option<Arc<CatalogObject>> {
    let ObjectBody::MaterializedView(body) = &view.body else { return None };
    catalog.get(body.dead_letter?).cloned()
}

/// Whether `object` goes with the objects `ids` without being named.
pub(super) fn goes_with(object: &CatalogObject, ids: &[ObjectId]) -> bool {
    errors_of(object).is_some_and(|view| ids.contains(&view))
}

/// A view of errors is not dropped without its view.
pub(super) fn check_drop(shared: &Shared, object: &CatalogObject, ids: &[ObjectId]) -> Result<(), SqlError> {
    let catalog = shared.catalog();
    let view = errors_of(object).filter(|view| !ids.contains(view)).and_then(|view| catalog.get(view));
    let Some(view) = view else { return Ok(()) };
    let (name, of) = (&object.name, &view.name);
    let message = format!("cannot drop materialized view {name} because materialized view {of} requires it");
    Err(SqlError::new(SqlState::DependentObjectsStillExist, message)
        .with_hint(format!("You can drop materialized view {of} instead.")))
}

/// The view whose errors `object` shows.
pub(super) fn errors_of(object: &CatalogObject) -> Option<ObjectId> {
    match &object.body {
        ObjectBody::MaterializedView(view) => view.errors_of,
        ObjectBody::Source(_) | ObjectBody::Table(_) | ObjectBody::View { .. } => None,
    }
}
