//! What CREATE OR REPLACE VIEW may change: the query, as long as whoever reads the view still finds what it relied on.

use catalog::{Catalog, CatalogError, CatalogObject, ColumnEntry, ObjectBody};
use types::{SqlError, SqlState, ToSqlState};

/// Whether `new` may take the place of `old`.
///
/// Errors, as in Postgres: 42809 if the old one is not a view, 42P16 if its columns don't stay as they are, new ones
/// behind them, 42P17 if it would read itself. Ours: 2BP01 if a materialized view keeps the answer of the old query.
pub(super) fn check(catalog: &Catalog, old: &CatalogObject, new: &CatalogObject) -> Result<(), SqlError> {
    if !matches!(old.body, ObjectBody::View { .. }) {
        let (name, actual) = (old.name.clone(), old.kind_name());
        return Err(CatalogError::WrongKind { name, expected: "view", actual }.to_sql_error());
    }
    check_columns(&old.columns, &new.columns)?;
    let readers = catalog.readers(old.id);
    if new.depends_on.iter().any(|read| *read == old.id || readers.iter().any(|(reader, _)| reader.id == *read)) {
        let message = format!("infinite recursion detected in rules for relation \"{}\"", old.name);
        return Err(SqlError::new(SqlState::InvalidObjectDefinition, message));
    }
    // The plan of a materialized view is made once, and what it keeps follows from the old query.
    let kept = readers.into_iter().find(|(reader, _)| matches!(reader.body, ObjectBody::MaterializedView(_)));
    match kept {
        Some((view, _)) if old.body != new.body => {
            let message = format!("cannot replace view {} because other objects depend on it", old.name);
            Err(SqlError::new(SqlState::DependentObjectsStillExist, message)
                .with_detail(format!("{} {} keeps the answer of its query.", view.kind_name(), view.name))
                .with_hint("Drop the materialized view first, and create it again afterwards."))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_columns(old: &[ColumnEntry], new: &[ColumnEntry]) -> Result<(), SqlError> {
    let invalid = |message: String| SqlError::new(SqlState::InvalidTableDefinition, message);
    if new.len() < old.len() {
        return Err(invalid("cannot drop columns from view".into()));
    }
    for (old, new) in old.iter().zip(new) {
        if old.name != new.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name);
            return Err(invalid(message).with_hint("Name the column with AS, or drop the view first."));
        }
        if old.data_type != new.data_type {
            let (from, to) = (plan::type_name(&old.data_type), plan::type_name(&new.data_type));
            let message = format!("cannot change data type of view column \"{}\" from {from} to {to}", old.name);
            return Err(invalid(message));
        }
    }
    Ok(())
}
