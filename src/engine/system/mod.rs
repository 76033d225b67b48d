//! System relations and session functions: what queries see besides the catalog's own objects.
//!
//! A system relation is built when it is named, as a small in-memory table of that moment. `hw_catalog` is ours;
//! `pg_catalog` and `information_schema` hold what psql and drivers ask first.

mod functions;
mod hw_catalog;
mod hw_sources;
mod information_schema;
mod names;
mod pg_catalog;
mod settings;
mod table;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use catalog::Catalog;
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};
use plan::Environment;

use crate::api::Notices;
use crate::engine::Shared;
use crate::parameters::Parameters;
use crate::session::Session;

pub(crate) use hw_catalog::watermark_text;
pub(crate) use pg_catalog::oids::DATABASE as DATABASE_OID;
pub(crate) use settings::PendingSettings;

/// What one session's queries see.
pub struct SessionEnvironment {
    view: Arc<SessionView>,
}

/// The server at one moment through the eyes of one session.
pub(crate) struct SessionView {
    pub shared: Arc<Shared>,
    pub catalog: Arc<Catalog>,
    pub session_id: u32,
    pub user: String,
    pub database: String,
    pub search_path: Vec<String>,
    pub parameters: Arc<Parameters>,
    pub pending: Arc<PendingSettings>,
    pub notices: Notices,
    /// The number of the session's transaction, for locks that end with it.
    pub transaction: u64,
}

impl fmt::Debug for SessionEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

impl fmt::Debug for SessionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.session_id)
    }
}

impl SessionEnvironment {
    pub(crate) fn new(session: &Session) -> Self {
        let view = SessionView {
            shared: session.engine.shared.clone(),
            catalog: session.engine.shared.catalog().seen_from(&session.temporary_schema()),
            session_id: session.id(),
            user: session.user.clone(),
            database: session.database.clone(),
            search_path: session.search_path(),
            parameters: session.parameters.clone(),
            pending: session.pending_settings.clone(),
            notices: session.notices_of().clone(),
            transaction: session.engine.shared.advisory.transaction(session.id()),
        };
        SessionEnvironment { view: Arc::new(view) }
    }
}

impl Environment for SessionEnvironment {
    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableSource>> {
        match schema {
            None | Some("pg_catalog") => pg_catalog::relation(&self.view, name),
            Some("information_schema") => information_schema::relation(&self.view, name),
            Some("hw_catalog") => hw_catalog::relation(&self.view.shared, name),
            _ => None,
        }
    }

    fn table_function(&self, name: &str, arguments: &[Expr]) -> Option<Arc<dyn TableSource>> {
        functions::table_function(name, arguments)
    }

    fn argument_types(&self, function: &str, arguments: usize) -> Option<Vec<DataType>> {
        functions::argument_types(function, arguments)
    }

    fn scalar_function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::scalar_function(&self.view, name)
    }
}
