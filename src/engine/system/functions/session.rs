//! Who and where the session is, and its settings.

use types::{SqlError, SqlState};

use super::scalar::Returns::{Bool, Int4, Int8, Oid, Text, TextAs, TextListAs, Time};
use super::scalar::{Call, Function, lenient, strict};
use crate::parameters::SERVER_VERSION;
use crate::system::settings::unknown;
use crate::system::table::Cell;

const NAME: u32 = 19;
const NAME_LIST: u32 = 1003;
const UTF8: i64 = 6;
const NONE: (usize, usize) = (0, 0);

pub const FUNCTIONS: &[Function] = &[
    strict("version", NONE, Text, |_| {
        Ok(format!("PostgreSQL {SERVER_VERSION} (Highwater {})", env!("CARGO_PKG_VERSION")).into())
    }),
    strict("current_schema", NONE, TextAs(NAME), |call| Ok(call.view.current_schemas().into_iter().next().into())),
    strict("current_schemas", (1, 1), TextListAs(NAME_LIST), current_schemas),
    strict("current_database", NONE, TextAs(NAME), database),
    strict("current_catalog", NONE, TextAs(NAME), database),
    strict("current_user", NONE, TextAs(NAME), user),
    strict("session_user", NONE, TextAs(NAME), user),
    strict("user", NONE, TextAs(NAME), user),
    strict("current_role", NONE, TextAs(NAME), user),
    strict("pg_backend_pid", NONE, Int4, |call| Ok(call.view.session_id.into())),
    strict("pg_is_in_recovery", NONE, Bool, |_| Ok(false.into())),
    strict("pg_postmaster_start_time", NONE, Time, |call| Ok(Cell::Time(call.view.shared.started_us))),
    strict("pg_conf_load_time", NONE, Time, |call| Ok(Cell::Time(call.view.shared.started_us))),
    strict("pg_my_temp_schema", NONE, Oid, |_| Ok(0.into())),
    strict("pg_is_other_temp_schema", (1, 1), Bool, |_| Ok(false.into())),
    // Epochs order what transactions order elsewhere.
    strict("txid_current", NONE, Int8, epoch),
    strict("pg_current_xact_id", NONE, Int8, epoch),
    strict("pg_client_encoding", NONE, TextAs(NAME), |_| Ok("UTF8".into())),
    strict("getdatabaseencoding", NONE, TextAs(NAME), |_| Ok("UTF8".into())),
    strict("pg_encoding_to_char", (1, 1), TextAs(NAME), |call| {
        Ok(if call.int(0) == Some(UTF8) { "UTF8" } else { "" }.into())
    }),
    strict("pg_char_to_encoding", (1, 1), Int4, |call| {
        let utf8 = call.text(0).is_some_and(|name| name.eq_ignore_ascii_case("utf8"));
        Ok(Cell::Int(if utf8 { UTF8 } else { -1 }))
    }),
    strict("inet_server_addr", NONE, Text, |_| Ok(Cell::Null)),
    strict("inet_server_port", NONE, Int4, |_| Ok(Cell::Null)),
    strict("inet_client_addr", NONE, Text, |_| Ok(Cell::Null)),
    strict("inet_client_port", NONE, Int4, |_| Ok(Cell::Null)),
    strict("current_setting", (1, 2), Text, current_setting),
    lenient("set_config", (3, 3), Text, set_config),
    strict("pg_get_userbyid", (1, 1), TextAs(NAME), |call| {
        Ok(crate::system::pg_catalog::role_name(call.view, call.oid(0).unwrap_or_default()).into())
    }),
    strict("pg_tablespace_location", (1, 1), Text, |_| Ok("".into())),
];

fn current_schemas(call: &Call) -> Result<Cell, SqlError> {
    let implicit = call.bool(0) == Some(true);
    let schemas = call.view.current_schemas();
    let system = (implicit && !schemas.iter().any(|s| s == "pg_catalog")).then(|| "pg_catalog".to_string());
    Ok(system.into_iter().chain(schemas).collect::<Vec<_>>().into())
}

fn database(call: &Call) -> Result<Cell, SqlError> {
    Ok(call.view.database.as_str().into())
}

fn user(call: &Call) -> Result<Cell, SqlError> {
    Ok(call.view.user.as_str().into())
}

fn epoch(call: &Call) -> Result<Cell, SqlError> {
    Ok(Cell::Int(call.view.shared.oracle.opened() as i64))
}

fn current_setting(call: &Call) -> Result<Cell, SqlError> {
    let name = call.text(0).unwrap_or_default();
    match call.view.setting(name) {
        Some(value) => Ok(value.into()),
        None if call.bool(1) == Some(true) => Ok(Cell::Null),
        None => Err(unknown(name)),
    }
}

fn set_config(call: &Call) -> Result<Cell, SqlError> {
    let name = call.text(0).ok_or_else(|| {
        SqlError::new(SqlState::InvalidParameterValue, "SET requires parameter name")
    })?;
    let value = call.text(1).unwrap_or_default();
    Ok(call.view.set(name, value, call.bool(2) == Some(true))?.into())
}

