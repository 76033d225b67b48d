//! REFRESH MATERIALIZED VIEW: builds a failed view again and waits for it. Others are always up to date.

use catalog::{CatalogError, ObjectBody};
use sql::ast;
use tokio::sync::oneshot;
use types::{SqlError, SqlState, ToSqlState};

use super::{names, tag};
use crate::api::Response;
use crate::rebuild::Request;
use crate::session::Session;

pub(crate) async fn execute(session: &mut Session, name: &ast::ObjectName) -> Result<Response, SqlError> {
    let context = session.context();
    let (schema, bare) = names::split(name)?;
    let catalog = context.shared.catalog();
    let object = context.resolve(&catalog, schema.as_deref(), &bare)?;
    if !matches!(object.body, ObjectBody::MaterializedView(_)) {
        let (expected, actual) = ("materialized view", object.kind_name());
        return Err(CatalogError::WrongKind { name: object.name.clone(), expected, actual }.to_sql_error());
    }
    let shared = context.shared.clone();
    let Some(failed) = shared.failures.book.get(object.id) else {
        session.notice(format!("materialized view \"{}\" is up to date, as always", object.name));
        return tag("REFRESH MATERIALIZED VIEW");
    };
    if failed.root != object.id {
        // It comes back with what it reads.
        return Err(failed.error);
    }
    let (reply, done) = oneshot::channel();
    let stopping = || SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    shared.failures.rebuild.send(Request::Refresh { view: object.id, reply }).map_err(|_| stopping())?;
    done.await.map_err(|_| stopping())??;
    tag("REFRESH MATERIALIZED VIEW")
}
