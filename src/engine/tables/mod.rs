//! Tables: how what statements write becomes deltas in the journal, enters an epoch, and is known to the next writer
//! before the table has sealed it.
//!
//! `written.rs` says what a statement has written, `own_rows.rs` what a transaction has done so far, `commit.rs` sends it
//! off, `recent.rs` tells other writers. Rows are found and locked by `statements/`, locks are `locks/`.
//! A journaled delta is the truth: replay never resolves anything again.

mod admission;
mod commit;
mod journal_form;
mod own_rows;
mod recent;
mod row_keys;
mod written;

use std::sync::Arc;

use state::JournalEntry;
use tokio::sync::oneshot;
use types::{DeltaBatch, Epoch, ObjectId, SqlError, SqlState};

use crate::checkpoint::CheckpointPayload;
use crate::clock::{TableRows, TableWrite};
use crate::engine::Shared;
use crate::failures;
use crate::log::KIND_TABLE_ROWS;

pub use admission::{AdmittedRows, TableLines, admit, watermark_of};
pub(crate) use commit::commit;
pub use journal_form::TableChange;
pub use own_rows::OwnRows;
pub use recent::{Fate, Reader, RecentChanges, RowAt, Since};
pub use row_keys::RowKeys;
pub use written::{KeyedRows, RowsWritten, Written};

/// A write that has been appended; resolves to its epoch once durable and admitted.
pub struct Ticket {
    pub admitted: oneshot::Receiver<Epoch>,
}

/// Journals deltas of several tables as one atomic unit: all of them enter in one epoch or none.
pub fn append(shared: &Shared, changes: Vec<TableChange>) -> Result<Ticket, SqlError> {
    changes.iter().try_for_each(|change| failures::check_writable(shared, change.table))?;
    let (reply, admitted) = oneshot::channel();
    let payload = journal_form::encode(&changes)?;
    let writes = writes_of(&changes, &shared.catalog());
    let watermarks: Vec<(ObjectId, i64)> = writes.iter().filter_map(|w| Some((w.table, w.watermark?))).collect();
    shared.append_rows(KIND_TABLE_ROWS, &payload, |position| {
        count_late(shared, position, &changes);
        TableWrite { position, writes, reply: Some(reply) }
    })?;
    watermarks.into_iter().for_each(|(table, watermark)| shared.lines.raise(table, watermark));
    Ok(Ticket { admitted })
}

fn count_late(shared: &Shared, position: u64, changes: &[TableChange]) {
    changes.iter().filter(|c| c.late > 0).for_each(|c| shared.late.add(position, c.table, c.late));
}

fn writes_of(changes: &[TableChange], catalog: &catalog::Catalog) -> Vec<TableRows> {
    let watermark =
        |table: ObjectId, rows: &DeltaBatch| catalog.get(table).and_then(|object| watermark_of(object, rows.rows()));
    changes
        .iter()
        .filter(|change| !change.rows.is_empty())
        .map(|TableChange { table, rows, .. }| TableRows {
            table: *table,
            columns: Arc::new((0..rows.rows().num_columns()).collect()),
            watermark: watermark(*table, rows),
            rows: rows.clone(),
        })
        .collect()
}

/// Brings back after a restart what the checkpoint does not have of a journaled write.
pub(crate) fn replay(shared: &Shared, entry: &JournalEntry, checkpoint: &CheckpointPayload) -> Result<(), SqlError> {
    let mut changes = journal_form::decode(&entry.payload)?;
    let catalog = shared.catalog();
    let missing = |table| entry.position > checkpoint.settled(table).table_position;
    changes.retain(|change| catalog.get(change.table).is_some() && missing(change.table));
    if entry.position > checkpoint.table_position {
        count_late(shared, entry.position, &changes);
    }
    let writes = writes_of(&changes, &catalog);
    let raised = writes.iter().filter_map(|w| Some((w.table, w.watermark?)));
    raised.for_each(|(table, watermark)| shared.lines.raise(table, watermark));
    let write = TableWrite { position: entry.position, writes, reply: None };
    let stopping = |_| SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    shared.clock.send(write.into()).map_err(stopping)
}
