//! How the columns of a relation are stored, and incoming arrays in the form that pages compare with and copy from.
//! Cells are kept by width, not by SQL type, so that one code path serves all types of a width; the type comes back
//! when a page is read (`gather.rs`).

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use arrow::row::{RowConverter, Rows, SortField};
use types::{canonical, canonical_f32, canonical_f64};

use crate::OperatorError;

/// Width class of a column's cells.
#[derive(Debug)]
pub(crate) enum Storage {
    /// Type `Null`: no cells.
    Nothing,
    Bit,
    Byte1,
    Byte2,
    Byte4,
    Byte8,
    Byte16,
    /// Text and binary.
    Bytes,
    /// Any other type by its row encoding, which holds nulls too.
    Encoded(Box<RowConverter>),
}

/// Floats compare with −0 = 0 and all NaN equal, as their hash does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Float {
    No,
    F32,
    F64,
}

#[derive(Debug)]
pub(crate) struct ColumnLayout {
    pub data_type: DataType,
    pub storage: Storage,
    pub float: Float,
}

/// Columns and key of a relation.
#[derive(Debug)]
pub(crate) struct Layout {
    pub schema: SchemaRef,
    pub columns: Vec<ColumnLayout>,
    pub key: Option<Vec<usize>>,
}

impl Layout {
    pub fn new(schema: SchemaRef, key: Option<Vec<usize>>) -> Self {
        let columns = schema.fields().iter().map(|f| ColumnLayout::new(f.data_type())).collect();
        Layout { schema, columns, key }
    }

    /// Columns that decide which row is meant: the key, or all.
    pub fn identity(&self) -> Vec<usize> {
        self.key.clone().unwrap_or_else(|| (0..self.columns.len()).collect())
    }
}

impl ColumnLayout {
    fn new(data_type: &DataType) -> Self {
        let float = match data_type {
            DataType::Float32 => Float::F32,
            DataType::Float64 => Float::F64,
            _ => Float::No,
        };
        let encoded = || {
            let converter = RowConverter::new(vec![SortField::new(data_type.clone())]);
            Storage::Encoded(Box::new(converter.expect("the planner admits only columns that have a row encoding")))
        };
        let storage = match data_type {
            DataType::Null => Storage::Nothing,
            DataType::Boolean => Storage::Bit,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => Storage::Bytes,
            DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Decimal128(_, _) => Storage::Byte16,
            DataType::Interval(IntervalUnit::DayTime) => encoded(),
            other => match other.primitive_width() {
                Some(1) => Storage::Byte1,
                Some(2) => Storage::Byte2,
                Some(4) => Storage::Byte4,
                Some(8) => Storage::Byte8,
                _ => encoded(),
            },
        };
        ColumnLayout { data_type: data_type.clone(), storage, float }
    }

    /// The cells of `array`, which must have this column's type.
    pub fn read(&self, array: &ArrayRef) -> Result<Incoming, OperatorError> {
        if array.data_type() != &self.data_type {
            return Err(OperatorError::internal(format!(
                "a column of type {} met a relation's column of type {}",
                array.data_type(),
                self.data_type
            )));
        }
        let cells = match &self.storage {
            Storage::Nothing => Cells::Nothing,
            Storage::Bit => Cells::Bit(array.as_boolean().values().clone()),
            Storage::Byte1 => Cells::Byte1(scalars(array)),
            Storage::Byte2 => Cells::Byte2(scalars(array)),
            Storage::Byte4 => Cells::Byte4(scalars(array)),
            Storage::Byte8 => Cells::Byte8(scalars(array)),
            Storage::Byte16 => Cells::Byte16(wide(array)),
            Storage::Bytes => byte_cells(array),
            Storage::Encoded(converter) => Cells::Encoded(converter.convert_columns(&[canonical(array)])?),
        };
        let nulls = match self.storage {
            Storage::Encoded(_) | Storage::Nothing => None,
            _ => array.nulls().filter(|n| n.null_count() > 0).cloned(),
        };
        Ok(Incoming { cells, nulls, float: self.float })
    }
}

/// One array on its way in, by width. Shares the array's buffers.
pub(crate) struct Incoming {
    pub cells: Cells,
    pub nulls: Option<NullBuffer>,
    pub float: Float,
}

pub(crate) enum Cells {
    Nothing,
    Bit(BooleanBuffer),
    Byte1(ScalarBuffer<u8>),
    Byte2(ScalarBuffer<u16>),
    Byte4(ScalarBuffer<u32>),
    Byte8(ScalarBuffer<u64>),
    Byte16(Vec<i128>),
    Bytes32(OffsetBuffer<i32>, Buffer),
    Bytes64(OffsetBuffer<i64>, Buffer),
    Encoded(Rows),
}

impl Incoming {
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|n| n.is_null(row))
    }

    /// The bytes of a text, binary or encoded cell; empty for NULL.
    pub fn bytes(&self, row: usize) -> &[u8] {
        if self.is_null(row) {
            return &[];
        }
        match &self.cells {
            Cells::Bytes32(offsets, values) => &values[offsets[row] as usize..offsets[row + 1] as usize],
            Cells::Bytes64(offsets, values) => &values[offsets[row] as usize..offsets[row + 1] as usize],
            Cells::Encoded(rows) => rows.row(row).data(),
            _ => unreachable!("only byte columns are read as bytes"),
        }
    }
}

pub(super) fn same_f64(a: u64, b: u64) -> bool {
    canonical_f64(f64::from_bits(a)).to_bits() == canonical_f64(f64::from_bits(b)).to_bits()
}

pub(super) fn same_f32(a: u32, b: u32) -> bool {
    canonical_f32(f32::from_bits(a)).to_bits() == canonical_f32(f32::from_bits(b)).to_bits()
}

fn scalars<T: ArrowNativeType>(array: &ArrayRef) -> ScalarBuffer<T> {
    let data = array.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

fn wide(array: &ArrayRef) -> Vec<i128> {
    match array.as_any().downcast_ref::<IntervalMonthDayNanoArray>() {
        Some(intervals) => intervals.values().iter().map(|v| pack_interval(*v)).collect(),
        None => array.as_primitive::<Decimal128Type>().values().to_vec(),
    }
}

fn pack_interval(v: IntervalMonthDayNano) -> i128 {
    let low = (v.months as u32 as u64) | ((v.days as u32 as u64) << 32);
    ((v.nanoseconds as i128) << 64) | low as i128
}

/// Inverse of the packing in `read`.
pub(super) fn unpack_interval(v: i128) -> IntervalMonthDayNano {
    let low = v as u64;
    IntervalMonthDayNano::new(low as u32 as i32, (low >> 32) as u32 as i32, (v >> 64) as i64)
}

fn byte_cells(array: &ArrayRef) -> Cells {
    match array.data_type() {
        DataType::Utf8 => {
            let a = array.as_string::<i32>();
            Cells::Bytes32(a.offsets().clone(), a.values().clone())
        }
        DataType::Binary => {
            let a = array.as_binary::<i32>();
            Cells::Bytes32(a.offsets().clone(), a.values().clone())
        }
        DataType::LargeUtf8 => {
            let a = array.as_string::<i64>();
            Cells::Bytes64(a.offsets().clone(), a.values().clone())
        }
        _ => {
            let a = array.as_binary::<i64>();
            Cells::Bytes64(a.offsets().clone(), a.values().clone())
        }
    }
}
