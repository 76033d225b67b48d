//! Changes of a multiset since its last checkpoint, as the batches they came in: nothing is encoded or copied before
//! it pays. Shared by all operators that checkpoint whole rows with weights.

use arrow::datatypes::SchemaRef;
use types::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX};
use types::{DeltaBatch, with_diff};

use crate::arrangement::{Layout, net};
use crate::{Cut, OperatorError, TableCut, TableKind};

/// From this many batches on, tiny ones are glued together.
const CRUMBS: usize = 1_024;
/// Rows per batch below which batches count as tiny.
const CRUMB_ROWS: usize = 16;

pub(crate) struct Dirt {
    layout: Layout,
    deltas: Vec<DeltaBatch>,
    /// Insertions that may be cancelled as a whole, by number.
    whole: Vec<(u64, DeltaBatch)>,
    rows: usize,
    bytes: usize,
}

impl Dirt {
    pub fn new(schema: &SchemaRef) -> Self {
        Dirt { layout: Layout::new(schema.clone(), None), deltas: vec![], whole: vec![], rows: 0, bytes: 0 }
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
            self.bytes =
                self.deltas.iter().chain(self.whole.iter().map(|(_, d)| d)).map(DeltaBatch::memory_bytes).sum();
        }
        Ok(())
    }

    /// Adds an insertion that is likely to go as a whole.
    pub fn add_whole(&mut self, number: u64, insertion: &DeltaBatch) {
        self.bytes += insertion.memory_bytes();
        self.whole.push((number, insertion.clone()));
    }

    /// Takes an insertion of [`add_whole`](Self::add_whole) back; false if the last cut has it.
    pub fn cancel(&mut self, number: u64) -> bool {
        let Some(position) = self.whole.iter().position(|(n, _)| *n == number) else { return false };
        let (_, insertion) = self.whole.remove(position);
        self.bytes -= insertion.memory_bytes();
        true
    }

    /// From now on the insertion's rows go one by one.
    pub fn mix_in(&mut self, number: u64) {
        if let Some(position) = self.whole.iter().position(|(n, _)| *n == number) {
            let (_, insertion) = self.whole.remove(position);
            self.rows += insertion.num_rows();
            self.deltas.push(insertion);
        }
    }

    /// Adds everything since the last call to a cut.
    pub fn cut(&mut self, cut: &mut Cut, table: u16, vnode_columns: Vec<usize>) {
        (self.rows, self.bytes) = (0, 0);
        let (whole, deltas) = (std::mem::take(&mut self.whole), std::mem::take(&mut self.deltas));
        let schema = with_diff(&self.layout.schema);
        cut.add(move || {
            let all = whole.into_iter().map(|(_, insertion)| insertion).chain(deltas);
            let batches = all.map(|delta| delta.to_record_batch_as(&schema)).collect();
            Ok(TableCut { table, kind: TableKind::Multiset, vnode_columns, batches })
        });
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// At most `BATCH_ROWS_MAX` rows each, and fewer of large rows: of average ones `BATCH_BYTES_MAX` bytes.
pub(crate) fn slices(delta: &DeltaBatch) -> impl Iterator<Item = DeltaBatch> + use<> {
    slices_of(delta, BATCH_ROWS_MAX)
}

/// At most so many rows each.
pub(crate) fn slices_of(delta: &DeltaBatch, rows_max: usize) -> impl Iterator<Item = DeltaBatch> + use<> {
    let delta = delta.clone();
    let rows_max = rows_per_slice(delta.num_rows(), delta.memory_bytes()).min(rows_max);
    (0..delta.num_rows()).step_by(rows_max).map(move |start| {
        let len = rows_max.min(delta.num_rows() - start);
        let rows = delta.rows().slice(start, len);
        match delta.diffs() {
            None => DeltaBatch::inserts(rows),
            Some(diffs) => DeltaBatch::new(rows, diffs.slice(start, len)),
        }
    })
}

fn rows_per_slice(rows: usize, bytes: usize) -> usize {
    let row_bytes = (bytes / rows.max(1)).max(1);
    (BATCH_BYTES_MAX / row_bytes).clamp(1, BATCH_ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_few_rows_if_they_are_large() {
        assert_eq!(rows_per_slice(0, 0), BATCH_ROWS_MAX);
        assert_eq!(rows_per_slice(60_000, 60_000 * 8), BATCH_ROWS_MAX);
        assert_eq!(rows_per_slice(60_000, 60_000 * 40_000), BATCH_BYTES_MAX / 40_000);
        assert_eq!(rows_per_slice(2, usize::MAX), 1);
    }
}
