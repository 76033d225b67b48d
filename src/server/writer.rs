//! Outgoing messages: collected in one buffer, written when it is full or when the client should see them.
//!
//! Invariant: a flush that is dropped half-way loses nothing; the rest goes out with the next one.

use std::io;

use bytes::BytesMut;
use pgwire::messages::Message;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::errors::Failure;
use crate::limits::WRITE_BUFFER_BYTES;

pub struct MessageWriter<W> {
    io: W,
    out: BytesMut,
}

impl<W: AsyncWrite + Unpin> MessageWriter<W> {
    pub fn new(io: W) -> Self {
        MessageWriter { io, out: BytesMut::new() }
    }

    /// Queues a message.
    ///
    /// Errors: none that a client could cause; a message over pgwire's own limit ends the connection.
    pub fn send<M: Message>(&mut self, message: &M) -> Result<(), Failure> {
        let start = self.out.len();
        message.encode(&mut self.out).map_err(|error| {
            self.out.truncate(start);
            Failure::Fatal(types::SqlError::internal(format!("cannot send a message: {error}")))
        })
    }

    /// Where rows are encoded, straight from the arrays.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    pub fn is_full(&self) -> bool {
        self.out.len() >= WRITE_BUFFER_BYTES
    }

    /// Writes everything queued. Cancel-safe.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            if self.io.write_buf(&mut self.out).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.io.flush().await
    }
}
