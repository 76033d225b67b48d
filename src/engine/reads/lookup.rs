//! Reads by key that skip DataFusion.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use types::{Epoch, SqlError, ToSqlState, hash_columns, vnode_of, worker_of};

use crate::relation::Relation;
use crate::tables::{RowAt, RowKeys};

/// The rows that `relation` holds now under the keys of some of `rows`, by their identities.
pub(crate) fn rows_by_key(
    relation: &Relation,
    rows: &RecordBatch,
    key: &[usize],
    wanted: &[u32],
) -> Result<HashMap<Box<[u8]>, RowAt>, SqlError> {
    let internal = |e: arrow::error::ArrowError| SqlError::internal(e.to_string());
    let keys = rows.project(key).map_err(internal)?;
    let keys = take_record_batch(&keys, &UInt32Array::from(wanted.to_vec())).map_err(internal)?;
    let hashes = hash_columns(keys.columns(), keys.num_rows()).map_err(|e| e.to_sql_error())?;
    let workers = relation.shards.len();
    let mut by_worker: Vec<Vec<u32>> = vec![vec![]; workers];
    for (row, hash) in hashes.iter().enumerate() {
        by_worker[worker_of(vnode_of(*hash), workers)].push(row as u32);
    }
    let mut present = HashMap::new();
    for (shard, rows) in relation.shards.iter().zip(by_worker).filter(|(_, rows)| !rows.is_empty()) {
        let asked = take_record_batch(&keys, &UInt32Array::from(rows)).map_err(internal)?;
        let found = shard.lookup(&asked, Epoch::MAX).expect("a table with a key is kept by it");
        let identities = RowKeys::of(&found, key)?;
        let found = Arc::new(found);
        present.extend((0..found.num_rows()).map(|row| {
            let rows = found.clone();
            (identities.bytes(row).into(), RowAt { rows, row })
        }));
    }
    Ok(present)
}
