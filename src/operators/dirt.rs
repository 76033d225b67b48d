//! Changes of a multiset since its last checkpoint, as the batches they came in: nothing is encoded or copied before
//! it pays. Shared by all operators that checkpoint whole rows with weights.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use types::DeltaBatch;
use types::limits::BATCH_ROWS_MAX;

use crate::OperatorError;
use crate::arrangement::{Layout, net};

/// From this many batches on, tiny ones are glued together.
const CRUMBS: usize = 1_024;
/// Rows per batch below which batches count as tiny.
const CRUMB_ROWS: usize = 16;

pub(crate) struct Dirt {
    layout: Layout,
    deltas: Vec<DeltaBatch>,
    rows: usize,
    bytes: usize,
}

impl Dirt {
    pub fn new(schema: &SchemaRef) -> Self {
        Dirt { layout: Layout::new(schema.clone(), None), deltas: vec![], rows: 0, bytes: 0 }
    }

    /// Adds changes. `live_rows`: rows of the whole multiset, the measure of when summing up pays.
    pub fn add(&mut self, changes: &[DeltaBatch], live_rows: usize) -> Result<(), OperatorError> {
        for change in changes.iter().filter(|c| !c.is_empty()) {
            self.rows += change.num_rows();
            self.bytes += change.memory_bytes();
            self.deltas.push(change.clone());
        }
        let churned = self.rows > 2 * live_rows + BATCH_ROWS_MAX;
        let crumbs = self.deltas.len() > CRUMBS && self.rows < CRUMB_ROWS * self.deltas.len();
        if churned {
            self.deltas = net(&self.layout, std::mem::take(&mut self.deltas))?;
        } else if crumbs {
            self.deltas = vec![DeltaBatch::concat(&self.layout.schema, &self.deltas)];
        }
        if churned || crumbs {
            self.rows = self.deltas.iter().map(DeltaBatch::num_rows).sum();
            self.bytes = self.deltas.iter().map(DeltaBatch::memory_bytes).sum();
        }
        Ok(())
    }

    /// Everything since the last call, with the diff column last.
    pub fn take(&mut self) -> Vec<RecordBatch> {
        (self.rows, self.bytes) = (0, 0);
        std::mem::take(&mut self.deltas).iter().map(DeltaBatch::to_record_batch).collect()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// At most `BATCH_ROWS_MAX` rows each.
pub(crate) fn slices(delta: &DeltaBatch) -> impl Iterator<Item = DeltaBatch> + use<> {
    let delta = delta.clone();
    (0..delta.num_rows()).step_by(BATCH_ROWS_MAX).map(move |start| {
        let len = BATCH_ROWS_MAX.min(delta.num_rows() - start);
        let rows = delta.rows().slice(start, len);
        match delta.diffs() {
            None => DeltaBatch::inserts(rows),
            Some(diffs) => DeltaBatch::new(rows, diffs.slice(start, len)),
        }
    })
}
