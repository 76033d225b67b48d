//! What an operator hands over at a checkpoint, and how it comes back.
//!
//! An operator cuts between two epochs, so the cut only takes what it must: lists of shared batches, versions of pages.
//! Turning them into the rows of state tables takes time in proportion to what changed, and is left to the thread that
//! writes ([`Cut::gather`]).

use std::fmt;

use arrow::array::RecordBatch;

use crate::OperatorError;

type Gather = Box<dyn FnOnce() -> Result<TableCut, OperatorError> + Send>;

/// What changed in an operator since its last cut.
#[derive(Default)]
pub struct Cut {
    tables: Vec<Gather>,
}

impl Cut {
    /// Adds a table whose rows are gathered when the cut is.
    pub fn add(&mut self, gather: impl FnOnce() -> Result<TableCut, OperatorError> + Send + 'static) {
        self.tables.push(Box::new(gather));
    }

    /// The tables that have changed rows. Errors: `Internal` if rows of the state cannot be read back.
    pub fn gather(self) -> Result<Vec<TableCut>, OperatorError> {
        let mut tables = vec![];
        for gather in self.tables {
            let mut table = gather()?;
            table.batches.retain(|batch| batch.num_rows() > 0);
            if !table.batches.is_empty() {
                tables.push(table);
            }
        }
        Ok(tables)
    }
}

impl From<TableCut> for Cut {
    fn from(table: TableCut) -> Self {
        let mut cut = Cut::default();
        cut.add(|| Ok(table));
        cut
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").field("tables", &self.tables.len()).finish()
    }
}

/// Changed rows of one state table. The last column of every batch is the Int64 `__diff`:
/// keyed: 1 = put, −1 = delete (value columns are ignored then); multiset: weights to add.
#[derive(Debug, Clone)]
pub struct TableCut {
    /// Number of the table within the operator; stable for ever.
    pub table: u16,
    pub kind: TableKind,
    /// Columns whose hash (`types::hash_columns`, in this order) decides a row's vnode. Empty: vnode 0… see `vnode_of`
    /// of the constant hash.
    pub vnode_columns: Vec<usize>,
    pub batches: Vec<RecordBatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// The first `key_columns` columns identify a row; the last write wins.
    Keyed { key_columns: usize },
    /// Whole rows with weights that add up.
    Multiset,
}

/// One batch on its way back into an operator; same layout as in [`TableCut`].
pub struct RestoredTable<'a> {
    pub table: u16,
    pub batch: &'a RecordBatch,
}
