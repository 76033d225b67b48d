//! Parquet: columnar files, read by projection; a position is a row number. Types are converted to the declared ones
//! where no value can change by it; anything else is refused when the source is created.

use std::fs::File;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};

use super::match_name;
use super::rows::type_name;
use crate::ConnectorError;

/// Batches of wide rows are cut to about this, but not below so many rows.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
const BATCH_ROWS_MIN: u64 = 1_024;

/// An open file whose footer was read.
pub(crate) struct ParquetFile {
    path: String,
    file: File,
    metadata: ArrowReaderMetadata,
}

/// Reads rows [from, to) of one file.
pub(crate) struct ParquetRows {
    path: String,
    reader: Option<ParquetRecordBatchReader>,
    /// Column of the batches for each output column.
    sources: Vec<usize>,
    schema: SchemaRef,
    bytes_per_row: u64,
}

impl ParquetFile {
    /// Reads the footer of `file`, which was opened at `path`. Errors: `Corrupt` if there is no valid one (yet).
    pub fn open(path: &str, file: File) -> Result<Self, ConnectorError> {
        // The schema in the footer is Parquet's own: no hints of the writer change how types are read.
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let metadata = metadata.map_err(|error| corrupt(path, error))?;
        Ok(ParquetFile { path: path.to_string(), file, metadata })
    }

    pub fn row_count(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows() as u64
    }

    /// Checks that every declared column is there with a type that can be converted.
    pub fn check(&self, declared: &SchemaRef) -> Result<(), ConnectorError> {
        declared.fields().iter().try_for_each(|field| self.find(field).map(drop))
    }

    /// Index of the file's root column for a declared one.
    fn find(&self, field: &Field) -> Result<usize, ConnectorError> {
        let columns = self.metadata.schema().fields();
        let at = match_name(columns.iter().map(|f| f.name().as_str()), field.name());
        let at = at.ok_or_else(|| ConnectorError::MissingColumn {
            column: field.name().clone(),
            path: self.path.clone(),
            found: columns.iter().map(|column| column.name().as_str()).collect::<Vec<_>>().join(", "),
        })?;
        let found = columns[at].data_type();
        if !convertible(found, field.data_type()) {
            return Err(ConnectorError::ColumnType {
                column: field.name().clone(),
                data_type: type_name(field.data_type()),
                expected: format!("{}, as it is in \"{}\"", declared_type(found), self.path),
            });
        }
        Ok(at)
    }

    /// Rows [from, to) of the columns of `schema`, in its order.
    pub fn rows(self, schema: SchemaRef, from: u64, to: u64, batch_rows: usize) -> Result<ParquetRows, ConnectorError> {
        let roots: Vec<usize> = schema.fields().iter().map(|f| self.find(f)).collect::<Result<_, _>>()?;
        let mut sorted = roots.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let position = |root: &usize| sorted.binary_search(root).expect("sorted holds every root");
        let sources = roots.iter().map(position).collect();
        let groups = self.metadata.metadata().row_groups();
        // Row groups that end before `from` aren't opened at all.
        let mut skipped = 0;
        let first = groups.iter().take_while(|group| {
            let inside = skipped + group.num_rows() as u64 <= from;
            skipped += if inside { group.num_rows() as u64 } else { 0 };
            inside
        });
        let first = first.count();
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), sorted.iter().copied());
        let leaves = (0..self.metadata.parquet_schema().num_columns()).filter(|leaf| mask.leaf_included(*leaf));
        let leaves: Vec<usize> = leaves.collect();
        let compressed: i64 =
            groups.iter().flat_map(|group| leaves.iter().map(|leaf| group.column(*leaf).compressed_size())).sum();
        let bytes_per_row = (compressed.max(0) as u64).div_ceil(self.row_count().max(1));
        let size: i64 =
            groups.iter().flat_map(|group| leaves.iter().map(|leaf| group.column(*leaf).uncompressed_size())).sum();
        let row_size = (size.max(0) as u64 / self.row_count().max(1)).max(1);
        let batch_rows = batch_rows.min((BATCH_BYTES / row_size).max(BATCH_ROWS_MIN) as usize);
        let group_count = groups.len();
        let reader = if from < to {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
                .with_projection(mask)
                .with_batch_size(batch_rows)
                .with_row_groups((first..group_count).collect())
                .with_offset((from - skipped) as usize)
                .with_limit((to - from) as usize);
            Some(builder.build().map_err(|error| corrupt(&self.path, error))?)
        } else {
            None
        };
        Ok(ParquetRows { path: self.path, reader, sources, schema, bytes_per_row })
    }
}

impl ParquetRows {
    /// The next batch and about how many bytes of the file it took.
    pub fn next(&mut self) -> Result<Option<(RecordBatch, u64)>, ConnectorError> {
        let Some(batch) = self.reader.as_mut().and_then(Iterator::next) else { return Ok(None) };
        let batch = batch.map_err(|error| corrupt(&self.path, error))?;
        let convert = |(field, source): (&std::sync::Arc<Field>, &usize)| -> Result<ArrayRef, ConnectorError> {
            let options = CastOptions { safe: false, ..Default::default() };
            cast_with_options(batch.column(*source), field.data_type(), &options)
                .map_err(|error| corrupt(&self.path, error))
        };
        let columns = self.schema.fields().iter().zip(&self.sources).map(convert).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .expect("columns were converted to the types of the schema");
        let bytes = self.bytes_per_row * rows.num_rows() as u64;
        Ok(Some((rows, bytes)))
    }
}

fn corrupt(path: &str, error: impl std::fmt::Display) -> ConnectorError {
    ConnectorError::Corrupt { path: path.to_string(), format: "Parquet", reason: error.to_string() }
}

/// True if no value changes its meaning on the way from `from` to `to`. Sub-microsecond digits are cut.
fn convertible(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (from, to) if from == to => true,
        (Int8 | UInt8, Int16) | (Int8 | Int16 | UInt8 | UInt16, Int32) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Int64) => true,
        (Float16, Float32) | (Float16 | Float32, Float64) => true,
        (Int8 | Int16 | UInt8 | UInt16, Float32) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Float64) => true,
        (Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32, Decimal128(..)) => true,
        (Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s), Decimal128(precision, scale)) => {
            s <= scale && i16::from(*p) - i16::from(*s) <= i16::from(*precision) - i16::from(*scale)
        }
        // Text written without a mark that it is text.
        (LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView, Utf8) => true,
        (LargeBinary | BinaryView | FixedSizeBinary(_), Binary) => true,
        (Dictionary(_, values), to) => convertible(values, to),
        (Time32(_) | Time64(_), Time64(TimeUnit::Microsecond)) => true,
        (Timestamp(..), Timestamp(TimeUnit::Microsecond, _)) => true,
        (Date32, Timestamp(TimeUnit::Microsecond, None)) => true,
        _ => false,
    }
}

/// The type to declare for a file's column.
fn declared_type(found: &DataType) -> String {
    use DataType::*;
    let declared = match found {
        Int8 | UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        Float16 => Float32,
        Decimal32(precision, scale) | Decimal64(precision, scale) => Decimal128(*precision, *scale),
        LargeUtf8 | Utf8View => Utf8,
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Dictionary(_, values) => return declared_type(values),
        Timestamp(_, zone) => Timestamp(TimeUnit::Microsecond, zone.clone()),
        Time32(_) => Time64(TimeUnit::Microsecond),
        other => other.clone(),
    };
    type_name(&declared)
}
