//! One Parquet file as a partition. Such a file is complete once its footer is there; it never grows.

use std::fs::File;

use arrow::datatypes::SchemaRef;

use super::content::open_regular;
use super::text_file::Range;
use super::{PartitionReader, Step};
use crate::format::parquet::{ParquetFile, ParquetRows};
use crate::{Chunk, ConnectorError};

/// Rows decoded at once at most: column chunks are wide, and the engine's batches are this long.
const BATCH_ROWS_MAX: usize = 65_536;

pub(super) struct ParquetPartition {
    partition: String,
    path: String,
    schema: SchemaRef,
    position: u64,
    until: Option<u64>,
    follow: bool,
    rows: Option<ParquetRows>,
}

impl ParquetPartition {
    pub fn new(partition: &str, path: &str, schema: SchemaRef, range: Range) -> Self {
        let Range { from, until, follow } = range;
        let (partition, path) = (partition.to_string(), path.to_string());
        ParquetPartition { partition, path, schema, position: from, until, follow, rows: None }
    }

    fn open(&self, rows_max: usize) -> Result<ParquetRows, ConnectorError> {
        let file = ParquetFile::open(&self.path, open_regular(&self.path)?)?;
        let to = self.until.unwrap_or(file.row_count());
        if file.row_count() < self.position.max(to) {
            let position = self.position.max(to);
            return Err(ConnectorError::HistoryLost { partition: self.partition.clone(), position });
        }
        file.rows(self.schema.clone(), self.position, to, rows_max.min(BATCH_ROWS_MAX))
    }
}

impl PartitionReader for ParquetPartition {
    fn read(&mut self, rows_max: usize) -> Result<Step, ConnectorError> {
        if self.rows.is_none() {
            self.rows = match self.open(rows_max) {
                Ok(rows) => Some(rows),
                // Still being written: its footer comes last.
                Err(ConnectorError::Corrupt { .. }) if self.follow && self.until.is_none() => return Ok(Step::Pending),
                Err(error) => return Err(error),
            };
        }
        let rows = self.rows.as_mut().expect("opened above");
        let Some((batch, bytes)) = rows.next()? else { return Ok(Step::End) };
        let from = self.position;
        self.position += batch.num_rows() as u64;
        let positions = (from..self.position).collect();
        let (partition, to) = (self.partition.clone(), self.position);
        Ok(Step::Chunk(Chunk { partition, from, to, rows: batch, positions, errors: vec![], bytes }))
    }

    fn complete(&mut self) {
        self.follow = false;
    }

    fn file(&self) -> Option<&File> {
        None
    }
}
