//! Bounds of the wire: every buffer, wait and count that a client can influence, by name.

use std::time::Duration;

/// Longest message before the session exists, bytes (as Postgres has it).
pub const STARTUP_BYTES_MAX: usize = 10_000;
/// Longest message of a session, bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of messages read ahead while a statement runs; beyond that the socket is left alone until it ends.
pub const READ_AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room made in the read buffer before each read: memory follows the bytes received, not the claimed length.
pub const READ_CHUNK_BYTES: usize = 16 * 1024;
/// Encoded rows are written to the socket as soon as this many bytes are waiting.
pub const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// A client has this long to send its start-up message.
pub const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections the kernel holds until they are accepted.
pub const LISTEN_BACKLOG: u32 = 1024;
/// Connections that have not finished starting up; they take no session's place.
pub const STARTING_CONNECTIONS_MAX: usize = 64;
/// Named and unnamed prepared statements of one session.
pub const STATEMENTS_MAX: usize = 10_000;
/// Open portals of one session.
pub const PORTALS_MAX: usize = 1_000;
/// How long a stopping server waits for its sessions to say goodbye.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long a goodbye (a fatal error) may take to reach a client that does not read.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// HTTP request bodies: no route takes one.
pub const HTTP_BODY_BYTES_MAX: usize = 1024;
