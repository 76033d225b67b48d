//! Reads by key that skip DataFusion.

use arrow::array::RecordBatch;
use types::{Epoch, hash_columns, vnode_of, worker_of};

use crate::relation::Relation;

/// Whether `relation` (keyed by `key`) now holds a row with the key of `rows[row]`.
pub(crate) fn key_present(relation: &Relation, rows: &RecordBatch, key: &[usize], row: usize) -> bool {
    let one = rows.slice(row, 1).project(key).expect("key columns of the table");
    let hashes = hash_columns(one.columns(), 1).expect("keys are hashable");
    let shard = &relation.shards[worker_of(vnode_of(hashes[0]), relation.shards.len())];
    shard.lookup(&one, Epoch::MAX).is_some_and(|found| found.num_rows() > 0)
}
