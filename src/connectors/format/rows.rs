//! Rows under construction: one growing column per decoded column, filled field by field from text.
//! Separate from Arrow's builders because a row that turns out malformed half-way is taken back.
//! Invariant between rows: every column has `row_count` values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, NullBufferBuilder, RecordBatch, RecordBatchOptions, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, SchemaRef, TimeUnit};
use types::SqlState;
use types::limits::SOURCE_ERROR_BYTES_MAX;

use super::text;
use crate::{ConnectorError, RecordError};

/// Why a record can't be decoded. From plain text: its form is not the format's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub state: SqlState,
    pub reason: String,
}

impl From<String> for Malformed {
    fn from(reason: String) -> Self {
        Malformed { state: SqlState::BadCopyFileFormat, reason }
    }
}

impl From<&str> for Malformed {
    fn from(reason: &str) -> Self {
        reason.to_string().into()
    }
}

impl Malformed {
    pub fn invalid_utf8() -> Self {
        Malformed { state: SqlState::CharacterNotInRepertoire, reason: "invalid UTF-8".into() }
    }
}

/// Decoded rows with the position of each, and the records that could not be decoded.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    /// Columns that are given; the others are only checked.
    shown: Vec<usize>,
    pub positions: Vec<u64>,
    pub errors: Vec<RecordError>,
}

impl RowBuilder {
    /// `schema` is that of the decoded columns. Errors: `ColumnType` for a type that can't be read from text.
    pub fn new(schema: SchemaRef, shown: Vec<usize>) -> Result<Self, ConnectorError> {
        let columns = schema.fields().iter().map(|f| ColumnBuilder::new(f.name(), f.data_type()));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(RowBuilder { schema, columns, shown, positions: vec![], errors: vec![] })
    }

    pub fn row_count(&self) -> usize {
        self.positions.len()
    }

    /// Adds the value of `column` to the open row. A second value for the same column replaces the first.
    /// On `Err` the reason; the caller then takes the row back with [`fail_row`](Self::fail_row).
    #[inline]
    pub fn set_text(&mut self, column: usize, text: &[u8]) -> Result<(), Malformed> {
        let row = self.positions.len();
        let builder = &mut self.columns[column];
        if builder.len() > row {
            builder.truncate(row);
        }
        builder.push_text(text).ok_or_else(|| self.invalid(column, text))
    }

    /// As `set_text` for a timestamp column whose value is known.
    pub fn set_timestamp(&mut self, column: usize, micros: i64) {
        let row = self.positions.len();
        let builder = &mut self.columns[column];
        builder.truncate(row);
        let Values::Timestamp { values, .. } = &mut builder.values else { panic!("not a timestamp column") };
        values.push(micros);
        builder.nulls.append_non_null();
    }

    pub fn set_null(&mut self, column: usize) {
        let row = self.positions.len();
        let builder = &mut self.columns[column];
        builder.truncate(row);
        builder.push_null();
    }

    pub fn is_set(&self, column: usize) -> bool {
        self.columns[column].len() > self.positions.len()
    }

    pub fn data_type(&self, column: usize) -> &DataType {
        self.schema.field(column).data_type()
    }

    /// Closes the open row; columns without a value become NULL.
    #[inline]
    pub fn finish_row(&mut self, position: u64) {
        let row = self.positions.len();
        for column in &mut self.columns {
            if column.len() == row {
                column.push_null();
            }
        }
        self.positions.push(position);
    }

    /// Takes back the open row.
    pub fn abandon_row(&mut self) {
        let row = self.positions.len();
        self.columns.iter_mut().for_each(|column| column.truncate(row));
    }

    /// Takes back the open row and records why.
    pub fn fail_row(&mut self, position: u64, why: Malformed, raw: &[u8]) {
        self.abandon_row();
        let raw = raw[..raw.len().min(SOURCE_ERROR_BYTES_MAX)].to_vec();
        let Malformed { state, reason } = why;
        self.errors.push(RecordError { position, state, reason, raw });
    }

    /// The rows so far as a batch; the builder is empty afterwards.
    pub fn finish(&mut self) -> (RecordBatch, Vec<u64>, Vec<RecordError>) {
        let options = RecordBatchOptions::new().with_row_count(Some(self.positions.len()));
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("columns have the types of the schema and one length");
        let rows = rows.project(&self.shown).expect("what is shown was decoded");
        (rows, std::mem::take(&mut self.positions), std::mem::take(&mut self.errors))
    }

    #[cold]
    pub fn invalid(&self, column: usize, text: &[u8]) -> Malformed {
        let field = self.schema.field(column);
        let shown = String::from_utf8_lossy(&text[..text.len().min(100)]);
        let (name, expected) = (field.name(), type_name(field.data_type()));
        let reason = format!("invalid value \"{shown}\" for column \"{name}\" of type {expected}");
        Malformed { state: SqlState::InvalidTextRepresentation, reason }
    }
}

/// True if values of this type can be read from text.
pub(crate) fn readable(name: &str, data_type: &DataType) -> Result<(), ConnectorError> {
    ColumnBuilder::new(name, data_type).map(drop)
}

/// The name users know.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 => "text".into(),
        DataType::Binary => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time without time zone".into(),
        DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::List(element) => format!("{}[]", type_name(element.data_type())),
        other => other.to_string(),
    }
}

#[derive(Debug)]
struct ColumnBuilder {
    values: Values,
    nulls: NullBufferBuilder,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128 { values: Vec<i128>, precision: u8, scale: i8 },
    Utf8(Bytes),
    Binary(Bytes),
    Date32(Vec<i32>),
    Time64(Vec<i64>),
    Timestamp { values: Vec<i64>, zone: Option<Arc<str>> },
}

#[derive(Debug)]
struct Bytes {
    ends: Vec<i32>,
    data: Vec<u8>,
}

impl Bytes {
    fn new() -> Self {
        Bytes { ends: vec![0], data: vec![] }
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = i32::try_from(self.data.len() + bytes.len()).ok()?;
        self.data.extend_from_slice(bytes);
        self.ends.push(end);
        Some(())
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len + 1);
        self.data.truncate(self.ends[len] as usize);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let mut room = Bytes { ends: Vec::with_capacity(self.ends.len()), data: Vec::with_capacity(self.data.len()) };
        room.ends.push(0);
        let taken = std::mem::replace(self, room);
        (OffsetBuffer::new(taken.ends.into()), Buffer::from_vec(taken.data))
    }
}

impl ColumnBuilder {
    fn new(name: &str, data_type: &DataType) -> Result<Self, ConnectorError> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int16 => Values::Int16(vec![]),
            DataType::Int32 => Values::Int32(vec![]),
            DataType::Int64 => Values::Int64(vec![]),
            DataType::Float32 => Values::Float32(vec![]),
            DataType::Float64 => Values::Float64(vec![]),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal128 { values: vec![], precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Values::Utf8(Bytes::new()),
            DataType::Binary => Values::Binary(Bytes::new()),
            DataType::Date32 => Values::Date32(vec![]),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time64(vec![]),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp { values: vec![], zone: zone.clone() }
            }
            other => {
                return Err(ConnectorError::ColumnType {
                    column: name.to_string(),
                    data_type: type_name(other),
                    expected: "boolean, smallint, integer, bigint, real, double precision, numeric, varchar, bytea, \
                               date, time, timestamp or timestamptz"
                        .into(),
                });
            }
        };
        Ok(ColumnBuilder { values, nulls: NullBufferBuilder::new(0) })
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    #[inline]
    fn push_text(&mut self, text: &[u8]) -> Option<()> {
        match &mut self.values {
            Values::Boolean(values) => values.append(text::parse_boolean(text)?),
            Values::Int16(values) => values.push(i16::try_from(integral(text)?).ok()?),
            Values::Int32(values) => values.push(i32::try_from(integral(text)?).ok()?),
            Values::Int64(values) => values.push(integral(text)?),
            Values::Float32(values) => {
                let value = text::parse_float(text)?;
                // Out of range is an error, as in Postgres; infinity as a word is not.
                let narrow = value as f32;
                values.push(Some(narrow).filter(|n| n.is_finite() || !value.is_finite())?);
            }
            Values::Float64(values) => values.push(text::parse_float(text)?),
            Values::Decimal128 { values, precision, scale } => {
                values.push(text::parse_decimal(text, *precision, *scale)?.0);
            }
            Values::Utf8(bytes) => bytes.push(text)?,
            Values::Binary(bytes) => match text.strip_prefix(b"\\x") {
                Some(hex) => bytes.push(&from_hex(hex)?)?,
                None => bytes.push(text)?,
            },
            Values::Date32(values) => values.push(text::parse_date(text)?),
            Values::Time64(values) => values.push(text::parse_time(text)?),
            Values::Timestamp { values, .. } => values.push(text::parse_timestamp(text)?),
        }
        self.nulls.append_non_null();
        Some(())
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date32(values) => values.push(0),
            Values::Int64(values) | Values::Time64(values) | Values::Timestamp { values, .. } => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal128 { values, .. } => values.push(0),
            Values::Utf8(bytes) | Values::Binary(bytes) => bytes.ends.push(bytes.data.len() as i32),
        }
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        if self.len() <= len {
            return;
        }
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int16(values) => values.truncate(len),
            Values::Int32(values) | Values::Date32(values) => values.truncate(len),
            Values::Int64(values) | Values::Time64(values) | Values::Timestamp { values, .. } => values.truncate(len),
            Values::Float32(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Decimal128 { values, .. } => values.truncate(len),
            Values::Utf8(bytes) | Values::Binary(bytes) => bytes.truncate(len),
        }
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(take(values), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(take(values), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(take(values), nulls)),
            Values::Float32(values) => Arc::new(Float32Array::new(take(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(take(values), nulls)),
            Values::Decimal128 { values, precision, scale } => Arc::new(
                Decimal128Array::new(take(values), nulls)
                    .with_precision_and_scale(*precision, *scale)
                    .expect("the declared type is valid"),
            ),
            Values::Utf8(bytes) => {
                let (offsets, data) = bytes.take();
                Arc::new(StringArray::try_new(offsets, data, nulls).expect("fields are checked to be UTF-8"))
            }
            Values::Binary(bytes) => {
                let (offsets, data) = bytes.take();
                Arc::new(BinaryArray::new(offsets, data, nulls))
            }
            Values::Date32(values) => Arc::new(Date32Array::new(take(values), nulls)),
            Values::Time64(values) => Arc::new(Time64MicrosecondArray::new(take(values), nulls)),
            Values::Timestamp { values, zone } => {
                Arc::new(TimestampMicrosecondArray::new(take(values), nulls).with_timezone_opt(zone.clone()))
            }
        }
    }
}

/// The values; room is kept for as many again.
fn take<T: ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room).into()
}

/// Also `7.0` and `7e2`, as JSON writers have it, but never a fraction.
fn integral(text: &[u8]) -> Option<i64> {
    if let Some(value) = text::parse_integer(text) {
        return Some(value);
    }
    let (value, exact) = text::parse_decimal(text, 38, 0)?;
    i64::try_from(value).ok().filter(|_| exact)
}

fn from_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let (pairs, rest) = hex.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
