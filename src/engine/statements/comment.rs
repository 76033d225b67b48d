//! COMMENT ON: text kept with the object.

use catalog::{CatalogChange, CatalogObject};
use sql::{ObjectKind, ast};
use types::{SqlError, SqlState};

use super::{names, tag};
use crate::api::Response;
use crate::session::Session;

pub(crate) async fn execute(
    session: &mut Session,
    kind: ObjectKind,
    name: &ast::ObjectName,
    column: Option<&ast::Ident>,
    text: Option<&str>,
) -> Result<Response, SqlError> {
    if kind == ObjectKind::Schema {
        return Err(SqlError::unsupported("comments on schemas are not supported", "Comment on the objects inside."));
    }
    let context = session.context();
    let shared = context.shared.clone();
    let _ddl = shared.ddl.lock().await;
    let (schema, name) = names::split(name)?;
    let catalog = shared.catalog();
    let object = context.resolve(&catalog, schema.as_deref(), &name)?;
    let mut object: CatalogObject = (**object).clone();
    let text = text.map(str::to_string);
    match column {
        None => object.comment = text,
        Some(column) => {
            let column = names::fold(column);
            let entry = object.columns.iter_mut().find(|c| c.name == column).ok_or_else(|| {
                let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
                SqlError::new(SqlState::UndefinedColumn, message)
            })?;
            entry.comment = text;
        }
    }
    let worker = shared.clone();
    let done = tokio::task::spawn_blocking(move || worker.change_catalog(vec![CatalogChange::Put(object)]));
    done.await.map_err(|e| SqlError::internal(e.to_string()))??;
    tag("COMMENT")
}
