//! System relations and session functions: what queries see besides the catalog's own objects.
//!
//! A system relation is built when it is named, as a small in-memory table of that moment. `hw_catalog` is ours;
//! `pg_catalog` and `information_schema` hold what psql and drivers ask first.

mod functions;
mod hw_catalog;
mod table;

use std::fmt;
use std::sync::Arc;

use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};
use plan::Environment;

use crate::engine::Shared;
use crate::session::Session;

pub(crate) use hw_catalog::watermark_text;

/// What one session's queries see.
pub struct SessionEnvironment {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session_id: u32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) search_path: Vec<String>,
    pub(crate) settings: Vec<(String, String)>,
}

impl fmt::Debug for SessionEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.session_id)
    }
}

impl SessionEnvironment {
    pub(crate) fn new(session: &Session) -> Self {
        SessionEnvironment {
            shared: session.engine.shared.clone(),
            session_id: session.id(),
            user: session.user.clone(),
            database: session.database.clone(),
            search_path: session.parameters.search_path(),
            settings: session.parameters.all().map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

impl Environment for SessionEnvironment {
    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableSource>> {
        match schema {
            Some("hw_catalog") => hw_catalog::relation(&self.shared, name),
            _ => None,
        }
    }

    fn table_function(&self, name: &str, arguments: &[Expr]) -> Option<Arc<dyn TableSource>> {
        functions::table_function(name, arguments)
    }

    fn scalar_function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::scalar_function(self, name)
    }
}
