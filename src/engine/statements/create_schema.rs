//! CREATE SCHEMA.

use catalog::CatalogChange;
use sql::ast;
use types::{SqlError, SqlState};

use super::{names, tag};
use crate::api::Response;
use crate::session::Session;

pub(crate) async fn execute(
    session: &mut Session,
    name: &ast::ObjectName,
    if_not_exists: bool,
) -> Result<Response, SqlError> {
    let shared = session.engine.shared.clone();
    let _ddl = shared.ddl.lock().await;
    let (_, name) = names::split(name)?;
    if shared.catalog().schemas.contains(&name) {
        if !if_not_exists {
            return Err(SqlError::new(SqlState::DuplicateSchema, format!("schema \"{name}\" already exists")));
        }
        session.notice(format!("schema \"{name}\" already exists, skipping"));
        return tag("CREATE SCHEMA");
    }
    if name.starts_with("pg_") || matches!(name.as_str(), "information_schema" | "hw_catalog") {
        return Err(SqlError::new(SqlState::ReservedName, format!("unacceptable schema name \"{name}\"")));
    }
    let worker = shared.clone();
    let done = tokio::task::spawn_blocking(move || worker.change_catalog(vec![CatalogChange::CreateSchema { name }]));
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("CREATE SCHEMA")
}
