//! The form in which values are compared byte by byte: −0 is 0, and there is one NaN, as Postgres compares them. Whatever
//! finds rows or keys by their bytes (row encodings, bits) brings them into this form first; whoever hashes does the same.
//! Also inside arrays and structs.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, StructArray,
};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

/// −0 becomes 0, every NaN the same one.
#[inline(always)]
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// −0 becomes 0, every NaN the same one.
#[inline(always)]
pub fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// Columns in canonical form. Costs nothing where no type has floats.
pub fn canonical_columns(columns: &[ArrayRef]) -> Cow<'_, [ArrayRef]> {
    match columns.iter().any(|column| has_floats(column.data_type())) {
        true => columns.iter().map(canonical).collect::<Vec<_>>().into(),
        false => columns.into(),
    }
}

/// A column in canonical form.
pub fn canonical(column: &ArrayRef) -> ArrayRef {
    if !has_floats(column.data_type()) {
        return column.clone();
    }
    match column.data_type() {
        DataType::Float64 => Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical_f64)),
        DataType::Float32 => Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(canonical_f32)),
        DataType::List(_) => list::<i32>(column),
        DataType::LargeList(_) => list::<i64>(column),
        DataType::FixedSizeList(field, size) => {
            let lists = column.as_fixed_size_list();
            let values = canonical(lists.values());
            Arc::new(FixedSizeListArray::new(field.clone(), *size, values, lists.nulls().cloned()))
        }
        DataType::Struct(fields) => {
            let rows = column.as_struct();
            let columns = rows.columns().iter().map(canonical).collect();
            Arc::new(StructArray::new(fields.clone(), columns, rows.nulls().cloned()))
        }
        DataType::Map(field, sorted) => {
            let maps = column.as_map();
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            let (entries, offsets) = (canonical(&entries).as_struct().clone(), maps.offsets().clone());
            Arc::new(MapArray::new(field.clone(), offsets, entries, maps.nulls().cloned(), *sorted))
        }
        other => unreachable!("a type of floats that relations don't have: {other}"),
    }
}

fn list<O: OffsetSizeTrait>(column: &ArrayRef) -> ArrayRef {
    let lists = column.as_list::<O>();
    let (field, offsets, values, nulls) = lists.clone().into_parts();
    Arc::new(GenericListArray::<O>::new(field, offsets, canonical(&values), nulls))
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float64 | DataType::Float32 => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            has_floats(field.data_type())
        }
        DataType::Map(field, _) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int64Array, ListArray};
    use arrow::datatypes::Field;
    use arrow::row::{RowConverter, SortField};

    use super::*;
    use crate::hash_columns;

    /// Whether all rows have the same bytes, and the same hash.
    fn all_equal(column: &ArrayRef) -> bool {
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).unwrap();
        let rows = converter.convert_columns(&canonical_columns(std::slice::from_ref(column))).unwrap();
        let hashes = hash_columns(std::slice::from_ref(column), column.len()).unwrap();
        (1..column.len()).all(|row| rows.row(row) == rows.row(0) && hashes[row] == hashes[0])
    }

    fn lists(column: ArrayRef) -> ArrayRef {
        let field = Arc::new(Field::new("item", column.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(vec![1; column.len()]);
        Arc::new(ListArray::new(field, offsets, column, None))
    }

    fn structs(column: ArrayRef) -> ArrayRef {
        let one: ArrayRef = Arc::new(Int64Array::from(vec![1; column.len()]));
        let field = |name: &str, of: &ArrayRef| Arc::new(Field::new(name, of.data_type().clone(), true));
        Arc::new(StructArray::from(vec![(field("a", &one), one), (field("b", &column), column)]))
    }

    #[test]
    fn equal_floats_have_the_same_bytes_also_inside_of_others() {
        let nans = [f64::NAN, -f64::NAN, f64::from_bits(0x7ff8_0000_0000_0001)];
        let columns: [ArrayRef; 4] = [
            Arc::new(Float64Array::from(vec![0.0, -0.0])),
            Arc::new(Float64Array::from(nans.to_vec())),
            Arc::new(Float32Array::from(vec![0.0, -0.0])),
            Arc::new(Float32Array::from(vec![f32::NAN, -f32::NAN])),
        ];
        for column in columns {
            for column in [column.clone(), lists(column.clone()), structs(column.clone()), lists(structs(column))] {
                assert!(all_equal(&column), "{column:?}");
            }
        }
    }

    #[test]
    fn other_values_and_nulls_stay_as_they_are() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(-1.5), None, Some(f64::INFINITY)]));
        assert_eq!(&canonical(&column), &column);
        assert_eq!(&canonical(&lists(column.clone())), &lists(column.clone()));
        assert!(!all_equal(&column));
        let none: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert!(matches!(canonical_columns(std::slice::from_ref(&none)), Cow::Borrowed(_)));
    }
}
