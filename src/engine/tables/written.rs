//! Rows that a statement has written to a table: what was there before, what is there now.

use std::sync::Arc;

use arrow::array::RecordBatch;
use types::{DeltaBatch, ObjectId, SqlError};

use super::journal_form::TableChange;
use super::row_keys::RowKeys;

/// Some rows of a table with their identities.
#[derive(Clone)]
pub struct KeyedRows {
    pub rows: Arc<RecordBatch>,
    pub keys: Arc<RowKeys>,
}

impl KeyedRows {
    pub fn of(rows: RecordBatch, key: &[usize]) -> Result<KeyedRows, SqlError> {
        let keys = RowKeys::of(&rows, key)?;
        Ok(KeyedRows { rows: Arc::new(rows), keys: Arc::new(keys) })
    }

    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }
}

/// One statement's writes to one table.
#[derive(Clone)]
pub struct RowsWritten {
    pub table: ObjectId,
    /// Whether the table has a primary key.
    pub keyed: bool,
    pub kind: Written,
    /// Rows that the statement gave and that are left out as late.
    pub late: u64,
}

#[derive(Clone)]
pub enum Written {
    /// Into a table with a key.
    Inserted(KeyedRows),
    /// Row by row.
    Updated {
        before: KeyedRows,
        after: KeyedRows,
    },
    Deleted(KeyedRows),
    /// Into a table without a key: nobody can have locked or seen these rows.
    Appended(RecordBatch),
}

impl RowsWritten {
    pub fn is_empty(&self) -> bool {
        self.late == 0
            && match &self.kind {
                Written::Inserted(rows) | Written::Deleted(rows) | Written::Updated { before: rows, .. } => {
                    rows.len() == 0
                }
                Written::Appended(rows) => rows.num_rows() == 0,
            }
    }

    /// The deltas that say the same.
    pub fn deltas(&self) -> Vec<DeltaBatch> {
        let inserts = |rows: &RecordBatch| DeltaBatch::inserts(rows.clone());
        match &self.kind {
            Written::Inserted(rows) => vec![inserts(&rows.rows)],
            Written::Updated { before, after } => vec![inserts(&before.rows).negate(), inserts(&after.rows)],
            Written::Deleted(rows) => vec![inserts(&rows.rows).negate()],
            Written::Appended(rows) => vec![inserts(rows)],
        }
    }
}

/// What a transaction writes, one change per table.
pub fn changes_of(writes: &[RowsWritten]) -> Vec<TableChange> {
    let mut tables: Vec<(ObjectId, Vec<DeltaBatch>, u64)> = vec![];
    for write in writes {
        let position = tables.iter().position(|(table, _, _)| *table == write.table).unwrap_or_else(|| {
            tables.push((write.table, vec![], 0));
            tables.len() - 1
        });
        let (_, deltas, late) = &mut tables[position];
        deltas.extend(write.deltas().into_iter().filter(|delta| !delta.is_empty()));
        *late += write.late;
    }
    let change = |(table, deltas, late): (ObjectId, Vec<DeltaBatch>, u64)| match deltas.first() {
        None => TableChange::late(table, late),
        Some(first) => TableChange { table, rows: DeltaBatch::concat(&first.schema(), &deltas), late },
    };
    tables.into_iter().map(change).filter(|change| !change.is_empty()).collect()
}
