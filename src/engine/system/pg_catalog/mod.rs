//! `pg_catalog`: Postgres' system catalogs, filled with what there is here. All relations of PostgreSQL 15 exist with
//! its columns; those without a function below have no rows, which is what is true of them.

mod attributes;
mod classes;
mod keys;
pub(super) mod layout;
mod listings;
pub(super) mod oids;
pub(super) mod pg_types;
mod server;
mod sources;

pub(super) use attributes::{index_definition, quote_ident};
pub(super) use server::role_name;

use std::sync::Arc;

use datafusion::logical_expr::TableSource;

use super::SessionView;

/// The relation of that name, as of now.
pub fn relation(view: &SessionView, name: &str) -> Option<Arc<dyn TableSource>> {
    let layout = layout::layout("pg_catalog", name)?;
    let rows = match name {
        "pg_type" => return Some(pg_types::pg_type(layout)),
        "pg_proc" => return Some(pg_types::pg_proc(layout)),
        "pg_range" => return Some(pg_types::pg_range(layout)),
        "pg_class" => classes::pg_class(view),
        "pg_description" => classes::pg_description(view),
        "pg_rewrite" => classes::pg_rewrite(view),
        "pg_attribute" => attributes::pg_attribute(view),
        "pg_attrdef" => attributes::pg_attrdef(view),
        "pg_index" => keys::pg_index(view),
        "pg_constraint" => keys::pg_constraint(view),
        "pg_foreign_data_wrapper" => sources::pg_foreign_data_wrapper(view),
        "pg_foreign_server" => sources::pg_foreign_server(view),
        "pg_foreign_table" => sources::pg_foreign_table(view),
        "pg_tables" => listings::pg_tables(view),
        "pg_views" => listings::pg_views(view),
        "pg_matviews" => listings::pg_matviews(view),
        "pg_indexes" => listings::pg_indexes(view),
        "pg_namespace" => server::pg_namespace(view),
        "pg_database" => server::pg_database(view),
        "pg_roles" => server::pg_roles(view),
        "pg_authid" => server::pg_authid(view),
        "pg_user" => server::pg_user(view),
        "pg_settings" => server::pg_settings(view),
        "pg_tablespace" => server::pg_tablespace(),
        "pg_am" => server::pg_am(),
        "pg_collation" => server::pg_collation(),
        "pg_language" => server::pg_language(),
        "pg_locks" => server::pg_locks(view),
        "pg_stat_activity" => server::pg_stat_activity(view),
        _ => vec![],
    };
    Some(layout.table(rows))
}
