//! Rows of a top-N as bytes whose order is the order asked for, and back.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use types::canonical;

use crate::OperatorError;
use crate::spec::TopNSpec;

/// Rows as bytes and back.
pub(super) struct Encoding {
    /// `None`: one partition.
    pub partition: Option<RowConverter>,
    /// Order columns with their options, then all columns.
    pub row: RowConverter,
    pub partition_columns: Vec<usize>,
    pub row_columns: Vec<usize>,
    order_columns: usize,
}

impl Encoding {
    pub fn new(spec: &TopNSpec) -> Result<Self, OperatorError> {
        let field = |column: usize| SortField::new(spec.input.field(column).data_type().clone());
        let partition = match spec.partition_by.is_empty() {
            true => None,
            false => Some(RowConverter::new(spec.partition_by.iter().map(|c| field(*c)).collect())?),
        };
        let ordered = spec.order_by.iter().map(|o| {
            let options = SortOptions { descending: o.descending, nulls_first: o.nulls_first };
            SortField::new_with_options(spec.input.field(o.column).data_type().clone(), options)
        });
        let all = 0..spec.input.fields().len();
        Ok(Encoding {
            partition,
            row: RowConverter::new(ordered.chain(all.clone().map(field)).collect())?,
            partition_columns: spec.partition_by.clone(),
            row_columns: spec.order_by.iter().map(|o| o.column).chain(all).collect(),
            order_columns: spec.order_by.len(),
        })
    }

    pub fn decode<'a>(
        &self,
        schema: &SchemaRef,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Result<RecordBatch, OperatorError> {
        let parser = self.row.parser();
        let columns = self.row.convert_rows(rows.map(|bytes| parser.parse(bytes)))?.split_off(self.order_columns);
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

/// Columns in the form that is encoded.
pub(super) fn pick(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|c| canonical(batch.column(*c))).collect()
}
