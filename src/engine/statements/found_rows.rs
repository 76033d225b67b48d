//! The rows that an UPDATE or DELETE changes: found at one epoch, locked, and followed to what they are by then.
//!
//! As Postgres' READ COMMITTED: a row that another transaction has changed since it was found is taken in its newest
//! version if the condition holds for that one too, with the values computed from it; one that is gone is left out.
//! Rows that match only now are not looked for. Everything else that the statement reads stays at its epoch.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use plan::PlannedQuery;
use types::{SqlError, SqlState, ToSqlState};

use super::write::{self, Target};
use super::{Context, query};
use crate::reads;
use crate::session::Session;
use crate::tables::{Fate, KeyedRows, RowAt, Since};

/// Rows of the table, and what the query computes beside them.
pub(crate) struct FoundRows {
    pub rows: KeyedRows,
    pub values: Vec<ArrayRef>,
}

/// Finds, locks and follows. `planned` gives all columns of the target first.
pub(crate) async fn find(
    session: &mut Session,
    context: &Context,
    target: &Target,
    planned: PlannedQuery,
    parameters: &[ArrayRef],
) -> Result<FoundRows, SqlError> {
    let planned = plan::mark_target(planned).map_err(|e| e.to_sql_error())?;
    let mut reader = context.shared.recent.reader();
    let mut reading = session.reading(&planned);
    let repeatable = reading.pin.is_some();
    let pin = reads::pinned(&context.shared, &planned, &reading).await?;
    reader.reads_at(pin.epoch());
    reading.pin = Some(pin.clone());
    let whole = collect(context, target, planned.clone(), parameters, reading.clone()).await?;
    let found = KeyedRows::of(front(target, &whole)?, &target.body().primary_key)?;
    let locked = committed_rows(session, target, &found)?;
    session.lock(&found.keys.locks(target.object.id, locked.clone())).await?;
    let newest = follow(session, context, target, &found, locked, Since::Epoch(pin.epoch())).await?;
    if newest.iter().all(|row| matches!(row, Newest::Same)) {
        return Ok(split(target, &whole, found));
    }
    if repeatable {
        return Err(SqlError::new(
            SqlState::SerializationFailure,
            "could not serialize access due to concurrent update",
        ));
    }
    let same = BooleanArray::from_iter(newest.iter().map(|row| Some(matches!(row, Newest::Same))));
    let kept = filter_record_batch(&whole, &same).map_err(internal)?;
    let changed: Vec<RecordBatch> = newest
        .iter()
        .filter_map(|row| match row {
            Newest::Now(row) => Some(row.batch()),
            Newest::Same | Newest::Gone => None,
        })
        .collect();
    reading.target = Some(write::concat(&target.schema, &changed)?);
    let again = collect(context, target, planned, parameters, reading).await?;
    let whole = write::concat(&kept.schema(), &[kept.clone(), again])?;
    FoundRows::of(target, &whole)
}

impl FoundRows {
    /// `whole`: all columns of the target, then the values.
    pub fn of(target: &Target, whole: &RecordBatch) -> Result<FoundRows, SqlError> {
        Ok(split(target, whole, KeyedRows::of(front(target, whole)?, &target.body().primary_key)?))
    }
}

/// What a query gives whose first columns are all of the target's.
pub(crate) async fn collect(
    context: &Context,
    target: &Target,
    planned: PlannedQuery,
    parameters: &[ArrayRef],
    reading: reads::Reading,
) -> Result<RecordBatch, SqlError> {
    let schema = query::nullable(&planned.schema);
    let batches = query::collect(context, planned, parameters, reading).await?;
    debug_assert!(schema.fields().len() >= target.schema.fields().len());
    write::concat(&schema, &query::with_schema(batches, &schema, 0..schema.fields().len())?)
}

/// The table's columns.
fn front(target: &Target, whole: &RecordBatch) -> Result<RecordBatch, SqlError> {
    let width = target.schema.fields().len();
    RecordBatch::try_new(target.schema.clone(), whole.columns()[..width].to_vec()).map_err(internal)
}

fn split(target: &Target, whole: &RecordBatch, rows: KeyedRows) -> FoundRows {
    FoundRows { rows, values: whole.columns()[target.schema.fields().len()..].to_vec() }
}

/// Which of the rows others may change: without a key all but those that only the transaction itself has added.
fn committed_rows(session: &mut Session, target: &Target, found: &KeyedRows) -> Result<Vec<usize>, SqlError> {
    let all: Vec<usize> = (0..found.len()).collect();
    if !target.body().primary_key.is_empty() {
        return Ok(all);
    }
    let Some(own) = session.transaction.work().own(target.object.id) else { return Ok(all) };
    let mut added = std::collections::HashMap::<&[u8], i64>::new();
    let mut committed = vec![];
    for row in all {
        let identity = found.keys.bytes(row);
        let left = match added.entry(identity) {
            std::collections::hash_map::Entry::Occupied(left) => left.into_mut(),
            std::collections::hash_map::Entry::Vacant(fresh) => fresh.insert(own.added(identity)?),
        };
        *left -= 1;
        if *left < 0 {
            committed.push(row);
        }
    }
    Ok(committed)
}

/// What a found row is now.
enum Newest {
    Same,
    Now(RowAt),
    Gone,
}

/// Follows rows until each one's newest version is locked.
async fn follow(
    session: &mut Session,
    context: &Context,
    target: &Target,
    found: &KeyedRows,
    locked: Vec<usize>,
    since: Since,
) -> Result<Vec<Newest>, SqlError> {
    let table = target.object.id;
    let mut newest: Vec<Newest> = (0..found.len()).map(|_| Newest::Same).collect();
    let mut taken = HashSet::new();
    let mut open: Vec<(usize, (Arc<[u8]>, Since))> =
        locked.into_iter().map(|row| (row, (found.keys.bytes(row).into(), since))).collect();
    while !open.is_empty() {
        let places: Vec<_> = open.iter().map(|(_, place)| place.clone()).collect();
        let fates = context.shared.recent.fates(table, &places, &mut taken);
        let mut moved: Vec<(usize, (Arc<[u8]>, Since))> = vec![];
        for ((row, (before, _)), fate) in open.into_iter().zip(fates) {
            match fate {
                Fate::Same => {}
                Fate::Gone => newest[row] = Newest::Gone,
                Fate::Now { row: version, identity, since } => {
                    newest[row] = Newest::Now(version);
                    if identity != before {
                        moved.push((row, (identity, since)));
                    }
                }
            }
        }
        lock_versions(session, target, &newest, &moved).await?;
        open = moved;
    }
    Ok(newest)
}

/// Locks newest versions that have another identity than the one that is locked.
async fn lock_versions(
    session: &mut Session,
    target: &Target,
    newest: &[Newest],
    moved: &[(usize, (Arc<[u8]>, Since))],
) -> Result<(), SqlError> {
    let versions: Vec<RecordBatch> = moved
        .iter()
        .filter_map(|(row, _)| match &newest[*row] {
            Newest::Now(version) => Some(version.batch()),
            Newest::Same | Newest::Gone => None,
        })
        .collect();
    if versions.is_empty() {
        return Ok(());
    }
    let versions = KeyedRows::of(write::concat(&target.schema, &versions)?, &target.body().primary_key)?;
    let all = (0..versions.len()).collect();
    session.lock(&versions.keys.locks(target.object.id, all)).await?;
    Ok(())
}

fn internal(error: arrow::error::ArrowError) -> SqlError {
    SqlError::internal(error.to_string())
}
