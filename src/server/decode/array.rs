//! Postgres arrays of one dimension → lists.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, new_empty_array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field};
use types::{SqlError, SqlState};

use super::binary::{self, Fields};
use super::{convert, text};
use crate::encode::pg_type;

/// `{a,"b c",NULL}`
pub fn from_text(oid: u32, literal: &str) -> Result<ArrayRef, SqlError> {
    let element = pg_type::element_of(oid).expect("only called for array types");
    let malformed = |detail: &str| {
        SqlError::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{literal}\""))
            .with_detail(detail)
    };
    let inner = literal.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inner = inner.ok_or_else(|| malformed("Array value must start with \"{\" and end with \"}\"."))?;
    let mut values = vec![];
    for item in items(inner).ok_or_else(|| malformed("Unexpected character."))? {
        values.push(item.map(|item| text::decode(element, &item)).transpose()?);
    }
    list(element, values)
}

/// The items between the braces; `None` inside is NULL. `None` outside: malformed or of more than one dimension.
fn items(inner: &str) -> Option<Vec<Option<String>>> {
    let mut items = vec![];
    let mut rest = inner.trim_start();
    if rest.is_empty() {
        return Some(items);
    }
    loop {
        let (item, quoted, tail) = item(rest)?;
        items.push(if !quoted && item.eq_ignore_ascii_case("null") { None } else { Some(item) });
        match tail.chars().next() {
            None => return Some(items),
            Some(',') => rest = tail[1..].trim_start(),
            Some(_) => return None,
        }
    }
}

/// One item, whether it was quoted, and what follows it.
fn item(text: &str) -> Option<(String, bool, &str)> {
    let quoted = text.starts_with('"');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '"' if quoted => return Some((value, true, text[at + 1..].trim_start())),
            '{' | '}' | '"' if !quoted => return None,
            ',' if !quoted => return finish(value, &text[at..]),
            _ => value.push(character),
        }
    }
    if quoted { None } else { finish(value, "") }
}

/// An unquoted item must not be empty.
fn finish(value: String, tail: &str) -> Option<(String, bool, &str)> {
    let value = value.trim_end().to_owned();
    (!value.is_empty()).then_some((value, false, tail))
}

/// Dimensions, has-NULL flag, element type, (length, lower bound) per dimension, elements.
pub fn from_binary(fields: &mut Fields<'_>) -> Result<ArrayRef, SqlError> {
    let dimensions = fields.i32()?;
    let _has_null = fields.i32()?;
    let element = u32::from_be_bytes(fields.take()?);
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = usize::try_from(fields.i32()?).map_err(|_| fields.malformed())?;
            let _lower_bound = fields.i32()?;
            count
        }
        2..=6 => {
            return Err(SqlError::unsupported(
                "array parameters of more than one dimension are not supported",
                "Pass a one-dimensional array.",
            ));
        }
        _ => return Err(fields.malformed()),
    };
    // Each element has at least its length.
    if count > fields.left() / 4 || pg_type::element_of(element).is_some() {
        return Err(fields.malformed());
    }
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let length = fields.i32()?;
        values.push(match usize::try_from(length) {
            Ok(length) => Some(binary::decode(element, fields.bytes(length)?)?),
            Err(_) => None,
        });
    }
    list(element, values)
}

fn list(element: u32, values: Vec<Option<ArrayRef>>) -> Result<ArrayRef, SqlError> {
    let unknown = || SqlError::new(SqlState::UndefinedObject, format!("type with OID {element} does not exist"));
    // Numerics come with a scale each; the others already have their type.
    let element_type = match element {
        pg_type::NUMERIC => widest(&values),
        _ => pg_type::data_type(element).ok_or_else(unknown)?,
    };
    let rows = values.into_iter().map(|value| match value {
        Some(value) => convert(element, value, &element_type),
        None => Ok(new_null_array(&element_type, 1)),
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    let values = match parts.as_slice() {
        [] => new_empty_array(&element_type),
        parts => concat(parts).map_err(|error| SqlError::internal(format!("cannot build an array: {error}")))?,
    };
    let field = Arc::new(Field::new_list_field(element_type, true));
    Ok(Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([values.len()]), values, None)))
}

/// The decimal type with the largest scale among the values.
fn widest(values: &[Option<ArrayRef>]) -> DataType {
    let scale = |value: &ArrayRef| match value.data_type() {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    };
    DataType::Decimal128(38, values.iter().flatten().map(scale).max().unwrap_or(0))
}
