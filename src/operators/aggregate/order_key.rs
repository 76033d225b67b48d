//! Values as ordered keys, for MIN, MAX and value sets: i64, i128, or Arrow row bytes, chosen once per column.
//! Order is Postgres': NaN above everything, −0 equal to 0, text by its bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};
use types::{canonical, canonical_f64};

use super::fixed::{fixed_array, fixed_values, is_fixed};
use crate::OperatorError;

/// One column type's way to ordered keys and back.
pub(crate) trait OrderCodec: Send + 'static {
    type Key: Ord + Clone + Send + std::fmt::Debug;
    type Encoded;

    fn data_type(&self) -> &DataType;
    /// A column made comparable; rows that are NULL have arbitrary keys.
    fn encode(&self, column: &ArrayRef) -> Result<Self::Encoded, OperatorError>;
    fn key(encoded: &Self::Encoded, row: usize) -> Self::Key;
    fn compare(encoded: &Self::Encoded, row: usize, key: &Self::Key) -> Ordering;
    fn decode(&self, keys: &[Option<&Self::Key>]) -> Result<ArrayRef, OperatorError>;
    /// Not above any key.
    fn least() -> Self::Key;
    /// Bytes of a key outside its own size.
    fn heap_bytes(_key: &Self::Key) -> usize {
        0
    }
}

/// Which codec a type has.
pub(crate) enum Codec {
    Int(IntCodec),
    Decimal(DecimalCodec),
    Bytes(BytesCodec),
}

impl Codec {
    /// Errors: `Arrow` for types without a row encoding.
    pub fn of(data_type: &DataType) -> Result<Codec, OperatorError> {
        let kind = match data_type {
            DataType::Decimal128(_, _) => return Ok(Codec::Decimal(DecimalCodec { data_type: data_type.clone() })),
            DataType::Float64 => IntKind::Float64,
            DataType::Float32 => IntKind::Float32,
            DataType::UInt64 => IntKind::UInt64,
            other if is_fixed(other) => IntKind::Signed,
            other => {
                let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
                return Ok(Codec::Bytes(BytesCodec { data_type: other.clone(), converter }));
            }
        };
        Ok(Codec::Int(IntCodec { data_type: data_type.clone(), kind }))
    }
}

enum IntKind {
    Signed,
    UInt64,
    Float64,
    Float32,
}

pub(crate) struct IntCodec {
    data_type: DataType,
    kind: IntKind,
}

/// Float bits such that integer order is float order; its own inverse.
#[inline]
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn nulls_of<K>(keys: &[Option<&K>]) -> Option<NullBuffer> {
    let nulls = NullBuffer::from_iter(keys.iter().map(Option::is_some));
    Some(nulls).filter(|n| n.null_count() > 0)
}

impl OrderCodec for IntCodec {
    type Key = i64;
    type Encoded = ScalarBuffer<i64>;

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn encode(&self, column: &ArrayRef) -> Result<ScalarBuffer<i64>, OperatorError> {
        let float_key = |v: f64| flip(canonical_f64(v).to_bits() as i64);
        Ok(match self.kind {
            IntKind::Signed => fixed_values(column),
            IntKind::UInt64 => fixed_values(column).iter().map(|v| v ^ i64::MIN).collect::<Vec<_>>().into(),
            IntKind::Float64 => {
                let values = column.as_primitive::<Float64Type>().values();
                values.iter().map(|v| float_key(*v)).collect::<Vec<_>>().into()
            }
            IntKind::Float32 => {
                let values = column.as_primitive::<Float32Type>().values();
                values.iter().map(|v| float_key(*v as f64)).collect::<Vec<_>>().into()
            }
        })
    }

    #[inline]
    fn key(encoded: &ScalarBuffer<i64>, row: usize) -> i64 {
        encoded[row]
    }

    #[inline]
    fn compare(encoded: &ScalarBuffer<i64>, row: usize, key: &i64) -> Ordering {
        encoded[row].cmp(key)
    }

    fn decode(&self, keys: &[Option<&i64>]) -> Result<ArrayRef, OperatorError> {
        let float = |k: &i64| f64::from_bits(flip(*k) as u64);
        let values = || keys.iter().map(|k| k.copied().unwrap_or(0));
        Ok(match self.kind {
            IntKind::Signed => fixed_array(&self.data_type, values().collect(), nulls_of(keys)),
            IntKind::UInt64 => fixed_array(&self.data_type, values().map(|v| v ^ i64::MIN).collect(), nulls_of(keys)),
            IntKind::Float64 => Arc::new(keys.iter().map(|k| k.map(float)).collect::<Float64Array>()),
            IntKind::Float32 => Arc::new(keys.iter().map(|k| k.map(|k| float(k) as f32)).collect::<Float32Array>()),
        })
    }

    fn least() -> i64 {
        i64::MIN
    }
}

pub(crate) struct DecimalCodec {
    data_type: DataType,
}

impl OrderCodec for DecimalCodec {
    type Key = i128;
    type Encoded = ScalarBuffer<i128>;

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn encode(&self, column: &ArrayRef) -> Result<ScalarBuffer<i128>, OperatorError> {
        Ok(column.as_primitive::<Decimal128Type>().values().clone())
    }

    #[inline]
    fn key(encoded: &ScalarBuffer<i128>, row: usize) -> i128 {
        encoded[row]
    }

    #[inline]
    fn compare(encoded: &ScalarBuffer<i128>, row: usize, key: &i128) -> Ordering {
        encoded[row].cmp(key)
    }

    fn decode(&self, keys: &[Option<&i128>]) -> Result<ArrayRef, OperatorError> {
        let array: Decimal128Array = keys.iter().map(|k| k.copied()).collect();
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn least() -> i128 {
        i128::MIN
    }
}

pub(crate) struct BytesCodec {
    data_type: DataType,
    converter: RowConverter,
}

impl OrderCodec for BytesCodec {
    type Key = Box<[u8]>;
    type Encoded = Rows;

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn encode(&self, column: &ArrayRef) -> Result<Rows, OperatorError> {
        Ok(self.converter.convert_columns(&[canonical(column)])?)
    }

    fn key(encoded: &Rows, row: usize) -> Box<[u8]> {
        encoded.row(row).data().into()
    }

    fn compare(encoded: &Rows, row: usize, key: &Box<[u8]>) -> Ordering {
        encoded.row(row).data().cmp(key)
    }

    fn decode(&self, keys: &[Option<&Box<[u8]>>]) -> Result<ArrayRef, OperatorError> {
        let null = arrow::array::new_null_array(&self.data_type, 1);
        let null = self.converter.convert_columns(&[null])?;
        let parser = self.converter.parser();
        let rows = keys.iter().map(|k| match k {
            Some(bytes) => parser.parse(bytes),
            None => null.row(0),
        });
        Ok(self.converter.convert_rows(rows)?.swap_remove(0))
    }

    fn least() -> Box<[u8]> {
        Box::default()
    }

    fn heap_bytes(key: &Box<[u8]>) -> usize {
        key.len() + 16
    }
}
