//! What identifies the rows of a table: the values of its primary key, or of all columns where it has none.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{RowConverter, Rows, SortField};
use types::{ObjectId, SqlError, ToSqlState, canonical, hash_columns};

use crate::locks::{Mode, Resource};

/// The identities of the rows of one batch, by position: bytes that compare as the values do, and hashes.
pub struct RowKeys {
    bytes: Rows,
    hashes: Vec<u64>,
}

impl RowKeys {
    /// `key`: the key's columns; empty for a table without one.
    pub fn of(rows: &RecordBatch, key: &[usize]) -> Result<RowKeys, SqlError> {
        let all: Vec<usize> = (0..rows.num_columns()).collect();
        let columns = if key.is_empty() { &all } else { key };
        let columns: Vec<ArrayRef> = columns.iter().map(|column| canonical(rows.column(*column))).collect();
        let hashes = hash_columns(&columns, rows.num_rows()).map_err(|e| e.to_sql_error())?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let bytes = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&columns));
        Ok(RowKeys { bytes: bytes.map_err(|e| SqlError::internal(e.to_string()))?, hashes })
    }

    pub fn bytes(&self, row: usize) -> &[u8] {
        self.bytes.row(row).data()
    }

    /// The locks of the rows that `wanted` names, in the one order in which everybody takes them.
    pub fn locks(&self, table: ObjectId, mut wanted: Vec<usize>) -> Vec<(Resource, Mode)> {
        wanted.sort_unstable_by(|a, b| self.bytes.row(*a).cmp(&self.bytes.row(*b)));
        let mut locks: Vec<_> =
            wanted.into_iter().map(|row| (Resource::Row(table, self.hashes[row]), Mode::Exclusive)).collect();
        locks.dedup();
        locks
    }
}
