//! Structs as Postgres records: `(1,"a b",)`, and field by field with types in binary.

use bytes::{BufMut, BytesMut};

use super::cursor::Cursor;
use super::{EncodeError, Format};

pub struct Records {
    /// OID and values of each field.
    pub fields: Vec<(u32, Cursor)>,
}

impl Records {
    pub fn text(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(b'(');
        let mut scratch = BytesMut::new();
        for (at, (_, field)) in self.fields.iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            if !field.is_null(row) {
                scratch.clear();
                field.text(row, &mut scratch)?;
                put_field(&scratch, out);
            }
        }
        out.put_u8(b')');
        Ok(())
    }

    pub fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_i32(i32::try_from(self.fields.len()).map_err(|_| EncodeError::RowTooLarge)?);
        for (oid, field) in &self.fields {
            out.put_u32(*oid);
            field.field(row, Format::Binary, out)?;
        }
        Ok(())
    }
}

/// Quotes and doubles as Postgres record_out.
fn put_field(text: &[u8], out: &mut BytesMut) {
    let special = |b: &u8| matches!(b, b'(' | b')' | b',' | b'"' | b'\\' | b' ' | b'\t'..=b'\r');
    if !text.is_empty() && !text.iter().any(special) {
        return out.put_slice(text);
    }
    out.put_u8(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(byte);
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}
