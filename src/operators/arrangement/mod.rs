//! A readable relation: rows at stable ids in column pages, shared by the operator that writes and the sessions that
//! read. One `Shard` per worker; a reader combines the shards of all workers at one epoch.
//!
//! The writer applies one sealed epoch at a time under the shard's lock; a reader holds the lock only to clone page
//! pointers. Pages a reader holds are copied before they change, others change in place.
//! Per-epoch net deltas are kept from `retain_from` on, so that a reader below the frontier can undo them and a
//! subscription can follow them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use types::{DeltaBatch, Epoch, ErrorDelta, SqlError};

/// One worker's part of a relation.
pub struct Shard {
    _private: (),
}

/// What a reader sees of one shard at one epoch.
pub struct ShardSnapshot {
    _private: (),
}

impl Shard {
    /// An empty shard. `key`: see `MaterializeSpec::key`.
    pub fn new(schema: SchemaRef, key: Option<Vec<usize>>) -> Arc<Shard> {
        let _ = (schema, key);
        unimplemented!()
    }

    pub fn schema(&self) -> SchemaRef {
        unimplemented!()
    }

    /// Applies the net change of `epoch` (greater than any before) and publishes it. Deltas at or below `retain_from`
    /// may be forgotten.
    pub fn apply(
        &self,
        epoch: Epoch,
        deltas: &[DeltaBatch],
        errors: &[ErrorDelta],
    ) -> Result<(), crate::OperatorError> {
        let _ = (epoch, deltas, errors);
        unimplemented!()
    }

    /// Raises the oldest epoch readers may still ask for. Monotone.
    pub fn set_retain_from(&self, epoch: Epoch) {
        let _ = epoch;
        unimplemented!()
    }

    /// The shard as of `epoch`, which must lie between retain_from and the last applied epoch (a later epoch means
    /// "nothing happened since").
    pub fn snapshot(&self, epoch: Epoch) -> ShardSnapshot {
        let _ = epoch;
        unimplemented!()
    }

    /// Net changes of epochs in (after, upto], in epoch order.
    pub fn deltas(&self, after: Epoch, upto: Epoch) -> Vec<(Epoch, Arc<Vec<DeltaBatch>>)> {
        let _ = (after, upto);
        unimplemented!()
    }

    /// Rows whose key columns equal `key` (one row per lookup key) as of `epoch`. Relations without a key: refused.
    pub fn lookup(&self, key: &RecordBatch, epoch: Epoch) -> Option<RecordBatch> {
        let _ = (key, epoch);
        unimplemented!()
    }

    pub fn memory_bytes(&self) -> usize {
        unimplemented!()
    }
}

impl ShardSnapshot {
    /// Live rows, `projection` columns, in batches of at most 8192 rows; rows with multiplicity m stand m times.
    /// Lazy: pages are converted as the iterator advances.
    pub fn batches(self, projection: Option<&[usize]>) -> Box<dyn Iterator<Item = RecordBatch> + Send> {
        let _ = projection;
        unimplemented!()
    }

    /// The first error the relation holds at this epoch, if any.
    pub fn error(&self) -> Option<SqlError> {
        unimplemented!()
    }

    pub fn num_rows(&self) -> usize {
        unimplemented!()
    }
}
