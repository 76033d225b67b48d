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

use crate::clock::TableWrite;
use crate::engine::Shared;
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

/// A write that has been appended; resolves to its epoch once durable and admitted.
pub struct Ticket {
    pub admitted: oneshot::Receiver<Epoch>,
}

/// Journals deltas of several tables as one atomic unit: all of them enter in one epoch or none.
pub fn append(shared: &Shared, deltas: Vec<(ObjectId, DeltaBatch)>) -> Result<Ticket, SqlError> {
    let (reply, admitted) = oneshot::channel();
    let payload = encode(&deltas)?;
    let objects = shared.catalog();
    let writes = writes_of(shared, &deltas, &objects);
    shared.append_rows(KIND_TABLE_ROWS, &payload, |position| TableWrite { position, writes, reply: Some(reply) })?;
    Ok(Ticket { admitted })
}

fn writes_of(
    shared: &Shared,
    deltas: &[(ObjectId, DeltaBatch)],
    catalog: &catalog::Catalog,
) -> Vec<crate::clock::TableRows> {
    let watermark = |table: ObjectId, rows: &DeltaBatch| {
        let watermark = catalog.get(table).and_then(|object| watermark_of(object, rows.rows()));
        watermark.inspect(|watermark| shared.tables.raise_line(table, *watermark))
    };
    deltas
        .iter()
        .map(|(table, rows)| crate::clock::TableRows {
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

/// Rows of an append-only table with a watermark that are not late: lateness is decided here, at admission.
/// `line` is the table's watermark so far. Returns the admitted rows and how many were late.
pub fn admit(entry: &WatermarkEntry, line: i64, rows: &RecordBatch) -> Result<(RecordBatch, u64), SqlError> {
    use arrow::array::{Array, AsArray, BooleanArray};
    let times = rows.column(entry.column).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let mut line = line;
    let mut late = 0;
    let admitted: BooleanArray = (0..times.len())
        .map(|row| {
            if times.is_null(row) {
                return Some(true);
            }
            let time = times.value(row);
            let admitted = line == WATERMARK_NONE || time >= line.saturating_sub(entry.allowed_lateness_us);
            late += u64::from(!admitted);
            line = line.max(time.saturating_sub(entry.delay_us));
            Some(admitted)
        })
        .collect();
    let rows = arrow::compute::filter_record_batch(rows, &admitted)
        .map_err(|e| SqlError::internal(format!("filtering failed: {e}")))?;
    Ok((rows, late))
}

/// Brings a journaled write back after a restart.
pub(crate) fn replay(shared: &Shared, entry: &JournalEntry) -> Result<(), SqlError> {
    let deltas = decode(&entry.payload)?;
    let catalog = shared.catalog();
    let known: Vec<_> = deltas.into_iter().filter(|(table, _)| catalog.get(*table).is_some()).collect();
    let writes = writes_of(shared, &known, &catalog);
    let write = TableWrite { position: entry.position, writes, reply: None };
    let stopping = |_| SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    shared.clock.send(crate::clock::ClockMessage::Table(write)).map_err(stopping)
}

// Journal form: per table its id (u32 LE), the length of an IPC stream (u64 LE) and the stream, with a diff column.

fn encode(deltas: &[(ObjectId, DeltaBatch)]) -> Result<Vec<u8>, SqlError> {
    let mut payload = vec![];
    for (table, delta) in deltas {
        let batch = delta.to_record_batch();
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

fn decode(mut payload: &[u8]) -> Result<Vec<(ObjectId, DeltaBatch)>, SqlError> {
    let corrupt = || SqlError::new(SqlState::DataCorrupted, "cannot read table rows from the journal");
    let mut deltas = vec![];
    while !payload.is_empty() {
        let (table, rest) = payload.split_first_chunk::<4>().ok_or_else(corrupt)?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| corrupt())?;
        let stream = rest.get(..length).ok_or_else(corrupt)?;
        let reader = StreamReader::try_new(Cursor::new(stream), None).map_err(|_| corrupt())?;
        for batch in reader {
            let delta = DeltaBatch::from_record_batch(&batch.map_err(|_| corrupt())?).map_err(|e| e.to_sql_error())?;
            deltas.push((ObjectId(u32::from_le_bytes(*table)), delta));
        }
        payload = &rest[length..];
    }
    Ok(deltas)
}
