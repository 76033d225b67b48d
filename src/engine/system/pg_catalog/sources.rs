//! Sources as foreign tables: each connector is a foreign-data wrapper with one server.

use std::sync::Arc;

use catalog::{CatalogObject, ObjectBody, SourceBody};

use super::layout::Row;
use super::oids;
use crate::system::SessionView;
use crate::system::table::Cell;

/// OIDs of wrappers and servers: by the connector's place in this list, then behind it.
const CONNECTORS: [&str; 8] = ["file", "nexmark", "datagen", "kafka", "http", "webhook", "postgres_cdc", "mqtt"];
const WRAPPERS: u32 = 14_000;
const SERVERS: u32 = 14_100;

fn sources(view: &SessionView) -> Vec<(&Arc<CatalogObject>, &SourceBody, String)> {
    let sources = view.catalog.objects.values().filter_map(|object| match &object.body {
        ObjectBody::Source(source) => {
            let connector = source.options.iter().find(|(name, _)| name.eq_ignore_ascii_case("connector"));
            Some((object, source, connector.map_or("unknown", |(_, value)| value).to_string()))
        }
        _ => None,
    });
    sources.collect()
}

fn number(connector: &str) -> u32 {
    CONNECTORS.iter().position(|known| *known == connector).unwrap_or(CONNECTORS.len()) as u32
}

fn connectors(view: &SessionView) -> Vec<String> {
    let mut connectors: Vec<String> = sources(view).into_iter().map(|(_, _, connector)| connector).collect();
    connectors.sort();
    connectors.dedup();
    connectors
}

pub fn pg_foreign_data_wrapper(view: &SessionView) -> Vec<Row> {
    let row = |connector: String| -> Row {
        vec![
            ("oid", (WRAPPERS + number(&connector)).into()),
            ("fdwname", connector.into()),
            ("fdwowner", oids::OWNER.into()),
        ]
    };
    connectors(view).into_iter().map(row).collect()
}

pub fn pg_foreign_server(view: &SessionView) -> Vec<Row> {
    let row = |connector: String| -> Row {
        vec![
            ("oid", (SERVERS + number(&connector)).into()),
            ("srvfdw", (WRAPPERS + number(&connector)).into()),
            ("srvname", connector.into()),
            ("srvowner", oids::OWNER.into()),
        ]
    };
    connectors(view).into_iter().map(row).collect()
}

pub fn pg_foreign_table(view: &SessionView) -> Vec<Row> {
    let row = |(object, source, connector): (&Arc<CatalogObject>, &SourceBody, String)| -> Row {
        let options = source.options.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connector"));
        let options: Vec<Cell> = options.map(|(name, value)| format!("{name}={value}").into()).collect();
        vec![
            ("ftrelid", object.id.0.into()),
            ("ftserver", (SERVERS + number(&connector)).into()),
            ("ftoptions", if options.is_empty() { Cell::Null } else { Cell::List(options) }),
        ]
    };
    sources(view).into_iter().map(row).collect()
}
