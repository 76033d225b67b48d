//! Building a small in-memory table row by row: the form of every system relation.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::TableSource;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Microseconds since the Unix epoch.
    Time(i64),
    List(Vec<Cell>),
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Cell::Text(value.to_string())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Cell::Text(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Cell::Int(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Cell::Int(value.into())
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Cell::Int(value.into())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Cell::Bool(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

impl<T: Into<Cell>> From<Vec<T>> for Cell {
    fn from(values: Vec<T>) -> Self {
        Cell::List(values.into_iter().map(Into::into).collect())
    }
}

/// Column type by a short word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int4,
    Int8,
    Bool,
    Time,
}

impl Kind {
    fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Int4 => DataType::Int32,
            Kind::Int8 => DataType::Int64,
            Kind::Bool => DataType::Boolean,
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// The table of these columns and rows.
pub fn table(columns: &[(&str, Kind)], rows: Vec<Vec<Cell>>) -> Arc<dyn TableSource> {
    let fields = columns.iter().map(|(name, kind)| Field::new(*name, kind.data_type(), true)).collect();
    table_of(fields, &rows)
}

/// The table of these fields and rows; types are those that [`array_of`] can make.
pub fn table_of(fields: Vec<Field>, rows: &[Vec<Cell>]) -> Arc<dyn TableSource> {
    let schema = Arc::new(Schema::new(fields));
    let column = |(at, field): (usize, &Arc<Field>)| array_of(field.data_type(), rows.iter().map(|row| &row[at]));
    let arrays: Vec<ArrayRef> = schema.fields().iter().enumerate().map(column).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).expect("cells fit their columns");
    let memory = MemTable::try_new(schema, vec![vec![batch]]).expect("batch has the schema");
    provider_as_source(Arc::new(memory))
}

fn int(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Int(value) | Cell::Time(value) => Some(*value),
        _ => None,
    }
}

fn float(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Float(value) => Some(*value),
        Cell::Int(value) => Some(*value as f64),
        _ => None,
    }
}

fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

/// Cells as an array; a cell of another kind is NULL.
pub fn array_of<'a>(data_type: &DataType, cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
    match data_type {
        DataType::Utf8 => Arc::new(cells.map(text).collect::<StringArray>()),
        DataType::Int16 => Arc::new(cells.map(|c| int(c).map(|v| v as i16)).collect::<Int16Array>()),
        DataType::Int32 => Arc::new(cells.map(|c| int(c).map(|v| v as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(cells.map(int).collect::<Int64Array>()),
        DataType::UInt32 => Arc::new(cells.map(|c| int(c).map(|v| v as u32)).collect::<UInt32Array>()),
        DataType::Float32 => Arc::new(cells.map(|c| float(c).map(|v| v as f32)).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(cells.map(float).collect::<Float64Array>()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(cells.map(int).collect::<TimestampMicrosecondArray>().with_timezone_opt(zone.clone()))
        }
        DataType::Boolean => {
            let bools = cells.map(|cell| match cell {
                Cell::Bool(value) => Some(*value),
                _ => None,
            });
            Arc::new(bools.collect::<BooleanArray>())
        }
        DataType::List(item) => {
            let (mut lengths, mut valid, mut items) = (vec![], vec![], vec![]);
            for cell in cells {
                let list = match cell {
                    Cell::List(list) => Some(list.as_slice()),
                    _ => None,
                };
                valid.push(list.is_some());
                lengths.push(list.map_or(0, <[Cell]>::len));
                items.extend(list.into_iter().flatten());
            }
            let values = array_of(item.data_type(), items.into_iter());
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(item.clone(), offsets, values, Some(NullBuffer::from(valid))))
        }
        // No system relation has a value of another type; its columns are there and empty.
        other => new_null_array(other, cells.count()),
    }
}
