//! A row as text for people: in error tables, where the row itself has no place.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::limits::ROW_TEXT_BYTES_MAX;

/// `(name: value, …)`, cut after `ROW_TEXT_BYTES_MAX` bytes. Rows that compare equal have the same text.
pub fn row_text(rows: &RecordBatch, row: usize) -> String {
    values_text(rows.schema().fields().iter().map(AsRef::as_ref), rows.columns(), row)
}

/// [`row_text`] of some columns, under the names of `fields`: an error that is taken back needs the very text it was
/// raised with, whatever the names in a batch.
pub fn values_text<'a>(fields: impl Iterator<Item = &'a Field>, columns: &[ArrayRef], row: usize) -> String {
    let mut text = String::from("(");
    for (position, (field, column)) in fields.zip(columns).enumerate() {
        if position > 0 {
            text += ", ";
        }
        text += field.name();
        text += ": ";
        text += &cell_text(column, row);
        if text.len() > ROW_TEXT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(ROW_TEXT_BYTES_MAX));
            return text + "…";
        }
    }
    text + ")"
}

fn cell_text(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".into();
    }
    match column.data_type() {
        // −0 equals 0, so it must look like it.
        DataType::Float32 => (column.as_primitive::<Float32Type>().value(row) + 0.0).to_string(),
        DataType::Float64 => (column.as_primitive::<Float64Type>().value(row) + 0.0).to_string(),
        _ => match ArrayFormatter::try_new(column, &FormatOptions::default()) {
            Ok(formatter) => formatter.value(row).to_string(),
            Err(_) => "?".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    #[test]
    fn equal_rows_have_one_text_and_long_ones_are_cut() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.5]));
        let long = "é".repeat(ROW_TEXT_BYTES_MAX);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(long.as_str())]));
        let rows = RecordBatch::try_from_iter([("x", floats), ("t", texts)]).unwrap();
        assert_eq!(row_text(&rows, 0), "(x: 0, t: a)");
        assert_eq!(row_text(&rows, 1), "(x: 0, t: NULL)");
        let cut = row_text(&rows, 2);
        assert!(cut.starts_with("(x: 1.5, t: éé") && cut.ends_with("é…") && cut.len() <= ROW_TEXT_BYTES_MAX + 3);
    }
}
