//! Names for OIDs and back: the input and output of `regclass` and its kin, `to_regclass`, `pg_typeof`.

use types::{SqlError, SqlState};

use super::scalar::Returns::{OidAs, Text, TextAs};
use super::scalar::{Call, Function, lenient, strict};
use crate::system::SessionView;
use crate::system::pg_catalog::{oids, pg_types, quote_ident};
use crate::system::table::Cell;

const REGPROC: u32 = 24;
const REGPROCEDURE: u32 = 2202;
const REGOPER: u32 = 2203;
const REGCLASS: u32 = 2205;
const REGTYPE: u32 = 2206;
const REGNAMESPACE: u32 = 4089;
const REGROLE: u32 = 4096;
const ONE: (usize, usize) = (1, 1);

pub const FUNCTIONS: &[Function] = &[
    strict("regclassin", ONE, OidAs(REGCLASS), |call| {
        read(call, "relation", SqlState::UndefinedTable, relation_by_text)
    }),
    strict("regtypein", ONE, OidAs(REGTYPE), |call| read(call, "type", SqlState::UndefinedObject, type_by_text)),
    strict("regprocin", ONE, OidAs(REGPROC), |call| {
        read(call, "function", SqlState::UndefinedFunction, function_by_text)
    }),
    strict("regprocedurein", ONE, OidAs(REGPROCEDURE), |call| {
        read(call, "function", SqlState::UndefinedFunction, function_by_text)
    }),
    strict("regoperin", ONE, OidAs(REGOPER), |call| read(call, "operator", SqlState::UndefinedFunction, |_, _| None)),
    strict("regnamespacein", ONE, OidAs(REGNAMESPACE), |call| {
        read(call, "schema", SqlState::InvalidSchemaName, schema_by_text)
    }),
    strict("regrolein", ONE, OidAs(REGROLE), |call| read(call, "role", SqlState::UndefinedObject, role_by_text)),
    strict("regclassout", ONE, TextAs(REGCLASS), |call| show(call, relation_text)),
    strict("regtypeout", ONE, TextAs(REGTYPE), |call| {
        show(call, |_, oid| pg_types::by_oid(oid).map(|_| pg_types::format(oid, -1)))
    }),
    strict("regprocout", ONE, TextAs(REGPROC), |call| show(call, function_text)),
    strict("regprocedureout", ONE, TextAs(REGPROCEDURE), |call| show(call, function_text)),
    strict("regoperout", ONE, TextAs(REGOPER), |call| show(call, |_, _| None)),
    strict("regnamespaceout", ONE, TextAs(REGNAMESPACE), |call| {
        show(call, |view, oid| view.schema_name(oid).map(quote_ident))
    }),
    strict("regroleout", ONE, TextAs(REGROLE), |call| {
        show(call, |view, oid| {
            view.roles().into_iter().find(|(role, _)| *role == oid).map(|(_, name)| quote_ident(name))
        })
    }),
    strict("to_regclass", ONE, OidAs(REGCLASS), |call| try_read(call, relation_by_text)),
    strict("to_regtype", ONE, OidAs(REGTYPE), |call| try_read(call, type_by_text)),
    strict("to_regproc", ONE, OidAs(REGPROC), |call| try_read(call, function_by_text)),
    strict("to_regprocedure", ONE, OidAs(REGPROCEDURE), |call| try_read(call, function_by_text)),
    strict("to_regnamespace", ONE, OidAs(REGNAMESPACE), |call| try_read(call, schema_by_text)),
    strict("to_regrole", ONE, OidAs(REGROLE), |call| try_read(call, role_by_text)),
    lenient("pg_typeof", ONE, OidAs(REGTYPE), |call| {
        let field = &call.fields[0];
        Ok(plan::wire_type(field).unwrap_or_else(|| oids::column_type(field.data_type()).0).into())
    }),
    strict("pg_describe_object", (3, 3), Text, |_| Ok(Cell::Null)),
];

type Find = fn(&SessionView, &str) -> Option<u32>;

/// A number is the OID itself, `-` is none, all else is a name.
fn read(call: &Call, what: &str, state: SqlState, find: Find) -> Result<Cell, SqlError> {
    let text = call.text(0).unwrap_or_default();
    if text == "-" {
        return Ok(0.into());
    }
    if let Ok(oid) = text.parse::<u32>() {
        return Ok(oid.into());
    }
    let found = find(call.view, text);
    found.map(Cell::from).ok_or_else(|| SqlError::new(state, format!("{what} \"{text}\" does not exist")))
}

fn try_read(call: &Call, find: Find) -> Result<Cell, SqlError> {
    let text = call.text(0).unwrap_or_default();
    Ok(text.parse::<u32>().ok().or_else(|| find(call.view, text)).into())
}

fn show(call: &Call, name: fn(&SessionView, u32) -> Option<String>) -> Result<Cell, SqlError> {
    let oid = call.oid(0).unwrap_or_default();
    Ok(match oid {
        0 => "-".into(),
        oid => name(call.view, oid).unwrap_or_else(|| oid.to_string()).into(),
    })
}

/// (schema, name) of a possibly qualified and quoted name; a database before them is dropped.
fn split(text: &str) -> Option<(Option<String>, String)> {
    let mut parts = super::text::identifiers(text)?;
    let name = parts.pop()?;
    Some((parts.pop(), name))
}

pub fn relation_by_text(view: &SessionView, text: &str) -> Option<u32> {
    let (schema, name) = split(text)?;
    view.relation_oid(schema.as_deref(), &name)
}

fn relation_text(view: &SessionView, oid: u32) -> Option<String> {
    let named = view.relation_name(oid)?;
    let name = quote_ident(&named.name);
    Some(match view.relation_is_visible(oid) {
        Some(true) => name,
        _ => format!("{}.{name}", quote_ident(&named.schema)),
    })
}

fn type_by_text(_: &SessionView, text: &str) -> Option<u32> {
    pg_types::by_name(text).map(|found| found.oid)
}

fn function_by_text(_: &SessionView, text: &str) -> Option<u32> {
    let name = text.split('(').next().unwrap_or(text);
    let (schema, name) = split(name)?;
    let found = pg_types::procedure_by_name(&name)?;
    schema.is_none_or(|schema| schema == "pg_catalog").then_some(found.oid)
}

fn function_text(_: &SessionView, oid: u32) -> Option<String> {
    pg_types::procedure_by_oid(oid).map(|found| found.name.to_string())
}

fn schema_by_text(view: &SessionView, text: &str) -> Option<u32> {
    let (_, name) = split(text)?;
    view.schemas().find(|schema| *schema == name).map(oids::schema)
}

fn role_by_text(view: &SessionView, text: &str) -> Option<u32> {
    let (_, name) = split(text)?;
    view.roles().into_iter().find(|(_, role)| *role == name).map(|(oid, _)| oid)
}
