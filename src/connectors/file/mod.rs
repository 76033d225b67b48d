//! Connector `file` (Flink: `filesystem`): a file, a directory or a glob on the server, read once or followed.
//!
//! One partition per file, named by the path under which it was seen first; a further file that comes to stand there is
//! a partition `path#2`. Positions are byte offsets of records (CSV, JSON lines; decompressed, if need be) or row numbers
//! (Parquet). Without `follow` the files listed at open are read one after the other and the source ends; with it,
//! appended records and new files are delivered as they come (`follow.rs`), and a file is known by what it is
//! (`identity.rs`), not by its name, so rotation neither doubles nor loses rows.

mod content;
mod follow;
mod followed;
mod identity;
mod listing;
mod locate;
mod once;
mod parquet_file;
mod roster;
mod text_file;

use std::fs::File;

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use crate::format::csv::{CsvDecoder, CsvFormat};
use crate::format::json::{JsonDecoder, JsonFormat};
use crate::format::parquet::ParquetFile;
use crate::format::rows::RowBuilder;
use crate::format::{TextDecoder, rows};
use crate::options::OptionBag;
use crate::registry::FormatSpec;
use crate::{Chunk, ConnectorError, OpenRequest, SourceConfig, SourceReader};
use content::{Compression, Content, open_regular};
use listing::Listing;
use parquet_file::ParquetPartition;
use text_file::{Range, TextPartition};

/// Rows per chunk unless the reader is asked for fewer.
const CHUNK_ROWS: usize = 65_536;
/// Files whose contents are looked at when the source is created.
const FILES_CHECKED_MAX: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct FileConfig {
    listing: Listing,
    follow: bool,
    /// `None`: each file says itself.
    compression: Option<Compression>,
    format: FileFormat,
    schema: SchemaRef,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FileFormat {
    Csv(CsvFormat),
    Json(JsonFormat),
    Parquet,
}

impl FileFormat {
    fn take(encode: &str, bag: &mut OptionBag) -> Result<Self, ConnectorError> {
        match encode.to_ascii_uppercase().as_str() {
            "CSV" => Ok(FileFormat::Csv(CsvFormat::take(bag)?)),
            "JSON" => Ok(FileFormat::Json(JsonFormat::take(bag)?)),
            "PARQUET" => Ok(FileFormat::Parquet),
            "" => {
                let (connector, name) = (bag.connector().to_string(), "format".to_string());
                Err(ConnectorError::MissingOption { connector, name })
            }
            _ => Err(unsupported(bag, encode.to_string())),
        }
    }
}

fn unsupported(bag: &OptionBag, format: String) -> ConnectorError {
    ConnectorError::UnsupportedFormat {
        connector: bag.connector().to_string(),
        format,
        known: "PLAIN ENCODE CSV, PLAIN ENCODE JSON, PLAIN ENCODE PARQUET".into(),
    }
}

impl FileConfig {
    /// Takes the options. `format` is the FORMAT … ENCODE clause with its own options; without one the option `format`
    /// (Flink) names the encoding and its options stand among the others.
    pub fn take(bag: &mut OptionBag, format: &FormatSpec, schema: SchemaRef) -> Result<Self, ConnectorError> {
        let listing = Listing::new(bag.required("path")?)?;
        let follow = bag.boolean("follow")?;
        // In Flink naming an interval is what makes the source look for more.
        let monitored = bag.duration_us("source.monitor-interval")?.is_some();
        let compressions = [
            ("auto", None),
            ("none", Some(Compression::None)),
            ("gzip", Some(Compression::Gzip)),
            ("zstd", Some(Compression::Zstd)),
        ];
        let compression = bag.choice("compression", &compressions)?;
        let named = bag.take("format").unwrap_or_default();
        if !matches!(format.format.as_str(), "" | "PLAIN") {
            return Err(unsupported(bag, format!("{} ENCODE {}", format.format, format.encode)));
        }
        let encoded = if format.encode.is_empty() {
            FileFormat::take(&named, bag)?
        } else {
            let mut format_bag = OptionBag::new(bag.connector(), &format.options);
            let encoded = FileFormat::take(&format.encode, &mut format_bag)?;
            format_bag.finish()?;
            encoded
        };
        schema.fields().iter().try_for_each(|f| rows::readable(f.name(), f.data_type()))?;
        if encoded == FileFormat::Parquet && compression.flatten().is_some_and(|named| named != Compression::None) {
            return Err(ConnectorError::InvalidOption {
                name: "compression".into(),
                value: "gzip or zstd".into(),
                expected: "'none' or 'auto' with Parquet, whose files say themselves how they are compressed".into(),
            });
        }
        let follow = follow.unwrap_or(monitored);
        Ok(FileConfig { listing, follow, compression: compression.flatten(), format: encoded, schema })
    }

    fn check(&self, path: &str) -> Result<(), ConnectorError> {
        let file = open_regular(path)?;
        match &self.format {
            FileFormat::Parquet => match ParquetFile::open(path, file) {
                Ok(parquet) => parquet.check(&self.schema),
                // Still being written.
                Err(_) if self.follow => Ok(()),
                Err(error) => Err(error),
            },
            FileFormat::Csv(csv) if csv.header => self.text(path, path, self.whole(), &[])?.begin().map(drop),
            FileFormat::Csv(_) | FileFormat::Json(_) => Ok(()),
        }
    }

    fn whole(&self) -> Range {
        Range { from: 0, until: None, follow: self.follow }
    }

    fn text(
        &self,
        partition: &str,
        path: &str,
        range: Range,
        projection: &[usize],
    ) -> Result<TextPartition, ConnectorError> {
        let (schema, decoded) = (self.schema.clone(), self.decoded(projection));
        let decoder: Box<dyn TextDecoder> = match &self.format {
            FileFormat::Csv(csv) => Box::new(CsvDecoder::new(csv.clone(), path, schema, &decoded)),
            FileFormat::Json(json) => Box::new(JsonDecoder::new(json.clone(), schema, &decoded)),
            FileFormat::Parquet => unreachable!("Parquet is not a text format"),
        };
        let shown = projection.iter().map(|column| decoded.iter().position(|c| c == column).expect("it is decoded"));
        let rows = RowBuilder::new(self.projected(&decoded), shown.collect())?;
        let content = Content::open(path, self.compression)?;
        Ok(TextPartition::new(partition, path, content, decoder, rows, range))
    }

    /// The projected columns, and those whose text can be wrong: whether a record is malformed must not depend on who
    /// reads it. Text itself can't be wrong, the rest of it is checked where records are split.
    fn decoded(&self, projection: &[usize]) -> Vec<usize> {
        let checked = |column: &usize| *self.schema.field(*column).data_type() != DataType::Utf8;
        (0..self.schema.fields().len()).filter(|column| projection.contains(column) || checked(column)).collect()
    }

    fn projected(&self, projection: &[usize]) -> SchemaRef {
        Arc::new(self.schema.project(projection).expect("the projection names columns of the schema"))
    }

    /// Opens the file of `partition`, which stands at `path` now.
    fn partition(
        &self,
        partition: &str,
        path: &str,
        range: Range,
        projection: &[usize],
    ) -> Result<Box<dyn PartitionReader>, ConnectorError> {
        Ok(match &self.format {
            FileFormat::Parquet => Box::new(ParquetPartition::new(partition, path, self.projected(projection), range)),
            FileFormat::Csv(_) | FileFormat::Json(_) => Box::new(self.text(partition, path, range, projection)?),
        })
    }

    /// Whether a position is an offset into the file, so that a file that is shorter cannot be the one that was read.
    fn positions_are_lengths(&self, path: &str) -> bool {
        let plain = |content: Content| matches!(content.length(), Ok(Some(_)));
        match &self.format {
            FileFormat::Parquet => false,
            FileFormat::Csv(_) | FileFormat::Json(_) => Content::open(path, self.compression).is_ok_and(plain),
        }
    }
}

/// One open file.
trait PartitionReader: Send {
    fn read(&mut self, rows_max: usize) -> Result<Step, ConnectorError>;

    /// No bytes will follow those that are there: they are the end.
    fn complete(&mut self);

    /// What is open, if it is kept open between reads.
    fn file(&self) -> Option<&File>;
}

enum Step {
    Chunk(Chunk),
    /// Nothing complete is there now; more may come.
    Pending,
    /// Read to its end, or to `until`.
    End,
}

impl SourceConfig for FileConfig {
    fn connector(&self) -> &str {
        "file"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn bounded(&self) -> bool {
        !self.follow
    }

    fn validate(&self) -> Result<(), ConnectorError> {
        let files = self.listing.list()?;
        if files.is_empty() && !self.follow {
            return Err(ConnectorError::FileNotFound { path: self.listing.path().to_string() });
        }
        files.iter().take(FILES_CHECKED_MAX).try_for_each(|path| self.check(path))
    }

    fn open(&self, request: OpenRequest) -> Result<Box<dyn SourceReader>, ConnectorError> {
        if self.follow && request.until.is_none() {
            return Ok(Box::new(follow::FollowReader::open(self.clone(), request)?));
        }
        Ok(Box::new(once::OnceReader::open(self.clone(), request)?))
    }
}

fn rows_max(request: &OpenRequest) -> usize {
    if request.chunk_rows_max == 0 { CHUNK_ROWS } else { request.chunk_rows_max }
}

#[cfg(test)]
mod tests;
