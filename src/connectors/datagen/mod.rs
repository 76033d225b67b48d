//! Connector `datagen`: rows made up column by column, sequences or random values. Options carry RisingWave's names.
//!
//! Row n of the imaginary stream goes to split n mod splits. A value depends on (seed, n) only, so the same position
//! always gives the same row. The stream ends with its shortest sequence that has an `end`.

mod column;

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::generator::{GeneratorPlan, GeneratorReader, Pace, RowGenerator, resolved_time};
use crate::options::OptionBag;
use crate::{ConnectorError, OpenRequest, SourceConfig, SourceReader};
use column::Column;

const ROWS_PER_SECOND: u64 = 10;
const CHUNK_ROWS: u64 = 16_384;
const SPLITS_MAX: u64 = 1_024;

#[derive(Debug, Clone)]
pub(crate) struct DatagenSource {
    schema: SchemaRef,
    columns: Vec<Column>,
    splits: u64,
    rows: Option<u64>,
    pace: Option<Pace>,
}

impl DatagenSource {
    /// Takes the options; adds to `resolved` the moment of creation, from which times and pacing count.
    pub fn take(
        bag: &mut OptionBag,
        schema: SchemaRef,
        resolved: &mut Vec<(String, String)>,
    ) -> Result<Self, ConnectorError> {
        let rate = bag.parsed("datagen.rows.per.second", "an integer from 0 (no limit) to 1000000000", |v| {
            v.parse::<u64>().ok().filter(|n| *n <= 1_000_000_000)
        })?;
        let rate = rate.unwrap_or(ROWS_PER_SECOND);
        let splits = bag.parsed("datagen.split.num", "an integer from 1 to 1024", |v| {
            v.parse().ok().filter(|n| (1..=SPLITS_MAX).contains(n))
        })?;
        let start_us = resolved_time(bag, "datagen.start.time", true, 0, resolved)?;
        let gap_ns = 1_000_000_000u64.checked_div(rate).unwrap_or(0);
        let columns = schema.fields().iter().enumerate();
        let columns = columns.map(|(index, field)| Column::take(bag, index, field, start_us, gap_ns));
        let columns: Vec<Column> = columns.collect::<Result<_, _>>()?;
        let rows = columns.iter().filter_map(Column::rows_max).min();
        let pace = (gap_ns > 0).then_some(Pace { start_us, gap_ns });
        Ok(DatagenSource { schema, columns, splits: splits.unwrap_or(1), rows, pace })
    }
}

impl SourceConfig for DatagenSource {
    fn connector(&self) -> &str {
        "datagen"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn bounded(&self) -> bool {
        self.rows.is_some()
    }

    fn validate(&self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn open(&self, request: OpenRequest) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let schema = Arc::new(self.schema.project(&request.projection).expect("columns of the schema"));
        let columns = request.projection.iter().map(|column| self.columns[*column].clone()).collect();
        let plan = GeneratorPlan {
            generator: Rows { columns, schema, splits: self.splits },
            splits: self.splits,
            events: self.rows,
            pace: self.pace,
            chunk_rows: CHUNK_ROWS,
        };
        Ok(Box::new(GeneratorReader::open(plan, &request)?))
    }
}

struct Rows {
    columns: Vec<Column>,
    schema: SchemaRef,
    splits: u64,
}

impl RowGenerator for Rows {
    fn generate(&mut self, split: u64, from: u64, to: u64) -> RecordBatch {
        let numbers: Vec<u64> = (from..to).map(|row| self.event_of(split, row)).collect();
        let arrays = self.columns.iter().map(|column| column.values(&numbers)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("columns give the types of the schema")
    }

    fn event_of(&self, split: u64, row: u64) -> u64 {
        row.saturating_mul(self.splits).saturating_add(split)
    }

    fn rows_before(&self, split: u64, event: u64) -> u64 {
        event.saturating_sub(split).div_ceil(self.splits)
    }
}

#[cfg(test)]
mod tests;
