//! One column of a batch, typed once, read by row.
//!
//! Rare types are converted to the nearest wire type as whole arrays first, so that the per-value match stays short.

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, *};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::*;
use bytes::{BufMut, BytesMut};

use super::array::{Lists, Spans};
use super::datetime::{date_binary, date_text, instant_text, time_text, timestamp_binary, timestamp_text};
use super::float::{put_f32, put_f64};
use super::interval::Interval;
use super::number::{U128_DIGITS, put_i64, u128_digits};
use super::numeric::Digits;
use super::record::Records;
use super::{EncodeError, Format, pg_type, with_length};

pub struct Cursor {
    nulls: Option<NullBuffer>,
    pub(super) values: Values,
}

pub(super) enum Values {
    Null,
    Bool(BooleanArray),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    /// Only OIDs are unsigned.
    Oid(UInt32Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Decimal128(Decimal128Array, i8),
    Decimal256(Decimal256Array, i8),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Bytes(BinaryArray),
    LargeBytes(LargeBinaryArray),
    BytesView(BinaryViewArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    /// With the zone in which it is shown.
    Instant(TimestampMicrosecondArray, Tz),
    Interval(IntervalMonthDayNanoArray),
    Duration(DurationMicrosecondArray),
    List(Lists),
    Record(Records),
}

impl Cursor {
    pub fn new(array: &ArrayRef) -> Result<Cursor, EncodeError> {
        let array = match wire_type(array.data_type()) {
            Some(target) => convert(array, &target)?,
            None => array.clone(),
        };
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean().clone()),
            DataType::Int16 => Values::Int16(array.as_primitive().clone()),
            DataType::Int32 => Values::Int32(array.as_primitive().clone()),
            DataType::Int64 => Values::Int64(array.as_primitive().clone()),
            DataType::UInt32 => Values::Oid(array.as_primitive().clone()),
            DataType::Float32 => Values::Float32(array.as_primitive().clone()),
            DataType::Float64 => Values::Float64(array.as_primitive().clone()),
            DataType::Decimal128(_, scale) => Values::Decimal128(array.as_primitive().clone(), *scale),
            DataType::Decimal256(_, scale) => Values::Decimal256(array.as_primitive().clone(), *scale),
            DataType::Utf8 => Values::Text(array.as_string().clone()),
            DataType::LargeUtf8 => Values::LargeText(array.as_string().clone()),
            DataType::Utf8View => Values::TextView(array.as_string_view().clone()),
            DataType::Binary => Values::Bytes(array.as_binary().clone()),
            DataType::LargeBinary => Values::LargeBytes(array.as_binary().clone()),
            DataType::BinaryView => Values::BytesView(array.as_binary_view().clone()),
            DataType::Date32 => Values::Date(array.as_primitive().clone()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(array.as_primitive().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Values::Timestamp(array.as_primitive().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
                Values::Instant(array.as_primitive().clone(), zone.parse().map_err(EncodeError::Conversion)?)
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Values::Interval(array.as_primitive().clone()),
            DataType::Duration(TimeUnit::Microsecond) => Values::Duration(array.as_primitive().clone()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(lists(Spans::Small(list.offsets().clone()), list.values())?)
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                Values::List(lists(Spans::Large(list.offsets().clone()), list.values())?)
            }
            DataType::Struct(_) => {
                let fields = array.as_struct().columns().iter();
                let fields = fields.map(|field| Ok((pg_type::oid(field.data_type()), Cursor::new(field)?)));
                Values::Record(Records { fields: fields.collect::<Result<_, EncodeError>>()? })
            }
            other => return Err(EncodeError::Unsupported(other.clone())),
        };
        Ok(Cursor { nulls: array.logical_nulls(), values })
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The value with its length; −1 for NULL.
    pub fn field(&self, row: usize, format: Format, out: &mut BytesMut) -> Result<(), EncodeError> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        with_length(out, false, |out| match format {
            Format::Text => self.text(row, out),
            Format::Binary => self.binary(row, out),
            Format::BinaryJsonb => {
                // The version of the format.
                out.put_u8(1);
                self.binary(row, out)
            }
            Format::BinaryUuid => self.uuid(row, out),
        })
    }

    /// The 16 bytes that the text of a UUID stands for.
    fn uuid(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut text = BytesMut::new();
        self.text(row, &mut text)?;
        let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_hexdigit).collect();
        let digits = std::str::from_utf8(&digits).unwrap_or_default();
        let value = u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32);
        out.put_u128(value.ok_or(EncodeError::OutOfRange("uuid"))?);
        Ok(())
    }

    /// The value in text form; the row must not be NULL.
    pub fn text(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        match &self.values {
            Values::Null => unreachable!("every row of a null array is NULL"),
            Values::Bool(array) => out.put_u8(if array.value(row) { b't' } else { b'f' }),
            Values::Int16(array) => put_i64(i64::from(array.value(row)), out),
            Values::Int32(array) => put_i64(i64::from(array.value(row)), out),
            Values::Int64(array) => put_i64(array.value(row), out),
            Values::Oid(array) => put_i64(i64::from(array.value(row)), out),
            Values::Float32(array) => put_f32(array.value(row), out),
            Values::Float64(array) => put_f64(array.value(row), out),
            Values::Decimal128(array, scale) => decimal128(array.value(row), *scale, |digits| digits.text(out)),
            Values::Decimal256(array, scale) => decimal256(array.value(row), *scale, |digits| digits.text(out)),
            Values::Text(array) => out.put_slice(array.value(row).as_bytes()),
            Values::LargeText(array) => out.put_slice(array.value(row).as_bytes()),
            Values::TextView(array) => out.put_slice(array.value(row).as_bytes()),
            Values::Bytes(array) => put_hex(array.value(row), out),
            Values::LargeBytes(array) => put_hex(array.value(row), out),
            Values::BytesView(array) => put_hex(array.value(row), out),
            Values::Date(array) => date_text(array.value(row), out),
            Values::Time(array) => time_text(array.value(row), out),
            Values::Timestamp(array) => timestamp_text(array.value(row), out),
            Values::Instant(array, zone) => instant_text(array.value(row), *zone, out),
            Values::Interval(array) => interval(array.value(row)).text(out),
            Values::Duration(array) => Interval::of_micros(array.value(row)).text(out),
            Values::List(lists) => return lists.text(row, out),
            Values::Record(records) => return records.text(row, out),
        }
        Ok(())
    }

    /// The value in binary form, without its length; the row must not be NULL.
    pub fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        match &self.values {
            Values::Null => unreachable!("every row of a null array is NULL"),
            Values::Bool(array) => out.put_u8(u8::from(array.value(row))),
            Values::Int16(array) => out.put_i16(array.value(row)),
            Values::Int32(array) => out.put_i32(array.value(row)),
            Values::Int64(array) => out.put_i64(array.value(row)),
            Values::Oid(array) => out.put_u32(array.value(row)),
            Values::Float32(array) => out.put_f32(array.value(row)),
            Values::Float64(array) => out.put_f64(array.value(row)),
            Values::Decimal128(array, scale) => decimal128(array.value(row), *scale, |digits| digits.binary(out)),
            Values::Decimal256(array, scale) => decimal256(array.value(row), *scale, |digits| digits.binary(out)),
            Values::Text(array) => out.put_slice(array.value(row).as_bytes()),
            Values::LargeText(array) => out.put_slice(array.value(row).as_bytes()),
            Values::TextView(array) => out.put_slice(array.value(row).as_bytes()),
            Values::Bytes(array) => out.put_slice(array.value(row)),
            Values::LargeBytes(array) => out.put_slice(array.value(row)),
            Values::BytesView(array) => out.put_slice(array.value(row)),
            Values::Date(array) => return date_binary(array.value(row), out),
            Values::Time(array) => out.put_i64(array.value(row)),
            Values::Timestamp(array) | Values::Instant(array, _) => return timestamp_binary(array.value(row), out),
            Values::Interval(array) => interval(array.value(row)).binary(out),
            Values::Duration(array) => Interval::of_micros(array.value(row)).binary(out),
            Values::List(lists) => return lists.binary(row, out),
            Values::Record(records) => return records.binary(row, out),
        }
        Ok(())
    }
}

/// The type to convert to before sending, for types that have no cursor of their own.
fn wire_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Interval(unit) if *unit != IntervalUnit::MonthDayNano => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Duration(unit) if *unit != TimeUnit::Microsecond => DataType::Duration(TimeUnit::Microsecond),
        DataType::FixedSizeList(element, _) | DataType::ListView(element) => DataType::List(element.clone()),
        DataType::LargeListView(element) => DataType::LargeList(element.clone()),
        DataType::Dictionary(_, value) => wire_type(value).unwrap_or_else(|| value.as_ref().clone()),
        DataType::RunEndEncoded(_, value) => wire_type(value.data_type()).unwrap_or_else(|| value.data_type().clone()),
        _ => return None,
    })
}

fn convert(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, EncodeError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, target, &options).map_err(EncodeError::Conversion)
}

fn lists(spans: Spans, elements: &ArrayRef) -> Result<Lists, EncodeError> {
    let elements_type = pg_type::oid(elements.data_type());
    let element_oid = pg_type::element_of(elements_type).unwrap_or(elements_type);
    Ok(Lists { spans, elements: Box::new(Cursor::new(elements)?), element_oid })
}

fn decimal128(value: i128, scale: i8, with: impl FnOnce(Digits<'_>)) {
    let mut digits = [0; U128_DIGITS];
    let digits = u128_digits(value.unsigned_abs(), &mut digits);
    with(Digits { negative: value < 0, digits, scale });
}

fn decimal256(value: i256, scale: i8, with: impl FnOnce(Digits<'_>)) {
    let text = value.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    with(Digits { negative: value.is_negative(), digits: digits.as_bytes(), scale });
}

fn interval(value: IntervalMonthDayNano) -> Interval {
    Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1_000 }
}

fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + bytes.len() * 2);
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}
