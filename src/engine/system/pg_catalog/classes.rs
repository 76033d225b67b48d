//! Relations and what is said about them: `pg_class`, `pg_description`, `pg_rewrite`.

use catalog::{CatalogObject, ObjectBody};

use super::layout::{Row, layouts};
use super::{keys, oids};
use crate::system::names::is_view;
use crate::system::table::Cell;
use crate::system::{SessionView, hw_catalog};

const PG_CLASS: u32 = 1259;

pub fn pg_class(view: &SessionView) -> Vec<Row> {
    let mut rows: Vec<Row> = view.catalog.objects.values().map(|object| own(view, object)).collect();
    rows.extend(keys::index_classes(view));
    rows.extend(layouts().values().map(|layout| {
        let columns = layout.columns.iter().filter(|column| column.name != "tableoid").count();
        system(layout.oid, layout.schema, layout.name, layout.kind, columns)
    }));
    rows.extend(hw_catalog::NAMES.iter().enumerate().map(|(at, name)| {
        let relation = hw_catalog::relation(&view.shared, name).expect("listed relations exist");
        system(oids::HW_CATALOG_FIRST + at as u32, "hw_catalog", name, "v", relation.schema().fields().len())
    }));
    rows
}

fn own(view: &SessionView, object: &CatalogObject) -> Row {
    let stored = matches!(object.body, ObjectBody::Table(_) | ObjectBody::MaterializedView(_));
    let temporary = matches!(object.body, ObjectBody::View { temporary: true, .. });
    let populated = object.building.is_none();
    let rows = view.shared.relation(object.id);
    let rows = rows.map_or(-1, |relation| relation.shards.iter().map(|s| s.row_count() as i64).sum::<i64>());
    vec![
        ("oid", object.id.0.into()),
        ("relname", object.name.as_str().into()),
        ("relnamespace", oids::schema(&object.schema).into()),
        ("relowner", oids::OWNER.into()),
        ("relam", if stored { oids::HEAP } else { 0 }.into()),
        ("relfilenode", if stored { object.id.0 } else { 0 }.into()),
        ("reltuples", Cell::Float(rows as f64)),
        ("relhasindex", (!oids::primary_key(object).is_empty()).into()),
        ("relpersistence", if temporary { "t" } else { "p" }.into()),
        ("relkind", oids::kind(object).into()),
        ("relnatts", (object.columns.len() as i64).into()),
        ("relhasrules", is_view(object).into()),
        ("relispopulated", populated.into()),
        ("relreplident", "d".into()),
    ]
}

fn system(oid: u32, schema: &str, name: &str, kind: &str, columns: usize) -> Row {
    vec![
        ("oid", oid.into()),
        ("relname", name.into()),
        ("relnamespace", oids::schema(schema).into()),
        ("relowner", oids::OWNER.into()),
        ("relam", if kind == "r" { oids::HEAP } else { 0 }.into()),
        ("relpersistence", "p".into()),
        ("reltuples", Cell::Float(-1.0)),
        ("relkind", kind.into()),
        ("relnatts", (columns as i64).into()),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
    ]
}

/// Comments on relations and their columns.
pub fn pg_description(view: &SessionView) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![];
    for object in view.catalog.objects.values() {
        let columns = object.columns.iter().map(|column| &column.comment);
        for (number, comment) in [&object.comment].into_iter().chain(columns).enumerate() {
            let Some(comment) = comment else { continue };
            rows.push(vec![
                ("objoid", object.id.0.into()),
                ("classoid", PG_CLASS.into()),
                ("objsubid", (number as i64).into()),
                ("description", comment.as_str().into()),
            ]);
        }
    }
    rows
}

/// Each view is a rule, as in Postgres.
pub fn pg_rewrite(view: &SessionView) -> Vec<Row> {
    let views = view.catalog.objects.values().filter(|object| is_view(object));
    let row = |object: &std::sync::Arc<CatalogObject>| -> Row {
        vec![
            ("oid", oids::rule_of(object).into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", object.id.0.into()),
            ("ev_type", "1".into()),
            ("ev_enabled", "O".into()),
            ("is_instead", true.into()),
        ]
    };
    views.map(row).collect()
}
