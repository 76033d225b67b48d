//! Functions that depend on the session or the server, and functions in FROM.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, TableSource, Volatility, create_udf};

use super::SessionEnvironment;
use crate::parameters::SERVER_VERSION;

/// A scalar function bound to this session.
pub fn scalar_function(environment: &SessionEnvironment, name: &str) -> Option<Arc<ScalarUDF>> {
    let text = |value: String| Some(constant(name, DataType::Utf8, ScalarValue::Utf8(Some(value))));
    match name {
        "version" => text(format!("PostgreSQL {SERVER_VERSION} (Highwater {})", env!("CARGO_PKG_VERSION"))),
        "current_schema" => text(environment.search_path.first().cloned().unwrap_or_default()),
        "current_database" | "current_catalog" => text(environment.database.clone()),
        "current_user" | "session_user" | "user" | "current_role" => text(environment.user.clone()),
        "pg_backend_pid" => {
            let pid = ScalarValue::Int32(Some(environment.session_id as i32));
            Some(constant(name, DataType::Int32, pid))
        }
        _ => None,
    }
}

/// A function without arguments that gives one value for the whole query.
fn constant(name: &str, data_type: DataType, value: ScalarValue) -> Arc<ScalarUDF> {
    let body = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
    Arc::new(create_udf(name, vec![], data_type, Volatility::Stable, body))
}

/// A function in FROM: `generate_series`, `range`.
pub fn table_function(name: &str, arguments: &[Expr]) -> Option<Arc<dyn TableSource>> {
    let functions = datafusion::functions_table::all_default_table_functions();
    let function = functions.iter().find(|f| f.name() == name)?;
    function.create_table_provider(arguments).ok().map(provider_as_source)
}
