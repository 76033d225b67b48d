//! Primary keys: an index and a constraint each. `pg_index`, `pg_constraint`, and the indexes in `pg_class`.

use std::sync::Arc;

use catalog::CatalogObject;

use super::layout::Row;
use super::oids;
use crate::system::SessionView;
use crate::system::names::index_name;
use crate::system::table::Cell;

/// The operator class of int4; which one it is, is of no consequence here.
const OPERATOR_CLASS: u32 = 1978;

fn keyed(view: &SessionView) -> impl Iterator<Item = &Arc<CatalogObject>> {
    view.catalog.objects.values().filter(|object| !oids::primary_key(object).is_empty())
}

/// Column numbers of the key, from 1.
fn numbers(table: &CatalogObject) -> Cell {
    Cell::List(oids::primary_key(table).iter().map(|at| Cell::Int(*at as i64 + 1)).collect())
}

pub fn index_classes(view: &SessionView) -> Vec<Row> {
    let row = |table: &Arc<CatalogObject>| -> Row {
        vec![
            ("oid", oids::index_of(table).into()),
            ("relname", index_name(table).into()),
            ("relnamespace", oids::schema(&table.schema).into()),
            ("relowner", oids::OWNER.into()),
            ("relam", oids::BTREE.into()),
            ("relfilenode", oids::index_of(table).into()),
            ("relpersistence", "p".into()),
            ("relkind", "i".into()),
            ("relnatts", (oids::primary_key(table).len() as i64).into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]
    };
    keyed(view).map(row).collect()
}

pub fn pg_index(view: &SessionView) -> Vec<Row> {
    let row = |table: &Arc<CatalogObject>| -> Row {
        let columns = oids::primary_key(table).len();
        let each = |value: u32| Cell::List(vec![Cell::Int(value.into()); columns]);
        vec![
            ("indexrelid", oids::index_of(table).into()),
            ("indrelid", table.id.0.into()),
            ("indnatts", (columns as i64).into()),
            ("indnkeyatts", (columns as i64).into()),
            ("indisunique", true.into()),
            ("indisprimary", true.into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", numbers(table)),
            ("indcollation", each(0)),
            ("indclass", each(OPERATOR_CLASS)),
            ("indoption", each(0)),
        ]
    };
    keyed(view).map(row).collect()
}

pub fn pg_constraint(view: &SessionView) -> Vec<Row> {
    let row = |table: &Arc<CatalogObject>| -> Row {
        vec![
            ("oid", oids::constraint_of(table).into()),
            ("conname", index_name(table).into()),
            ("connamespace", oids::schema(&table.schema).into()),
            ("contype", "p".into()),
            ("convalidated", true.into()),
            ("conrelid", table.id.0.into()),
            ("conindid", oids::index_of(table).into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", numbers(table)),
        ]
    };
    keyed(view).map(row).collect()
}
