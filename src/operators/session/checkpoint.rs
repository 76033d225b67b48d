//! Cuts and restores of the rows kept in sessions; layout in the parent's header.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use types::{DIFF_COLUMN, canonical_columns};

use super::{Row, SessionOperator, Tables};
use crate::aggregate::{deletion, diff_column};
use crate::{Cut, OperatorError, RestoredTable, TableCut, TableKind};

/// Columns after the input's, `__diff` included.
const STATE_COLUMNS: usize = 5;

fn state_schema(input: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Field> = input.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    fields.extend(["__weight", "__left", "__first", "__last"].map(|name| Field::new(name, DataType::Int64, true)));
    fields.push(Field::new(DIFF_COLUMN, DataType::Int64, false));
    Arc::new(Schema::new(fields))
}

impl SessionOperator {
    pub(super) fn cut(&mut self) -> Result<Cut, OperatorError> {
        self.finish_restore();
        let Some(tables) = &mut self.tables else { return Ok(Cut::default()) };
        let batches = tables.cut()?;
        let kind = TableKind::Keyed { key_columns: tables.input.fields().len() };
        Ok(TableCut { table: 0, kind, vnode_columns: self.partition_by.clone(), batches }.into())
    }

    pub(super) fn restore_table(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restoring = true;
        let batch = table.batch;
        let columns = batch.num_columns().checked_sub(STATE_COLUMNS).filter(|_| table.table == 0);
        let columns = columns.ok_or_else(|| OperatorError::internal("session rows have one table"))?;
        let input: SchemaRef = Arc::new(Schema::new(batch.schema().fields()[..columns].to_vec()));
        let (partition_by, time_column) = (self.partition_by.clone(), self.time_column);
        self.tables(&input)?.restore(batch, columns, &partition_by, time_column)
    }

    /// Once, before the first input after a restore: indexes the sessions' ends.
    pub(super) fn finish_restore(&mut self) {
        if !std::mem::take(&mut self.restoring) {
            return;
        }
        let Some(tables) = &mut self.tables else { return };
        let keys = tables.keys.live_ids();
        for key in &keys {
            let timeline = &tables.timelines[*key as usize];
            for range in timeline.sessions(self.gap_us) {
                let end = timeline.entries[range.end - 1].last + self.gap_us;
                if self.close.is_some() {
                    self.closing.add(end, *key);
                    self.expiring.add(end, *key);
                }
            }
        }
        tables.release_empty(keys.into_iter());
    }
}

impl Tables {
    fn cut(&mut self) -> Result<Vec<RecordBatch>, OperatorError> {
        let schema = state_schema(&self.input);
        let mut batches = vec![];
        let deleted = std::mem::take(&mut self.deleted);
        if !deleted.is_empty() {
            batches.push(deletion(&schema, self.decode(deleted.iter())?)?);
        }
        let dirty = self.dirty.drain();
        let mut values: [Vec<i64>; 4] = Default::default();
        let mut encoded: Vec<Box<[u8]>> = vec![];
        for slot in dirty {
            let rows = &mut self.rows[slot as usize];
            for (bytes, row) in &mut rows.rows {
                row.saved = true;
                encoded.push(bytes.clone());
                for (column, value) in values.iter_mut().zip([row.weight, row.left, rows.first, rows.last]) {
                    column.push(value);
                }
            }
        }
        if !encoded.is_empty() {
            let mut columns = self.decode(encoded.iter())?;
            columns.extend(values.map(|column| Arc::new(Int64Array::from(column)) as ArrayRef));
            columns.push(diff_column(1, encoded.len()));
            batches.push(RecordBatch::try_new(schema, columns)?);
        }
        Ok(batches)
    }

    fn restore(
        &mut self,
        batch: &RecordBatch,
        columns: usize,
        partition_by: &[usize],
        time_column: usize,
    ) -> Result<(), OperatorError> {
        let inputs = &batch.columns()[..columns];
        let keys = self.key_ids(inputs, batch.num_rows(), partition_by)?;
        let encoded = self.converter.convert_columns(&canonical_columns(inputs))?;
        let times = batch.column(time_column).as_primitive::<TimestampMicrosecondType>().values();
        let values: Vec<&[i64]> = (columns..columns + STATE_COLUMNS)
            .map(|c| &batch.column(c).as_primitive::<Int64Type>().values()[..])
            .collect();
        for (row, (key, time)) in keys.iter().zip(times).enumerate() {
            let bytes = encoded.row(row).data();
            let slot = self.slot(*key, *time);
            let rows = &mut self.rows[slot as usize];
            if rows.rows.remove(bytes).is_some() {
                self.row_bytes -= bytes.len();
            }
            if values[4][row] > 0 {
                self.row_bytes += bytes.len();
                let restored = Row { weight: values[0][row], left: values[1][row], saved: true };
                rows.rows.insert(bytes.into(), restored);
                (rows.first, rows.last) = (values[2][row], values[3][row]);
            } else if rows.rows.is_empty() {
                let place = self.timelines[*key as usize].find(*time).expect("the slot was found under this time");
                self.timelines[*key as usize].entries.remove(place);
                self.free(slot);
            }
        }
        Ok(())
    }
}
