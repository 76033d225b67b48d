//! Functions that depend on the session or the server, and functions in FROM.
//!
//! `scalar.rs` makes DataFusion functions of the tables in `session.rs` (who and where one is), `catalog.rs`
//! (definitions and comments), `visibility.rs` (names, privileges), `reg.rs` (names for OIDs), `text.rs` (arrays and
//! quoting), `admin.rs` (sizes, locks, other sessions), `json.rs`; `sleep.rs` waits.

mod admin;
mod catalog;
mod json;
mod reg;
mod scalar;
mod session;
mod sleep;
mod text;
mod visibility;

use std::sync::{Arc, OnceLock};

use datafusion::catalog::TableFunctionArgs;
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};

use super::SessionView;

/// A scalar function bound to this session.
pub fn scalar_function(view: &Arc<SessionView>, name: &str) -> Option<Arc<ScalarUDF>> {
    if name == sleep::NAME {
        return Some(Arc::new(sleep::function()));
    }
    let tables = [
        session::FUNCTIONS,
        catalog::FUNCTIONS,
        visibility::FUNCTIONS,
        reg::FUNCTIONS,
        text::FUNCTIONS,
        admin::FUNCTIONS,
        json::FUNCTIONS,
    ];
    let function = tables.into_iter().flatten().find(|function| function.name == name)?;
    Some(Arc::new(scalar::udf(function, view)))
}

/// A function in FROM: `generate_series`, `range`.
pub fn table_function(name: &str, arguments: &[Expr]) -> Option<Arc<dyn TableSource>> {
    // They ask for a session and don't look at it.
    static SESSION: OnceLock<SessionState> = OnceLock::new();
    let session = SESSION.get_or_init(|| SessionStateBuilder::new().build());
    let functions = datafusion::functions_table::all_default_table_functions();
    let function = functions.iter().find(|f| f.name() == name)?;
    let call = TableFunctionArgs::new(arguments, session);
    function.create_table_provider_with_args(call).ok().map(provider_as_source)
}
