//! Cuts and restores; layout in the parent's header.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use types::{DIFF_COLUMN, DeltaBatch};

use super::MatchOnCloseOperator;
use crate::{Cut, OperatorError, RestoredTable, TableCut, TableKind};

const TABLE_ROWS: u16 = 0;
const TABLE_PROGRESS: u16 = 1;

const NUMBERS: [&str; 4] = ["__base", "__start", "__number", "__covered"];

impl MatchOnCloseOperator {
    pub(super) fn cut(&mut self) -> Cut {
        self.finish_restore();
        let mut cut = Cut::default();
        let (uncut, vnode_columns) = (self.uncut.take(), self.spec.pattern.key.clone());
        cut.add(move || {
            let batches = uncut.iter().map(DeltaBatch::to_record_batch).collect();
            Ok(TableCut { table: TABLE_ROWS, kind: TableKind::Multiset, vnode_columns, batches })
        });
        let progress = self.progress_batch();
        let width = self.key_width();
        // Without a key one row stands under a constant, wherever constants are.
        let vnode_columns = if self.keys.is_some() { (0..width).collect() } else { vec![] };
        cut.add(move || {
            let kind = TableKind::Keyed { key_columns: width };
            Ok(TableCut { table: TABLE_PROGRESS, kind, vnode_columns, batches: vec![progress?] })
        });
        cut
    }

    /// Columns that identify a partition in table 1.
    fn key_width(&self) -> usize {
        self.spec.pattern.key.len().max(1)
    }

    fn progress_schema(&self) -> SchemaRef {
        let input = &self.spec.pattern.input;
        let mut fields: Vec<Field> = match self.keys {
            Some(_) => self.spec.pattern.key.iter().map(|c| input.field(*c).clone().with_nullable(true)).collect(),
            None => vec![Field::new("__partition", DataType::Boolean, true)],
        };
        fields.extend(NUMBERS.map(|name| Field::new(name, DataType::Int64, true)));
        fields.push(Field::new(DIFF_COLUMN, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    /// What has moved since the last cut, and which partitions are gone.
    fn progress_batch(&mut self) -> Result<RecordBatch, OperatorError> {
        let mut encoded = vec![];
        let mut numbers: [Vec<i64>; 4] = Default::default();
        let mut diffs = vec![];
        for key in std::mem::take(&mut self.gone) {
            encoded.push(key);
            numbers.iter_mut().for_each(|column| column.push(0));
            diffs.push(-1);
        }
        for id in std::mem::take(&mut self.moved) {
            let Some(partition) = self.partition(id) else { continue };
            partition.saved = true;
            encoded.push(partition.key.clone());
            for (column, number) in numbers.iter_mut().zip(partition.progress().saved()) {
                column.push(number as i64);
            }
            diffs.push(1);
        }
        let mut columns: Vec<ArrayRef> = match &self.keys {
            Some(converter) => {
                let parser = converter.parser();
                converter.convert_rows(encoded.iter().map(|key| parser.parse(key)))?
            }
            None => vec![Arc::new(BooleanArray::from(vec![true; encoded.len()]))],
        };
        columns.extend(numbers.into_iter().map(|column| Arc::new(Int64Array::from(column)) as ArrayRef));
        columns.push(Arc::new(Int64Array::from(diffs)));
        Ok(RecordBatch::try_new(self.progress_schema(), columns)?)
    }

    pub(super) fn restore_table(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restoring = true;
        match table.table {
            TABLE_ROWS => self.add(&DeltaBatch::from_record_batch(table.batch)?, true),
            TABLE_PROGRESS => self.restore_progress(table.batch),
            other => Err(OperatorError::internal(format!("a row pattern has no table {other}"))),
        }
    }

    fn restore_progress(&mut self, batch: &RecordBatch) -> Result<(), OperatorError> {
        let width = self.key_width();
        if batch.num_columns() != width + NUMBERS.len() + 1 {
            return Err(OperatorError::internal("the progress of a row pattern has other columns"));
        }
        let keys = self.encoded_keys(&batch.columns()[..width])?;
        let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let key: &[u8] = keys.as_ref().map_or(&[], |keys| keys.row(row).data());
            let put = number(width + NUMBERS.len()).value(row) > 0;
            let at = |offset: usize| if put { number(width + offset).value(row) as usize } else { 0 };
            let progress = self.matcher.resume([at(0), at(1), at(2), at(3)]);
            let id = self.id_of(key);
            let partition = self.partition(id).expect("it has just been found");
            *partition.progress_mut() = progress;
            partition.saved = put;
        }
        Ok(())
    }

    /// Once, before the first input after a restore: all rows wait again, and the first seal learns what was known.
    pub(super) fn finish_restore(&mut self) {
        if !std::mem::take(&mut self.restoring) {
            return;
        }
        let keeps_count = self.matcher.keeps_count();
        for id in 0..self.partitions.len() as u32 {
            let Some(partition) = self.partition(id) else { continue };
            if let Some(time) = partition.earliest() {
                self.wake.add(time, id);
            } else if !(keeps_count && partition.saved) {
                let partition = self.partitions[id as usize].take().expect("it has just been seen");
                self.put_back(id, partition);
            }
        }
    }
}
