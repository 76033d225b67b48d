//! A write of tables as the journal keeps it.
//!
//! Per table its id (u32 LE), the length of an IPC stream (u64 LE) and the stream, with a diff column; for late rows the
//! id, `LATE` instead of a length, and how many (u64 LE).

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use types::{DeltaBatch, ObjectId, SqlError, SqlState, ToSqlState};

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

/// No stream is that long.
const LATE: u64 = u64::MAX;

pub(super) fn encode(changes: &[TableChange]) -> Result<Vec<u8>, SqlError> {
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

pub(super) fn decode(mut payload: &[u8]) -> Result<Vec<TableChange>, SqlError> {
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
