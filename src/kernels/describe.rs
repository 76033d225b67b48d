//! Rows and keys in the details of errors, as Postgres writes them: `(id, amount)=(13, 0)`.
//!
//! An error that is retracted must have the very text it was raised with, so what is shown depends on names and values
//! alone, and the names are those of the operator that raises it, not of a batch.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::expr::cast::cast_array;

/// Characters of names or values that are shown.
const SHOWN_MAX: usize = 200;

/// `It failed for the row (id, amount)=(13, 0).`
pub fn failing_row<'a>(
    fields: impl IntoIterator<Item = &'a Field>,
    columns: &[ArrayRef],
    row: usize,
) -> Option<String> {
    described("row", fields, columns, row)
}

/// `It failed for the key (customer)=(7).`
pub fn failing_key<'a>(
    fields: impl IntoIterator<Item = &'a Field>,
    columns: &[ArrayRef],
    row: usize,
) -> Option<String> {
    described("key", fields, columns, row)
}

/// `None` if there is no column.
fn described<'a>(
    what: &str,
    fields: impl IntoIterator<Item = &'a Field>,
    columns: &[ArrayRef],
    row: usize,
) -> Option<String> {
    if columns.is_empty() {
        return None;
    }
    let names: Vec<&str> = fields.into_iter().zip(columns).map(|(field, _)| field.name().as_str()).collect();
    let values: Vec<String> = columns.iter().map(|column| value(&column.slice(row, 1))).collect();
    let (names, values) = (shortened(names.join(", ")), shortened(values.join(", ")));
    Some(format!("It failed for the {what} ({names})=({values})."))
}

/// The only value of an array.
fn value(array: &ArrayRef) -> String {
    if array.is_null(0) {
        return "null".into();
    }
    if let Ok(text) = cast_array(array, &DataType::Utf8, false)
        && let Some(text) = text.as_string_opt::<i32>()
        && text.is_valid(0)
    {
        return text.value(0).to_string();
    }
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
    formatter.map(|formatter| formatter.value(0).to_string()).unwrap_or_default()
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_named_like_keys() {
        let fields = [
            Field::new("id", DataType::Int32, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("x", DataType::Float64, true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec![None, Some("a, b")])),
            Arc::new(Float64Array::from(vec![0.5, f64::NAN])),
        ];
        let shown = |row| failing_row(&fields, &columns, row).unwrap();
        assert_eq!(shown(0), "It failed for the row (id, name, x)=(1, null, 0.5).");
        assert_eq!(shown(1), "It failed for the row (id, name, x)=(2, a, b, NaN).");
        assert_eq!(failing_key(&fields[..1], &columns[..1], 1).unwrap(), "It failed for the key (id)=(2).");
        assert_eq!(failing_key(&[], &[], 0), None);
    }

    #[test]
    fn long_values_are_cut_off() {
        let fields = [Field::new("s", DataType::Utf8, true)];
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec!["ä".repeat(500)]))];
        let shown = failing_row(&fields, &columns, 0).unwrap();
        assert_eq!(shown, format!("It failed for the row (s)=({}…).", "ä".repeat(SHOWN_MAX)));
    }
}
