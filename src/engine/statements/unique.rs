//! Uniqueness of primary keys. A key is locked before it is looked for, so that nobody else can bring or take it
//! meanwhile; then what counts is what the transaction itself has written, what others have committed although the table
//! has not sealed it yet, and what the table holds.

use std::collections::{HashMap, HashSet};

use types::{SqlError, SqlState};

use super::Context;
use super::write::Target;
use crate::reads;
use crate::session::Session;
use crate::tables::{KeyedRows, RowAt};

/// For some of `rows`, whose keys are locked: the row that has this key now.
pub(crate) fn present(
    session: &mut Session,
    context: &Context,
    target: &Target,
    rows: &KeyedRows,
    wanted: &[usize],
) -> Result<HashMap<usize, RowAt>, SqlError> {
    let table = target.object.id;
    let mut present = HashMap::new();
    let mut stored: Vec<u32> = vec![];
    let mut own = session.transaction.work().own(table);
    for row in wanted.iter().copied() {
        let identity = rows.keys.bytes(row);
        let own = own.as_mut().map(|own| own.present(identity)).transpose()?.flatten();
        match own.or_else(|| context.shared.recent.present(table, identity)) {
            Some(known) => present.extend(known.map(|known| (row, known))),
            None => stored.push(row as u32),
        }
    }
    if stored.is_empty() {
        return Ok(present);
    }
    let gone = || SqlError::new(SqlState::UndefinedTable, format!("relation with OID {table} does not exist"));
    let relation = context.shared.relation(table).ok_or_else(gone)?;
    let found = reads::rows_by_key(&relation, &rows.rows, &target.body().primary_key, &stored)?;
    if !found.is_empty() {
        let known = |row: &u32| Some((*row as usize, found.get(rows.keys.bytes(*row as usize))?.clone()));
        present.extend(stored.iter().filter_map(known));
    }
    Ok(present)
}

/// Locks the keys that an UPDATE gives to rows, and refuses those that are taken: 23505 if a row that stays has one, or
/// two rows get the same.
pub(crate) async fn check_updated(
    session: &mut Session,
    context: &Context,
    target: &Target,
    before: &KeyedRows,
    after: &KeyedRows,
) -> Result<(), SqlError> {
    let changed: Vec<usize> =
        (0..after.len()).filter(|row| before.keys.bytes(*row) != after.keys.bytes(*row)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    session.lock(&after.keys.locks(target.object.id, changed.clone())).await?;
    let leaving: HashSet<&[u8]> = (0..before.len()).map(|row| before.keys.bytes(row)).collect();
    let present = present(session, context, target, after, &changed)?;
    let mut seen = HashSet::new();
    for row in 0..after.len() {
        let identity = after.keys.bytes(row);
        let taken = present.contains_key(&row) && !leaving.contains(identity);
        if taken || !seen.insert(identity) {
            return Err(duplicate(target, after, row));
        }
    }
    Ok(())
}

/// 23505: the key of `rows[row]` is taken.
pub(crate) fn duplicate(target: &Target, rows: &KeyedRows, row: usize) -> SqlError {
    let key = &target.body().primary_key;
    let names: Vec<&str> = key.iter().map(|c| target.object.columns[*c].name.as_str()).collect();
    let text = |c: &usize| arrow::util::display::array_value_to_string(rows.rows.column(*c), row).unwrap_or_default();
    let values: Vec<String> = key.iter().map(text).collect();
    let message = format!("duplicate key value violates unique constraint \"{}_pkey\"", target.object.name);
    SqlError::new(SqlState::UniqueViolation, message).with_detail(format!(
        "Key ({})=({}) already exists.",
        names.join(", "),
        values.join(", ")
    ))
}
