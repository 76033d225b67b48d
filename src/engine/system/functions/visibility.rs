//! What unqualified names find, and who may do what. Whoever can connect may do everything.

use types::SqlError;

use super::scalar::Returns::Bool;
use super::scalar::{Body, Call, Function, strict};
use crate::system::pg_catalog::pg_types;
use crate::system::table::Cell;

const fn always(name: &'static str) -> Function {
    strict(name, (1, 1), Bool, |_| Ok(Cell::Bool(true)))
}

const fn privilege(name: &'static str, arity: (usize, usize)) -> Function {
    strict(name, arity, Bool, ALLOWED)
}

const ALLOWED: Body = |_| Ok(Cell::Bool(true));

pub const FUNCTIONS: &[Function] = &[
    strict("pg_table_is_visible", (1, 1), Bool, table),
    strict("pg_type_is_visible", (1, 1), Bool, |call| {
        Ok(call.oid(0).and_then(pg_types::by_oid).map(|_| true).into())
    }),
    strict("pg_function_is_visible", (1, 1), Bool, |call| {
        Ok(call.oid(0).and_then(pg_types::procedure_by_oid).map(|_| true).into())
    }),
    always("pg_operator_is_visible"),
    always("pg_opclass_is_visible"),
    always("pg_opfamily_is_visible"),
    always("pg_collation_is_visible"),
    always("pg_conversion_is_visible"),
    always("pg_statistics_obj_is_visible"),
    always("pg_ts_config_is_visible"),
    always("pg_ts_dict_is_visible"),
    always("pg_ts_parser_is_visible"),
    always("pg_ts_template_is_visible"),
    privilege("has_database_privilege", (2, 3)),
    privilege("has_schema_privilege", (2, 3)),
    privilege("has_table_privilege", (2, 3)),
    privilege("has_any_column_privilege", (2, 3)),
    privilege("has_column_privilege", (3, 4)),
    privilege("has_sequence_privilege", (2, 3)),
    privilege("has_function_privilege", (2, 3)),
    privilege("has_type_privilege", (2, 3)),
    privilege("has_language_privilege", (2, 3)),
    privilege("has_tablespace_privilege", (2, 3)),
    privilege("has_foreign_data_wrapper_privilege", (2, 3)),
    privilege("has_server_privilege", (2, 3)),
    privilege("pg_has_role", (2, 3)),
    strict("row_security_active", (1, 1), Bool, |_| Ok(Cell::Bool(false))),
];

fn table(call: &Call) -> Result<Cell, SqlError> {
    Ok(call.oid(0).and_then(|oid| call.view.relation_is_visible(oid)).into())
}
