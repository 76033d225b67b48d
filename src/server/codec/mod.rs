//! Framing: bytes from a socket → whole messages, within limits, before pgwire sees them.
//!
//! Invariants: a length below 4 or above the limit never reaches a decoder; buffers grow by bytes received, not by
//! the claimed length; every read is cancel-safe, so that reading may be one arm of a select.

mod check;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt};
use types::SqlError;

use crate::errors::{Failure, protocol_violation};
use crate::limits::{MESSAGE_BYTES_MAX, READ_AHEAD_BYTES_MAX, READ_CHUNK_BYTES, STARTUP_BYTES_MAX};

/// A message, or one whose text is unusable though its frame is whole: the session can go on.
#[derive(Debug)]
pub enum Incoming {
    Message(PgWireFrontendMessage),
    BadText { simple: bool, error: SqlError },
}

/// Reads messages, ahead of their handling if asked to.
pub struct FrameReader<R> {
    io: R,
    buf: BytesMut,
    /// Whole messages, with type and length.
    queue: VecDeque<BytesMut>,
    queued_bytes: usize,
    end: Option<End>,
}

/// Nothing can be read any more once this is known; what is queued is still handled.
enum End {
    Closed,
    Terminate,
    Broken(SqlError),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(io: R) -> Self {
        FrameReader { io, buf: BytesMut::new(), queue: VecDeque::new(), queued_bytes: 0, end: None }
    }

    /// The first packets have no type byte. Returns the whole packet; `None` when the client closed or sent garbage,
    /// which is answered by closing.
    pub async fn startup_packet(&mut self) -> io::Result<Option<BytesMut>> {
        loop {
            if self.buf.len() >= 4 {
                let claimed = i32::from_be_bytes([self.buf[0], self.buf[1], self.buf[2], self.buf[3]]);
                match usize::try_from(claimed) {
                    Ok(length) if (8..=STARTUP_BYTES_MAX).contains(&length) => {
                        if self.buf.len() >= length {
                            return Ok(Some(self.buf.split_to(length)));
                        }
                    }
                    _ => return Ok(None),
                }
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message of a session. Cancel-safe.
    pub async fn next(&mut self) -> Result<Incoming, Failure> {
        loop {
            self.split();
            if let Some(frame) = self.queue.pop_front() {
                self.queued_bytes -= frame.len();
                return decode(frame);
            }
            match &self.end {
                Some(End::Closed | End::Terminate) => return Err(Failure::Gone),
                Some(End::Broken(error)) => return Err(Failure::Fatal(error.clone())),
                None => {
                    self.fill().await?;
                }
            }
        }
    }

    /// Waits until the client leaves, keeping what it sends meanwhile. Never ends once the read-ahead is full or the
    /// input is broken. Cancel-safe.
    pub async fn gone(&mut self) {
        loop {
            self.split();
            match self.end {
                Some(End::Closed | End::Terminate) => return,
                Some(End::Broken(_)) => return std::future::pending().await,
                None if self.queued_bytes + self.buf.len() >= READ_AHEAD_BYTES_MAX => {
                    return std::future::pending().await;
                }
                None => {
                    if self.fill().await.is_err() {
                        self.end = Some(End::Closed);
                    }
                }
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buf.reserve(READ_CHUNK_BYTES);
        let read = self.io.read_buf(&mut self.buf).await?;
        if read == 0 {
            self.end = Some(End::Closed);
        }
        Ok(read)
    }

    /// Moves whole frames from the buffer to the queue.
    fn split(&mut self) {
        while !matches!(self.end, Some(End::Broken(_) | End::Terminate)) && self.buf.len() >= 5 {
            let claimed = i32::from_be_bytes([self.buf[1], self.buf[2], self.buf[3], self.buf[4]]);
            let length = match usize::try_from(claimed) {
                Ok(length) if (4..=MESSAGE_BYTES_MAX).contains(&length) => length,
                _ => {
                    self.end = Some(End::Broken(protocol_violation("invalid message length")));
                    return;
                }
            };
            if self.buf.len() <= length {
                return;
            }
            let frame = self.buf.split_to(1 + length);
            if frame[0] == b'X' {
                self.end = Some(End::Terminate);
                return;
            }
            self.queued_bytes += frame.len();
            self.queue.push_back(frame);
        }
    }
}

/// Decodes one whole frame. The structure is checked first, because pgwire's decoders index without looking; a panic
/// that gets through is still only this client's problem.
fn decode(mut frame: BytesMut) -> Result<Incoming, Failure> {
    if !check::is_well_formed(frame[0], &frame[5..]) {
        return Err(Failure::Fatal(protocol_violation(format!(
            "invalid frontend message of type {}",
            (frame[0] as char).escape_default()
        ))));
    }
    if let Some(error) = check::invalid_text(frame[0], &frame[5..]) {
        return Ok(Incoming::BadText { simple: frame[0] == b'Q', error });
    }
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    let decoded = catch_unwind(AssertUnwindSafe(|| PgWireFrontendMessage::decode(&mut frame, &context)));
    match decoded {
        Ok(Ok(Some(message))) => Ok(Incoming::Message(message)),
        Ok(Ok(None)) | Err(_) => Err(Failure::Fatal(protocol_violation("invalid frontend message"))),
        Ok(Err(error)) => Err(Failure::Fatal(protocol_violation(format!("invalid frontend message: {error}")))),
    }
}
