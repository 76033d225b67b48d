//! Our own versioned hash of key columns, and the vnode it decides.
//!
//! Persisted for ever (state runs are filtered by it), therefore not a library's hash. Version 1.
//! Canonical form: every integer, date and timestamp widens to i64, every float to f64 with −0 = 0 and one NaN,
//! strings and binary by their bytes, NULL by a constant; so equal SQL values of one type hash equally whatever
//! the array's layout is. Callers coerce both sides of a join to one type first.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::*;
use arrow::row::{RowConverter, SortField};

use crate::{TypesError, canonical, canonical_f64};

/// Virtual nodes: the unit of exchange, of state ownership and of rescaling. Fixed for ever.
pub const VNODE_COUNT: usize = 256;

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const NULL: u64 = 0xA5A5_1F1F_3C3C_7777;

/// The vnode of a key hash: its top eight bits, so tables may use the low ones.
#[inline]
pub fn vnode_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// The worker that owns `vnode` among `workers`.
#[inline]
pub fn worker_of(vnode: u8, workers: usize) -> usize {
    vnode as usize * workers / VNODE_COUNT
}

/// Final mixing of 64 bits (the murmur3 finaliser: Appleby, public domain).
#[inline(always)]
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x ^= x >> 33;
    x = x.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}

#[inline(always)]
fn combine(state: u64, value: u64) -> u64 {
    mix(state.rotate_left(23) ^ value.wrapping_mul(SEED))
}

/// Of bytes by themselves.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut h = SEED ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        h = combine(h, u64::from_le_bytes(chunk.try_into().expect("chunk of 8")));
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut last = [0u8; 8];
        last[..rest.len()].copy_from_slice(rest);
        h = combine(h, u64::from_le_bytes(last));
    }
    h
}

#[inline(always)]
fn float_bits(x: f64) -> u64 {
    canonical_f64(x).to_bits()
}

/// Hashes rows over `columns`. No columns: every row hashes to the same constant.
pub fn hash_columns(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>, TypesError> {
    let mut hashes = vec![SEED; rows];
    hash_columns_into(columns, &mut hashes)?;
    Ok(hashes)
}

/// Like [`hash_columns`] into a buffer the caller has filled with the seed of `hash_columns` (or a prior prefix).
///
/// Errors: `UnhashableType` for types that have neither a fixed form nor a row encoding.
pub fn hash_columns_into(columns: &[ArrayRef], hashes: &mut [u64]) -> Result<(), TypesError> {
    for column in columns {
        hash_column(column, hashes)?;
    }
    Ok(())
}

fn fold<A: Array>(array: &A, hashes: &mut [u64], value: impl Fn(&A, usize) -> u64) {
    if array.null_count() == 0 {
        for (row, h) in hashes.iter_mut().enumerate() {
            *h = combine(*h, value(array, row));
        }
    } else {
        for (row, h) in hashes.iter_mut().enumerate() {
            *h = combine(*h, if array.is_null(row) { NULL } else { value(array, row) });
        }
    }
}

fn fold_bytes<O: OffsetSizeTrait>(column: &ArrayRef, hashes: &mut [u64], text: bool) {
    if text {
        fold(column.as_string::<O>(), hashes, |a, i| hash_bytes(a.value(i).as_bytes()));
    } else {
        fold(column.as_binary::<O>(), hashes, |a, i| hash_bytes(a.value(i)));
    }
}

fn hash_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<(), TypesError> {
    macro_rules! int {
        ($t:ty) => {
            fold(column.as_primitive::<$t>(), hashes, |a, i| a.value(i) as i64 as u64)
        };
    }
    match column.data_type() {
        DataType::Int64 => int!(Int64Type),
        DataType::Int32 => int!(Int32Type),
        DataType::Int16 => int!(Int16Type),
        DataType::Int8 => int!(Int8Type),
        DataType::UInt64 => int!(UInt64Type),
        DataType::UInt32 => int!(UInt32Type),
        DataType::UInt16 => int!(UInt16Type),
        DataType::UInt8 => int!(UInt8Type),
        DataType::Date32 => int!(Date32Type),
        DataType::Date64 => int!(Date64Type),
        DataType::Timestamp(TimeUnit::Second, _) => int!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => int!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => int!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => int!(TimestampNanosecondType),
        DataType::Time64(TimeUnit::Microsecond) => int!(Time64MicrosecondType),
        DataType::Time64(TimeUnit::Nanosecond) => int!(Time64NanosecondType),
        DataType::Boolean => fold(column.as_boolean(), hashes, |a, i| a.value(i) as u64),
        DataType::Float64 => fold(column.as_primitive::<Float64Type>(), hashes, |a, i| float_bits(a.value(i))),
        DataType::Float32 => fold(column.as_primitive::<Float32Type>(), hashes, |a, i| float_bits(a.value(i) as f64)),
        DataType::Decimal128(_, _) => fold(column.as_primitive::<Decimal128Type>(), hashes, |a, i| {
            let v = a.value(i);
            combine(v as u64, (v >> 64) as u64)
        }),
        DataType::Utf8 => fold_bytes::<i32>(column, hashes, true),
        DataType::LargeUtf8 => fold_bytes::<i64>(column, hashes, true),
        DataType::Binary => fold_bytes::<i32>(column, hashes, false),
        DataType::LargeBinary => fold_bytes::<i64>(column, hashes, false),
        DataType::Null => hashes.iter_mut().for_each(|h| *h = combine(*h, NULL)),
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())]);
            let converter = converter.map_err(|_| TypesError::UnhashableType(other.clone()))?;
            let rows = converter.convert_columns(&[canonical(column)]).map_err(TypesError::RowEncoding)?;
            for (row, h) in hashes.iter_mut().enumerate() {
                *h = combine(*h, hash_bytes(rows.row(row).as_ref()));
            }
        }
    }
    Ok(())
}
