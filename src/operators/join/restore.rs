//! A side taken back from a checkpoint. Batches come in any order, so a retraction may come before its row.

use arrow::array::{Array, Int64Array, RecordBatch};
use types::DeltaBatch;

use super::side::{Probing, Side, by_sign};
use crate::OperatorError;
use crate::arrangement::{Prepared, take_rows};

impl Side {
    /// Takes back one checkpointed batch. Match counts are recomputed once both sides are here.
    pub fn restore(&mut self, batch: &RecordBatch) -> Result<(), OperatorError> {
        let delta = DeltaBatch::from_record_batch(batch)?;
        let expected = self.layout.columns.len() + usize::from(self.expired_matches.is_some());
        if delta.rows().num_columns() != expected {
            return Err(OperatorError::internal("a checkpointed join side has another number of columns"));
        }
        for (positive, part) in [true, false].into_iter().zip(by_sign(&delta)) {
            let Some(part) = part else { continue };
            if positive { self.restore_added(&part)? } else { self.restore_removed(&part)? }
        }
        Ok(())
    }

    /// The row columns of a checkpointed delta.
    fn without_matches(&self, part: &DeltaBatch) -> Result<DeltaBatch, OperatorError> {
        let columns: Vec<usize> = (0..self.layout.columns.len()).collect();
        let rows = part.rows().project(&columns)?;
        Ok(part.with_rows(rows))
    }

    fn restore_added(&mut self, part: &DeltaBatch) -> Result<(), OperatorError> {
        let probing = self.probing(self.without_matches(part)?)?;
        self.add(&probing, &[])?;
        self.sum_expired_matches(part, &probing)
    }

    fn restore_removed(&mut self, part: &DeltaBatch) -> Result<(), OperatorError> {
        let probing = self.probing(self.without_matches(part)?)?;
        self.rows.index_all(&self.layout);
        self.sum_expired_matches(part, &probing)?;
        let missing = self.remove(&probing)?;
        if !missing.is_empty() {
            let rows: Vec<u32> = missing.iter().map(|(row, _)| *row as u32).collect();
            let diffs: Vec<i64> = missing.iter().map(|(_, weight)| -weight).collect();
            let rows = take_rows(part.rows(), &rows.into());
            self.owed.push(DeltaBatch::new(rows, diffs));
        }
        Ok(())
    }

    /// While restoring, the column holds the sum of weight × expired matches; see `finish_restore`.
    fn sum_expired_matches(&mut self, part: &DeltaBatch, probing: &Probing) -> Result<(), OperatorError> {
        if self.expired_matches.is_none() {
            return Ok(());
        }
        self.rows.index_all(&self.layout);
        let values = part.rows().column(self.layout.columns.len());
        let values = values.as_any().downcast_ref::<Int64Array>();
        let values = values.ok_or_else(|| OperatorError::internal("expired matches are counted in int8"))?;
        let prepared = Prepared::new(&self.layout, &probing.batch)?;
        let column = self.expired_matches.as_mut().expect("checked");
        for row in 0..part.num_rows() {
            if let Some(id) = self.rows.find_in_bag(&prepared, row) {
                column[id as usize] += values.value(row) * part.diff(row);
            }
        }
        Ok(())
    }

    /// After the last restored batch: settles early retractions and turns sums of expired matches into counts.
    pub fn finish_restore(&mut self) -> Result<(), OperatorError> {
        for part in std::mem::take(&mut self.owed) {
            self.restore_removed(&part)?;
        }
        if !self.owed.is_empty() {
            return Err(OperatorError::internal("a restored side of a join has rows with a negative weight"));
        }
        if let Some(column) = &mut self.expired_matches {
            for id in self.rows.live_ids() {
                column[id as usize] /= self.rows.weight(id);
            }
        }
        Ok(())
    }
}
