//! Columns: `pg_attribute`, `pg_attrdef`.

use arrow::datatypes::Field;
use catalog::{CatalogObject, ColumnEntry};

use super::layout::{Row, layouts};
use super::oids::{self, column_type};
use super::pg_types::{self, Type};
use crate::system::names::index_name;
use crate::system::{SessionView, hw_catalog};

pub fn pg_attribute(view: &SessionView) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![];
    for object in view.catalog.objects.values() {
        for (at, column) in object.columns.iter().enumerate() {
            rows.push(own(object, at, column));
        }
        for (at, key) in oids::primary_key(object).iter().enumerate() {
            let column = &object.columns[*key];
            let (type_oid, modifier) = column_type(&column.data_type);
            rows.push(attribute(oids::index_of(object), at, &column.name, type_oid, modifier));
        }
    }
    for layout in layouts().values() {
        let columns = layout.columns.iter().filter(|column| column.name != "tableoid");
        for (at, column) in columns.enumerate() {
            let mut row = attribute(layout.oid, at, column.name, column.type_oid, -1);
            row.push(("attnotnull", column.not_null.into()));
            rows.push(row);
        }
    }
    for (number, name) in hw_catalog::NAMES.iter().enumerate() {
        let relation = hw_catalog::relation(&view.shared, name).expect("listed relations exist");
        for (at, field) in relation.schema().fields().iter().enumerate() {
            let (type_oid, modifier) = column_type(field.data_type());
            let oid = oids::HW_CATALOG_FIRST + number as u32;
            rows.push(attribute(oid, at, Field::name(field), type_oid, modifier));
        }
    }
    rows
}

fn own(object: &CatalogObject, at: usize, column: &ColumnEntry) -> Row {
    let (type_oid, modifier) = column_type(&column.data_type);
    let mut row = attribute(object.id.0, at, &column.name, type_oid, modifier);
    let keyed = oids::primary_key(object).contains(&at);
    row.push(("attnotnull", (column.not_null || keyed).into()));
    row.push(("atthasdef", (column.default.is_some() || column.generated.is_some()).into()));
    row.push(("attgenerated", if column.generated.is_some() { "s" } else { "" }.into()));
    row
}

fn attribute(relation: u32, at: usize, name: &str, type_oid: u32, modifier: i32) -> Row {
    let found: Option<&Type> = pg_types::by_oid(type_oid);
    let mut row: Row = vec![
        ("attrelid", relation.into()),
        ("attname", name.into()),
        ("atttypid", type_oid.into()),
        ("attstattarget", (-1).into()),
        ("attnum", (at as i64 + 1).into()),
        ("attcacheoff", (-1).into()),
        ("atttypmod", modifier.into()),
        ("attislocal", true.into()),
    ];
    if let Some(found) = found {
        row.extend(found.attribute());
    }
    row
}

/// Defaults and generating expressions. `adbin` is their text, which `pg_get_expr` returns.
pub fn pg_attrdef(view: &SessionView) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![];
    for object in view.catalog.objects.values() {
        for (at, column) in object.columns.iter().enumerate() {
            let Some(text) = column.default.as_ref().or(column.generated.as_ref()) else { continue };
            rows.push(vec![
                ("oid", oids::default_of(rows.len()).into()),
                ("adrelid", object.id.0.into()),
                ("adnum", (at as i64 + 1).into()),
                ("adbin", text.as_str().into()),
            ]);
        }
    }
    rows
}

/// Columns of a table's key index, for `pg_get_indexdef`.
pub fn index_definition(table: &CatalogObject) -> String {
    let columns = oids::primary_key(table).iter().map(|at| quote_ident(&table.columns[*at].name));
    let columns = columns.collect::<Vec<_>>().join(", ");
    let (index, schema, name) = (index_name(table), &table.schema, &table.name);
    format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({columns})",
        quote_ident(&index),
        quote_ident(schema),
        quote_ident(name)
    )
}

/// A name as it must be written in SQL.
pub fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that are no names without quotes.
const RESERVED: [&str; 76] = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
    "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
    "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on", "only", "or", "order",
    "placing", "primary", "references", "returning", "select", "session_user", "some", "symmetric", "table", "then",
    "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "when", "where", "window",
];
