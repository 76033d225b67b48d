//! The unit of state on disk: changed rows of one table of one operator.
//! The engine converts between this and the operators' cuts; this crate doesn't know operators.

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use types::{ObjectId, slice_bytes};

/// Which table a block belongs to. Stable for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId {
    pub relation: ObjectId,
    pub operator: u32,
    pub table: u16,
}

/// Changed rows of one table, in order of application. The last column of every batch is the Int64 `__diff`:
/// keyed: 1 = put, −1 = delete; multiset: weights to add.
#[derive(Debug, Clone)]
pub struct StateBlock {
    pub relation: ObjectId,
    pub operator: u32,
    pub table: u16,
    pub kind: BlockKind,
    /// Columns whose hash decides a row's vnode.
    pub vnode_columns: Vec<usize>,
    /// All of one schema.
    pub batches: Vec<RecordBatch>,
}

/// How blocks of one table combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// The first `key_columns` columns identify a row; the last write wins.
    Keyed { key_columns: usize },
    /// Whole rows with weights that add up.
    Multiset,
}

impl StateBlock {
    pub fn id(&self) -> TableId {
        TableId { relation: self.relation, operator: self.operator, table: self.table }
    }

    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(|b| b.num_rows()).sum()
    }

    /// Bytes of the arrays: of slices their own part.
    pub fn memory_bytes(&self) -> usize {
        self.batches.iter().flat_map(|batch| batch.columns()).map(slice_bytes).sum()
    }
}
