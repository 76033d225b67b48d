//! Arrow arrays → DataRow messages, text and binary, straight into the output buffer.
//!
//! A batch becomes one cursor per column (`cursor.rs`), typed once; rows are then written without intermediate
//! values. Text forms are Postgres' own: clients parse them. `pg_type.rs` says which built-in type a column has.

mod array;
mod cursor;
mod datetime;
mod float;
mod interval;
mod number;
mod numeric;
pub mod pg_type;
mod record;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};
use pgwire::messages::data::MESSAGE_TYPE_BYTE_DATA_ROW;
use types::{SqlState, ToSqlState};

pub use cursor::Cursor;

/// How a value travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
    /// `jsonb` in binary: a version byte before the text.
    BinaryJsonb,
    /// `uuid` in binary: its 16 bytes.
    BinaryUuid,
}

impl Format {
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary | Format::BinaryJsonb | Format::BinaryUuid => 1,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("values of type {0} cannot be sent to a client")]
    Unsupported(DataType),
    #[error("{0} out of range")]
    OutOfRange(&'static str),
    #[error("multidimensional arrays must have sub-arrays with matching dimensions")]
    RaggedArray,
    #[error("row is too large for one message")]
    RowTooLarge,
    #[error("value cannot be converted for the client")]
    Conversion(#[source] arrow::error::ArrowError),
}

impl ToSqlState for EncodeError {
    fn sql_state(&self) -> SqlState {
        match self {
            EncodeError::Unsupported(_) => SqlState::FeatureNotSupported,
            EncodeError::OutOfRange(_) => SqlState::DatetimeFieldOverflow,
            EncodeError::RaggedArray => SqlState::DataException,
            EncodeError::RowTooLarge => SqlState::ProgramLimitExceeded,
            EncodeError::Conversion(_) => SqlState::NumericValueOutOfRange,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            EncodeError::Unsupported(_) => Some("Cast the column to text or to a scalar type.".to_owned()),
            EncodeError::OutOfRange(_)
            | EncodeError::RaggedArray
            | EncodeError::RowTooLarge
            | EncodeError::Conversion(_) => None,
        }
    }
}

/// Encodes the rows of one batch. Owns what it needs: it outlives the batch in a suspended portal.
pub struct RowEncoder {
    columns: Vec<(Cursor, Format)>,
    rows: usize,
}

impl RowEncoder {
    /// `formats`: one per column.
    pub fn new(batch: &RecordBatch, formats: &[Format]) -> Result<RowEncoder, EncodeError> {
        assert_eq!(batch.num_columns(), formats.len(), "one format per column");
        let cursors = batch.columns().iter().map(Cursor::new);
        let columns = cursors.zip(formats).map(|(cursor, &format)| Ok((cursor?, format))).collect::<Result<_, _>>()?;
        Ok(RowEncoder { columns, rows: batch.num_rows() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends DataRow messages for the rows `start..end`, but stops once `out` holds `bytes_max`.
    /// Returns the row after the last one written. On error `out` is as long as the last whole row.
    pub fn data_rows(
        &self,
        start: usize,
        end: usize,
        out: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<usize, EncodeError> {
        let mut row = start;
        while row < end && out.len() < bytes_max {
            let message = out.len();
            if let Err(error) = self.data_row(row, out) {
                out.truncate(message);
                return Err(error);
            }
            row += 1;
        }
        Ok(row)
    }

    fn data_row(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(MESSAGE_TYPE_BYTE_DATA_ROW);
        with_length(out, true, |out| {
            out.put_u16(u16::try_from(self.columns.len()).map_err(|_| EncodeError::RowTooLarge)?);
            self.columns.iter().try_for_each(|(cursor, format)| cursor.field(row, *format, out))
        })
    }

    /// The values of one row in text form: `each` gets the column's number and the text, `None` for NULL.
    pub fn text_fields(
        &self,
        row: usize,
        scratch: &mut BytesMut,
        mut each: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<(), EncodeError> {
        for (column, (cursor, _)) in self.columns.iter().enumerate() {
            if cursor.is_null(row) {
                each(column, None);
            } else {
                scratch.clear();
                cursor.text(row, scratch)?;
                each(column, Some(scratch));
            }
        }
        Ok(())
    }
}

/// Writes a 4-byte length and what `write` appends; the length counts itself if `inclusive`.
fn with_length(
    out: &mut BytesMut,
    inclusive: bool,
    write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = out.len();
    out.put_i32(0);
    write(out)?;
    let length = out.len() - at - if inclusive { 0 } else { 4 };
    let length = i32::try_from(length).map_err(|_| EncodeError::RowTooLarge)?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
