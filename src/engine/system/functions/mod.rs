//! Functions that depend on the session or the server, and functions in FROM.
//!
//! `scalar.rs` makes DataFusion functions of the tables in `session.rs` (who and where one is), `catalog.rs`
//! (definitions and comments), `visibility.rs` (names, privileges), `reg.rs` (names for OIDs), `text.rs` (arrays and
//! quoting), `admin.rs` (sizes, locks, other sessions), `json.rs`.

mod admin;
mod catalog;
mod json;
mod reg;
mod scalar;
mod session;
mod text;
mod visibility;

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};

use super::SessionView;

/// A scalar function bound to this session.
pub fn scalar_function(view: &Arc<SessionView>, name: &str) -> Option<Arc<ScalarUDF>> {
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
#[expect(deprecated, reason = "its successor needs a DataFusion session, which planning does not have")]
pub fn table_function(name: &str, arguments: &[Expr]) -> Option<Arc<dyn TableSource>> {
    let functions = datafusion::functions_table::all_default_table_functions();
    let function = functions.iter().find(|f| f.name() == name)?;
    function.create_table_provider(arguments).ok().map(provider_as_source)
}
