//! DROP of every kind. Readers first; the catalog change is one journal entry, so a crash leaves all or nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use catalog::{Catalog, CatalogChange, CatalogError, CatalogObject, ObjectBody};
use sql::ObjectKind;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::{Context, error_views, names, tag};
use crate::api::Response;
use crate::clock::ClockMessage;
use crate::dataflows;
use crate::engine::Shared;
use crate::locks::{Mode, Resource};
use crate::session::Session;

pub(crate) async fn execute(session: &mut Session, drop: &sql::Drop) -> Result<Response, SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    lock_tables(session, &context, drop).await?;
    let _ddl = shared.ddl.lock().await;
    if drop.kind == ObjectKind::Schema {
        return drop_schemas(session, &shared, drop).await;
    }
    let catalog = shared.catalog();
    let mut ids: Vec<ObjectId> = vec![];
    for name in &drop.names {
        let (schema, name) = names::split(name)?;
        let Some(object) = context.find(&catalog, schema.as_deref(), &name) else {
            if drop.if_exists {
                session.notice(format!("{} \"{name}\" does not exist, skipping", kind_name(drop.kind)));
                continue;
            }
            let message = format!("{} \"{name}\" does not exist", kind_name(drop.kind));
            return Err(SqlError::new(SqlState::UndefinedTable, message));
        };
        check_kind(object, drop.kind)?;
        error_views::check_drop(&shared, object, &ids)?;
        let all = catalog.cascade(object.id);
        let others = catalog.readers(object.id).into_iter().filter(|(other, _)| !ids.contains(&other.id));
        // What comes with an object goes with it, and so with what takes that along.
        let others: Vec<_> = others.filter(|(other, _)| !error_views::goes_with(other, &all)).collect();
        if !others.is_empty() && !drop.cascade {
            return Err(dependants_exist(&catalog, object, &others));
        }
        others.iter().for_each(|(o, _)| session.notice(format!("drop cascades to {} {}", o.kind_name(), o.name)));
        ids.extend(all.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>());
    }
    if !ids.is_empty() {
        let worker = shared.clone();
        let done = tokio::task::spawn_blocking(move || remove(&worker, ids, vec![]));
        done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    }
    tag(format!("DROP {}", kind_name(drop.kind).to_uppercase()))
}

/// Waits until no open transaction has written what goes, and keeps others from writing it.
async fn lock_tables(session: &mut Session, context: &Context, drop: &sql::Drop) -> Result<(), SqlError> {
    let catalog = context.shared.catalog();
    let mut ids: BTreeSet<ObjectId> = BTreeSet::new();
    for name in &drop.names {
        let (schema, name) = names::split(name)?;
        match drop.kind {
            ObjectKind::Schema => ids.extend(catalog.objects.values().filter(|o| o.schema == name).map(|o| o.id)),
            ObjectKind::Source
            | ObjectKind::Table
            | ObjectKind::View
            | ObjectKind::MaterializedView
            | ObjectKind::Index => ids.extend(context.find(&catalog, schema.as_deref(), &name).map(|o| o.id)),
        }
    }
    let all: BTreeSet<ObjectId> = ids.iter().flat_map(|id| catalog.cascade(*id)).collect();
    let is_table = |id: &ObjectId| catalog.get(*id).is_some_and(|o| matches!(o.body, ObjectBody::Table(_)));
    let locks: Vec<_> = all.into_iter().filter(is_table).map(|id| (Resource::Table(id), Mode::Exclusive)).collect();
    session.lock(&locks).await
}

fn dependants_exist(catalog: &Catalog, object: &CatalogObject, others: &[(&Arc<CatalogObject>, ObjectId)]) -> SqlError {
    let line = |(other, read): &(&Arc<CatalogObject>, ObjectId)| {
        let read = catalog.get(*read).map(|read| format!("{} {}", read.kind_name(), read.name));
        format!("{} {} depends on {}", other.kind_name(), other.name, read.unwrap_or_default())
    };
    CatalogError::DependantsExist {
        kind: object.kind_name(),
        name: object.name.clone(),
        dependants: others.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
    .to_sql_error()
}

fn check_kind(object: &CatalogObject, kind: ObjectKind) -> Result<(), SqlError> {
    let fits = matches!(
        (&object.body, kind),
        (ObjectBody::Source(_), ObjectKind::Source)
            | (ObjectBody::Table(_), ObjectKind::Table)
            | (ObjectBody::View { .. }, ObjectKind::View)
            | (ObjectBody::MaterializedView(_), ObjectKind::MaterializedView)
    );
    if fits {
        return Ok(());
    }
    let (name, expected, actual) = (object.name.clone(), kind_name(kind), object.kind_name());
    Err(CatalogError::WrongKind { name, expected, actual }.to_sql_error())
}

fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Source => "source",
        ObjectKind::Table => "table",
        ObjectKind::View => "view",
        ObjectKind::MaterializedView => "materialized view",
        ObjectKind::Schema => "schema",
        ObjectKind::Index => "index",
    }
}

/// Removes objects (readers first) from catalog, dataflows and sources.
pub(crate) fn remove(shared: &Shared, ids: Vec<ObjectId>, schemas: Vec<String>) -> Result<(), SqlError> {
    dataflows::settle_kept(shared, &ids)?;
    let mut changes = vec![CatalogChange::Drop(ids.clone())];
    changes.extend(schemas.into_iter().map(|name| CatalogChange::DropSchema { name }));
    shared.change_catalog(changes)?;
    for id in ids {
        shared.jobs.cancel_building(id);
        if shared.relation(id).is_some() {
            dataflows::remove(shared, id);
            shared.lines.forget(id);
            shared.recent.forget(id);
            shared.late.forget(id);
        }
        if shared.lock_sources().remove(&id).is_some() {
            // The clock has stopped only when the server is stopping: then the feed ends anyway.
            let _ = shared.clock.send(ClockMessage::RemoveSource { source: id });
        }
    }
    Ok(())
}

async fn drop_schemas(session: &Session, shared: &Arc<Shared>, drop: &sql::Drop) -> Result<Response, SqlError> {
    let catalog = shared.catalog();
    let (mut ids, mut schemas) = (vec![], vec![]);
    for name in &drop.names {
        let (_, name) = names::split(name)?;
        if !catalog.schemas.contains(&name) {
            if drop.if_exists {
                session.notice(format!("schema \"{name}\" does not exist, skipping"));
                continue;
            }
            return Err(CatalogError::UndefinedSchema { name }.to_sql_error());
        }
        let inside: Vec<&Arc<CatalogObject>> = catalog.objects.values().filter(|o| o.schema == name).collect();
        if !inside.is_empty() && !drop.cascade {
            let dependants = inside.iter().map(|o| format!("{} {} depends on schema {name}", o.kind_name(), o.name));
            let dependants = dependants.collect::<Vec<_>>().join("\n");
            return Err(CatalogError::DependantsExist { kind: "schema", name, dependants }.to_sql_error());
        }
        for object in inside {
            ids.extend(catalog.cascade(object.id).into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>());
        }
        schemas.push(name);
    }
    let worker = shared.clone();
    let done = tokio::task::spawn_blocking(move || remove(&worker, ids, schemas));
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("DROP SCHEMA")
}
