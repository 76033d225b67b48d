//! Names and OIDs of relations, schemas and roles as one session sees them.

use std::sync::Arc;

use catalog::{CatalogObject, ObjectBody, TEMPORARY_SCHEMA};
use sql::ast;
use types::ObjectId;

use super::pg_catalog::layout::{layout, layouts};
use super::pg_catalog::{oids, quote_ident};
use super::{SessionView, hw_catalog};
use crate::statements::names;

/// A relation of any kind, found by its OID.
pub struct Named {
    pub schema: String,
    pub name: String,
}

impl SessionView {
    pub fn object(&self, oid: u32) -> Option<&Arc<CatalogObject>> {
        self.catalog.get(ObjectId(oid))
    }

    /// The table that an index or a constraint with this OID belongs to.
    pub fn keyed_table(&self, table: Option<u32>) -> Option<&Arc<CatalogObject>> {
        self.object(table?).filter(|object| !oids::primary_key(object).is_empty())
    }

    /// Name of a relation or of an index.
    pub fn relation_name(&self, oid: u32) -> Option<Named> {
        if let Some(object) = self.object(oid) {
            return Some(Named { schema: object.schema.clone(), name: object.name.clone() });
        }
        if let Some(table) = self.keyed_table(oids::table_of_index(oid)) {
            return Some(Named { schema: table.schema.clone(), name: index_name(table) });
        }
        if let Some(layout) = layouts().values().find(|layout| layout.oid == oid) {
            return Some(Named { schema: layout.schema.into(), name: layout.name.into() });
        }
        let own = oid.checked_sub(oids::HW_CATALOG_FIRST)?;
        let name = hw_catalog::NAMES.get(own as usize)?;
        Some(Named { schema: "hw_catalog".into(), name: name.to_string() })
    }

    /// OID of a relation; unqualified names are looked for in `pg_catalog`, then along the search path.
    pub fn relation_oid(&self, schema: Option<&str>, name: &str) -> Option<u32> {
        match schema {
            Some(schema) => self.relation_in(schema, name),
            None => self.visible_schemas().find_map(|schema| self.relation_in(schema, name)),
        }
    }

    fn relation_in(&self, schema: &str, name: &str) -> Option<u32> {
        if let Some(layout) = layout(schema, name) {
            return Some(layout.oid);
        }
        if schema == "hw_catalog" {
            let at = hw_catalog::NAMES.iter().position(|known| *known == name)?;
            return Some(oids::HW_CATALOG_FIRST + at as u32);
        }
        if let Some(object) = self.catalog.find(Some(schema), name) {
            return Some(object.id.0);
        }
        let keyed = self.catalog.objects.values().find(|object| {
            object.schema == schema && !oids::primary_key(object).is_empty() && index_name(object) == name
        });
        keyed.map(|object| oids::index_of(object))
    }

    /// Whether an unqualified use of the relation's name finds it.
    pub fn relation_is_visible(&self, oid: u32) -> Option<bool> {
        let named = self.relation_name(oid)?;
        Some(self.relation_oid(None, &named.name) == Some(oid))
    }

    /// Schemas in the order in which names are looked for.
    pub fn visible_schemas(&self) -> impl Iterator<Item = &str> {
        let path = self.search_path.iter().map(String::as_str);
        ["pg_catalog"].into_iter().filter(|_| !self.search_path.iter().any(|s| s == "pg_catalog")).chain(path)
    }

    /// Schemas of the search path that exist.
    pub fn current_schemas(&self) -> Vec<String> {
        let exists = |name: &&String| {
            !name.starts_with(TEMPORARY_SCHEMA) && self.schemas().any(|schema| schema == name.as_str())
        };
        self.search_path.iter().filter(exists).cloned().collect()
    }

    /// All schemas, that of the session's temporary objects among them if there are any.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        let system = ["pg_catalog", "information_schema", "hw_catalog"];
        let temporary = self.search_path.first().filter(|schema| schema.starts_with(TEMPORARY_SCHEMA));
        system.into_iter().chain(self.catalog.schemas.iter().chain(temporary).map(String::as_str))
    }

    pub fn schema_name(&self, oid: u32) -> Option<&str> {
        self.schemas().find(|name| oids::schema(name) == oid)
    }

    /// Roles: the one that owns everything, and the session's user.
    pub fn roles(&self) -> Vec<(u32, &str)> {
        let mut roles = vec![(oids::OWNER, oids::OWNER_NAME)];
        if self.user != oids::OWNER_NAME {
            roles.push((oids::SESSION_USER, &self.user));
        }
        roles
    }

    /// Bytes that the operators of a relation hold.
    pub fn size(&self, oid: u32) -> i64 {
        let readings = self.shared.runtime.stats().read();
        let own = readings.into_iter().filter(|((id, _), _)| id.0 == oid);
        own.map(|(_, reading)| reading.state_bytes as i64).sum()
    }
}

/// Name of the index and constraint of a table's primary key.
pub fn index_name(table: &CatalogObject) -> String {
    format!("{}_pkey", table.name)
}

/// Whether there is a query behind an object.
pub fn is_view(object: &CatalogObject) -> bool {
    matches!(object.body, ObjectBody::View { .. } | ObjectBody::MaterializedView(_))
}

impl SessionView {
    /// The query of a view as text, without a semicolon. Relations that the session's search path does not find are
    /// shown with their schema, whatever path they were found by when the view was made.
    pub fn view_query(&self, object: &CatalogObject) -> Option<String> {
        let text = match &object.body {
            ObjectBody::View { query, .. } => query,
            ObjectBody::MaterializedView(_) => &object.sql,
            ObjectBody::Source(_) | ObjectBody::Table(_) => return None,
        };
        let mut query = match sql::parse(text).ok()?.pop()?.statement {
            sql::Statement::CreateMaterializedView(create) => create.query,
            sql::Statement::Query(query) => query,
            _ => return None,
        };
        sql::rename_relations(&mut query, |name| self.shown_name(object, name));
        Some(query.to_string())
    }

    /// An unqualified name of a view's text with the schema that it needs to be understood.
    fn shown_name(&self, object: &CatalogObject, name: &ast::ObjectName) -> Option<ast::ObjectName> {
        let (None, written) = names::split(name).ok()? else { return None };
        let mut bindings = object.name_bindings().iter();
        let bound = bindings.find(|bound| bound.schema.is_none() && bound.name == written)?;
        if self.relation_is_visible(bound.object.0) == Some(true) {
            return None;
        }
        let named = self.relation_name(bound.object.0)?;
        let ident = |name: &str| match quote_ident(name) {
            quoted if quoted == name => ast::Ident::new(name),
            _ => ast::Ident::with_quote('"', name),
        };
        Some(ast::ObjectName::from(vec![ident(&named.schema), ident(&named.name)]))
    }
}
