//! Functions that depend on the session or the server, and functions in FROM.
//!
//! `scalar.rs` makes DataFusion functions of the tables in `session.rs` (who and where one is), `catalog.rs`
//! (definitions and comments), `visibility.rs` (names, privileges), `reg.rs` (names for OIDs), `text.rs` (arrays and
//! quoting), `admin.rs` (sizes), `locks.rs`, `json.rs`; those in `waiting.rs` wait (time, locks, other sessions).

mod admin;
mod catalog;
mod json;
mod locks;
mod reg;
mod scalar;
mod session;
mod text;
mod visibility;
mod waiting;

use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use datafusion::catalog::TableFunctionArgs;
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};

use super::SessionView;

/// A scalar function bound to this session.
pub fn scalar_function(view: &Arc<SessionView>, name: &str) -> Option<Arc<ScalarUDF>> {
    if let Some(waiting) = waiting::function(view, name) {
        return Some(Arc::new(waiting));
    }
    let tables = [
        session::FUNCTIONS,
        catalog::FUNCTIONS,
        visibility::FUNCTIONS,
        reg::FUNCTIONS,
        text::FUNCTIONS,
        admin::FUNCTIONS,
        json::FUNCTIONS,
        locks::FUNCTIONS,
    ];
    let function = tables.into_iter().flatten().find(|function| function.name == name)?;
    Some(Arc::new(scalar::udf(function, view)))
}

/// What the functions take that do something, so that a parameter of a driver has the type it expects.
pub fn argument_types(name: &str, arguments: usize) -> Option<Vec<DataType>> {
    let locks = name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_");
    Some(match (name, arguments) {
        (_, 1) if locks => vec![DataType::Int64],
        (_, 2) if locks => vec![DataType::Int32; 2],
        ("pg_sleep", 1) => vec![DataType::Float64],
        ("pg_cancel_backend" | "pg_blocking_pids", 1) => vec![DataType::Int32],
        ("pg_terminate_backend", _) => vec![DataType::Int32, DataType::Int64],
        _ => return None,
    })
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
