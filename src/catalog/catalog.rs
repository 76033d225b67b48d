//! The catalog as one immutable value; every change makes the next one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use types::ObjectId;

use crate::{CatalogError, CatalogObject, DEFAULT_SCHEMA, ObjectBody};

/// A journaled change. Applying the journal's changes in order gives the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CatalogChange {
    Put(CatalogObject),
    /// All at once: an object and its dependants.
    Drop(Vec<ObjectId>),
    CreateSchema {
        name: String,
    },
    DropSchema {
        name: String,
    },
    /// A relation has failed; `None`: it is sound again, and has been for long.
    Failure {
        id: ObjectId,
        failure: Option<FailureEntry>,
    },
}

/// How a relation fails, over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureEntry {
    /// It has not been built again since.
    pub standing: bool,
    /// How often in a row.
    pub times: u32,
    /// First and last time, microseconds since the Unix epoch.
    pub since_us: i64,
    pub last_us: i64,
    pub operator: String,
    pub sqlstate: String,
    pub message: String,
}

/// All objects at one instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    pub schemas: Vec<String>,
    pub objects: BTreeMap<ObjectId, Arc<CatalogObject>>,
    /// Of tables and materialized views that failed by themselves.
    #[serde(default)]
    pub failures: BTreeMap<ObjectId, FailureEntry>,
    /// The next id to give out; ids are never reused.
    pub next_id: u32,
}

impl Catalog {
    pub fn new() -> Self {
        let (schemas, next_id) = (vec![DEFAULT_SCHEMA.into()], ObjectId::FIRST_USER.0);
        Catalog { schemas, next_id, ..Catalog::default() }
    }

    pub fn get(&self, id: ObjectId) -> Option<&Arc<CatalogObject>> {
        self.objects.get(&id)
    }

    /// Resolves a name with one or two parts (database qualifiers are the caller's to strip), also to an object that is
    /// still being built.
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&Arc<CatalogObject>> {
        let schema = schema.unwrap_or(DEFAULT_SCHEMA);
        self.objects.values().find(|o| o.schema == schema && o.name == name)
    }

    /// Like [`find`](Self::find), with Postgres' errors: also for what cannot be read yet.
    pub fn resolve(&self, schema: Option<&str>, name: &str) -> Result<&Arc<CatalogObject>, CatalogError> {
        let object = self.find(schema, name).ok_or_else(|| CatalogError::UndefinedRelation { name: name.into() })?;
        object.check_complete()?;
        Ok(object)
    }

    /// Without the temporary objects of all sessions but the one that keeps its own in `schema`.
    pub fn seen_from(self: &Arc<Self>, schema: &str) -> Arc<Catalog> {
        let foreign = |object: &Arc<CatalogObject>| object.is_temporary() && object.schema != schema;
        if !self.objects.values().any(foreign) {
            return self.clone();
        }
        let mut seen = (**self).clone();
        seen.objects.retain(|_, object| !foreign(object));
        Arc::new(seen)
    }

    /// Objects that read `id`, directly.
    pub fn dependants(&self, id: ObjectId) -> Vec<&Arc<CatalogObject>> {
        self.objects.values().filter(|o| o.depends_on.contains(&id)).collect()
    }

    /// `id` and everything that reads it, directly or not, readers first.
    pub fn cascade(&self, id: ObjectId) -> Vec<ObjectId> {
        let mut order = vec![];
        self.cascade_into(id, &mut order);
        order
    }

    /// Everything that reads `id`, directly or not, each with what it reads: depth first, in order of creation.
    pub fn readers(&self, id: ObjectId) -> Vec<(&Arc<CatalogObject>, ObjectId)> {
        let mut readers = vec![];
        self.readers_into(id, &mut readers);
        readers
    }

    fn readers_into<'a>(&'a self, id: ObjectId, readers: &mut Vec<(&'a Arc<CatalogObject>, ObjectId)>) {
        for reader in self.dependants(id) {
            if !readers.iter().any(|(known, _)| known.id == reader.id) {
                readers.push((reader, id));
                self.readers_into(reader.id, readers);
            }
        }
    }

    /// The plain views that `ids` are, or read.
    pub fn views_behind(&self, ids: &[ObjectId]) -> Vec<Arc<CatalogObject>> {
        let mut views: Vec<Arc<CatalogObject>> = vec![];
        let mut open = ids.to_vec();
        while let Some(id) = open.pop() {
            let Some(object) = self.get(id) else { continue };
            let known = views.iter().any(|view| view.id == object.id);
            if matches!(object.body, ObjectBody::View { .. }) && !known {
                views.push(object.clone());
                open.extend(&object.depends_on);
            }
        }
        views
    }

    fn cascade_into(&self, id: ObjectId, order: &mut Vec<ObjectId>) {
        if order.contains(&id) {
            return;
        }
        for reader in self.dependants(id) {
            self.cascade_into(reader.id, order);
        }
        order.push(id);
    }

    /// The catalog after `change`.
    pub fn apply(&mut self, change: CatalogChange) {
        match change {
            CatalogChange::Put(object) => {
                self.next_id = self.next_id.max(object.id.0 + 1);
                self.objects.insert(object.id, Arc::new(object));
            }
            CatalogChange::Drop(ids) => ids.iter().for_each(|id| {
                self.objects.remove(id);
                self.failures.remove(id);
            }),
            CatalogChange::CreateSchema { name } => self.schemas.push(name),
            CatalogChange::DropSchema { name } => self.schemas.retain(|s| *s != name),
            CatalogChange::Failure { id, failure: Some(failure) } => drop(self.failures.insert(id, failure)),
            CatalogChange::Failure { id, failure: None } => drop(self.failures.remove(&id)),
        }
    }
}
