//! Typed constants in their persisted form, and their way to and from DataFusion's `ScalarValue`, without loss.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, TimeUnit, i256};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion_common::ScalarValue;
use serde::{Deserialize, Serialize};

use crate::KernelError;

/// A typed constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    Null(DataType),
    Boolean(bool),
    /// Any integer, date, time, timestamp or duration type by its storage value.
    Int {
        value: i64,
        data_type: DataType,
    },
    UInt {
        value: u64,
        data_type: DataType,
    },
    /// Bits of the f64 (a float4 is widened), so that NaN and −0 survive.
    Float {
        bits: u64,
        data_type: DataType,
    },
    Utf8(String),
    Binary(Vec<u8>),
    /// `value` is the unscaled integer; a precision above 38 means Decimal256.
    Decimal {
        value: String,
        precision: u8,
        scale: i8,
    },
    Interval {
        months: i32,
        days: i32,
        nanoseconds: i64,
    },
    /// Anything else (lists, structs): a one-row Arrow IPC stream.
    Ipc {
        bytes: Vec<u8>,
        data_type: DataType,
    },
}

/// The persisted form of `value`. Total: what has no variant of its own is stored as Arrow IPC.
pub fn scalar_value_to_literal(value: &ScalarValue) -> Literal {
    use ScalarValue as S;
    let data_type = value.data_type();
    let int = |value: i64| Literal::Int { value, data_type: data_type.clone() };
    let uint = |value: u64| Literal::UInt { value, data_type: data_type.clone() };
    let float = |value: f64| Literal::Float { bits: value.to_bits(), data_type: data_type.clone() };
    if value.is_null() {
        return Literal::Null(data_type);
    }
    match value {
        S::Boolean(Some(v)) => Literal::Boolean(*v),
        S::Int8(Some(v)) => int(*v as i64),
        S::Int16(Some(v)) => int(*v as i64),
        S::Int32(Some(v)) | S::Date32(Some(v)) | S::Time32Second(Some(v)) | S::Time32Millisecond(Some(v)) => {
            int(*v as i64)
        }
        S::Int64(Some(v))
        | S::Date64(Some(v))
        | S::Time64Microsecond(Some(v))
        | S::Time64Nanosecond(Some(v))
        | S::TimestampSecond(Some(v), _)
        | S::TimestampMillisecond(Some(v), _)
        | S::TimestampMicrosecond(Some(v), _)
        | S::TimestampNanosecond(Some(v), _)
        | S::DurationSecond(Some(v))
        | S::DurationMillisecond(Some(v))
        | S::DurationMicrosecond(Some(v))
        | S::DurationNanosecond(Some(v)) => int(*v),
        S::UInt8(Some(v)) => uint(*v as u64),
        S::UInt16(Some(v)) => uint(*v as u64),
        S::UInt32(Some(v)) => uint(*v as u64),
        S::UInt64(Some(v)) => uint(*v),
        S::Float32(Some(v)) => float(*v as f64),
        S::Float64(Some(v)) => float(*v),
        S::Utf8(Some(v)) => Literal::Utf8(v.clone()),
        S::Binary(Some(v)) => Literal::Binary(v.clone()),
        S::Decimal128(Some(v), precision, scale) => {
            Literal::Decimal { value: v.to_string(), precision: *precision, scale: *scale }
        }
        S::Decimal256(Some(v), precision, scale) if *precision > 38 => {
            Literal::Decimal { value: v.to_string(), precision: *precision, scale: *scale }
        }
        S::IntervalMonthDayNano(Some(v)) => {
            Literal::Interval { months: v.months, days: v.days, nanoseconds: v.nanoseconds }
        }
        other => Literal::Ipc { bytes: to_ipc(other), data_type },
    }
}

fn to_ipc(value: &ScalarValue) -> Vec<u8> {
    let array = value.to_array().expect("every scalar has a one-row array");
    let schema = Arc::new(Schema::new(vec![Field::new("value", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).expect("the schema is the array's");
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("writing to memory succeeds");
    writer.write(&batch).expect("writing to memory succeeds");
    writer.into_inner().expect("writing to memory succeeds")
}

impl Literal {
    pub fn data_type(&self) -> DataType {
        match self {
            Literal::Null(data_type)
            | Literal::Int { data_type, .. }
            | Literal::UInt { data_type, .. }
            | Literal::Float { data_type, .. }
            | Literal::Ipc { data_type, .. } => data_type.clone(),
            Literal::Boolean(_) => DataType::Boolean,
            Literal::Utf8(_) => DataType::Utf8,
            Literal::Binary(_) => DataType::Binary,
            Literal::Decimal { precision, scale, .. } if *precision > 38 => DataType::Decimal256(*precision, *scale),
            Literal::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale),
            Literal::Interval { .. } => DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        }
    }

    /// The value as DataFusion has it.
    ///
    /// Errors: `Internal` if the persisted form contradicts itself (a corrupted plan).
    pub fn to_scalar_value(&self) -> Result<ScalarValue, KernelError> {
        use ScalarValue as S;
        let corrupt = || KernelError::internal(format!("stored constant {self:?} does not fit its type"));
        Ok(match self {
            Literal::Null(data_type) => ScalarValue::try_from(data_type).map_err(KernelError::from_planning)?,
            Literal::Boolean(v) => S::Boolean(Some(*v)),
            Literal::Int { value, data_type } => int_scalar(*value, data_type).ok_or_else(corrupt)?,
            Literal::UInt { value, data_type } => match data_type {
                DataType::UInt8 => S::UInt8(Some(u8::try_from(*value).map_err(|_| corrupt())?)),
                DataType::UInt16 => S::UInt16(Some(u16::try_from(*value).map_err(|_| corrupt())?)),
                DataType::UInt32 => S::UInt32(Some(u32::try_from(*value).map_err(|_| corrupt())?)),
                DataType::UInt64 => S::UInt64(Some(*value)),
                _ => return Err(corrupt()),
            },
            Literal::Float { bits, data_type } => match data_type {
                DataType::Float32 => S::Float32(Some(f64::from_bits(*bits) as f32)),
                DataType::Float64 => S::Float64(Some(f64::from_bits(*bits))),
                _ => return Err(corrupt()),
            },
            Literal::Utf8(v) => S::Utf8(Some(v.clone())),
            Literal::Binary(v) => S::Binary(Some(v.clone())),
            Literal::Decimal { value, precision, scale } if *precision > 38 => {
                S::Decimal256(Some(i256::from_string(value).ok_or_else(corrupt)?), *precision, *scale)
            }
            Literal::Decimal { value, precision, scale } => {
                S::Decimal128(Some(value.parse().map_err(|_| corrupt())?), *precision, *scale)
            }
            Literal::Interval { months, days, nanoseconds } => {
                S::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(*months, *days, *nanoseconds)))
            }
            Literal::Ipc { bytes, .. } => {
                let mut reader = StreamReader::try_new(bytes.as_slice(), None).map_err(|_| corrupt())?;
                let batch = reader.next().and_then(Result::ok).ok_or_else(corrupt)?;
                ScalarValue::try_from_array(batch.column(0), 0).map_err(|_| corrupt())?
            }
        })
    }
}

fn int_scalar(value: i64, data_type: &DataType) -> Option<ScalarValue> {
    use ScalarValue as S;
    let narrow = || i32::try_from(value).ok();
    Some(match data_type {
        DataType::Int8 => S::Int8(Some(i8::try_from(value).ok()?)),
        DataType::Int16 => S::Int16(Some(i16::try_from(value).ok()?)),
        DataType::Int32 => S::Int32(Some(narrow()?)),
        DataType::Int64 => S::Int64(Some(value)),
        DataType::Date32 => S::Date32(Some(narrow()?)),
        DataType::Date64 => S::Date64(Some(value)),
        DataType::Time32(TimeUnit::Second) => S::Time32Second(Some(narrow()?)),
        DataType::Time32(TimeUnit::Millisecond) => S::Time32Millisecond(Some(narrow()?)),
        DataType::Time64(TimeUnit::Microsecond) => S::Time64Microsecond(Some(value)),
        DataType::Time64(TimeUnit::Nanosecond) => S::Time64Nanosecond(Some(value)),
        DataType::Timestamp(TimeUnit::Second, tz) => S::TimestampSecond(Some(value), tz.clone()),
        DataType::Timestamp(TimeUnit::Millisecond, tz) => S::TimestampMillisecond(Some(value), tz.clone()),
        DataType::Timestamp(TimeUnit::Microsecond, tz) => S::TimestampMicrosecond(Some(value), tz.clone()),
        DataType::Timestamp(TimeUnit::Nanosecond, tz) => S::TimestampNanosecond(Some(value), tz.clone()),
        DataType::Duration(TimeUnit::Second) => S::DurationSecond(Some(value)),
        DataType::Duration(TimeUnit::Millisecond) => S::DurationMillisecond(Some(value)),
        DataType::Duration(TimeUnit::Microsecond) => S::DurationMicrosecond(Some(value)),
        DataType::Duration(TimeUnit::Nanosecond) => S::DurationNanosecond(Some(value)),
        _ => return None,
    })
}
