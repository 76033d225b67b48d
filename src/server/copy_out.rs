//! COPY … TO STDOUT in text format: one CopyData message per row, as Postgres sends them.

use bytes::{BufMut, BytesMut};
use engine::{Column, RowStream};
use pgwire::messages::copy::{CopyDone, CopyOutResponse, MESSAGE_TYPE_BYTE_COPY_DATA};
use tokio::io::AsyncWrite;
use types::{SqlError, SqlState, ToSqlState};

use crate::encode::{EncodeError, Format, RowEncoder};
use crate::errors::Failure;
use crate::output::Output;

/// Sends everything from CopyOutResponse to CopyDone; returns the number of rows. What is there is flushed whenever
/// the stream pauses, so `COPY (SUBSCRIBE …)` delivers each change at once.
pub async fn copy_out<W: AsyncWrite + Unpin>(
    output: &mut Output<W>,
    columns: &[Column],
    stream: &mut RowStream,
) -> Result<u64, Failure> {
    let count = i16::try_from(columns.len())
        .map_err(|_| SqlError::new(SqlState::ProgramLimitExceeded, "too many columns for COPY"))?;
    output.writer.send(&CopyOutResponse::new(0, count, vec![0; columns.len()]))?;
    let formats = vec![Format::Text; columns.len()];
    let mut scratch = BytesMut::new();
    let mut rows = 0;
    while let Some(batch) = output.next_batch(stream).await? {
        let encoder = RowEncoder::new(&batch, &formats).map_err(|error| error.to_sql_error())?;
        for row in 0..encoder.rows() {
            put_row(&encoder, row, &mut scratch, output.writer.buffer()).map_err(|error| error.to_sql_error())?;
            rows += 1;
            output.relieve().await?;
        }
    }
    output.writer.send(&CopyDone::new())?;
    Ok(rows)
}

fn put_row(encoder: &RowEncoder, row: usize, scratch: &mut BytesMut, out: &mut BytesMut) -> Result<(), EncodeError> {
    let message = out.len();
    out.put_u8(MESSAGE_TYPE_BYTE_COPY_DATA);
    out.put_i32(0);
    let written = encoder.text_fields(row, scratch, |column, value| {
        if column > 0 {
            out.put_u8(b'\t');
        }
        match value {
            Some(text) => put_escaped(text, out),
            None => out.put_slice(b"\\N"),
        }
    });
    out.put_u8(b'\n');
    let length = i32::try_from(out.len() - message - 1).map_err(|_| EncodeError::RowTooLarge);
    match written.and(length) {
        Ok(length) => out[message + 1..message + 5].copy_from_slice(&length.to_be_bytes()),
        Err(error) => {
            out.truncate(message);
            return Err(error);
        }
    }
    Ok(())
}

/// Escapes what would end a field or a line.
fn put_escaped(text: &[u8], out: &mut BytesMut) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'\\' | 0x08..=0x0d)) {
        out.put_slice(&rest[..at]);
        out.put_u8(b'\\');
        out.put_u8(match rest[at] {
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0b => b'v',
            0x0c => b'f',
            b'\r' => b'r',
            other => other,
        });
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}
