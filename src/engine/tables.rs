//! Tables: one writer per table resolves a statement's changes, journals the resulting deltas, and acknowledges them
//! once they are durable and in an epoch.
//!
//! The lock of a table is held while changes are resolved and appended, never while the disk is awaited. A statement
//! that must know the present rows (primary key, UPDATE, DELETE) first waits until all earlier writes are sealed.
//! A journaled delta is the truth: replay never resolves anything again.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use state::JournalEntry;
use tokio::sync::oneshot;
use types::{DeltaBatch, Epoch, ObjectId, SqlError, SqlState, ToSqlState, WATERMARK_NONE};

use catalog::{CatalogObject, ObjectBody, WatermarkEntry};

use crate::checkpoint::CheckpointPayload;
use crate::clock::{TableRows, TableWrite};
use crate::engine::Shared;
use crate::failures;
use crate::log::KIND_TABLE_ROWS;

/// Writer state of every table that has been written since start.
#[derive(Default)]
pub struct TableWriters {
    writers: Mutex<HashMap<ObjectId, Arc<TableWriter>>>,
    /// Watermarks of append-only tables: what has been appended, whether or not it is in an epoch yet.
    lines: Mutex<HashMap<ObjectId, i64>>,
}

/// One table's writer.
pub struct TableWriter {
    pub lock: tokio::sync::Mutex<WriterState>,
}

#[derive(Default)]
pub struct WriterState {
    /// Epochs of the last writes, still being awaited.
    pub pending: Vec<oneshot::Receiver<Epoch>>,
}

impl TableWriters {
    pub fn get(&self, table: ObjectId) -> Arc<TableWriter> {
        let mut writers = self.writers.lock().expect("not poisoned");
        writers.entry(table).or_insert_with(|| Arc::new(TableWriter { lock: Default::default() })).clone()
    }

    /// The watermark of an append-only table, as far as its rows have been appended.
    pub fn line(&self, table: ObjectId) -> i64 {
        self.lines.lock().expect("not poisoned").get(&table).copied().unwrap_or(WATERMARK_NONE)
    }

    pub fn raise_line(&self, table: ObjectId, watermark: i64) {
        let mut lines = self.lines.lock().expect("not poisoned");
        let line = lines.entry(table).or_insert(watermark);
        *line = watermark.max(*line);
    }

    pub fn forget(&self, table: ObjectId) {
        self.writers.lock().expect("not poisoned").remove(&table);
    }
}

/// One table's part of a write.
#[derive(Debug, Clone)]
pub struct TableChange {
    pub table: ObjectId,
    pub rows: DeltaBatch,
    /// Rows that the statement gave and that are left out as late.
    pub late: u64,
}

impl TableChange {
    pub fn new(table: ObjectId, rows: DeltaBatch) -> TableChange {
        TableChange { table, rows, late: 0 }
    }

    /// So many rows of the table were late.
    pub fn late(table: ObjectId, late: u64) -> TableChange {
        let none = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        TableChange { table, rows: DeltaBatch::inserts(none), late }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.late == 0
    }
}

/// A write that has been appended; resolves to its epoch once durable and admitted.
pub struct Ticket {
    pub admitted: oneshot::Receiver<Epoch>,
}

/// Journals deltas of several tables as one atomic unit: all of them enter in one epoch or none.
pub fn append(shared: &Shared, changes: Vec<TableChange>) -> Result<Ticket, SqlError> {
    changes.iter().try_for_each(|change| failures::check_writable(shared, change.table))?;
    let (reply, admitted) = oneshot::channel();
    let payload = encode(&changes)?;
    let objects = shared.catalog();
    let writes = writes_of(shared, &changes, &objects);
    shared.append_rows(KIND_TABLE_ROWS, &payload, |position| {
        count_late(shared, position, &changes);
        TableWrite { position, writes, reply: Some(reply) }
    })?;
    Ok(Ticket { admitted })
}

fn count_late(shared: &Shared, position: u64, changes: &[TableChange]) {
    changes.iter().filter(|c| c.late > 0).for_each(|c| shared.late.add(position, c.table, c.late));
}

fn writes_of(shared: &Shared, changes: &[TableChange], catalog: &catalog::Catalog) -> Vec<TableRows> {
    let watermark = |table: ObjectId, rows: &DeltaBatch| {
        let watermark = catalog.get(table).and_then(|object| watermark_of(object, rows.rows()));
        watermark.inspect(|watermark| shared.tables.raise_line(table, *watermark))
    };
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

/// The watermark that `rows` alone would give.
fn watermark_of(object: &CatalogObject, rows: &RecordBatch) -> Option<i64> {
    let ObjectBody::Table(body) = &object.body else { return None };
    let entry = body.watermark.as_ref()?;
    let highest = max_time(entry, rows)?;
    Some(highest.saturating_sub(entry.delay_us))
}

fn max_time(entry: &WatermarkEntry, rows: &RecordBatch) -> Option<i64> {
    use arrow::array::AsArray;
    let times = rows.column(entry.column).as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>()?;
    arrow::compute::max(times)
}

/// Rows of an INSERT after admission.
pub struct AdmittedRows {
    pub rows: RecordBatch,
    pub late: RecordBatch,
    /// The table's watermark when each late row came.
    pub late_lines: Vec<i64>,
}

/// Tells apart which rows of an append-only table with a watermark are late: lateness is decided here, at admission.
/// `line` is the table's watermark so far.
pub fn admit(entry: &WatermarkEntry, line: i64, rows: &RecordBatch) -> Result<AdmittedRows, SqlError> {
    use arrow::array::{Array, AsArray, BooleanArray};
    let times = rows.column(entry.column).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let mut line = line;
    let mut late_lines = vec![];
    let mut is_late = |row: usize| {
        if times.is_null(row) {
            return false;
        }
        let (time, before) = (times.value(row), line);
        line = line.max(time.saturating_sub(entry.delay_us));
        let late = before != WATERMARK_NONE && time < before.saturating_sub(entry.allowed_lateness_us);
        if late {
            late_lines.push(before);
        }
        late
    };
    let late: Vec<bool> = (0..times.len()).map(&mut is_late).collect();
    let chosen = |flags: Vec<bool>| {
        arrow::compute::filter_record_batch(rows, &BooleanArray::from(flags))
            .map_err(|e| SqlError::internal(format!("filtering failed: {e}")))
    };
    Ok(AdmittedRows { rows: chosen(late.iter().map(|late| !late).collect())?, late: chosen(late)?, late_lines })
}

/// Brings back after a restart what the checkpoint does not have of a journaled write.
pub(crate) fn replay(shared: &Shared, entry: &JournalEntry, checkpoint: &CheckpointPayload) -> Result<(), SqlError> {
    let mut changes = decode(&entry.payload)?;
    let catalog = shared.catalog();
    let missing = |table| entry.position > checkpoint.settled(table).table_position;
    changes.retain(|change| catalog.get(change.table).is_some() && missing(change.table));
    if entry.position > checkpoint.table_position {
        count_late(shared, entry.position, &changes);
    }
    let writes = writes_of(shared, &changes, &catalog);
    let write = TableWrite { position: entry.position, writes, reply: None };
    let stopping = |_| SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    shared.clock.send(write.into()).map_err(stopping)
}

// Journal form: per table its id (u32 LE), the length of an IPC stream (u64 LE) and the stream, with a diff column; for
// late rows the id, `LATE` instead of a length, and how many (u64 LE).

/// No stream is that long.
const LATE: u64 = u64::MAX;

fn encode(changes: &[TableChange]) -> Result<Vec<u8>, SqlError> {
    let mut payload = vec![];
    for TableChange { table, rows, late } in changes {
        if *late > 0 {
            payload.extend_from_slice(&table.0.to_le_bytes());
            payload.extend_from_slice(&LATE.to_le_bytes());
            payload.extend_from_slice(&late.to_le_bytes());
        }
        if rows.is_empty() {
            continue;
        }
        let batch = rows.to_record_batch();
        let mut stream = vec![];
        let written = StreamWriter::try_new(&mut stream, &batch.schema())
            .and_then(|mut writer| writer.write(&batch).and_then(|()| writer.finish()));
        written.map_err(|e| SqlError::internal(format!("encoding rows failed: {e}")))?;
        payload.extend_from_slice(&table.0.to_le_bytes());
        payload.extend_from_slice(&(stream.len() as u64).to_le_bytes());
        payload.extend_from_slice(&stream);
    }
    Ok(payload)
}

fn decode(mut payload: &[u8]) -> Result<Vec<TableChange>, SqlError> {
    let corrupt = || SqlError::new(SqlState::DataCorrupted, "cannot read table rows from the journal");
    let mut changes = vec![];
    while !payload.is_empty() {
        let (table, rest) = payload.split_first_chunk::<4>().ok_or_else(corrupt)?;
        let table = ObjectId(u32::from_le_bytes(*table));
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
        if u64::from_le_bytes(*length) == LATE {
            let (late, rest) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
            changes.push(TableChange::late(table, u64::from_le_bytes(*late)));
            payload = rest;
            continue;
        }
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| corrupt())?;
        let stream = rest.get(..length).ok_or_else(corrupt)?;
        let reader = StreamReader::try_new(Cursor::new(stream), None).map_err(|_| corrupt())?;
        for batch in reader {
            let rows = DeltaBatch::from_record_batch(&batch.map_err(|_| corrupt())?).map_err(|e| e.to_sql_error())?;
            changes.push(TableChange::new(table, rows));
        }
        payload = &rest[length..];
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn rows_and_late_counts_come_back_from_the_journal() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let rows = DeltaBatch::inserts(RecordBatch::try_from_iter([("v", values)]).unwrap());
        let written = [
            TableChange { table: ObjectId(7), rows: rows.clone(), late: 3 },
            TableChange::late(ObjectId(8), 1),
            TableChange::new(ObjectId(9), rows.negate()),
        ];
        let read = decode(&encode(&written).unwrap()).unwrap();
        let shown: Vec<_> = read.iter().map(|c| (c.table.0, c.rows.diffs_to_vec(), c.late)).collect();
        assert_eq!(shown, [(7, vec![], 3), (7, vec![1, 1], 0), (8, vec![], 1), (9, vec![-1, -1], 0)]);
    }
}
