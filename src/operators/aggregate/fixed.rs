//! Columns of at most eight bytes per value, seen as i64: integers, dates, times, timestamps, durations, booleans.
//! Lets keys and extremes of all these types share one hot loop. The mapping is one-to-one per type; it keeps order
//! for every type but uint8 (whose bits are kept).

use arrow::array::{Array, ArrayRef, AsArray, make_array};
use arrow::array::{ArrayData, BooleanArray};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

/// Whether values of this type fit [`fixed_values`].
pub(crate) fn is_fixed(data_type: &DataType) -> bool {
    width(data_type).is_some()
}

/// Bytes per value, 0 for booleans (stored as bits).
fn width(data_type: &DataType) -> Option<usize> {
    use DataType::*;
    match data_type {
        Boolean => Some(0),
        Int8 | UInt8 => Some(1),
        Int16 | UInt16 => Some(2),
        Int32 | UInt32 | Date32 | Time32(_) => Some(4),
        Int64 | UInt64 | Date64 | Time64(_) | Timestamp(_, _) | Duration(_) => Some(8),
        _ => None,
    }
}

/// The values of a fixed column, shared if they are eight bytes wide. Values at NULLs are arbitrary.
pub(crate) fn fixed_values(column: &ArrayRef) -> ScalarBuffer<i64> {
    let data_type = column.data_type();
    if *data_type == DataType::Boolean {
        return column.as_boolean().values().iter().map(i64::from).collect::<Vec<i64>>().into();
    }
    let data = column.to_data();
    let (buffer, offset, len) = (data.buffers()[0].clone(), data.offset(), data.len());
    match (width(data_type), data_type) {
        (Some(8), _) => ScalarBuffer::new(buffer, offset, len),
        (_, DataType::UInt32) => widen(ScalarBuffer::<u32>::new(buffer, offset, len)),
        (_, DataType::UInt16) => widen(ScalarBuffer::<u16>::new(buffer, offset, len)),
        (_, DataType::UInt8) => widen(ScalarBuffer::<u8>::new(buffer, offset, len)),
        (Some(4), _) => widen(ScalarBuffer::<i32>::new(buffer, offset, len)),
        (Some(2), _) => widen(ScalarBuffer::<i16>::new(buffer, offset, len)),
        (Some(1), _) => widen(ScalarBuffer::<i8>::new(buffer, offset, len)),
        (_, other) => unreachable!("{other} is not a fixed type: callers ask is_fixed first"),
    }
}

fn widen<T: arrow::datatypes::ArrowNativeType + Into<i64>>(values: ScalarBuffer<T>) -> ScalarBuffer<i64> {
    values.iter().map(|v| (*v).into()).collect::<Vec<i64>>().into()
}

/// Inverse of [`fixed_values`].
pub(crate) fn fixed_array(data_type: &DataType, values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    let len = values.len();
    let buffer = match width(data_type).expect("a fixed type: callers ask is_fixed first") {
        0 => {
            let bits: BooleanArray = values.iter().map(|v| Some(*v != 0)).collect();
            return std::sync::Arc::new(BooleanArray::new(bits.values().clone(), nulls));
        }
        1 => Buffer::from_vec(values.iter().map(|v| *v as i8).collect::<Vec<i8>>()),
        2 => Buffer::from_vec(values.iter().map(|v| *v as i16).collect::<Vec<i16>>()),
        4 => Buffer::from_vec(values.iter().map(|v| *v as i32).collect::<Vec<i32>>()),
        _ => Buffer::from_vec(values),
    };
    let data = ArrayData::builder(data_type.clone()).len(len).add_buffer(buffer).nulls(nulls).build();
    make_array(data.expect("one buffer of the type's width"))
}
