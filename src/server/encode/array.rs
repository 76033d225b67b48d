//! Lists as Postgres arrays: `{1,2,NULL}` and the binary form. Lists of lists are arrays of more dimensions.

use arrow::buffer::OffsetBuffer;
use bytes::{BufMut, BytesMut};

use super::cursor::{Cursor, Values};
use super::{EncodeError, with_length};

/// Where each list's elements are.
pub enum Spans {
    Small(OffsetBuffer<i32>),
    Large(OffsetBuffer<i64>),
}

pub struct Lists {
    pub spans: Spans,
    pub elements: Box<Cursor>,
    /// OID of the innermost elements.
    pub element_oid: u32,
}

impl Lists {
    fn span(&self, row: usize) -> std::ops::Range<usize> {
        match &self.spans {
            Spans::Small(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Spans::Large(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
        }
    }

    pub fn text(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(b'{');
        let mut scratch = BytesMut::new();
        for (at, element) in self.span(row).enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            if self.elements.is_null(element) {
                out.put_slice(b"NULL");
            } else if matches!(self.elements.values, Values::List(_)) {
                self.elements.text(element, out)?;
            } else {
                scratch.clear();
                self.elements.text(element, &mut scratch)?;
                put_element(&scratch, out);
            }
        }
        out.put_u8(b'}');
        Ok(())
    }

    /// Dimensions, has-NULL flag, element type, (length, lower bound) per dimension, elements.
    pub fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut dimensions = vec![];
        self.measure(row, 0, &mut dimensions)?;
        if dimensions.contains(&0) {
            dimensions.clear();
        }
        out.put_i32(dimensions.len() as i32);
        let has_null = out.len();
        out.put_i32(0);
        out.put_u32(self.element_oid);
        for &length in &dimensions {
            out.put_i32(i32::try_from(length).map_err(|_| EncodeError::RowTooLarge)?);
            out.put_i32(1);
        }
        if !dimensions.is_empty() && self.elements_binary(row, out)? {
            out[has_null..has_null + 4].copy_from_slice(&1i32.to_be_bytes());
        }
        Ok(())
    }

    /// Collects the length of every dimension; all lists of one depth must agree.
    fn measure(&self, row: usize, depth: usize, dimensions: &mut Vec<usize>) -> Result<(), EncodeError> {
        let span = self.span(row);
        match dimensions.get(depth) {
            None => dimensions.push(span.len()),
            Some(&length) if length == span.len() => {}
            Some(_) => return Err(EncodeError::RaggedArray),
        }
        let Values::List(inner) = &self.elements.values else { return Ok(()) };
        for element in span {
            if self.elements.is_null(element) {
                return Err(EncodeError::RaggedArray);
            }
            inner.measure(element, depth + 1, dimensions)?;
        }
        Ok(())
    }

    /// Writes the innermost elements in order; true if one is NULL.
    fn elements_binary(&self, row: usize, out: &mut BytesMut) -> Result<bool, EncodeError> {
        let mut has_null = false;
        for element in self.span(row) {
            if let Values::List(inner) = &self.elements.values {
                has_null |= inner.elements_binary(element, out)?;
            } else if self.elements.is_null(element) {
                has_null = true;
                out.put_i32(-1);
            } else {
                with_length(out, false, |out| self.elements.binary(element, out))?;
            }
        }
        Ok(has_null)
    }
}

/// Quotes an element where reading it back needs that (as Postgres array_out).
fn put_element(text: &[u8], out: &mut BytesMut) {
    let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t'..=b'\r');
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        return out.put_slice(text);
    }
    out.put_u8(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}
