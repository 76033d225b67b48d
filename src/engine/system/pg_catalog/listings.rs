//! Views over the catalogs, one row per object: `pg_tables`, `pg_views`, `pg_matviews`, `pg_indexes`.

use std::sync::Arc;

use catalog::{CatalogObject, ObjectBody};

use super::attributes::index_definition;
use super::layout::{Row, layouts};
use super::oids::{self, OWNER_NAME};
use crate::system::names::index_name;
use crate::system::{SessionView, hw_catalog};

pub fn pg_tables(view: &SessionView) -> Vec<Row> {
    let own = view.catalog.objects.values().filter(|object| matches!(object.body, ObjectBody::Table(_)));
    let own = own.map(|object| -> Row {
        vec![
            ("schemaname", object.schema.as_str().into()),
            ("tablename", object.name.as_str().into()),
            ("tableowner", OWNER_NAME.into()),
            ("hasindexes", (!oids::primary_key(object).is_empty()).into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]
    });
    let system = layouts().values().filter(|layout| layout.kind == "r").map(|layout| -> Row {
        vec![
            ("schemaname", layout.schema.into()),
            ("tablename", layout.name.into()),
            ("tableowner", OWNER_NAME.into()),
            ("hasindexes", false.into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]
    });
    own.chain(system).collect()
}

pub fn pg_views(view: &SessionView) -> Vec<Row> {
    let row = |schema: &str, name: &str, definition: Option<String>| -> Row {
        vec![
            ("schemaname", schema.into()),
            ("viewname", name.into()),
            ("viewowner", OWNER_NAME.into()),
            ("definition", definition.into()),
        ]
    };
    let own = view.catalog.objects.values().filter(|object| matches!(object.body, ObjectBody::View { .. }));
    let own =
        own.map(|object| row(&object.schema, &object.name, view.view_query(object).map(|query| format!("{query};"))));
    let system = layouts().values().filter(|layout| layout.kind == "v");
    let system = system.map(|layout| row(layout.schema, layout.name, None));
    let ours = hw_catalog::NAMES.iter().map(|name| row("hw_catalog", name, None));
    own.chain(system).chain(ours).collect()
}

pub fn pg_matviews(view: &SessionView) -> Vec<Row> {
    let row = |object: &Arc<CatalogObject>| -> Option<Row> {
        let ObjectBody::MaterializedView(_) = &object.body else { return None };
        Some(vec![
            ("schemaname", object.schema.as_str().into()),
            ("matviewname", object.name.as_str().into()),
            ("matviewowner", OWNER_NAME.into()),
            ("hasindexes", false.into()),
            ("ispopulated", object.building.is_none().into()),
            ("definition", view.view_query(object).map(|query| format!("{query};")).into()),
        ])
    };
    view.catalog.objects.values().filter_map(row).collect()
}

pub fn pg_indexes(view: &SessionView) -> Vec<Row> {
    let keyed = view.catalog.objects.values().filter(|object| !oids::primary_key(object).is_empty());
    let row = |object: &Arc<CatalogObject>| -> Row {
        vec![
            ("schemaname", object.schema.as_str().into()),
            ("tablename", object.name.as_str().into()),
            ("indexname", index_name(object).into()),
            ("indexdef", index_definition(object).into()),
        ]
    };
    keyed.map(row).collect()
}
