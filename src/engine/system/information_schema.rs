//! `information_schema`, the SQL standard's view of the catalog. Sources are BASE TABLE and materialized views VIEW,
//! unlike in Postgres: tools that list relations from here hide what has another type.

use std::sync::Arc;

use arrow::datatypes::DataType;
use catalog::{CatalogObject, ColumnEntry, ObjectBody};
use datafusion::logical_expr::TableSource;

use super::SessionView;
use super::names::index_name;
use super::pg_catalog::layout::{self, Row, layouts};
use super::pg_catalog::oids::{self, OWNER_NAME, column_type};
use super::pg_catalog::pg_types;
use super::table::Cell;

/// The relation of that name, as of now.
pub fn relation(view: &SessionView, name: &str) -> Option<Arc<dyn TableSource>> {
    let layout = layout::layout("information_schema", name)?;
    let rows = match name {
        "information_schema_catalog_name" => vec![vec![("catalog_name", view.database.as_str().into())]],
        "schemata" => schemata(view),
        "tables" => tables(view),
        "columns" => columns(view),
        "views" => views(view),
        "table_constraints" => table_constraints(view),
        "key_column_usage" => key_column_usage(view),
        _ => vec![],
    };
    Some(layout.table(rows))
}

fn schemata(view: &SessionView) -> Vec<Row> {
    let row = |name: &str| -> Row {
        vec![
            ("catalog_name", view.database.as_str().into()),
            ("schema_name", name.into()),
            ("schema_owner", OWNER_NAME.into()),
        ]
    };
    view.schemas().map(row).collect()
}

fn tables(view: &SessionView) -> Vec<Row> {
    let row = |schema: &str, name: &str, kind: &str, insertable: bool| -> Row {
        vec![
            ("table_catalog", view.database.as_str().into()),
            ("table_schema", schema.into()),
            ("table_name", name.into()),
            ("table_type", kind.into()),
            ("is_insertable_into", yes_or_no(insertable)),
            ("is_typed", yes_or_no(false)),
        ]
    };
    let own = view.catalog.objects.values().map(|object| {
        let kind = match &object.body {
            ObjectBody::Source(_) | ObjectBody::Table(_) => "BASE TABLE",
            ObjectBody::View { .. } | ObjectBody::MaterializedView(_) => "VIEW",
        };
        row(&object.schema, &object.name, kind, matches!(object.body, ObjectBody::Table(_)))
    });
    let system = layouts().values().map(|layout| {
        let kind = if layout.kind == "r" { "BASE TABLE" } else { "VIEW" };
        row(layout.schema, layout.name, kind, false)
    });
    let ours = super::hw_catalog::NAMES.iter().map(|name| row("hw_catalog", name, "VIEW", false));
    own.chain(system).chain(ours).collect()
}

fn columns(view: &SessionView) -> Vec<Row> {
    let mut rows = vec![];
    for object in view.catalog.objects.values() {
        for (at, column) in object.columns.iter().enumerate() {
            rows.push(column_row(view, object, at, column));
        }
    }
    for layout in layouts().values() {
        for (at, column) in layout.columns.iter().filter(|column| column.name != "tableoid").enumerate() {
            let mut row = place(view, layout.schema, layout.name, column.name, at);
            row.extend(type_cells(view, column.type_oid, column.field().data_type()));
            row.push(("is_nullable", yes_or_no(!column.not_null)));
            rows.push(row);
        }
    }
    rows
}

fn place(view: &SessionView, schema: &str, table: &str, column: &str, at: usize) -> Row {
    vec![
        ("table_catalog", view.database.as_str().into()),
        ("table_schema", schema.into()),
        ("table_name", table.into()),
        ("column_name", column.into()),
        ("ordinal_position", (at as i64 + 1).into()),
    ]
}

fn column_row(view: &SessionView, object: &CatalogObject, at: usize, column: &ColumnEntry) -> Row {
    let (type_oid, _) = column_type(&column.data_type);
    let mut row = place(view, &object.schema, &object.name, &column.name, at);
    row.extend(type_cells(view, type_oid, &column.data_type));
    let required = column.not_null || oids::primary_key(object).contains(&at);
    row.push(("is_nullable", yes_or_no(!required)));
    row.push(("column_default", column.default.clone().into()));
    row.push(("is_generated", if column.generated.is_some() { "ALWAYS" } else { "NEVER" }.into()));
    row.push(("generation_expression", column.generated.clone().into()));
    row.push(("is_identity", yes_or_no(false)));
    row.push(("is_updatable", yes_or_no(matches!(object.body, ObjectBody::Table(_)))));
    row
}

/// How the standard describes a type.
fn type_cells(view: &SessionView, type_oid: u32, data_type: &DataType) -> Row {
    let found = pg_types::by_oid(type_oid);
    let is_array = found.is_some_and(|t| t.element != 0 && t.name.starts_with('_'));
    let spelled = if is_array { "ARRAY".to_string() } else { pg_types::format(type_oid, -1) };
    let (precision, radix, scale) = match data_type {
        DataType::Int16 => (Some(16), Some(2), Some(0)),
        DataType::Int32 => (Some(32), Some(2), Some(0)),
        DataType::Int64 => (Some(64), Some(2), Some(0)),
        DataType::Float32 => (Some(24), Some(2), None),
        DataType::Float64 => (Some(53), Some(2), None),
        DataType::Decimal128(38, 10) => (None, Some(10), None),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (Some(i64::from(*precision)), Some(10), Some(i64::from(*scale)))
        }
        _ => (None, None, None),
    };
    let fraction = match data_type {
        DataType::Timestamp(..) | DataType::Time64(_) | DataType::Interval(_) => Some(6_i64),
        DataType::Date32 => Some(0),
        _ => None,
    };
    vec![
        ("data_type", spelled.into()),
        ("numeric_precision", precision.into()),
        ("numeric_precision_radix", radix.map(i64::from).into()),
        ("numeric_scale", scale.into()),
        ("datetime_precision", fraction.into()),
        ("udt_catalog", view.database.as_str().into()),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", found.map_or("text", |t| t.name).into()),
    ]
}

fn views(view: &SessionView) -> Vec<Row> {
    let row = |object: &Arc<CatalogObject>| -> Option<Row> {
        let query = view.view_query(object)?;
        Some(vec![
            ("table_catalog", view.database.as_str().into()),
            ("table_schema", object.schema.as_str().into()),
            ("table_name", object.name.as_str().into()),
            ("view_definition", format!("{query};").into()),
            ("check_option", "NONE".into()),
            ("is_updatable", yes_or_no(false)),
            ("is_insertable_into", yes_or_no(false)),
        ])
    };
    view.catalog.objects.values().filter_map(row).collect()
}

fn keyed(view: &SessionView) -> impl Iterator<Item = &Arc<CatalogObject>> {
    view.catalog.objects.values().filter(|object| !oids::primary_key(object).is_empty())
}

fn constraint(view: &SessionView, table: &CatalogObject) -> Row {
    vec![
        ("constraint_catalog", view.database.as_str().into()),
        ("constraint_schema", table.schema.as_str().into()),
        ("constraint_name", index_name(table).into()),
        ("table_catalog", view.database.as_str().into()),
        ("table_schema", table.schema.as_str().into()),
        ("table_name", table.name.as_str().into()),
    ]
}

fn table_constraints(view: &SessionView) -> Vec<Row> {
    let row = |table: &Arc<CatalogObject>| -> Row {
        let mut row = constraint(view, table);
        row.push(("constraint_type", "PRIMARY KEY".into()));
        row.push(("is_deferrable", yes_or_no(false)));
        row.push(("initially_deferred", yes_or_no(false)));
        row.push(("enforced", yes_or_no(true)));
        row
    };
    keyed(view).map(row).collect()
}

fn key_column_usage(view: &SessionView) -> Vec<Row> {
    let mut rows = vec![];
    for table in keyed(view) {
        for (number, at) in oids::primary_key(table).iter().enumerate() {
            let mut row = constraint(view, table);
            row.push(("column_name", table.columns[*at].name.as_str().into()));
            row.push(("ordinal_position", (number as i64 + 1).into()));
            rows.push(row);
        }
    }
    rows
}

fn yes_or_no(yes: bool) -> Cell {
    if yes { "YES" } else { "NO" }.into()
}
