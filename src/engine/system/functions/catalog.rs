//! Definitions and comments of catalog objects.

use types::SqlError;

use super::scalar::Returns::{Bool, Oid, Text};
use super::scalar::{Call, Function, lenient, strict};
use crate::system::pg_catalog::{index_definition, oids, pg_types, quote_ident};
use crate::system::table::Cell;

pub const FUNCTIONS: &[Function] = &[
    lenient("format_type", (2, 2), Text, |call| match call.oid(0) {
        Some(oid) => Ok(pg_types::format(oid, call.int(1).unwrap_or(-1) as i32).into()),
        None => Ok(Cell::Null),
    }),
    strict("pg_get_expr", (2, 3), Text, |call| Ok(call.text(0).into())),
    strict("pg_get_viewdef", (1, 2), Text, view_definition),
    strict("pg_get_indexdef", (1, 3), Text, index),
    strict("pg_get_constraintdef", (1, 2), Text, constraint),
    strict("pg_get_ruledef", (1, 2), Text, rule),
    // There are no such objects.
    strict("pg_get_triggerdef", (1, 2), Text, |_| Ok(Cell::Null)),
    strict("pg_get_functiondef", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_function_arguments", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_function_identity_arguments", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_function_result", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_function_sqlbody", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_statisticsobjdef", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_statisticsobjdef_columns", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_partkeydef", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_partition_constraintdef", (1, 1), Text, |_| Ok(Cell::Null)),
    strict("pg_get_serial_sequence", (2, 2), Text, |_| Ok(Cell::Null)),
    strict("pg_relation_is_publishable", (1, 1), Bool, |_| Ok(false.into())),
    strict("pg_relation_filenode", (1, 1), Oid, |call| Ok(call.oid(0).into())),
    strict("obj_description", (1, 2), Text, |call| match call.text(1) {
        None | Some("pg_class") => comment(call, 0),
        Some(_) => Ok(Cell::Null),
    }),
    strict("col_description", (2, 2), Text, |call| comment(call, call.int(1).unwrap_or_default())),
    strict("shobj_description", (2, 2), Text, |_| Ok(Cell::Null)),
];

/// The OID of a relation given as OID or name.
pub fn relation(call: &Call) -> Option<u32> {
    call.oid(0).or_else(|| super::reg::relation_by_text(call.view, call.text(0)?))
}

fn view_definition(call: &Call) -> Result<Cell, SqlError> {
    let object = relation(call).and_then(|oid| call.view.object(oid));
    let query = object.and_then(|object| call.view.view_query(object));
    Ok(query.map(|query| format!(" {query};")).into())
}

fn index(call: &Call) -> Result<Cell, SqlError> {
    let table = call.oid(0).and_then(oids::table_of_index);
    let Some(table) = call.view.keyed_table(table) else { return Ok(Cell::Null) };
    match call.int(1) {
        Some(column @ 1..) => {
            let at = oids::primary_key(table).get(column as usize - 1);
            Ok(at.map(|at| quote_ident(&table.columns[*at].name)).into())
        }
        _ => Ok(index_definition(table).into()),
    }
}

fn constraint(call: &Call) -> Result<Cell, SqlError> {
    let table = call.oid(0).and_then(oids::table_of_constraint);
    let Some(table) = call.view.keyed_table(table) else { return Ok(Cell::Null) };
    let columns = oids::primary_key(table).iter().map(|at| quote_ident(&table.columns[*at].name));
    Ok(format!("PRIMARY KEY ({})", columns.collect::<Vec<_>>().join(", ")).into())
}

fn rule(call: &Call) -> Result<Cell, SqlError> {
    let rule = call.oid(0);
    let mut objects = call.view.catalog.objects.values();
    let Some(object) = objects.find(|object| Some(oids::rule_of(object)) == rule) else { return Ok(Cell::Null) };
    let name = format!("{}.{}", quote_ident(&object.schema), quote_ident(&object.name));
    let query = call.view.view_query(object);
    Ok(query.map(|query| format!("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO {name} DO INSTEAD {query};")).into())
}

/// The comment on a relation (0) or on one of its columns.
fn comment(call: &Call, column: i64) -> Result<Cell, SqlError> {
    let Some(object) = call.oid(0).and_then(|oid| call.view.object(oid)) else { return Ok(Cell::Null) };
    let text = match usize::try_from(column) {
        Ok(0) => object.comment.clone(),
        Ok(number) => object.columns.get(number - 1).and_then(|column| column.comment.clone()),
        Err(_) => None,
    };
    Ok(text.into())
}
