//! What a top-N writes down and takes back: the kept rows with their weights; under EMIT ON WINDOW CLOSE with a column
//! saying whether their partition was shown, so that a restart does not show it again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use types::DeltaBatch;

use super::encoding::pick;
use super::partition::{Partition, entry_bytes};
use super::{Found, TopNOperator, partition_bytes};
use crate::OperatorError;

/// State column: whether the row's partition has left already.
const SHOWN: &str = "__shown";

impl TopNOperator {
    /// Notes changed state rows for the next checkpoint; positions say whether they count as shown.
    pub(super) fn note(&mut self, changed: &Found) -> Result<(), OperatorError> {
        if changed.rows.is_empty() {
            return Ok(());
        }
        let rows = self.encoding.decode(&self.spec.input, changed.rows.iter().map(|r| &**r))?;
        let rows = match self.holds_back() {
            false => rows,
            true => {
                let shown: ArrayRef =
                    Arc::new(BooleanArray::from_iter(changed.positions.iter().map(|p| Some(*p == 1))));
                let columns = rows.columns().iter().cloned().chain([shown]).collect();
                RecordBatch::try_new(state_schema(&self.spec.input, true), columns)?
            }
        };
        self.dirt.add(&[DeltaBatch::new(rows, changed.diffs.clone())], self.row_count as usize)
    }

    /// Adds the weights of one checkpointed batch; they may be negative until the last batch is in.
    pub(super) fn restore_rows(&mut self, batch: &RecordBatch) -> Result<(), OperatorError> {
        let delta = DeltaBatch::from_record_batch(batch)?;
        let width = self.spec.input.fields().len();
        if delta.rows().num_columns() != width + usize::from(self.holds_back()) {
            return Err(OperatorError::internal("a checkpointed top-n has another number of columns"));
        }
        let shown = self.holds_back().then(|| delta.rows().column(width).as_boolean().clone());
        let rows = self.encoding.row.convert_columns(&pick(delta.rows(), &self.encoding.row_columns))?;
        let keys = self
            .encoding
            .partition
            .as_ref()
            .map(|c| c.convert_columns(&pick(delta.rows(), &self.encoding.partition_columns)));
        let keys = keys.transpose()?;
        let ends = self.close.as_ref().map(|c| delta.rows().column(c.column).clone());
        let ends = ends.as_ref().map(|e| e.as_primitive::<TimestampMicrosecondType>());
        for row in 0..delta.num_rows() {
            let key = keys.as_ref().map_or(&[][..], |k| k.row(row).data());
            if !self.partitions.contains_key(key) {
                self.partitions.insert(key.into(), Partition::default());
            }
            let partition = self.partitions.get_mut(key).expect("inserted just now");
            partition.end = ends.filter(|e| e.is_valid(row)).map(|e| e.value(row));
            // Rows are rewritten as shown when their window closes and never turn back.
            partition.shown |= shown.as_ref().is_none_or(|s| s.value(row));
            *partition.rows.entry(rows.row(row).data().into()).or_insert(0) += delta.diff(row);
        }
        self.restored = true;
        Ok(())
    }

    pub(super) fn finish_restore(&mut self) -> Result<(), OperatorError> {
        for partition in self.partitions.values_mut() {
            partition.rows.retain(|_, weight| *weight != 0);
            if partition.rows.values().any(|weight| *weight < 0) {
                return Err(OperatorError::internal("a restored top-n has rows with a negative weight"));
            }
            partition.total = partition.rows.values().sum();
            partition.noted = partition.shown;
        }
        self.partitions.retain(|_, partition| !partition.rows.is_empty());
        let held_back = self.holds_back();
        for (key, partition) in &self.partitions {
            self.memory += partition_bytes(key) + partition.rows.keys().map(|r| entry_bytes(r)).sum::<usize>();
            self.row_count += partition.total;
            if let Some(end) = partition.end {
                self.ends.entry(end).or_default().push(key.clone());
                if held_back && !partition.shown {
                    self.unshown.entry(end).or_default().push(key.clone());
                }
            }
        }
        self.ends.values_mut().chain(self.unshown.values_mut()).for_each(|keys| keys.sort());
        Ok(())
    }
}

/// Schema of the checkpointed rows, without the diff.
pub(super) fn state_schema(input: &SchemaRef, held_back: bool) -> SchemaRef {
    if !held_back {
        return input.clone();
    }
    let shown = Arc::new(Field::new(SHOWN, DataType::Boolean, false));
    Arc::new(Schema::new(input.fields().iter().cloned().chain([shown]).collect::<Vec<_>>()))
}
