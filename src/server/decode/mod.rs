//! Parameters of Bind messages → one-row Arrow arrays of the described types.
//!
//! A value is read as its wire type (`text.rs`, `binary.rs`) and then converted to what the statement expects: an
//! int4 for a bigint column is fine, a value that does not fit is an error.

mod array;
mod binary;
mod interval;
mod numeric;
#[cfg(test)]
mod tests;
mod text;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use types::{SqlError, SqlState};

use crate::encode::{Format, pg_type};

/// Decodes one parameter. `oid`: the wire type. `None`: NULL.
///
/// Errors: 22P02 and 22007 for text, 22P03 for binary, 22003 if the value does not fit `target`.
pub fn parameter(oid: u32, format: Format, value: Option<&[u8]>, target: &DataType) -> Result<ArrayRef, SqlError> {
    let Some(value) = value else { return Ok(new_null_array(target, 1)) };
    let decoded = match format {
        Format::Text => {
            let text = std::str::from_utf8(value).map_err(|_| {
                SqlError::new(SqlState::DataException, "invalid byte sequence for encoding \"UTF8\" in a parameter")
            })?;
            text::decode(oid, text)?
        }
        Format::Binary | Format::BinaryJsonb | Format::BinaryUuid => binary::decode(oid, value)?,
    };
    convert(oid, decoded, target)
}

fn convert(oid: u32, decoded: ArrayRef, target: &DataType) -> Result<ArrayRef, SqlError> {
    if decoded.data_type() == target {
        return Ok(decoded);
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&decoded, target, &options).map_err(|error| {
        let message = format!("parameter of type {} does not fit {}", pg_type::name(oid), type_name(target));
        SqlError::new(SqlState::NumericValueOutOfRange, message).with_detail(format!("{error}."))
    })
}

fn type_name(data_type: &DataType) -> &'static str {
    pg_type::name(pg_type::oid(data_type))
}
