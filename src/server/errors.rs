//! Errors and notices on the wire: `SqlError` → ErrorResponse, `Notice` → NoticeResponse, and this crate's own errors.

use std::net::SocketAddr;

use engine::{Notice, NoticeSeverity};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use types::{SqlError, SqlState, ToSqlState};

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

impl ToSqlState for ServerError {
    fn sql_state(&self) -> SqlState {
        match self {
            ServerError::Listen { .. } => SqlState::IoError,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ServerError::Listen { address, .. } => {
                Some(format!("Is another server running on port {}?", address.port()))
            }
        }
    }
}

/// Whether an error ends the statement or the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Fatal,
}

/// How a piece of work on a connection ended, other than well.
#[derive(Debug)]
pub enum Failure {
    /// The statement failed; the session goes on.
    Sql(SqlError),
    /// The session ends, and the client is told why.
    Fatal(SqlError),
    /// The client left: nobody to tell.
    Gone,
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Failure::Sql(error)
    }
}

/// A socket that fails is a client that left.
impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        Failure::Gone
    }
}

/// The error that ends a connection because the client broke the protocol.
pub fn protocol_violation(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::ProtocolViolation, message)
}

pub fn error_response(error: &SqlError, severity: Severity) -> ErrorResponse {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = fields(severity, error.state, &error.message, &error.detail, &error.hint);
    if let Some(position) = error.position {
        fields.push((b'P', position.to_string()));
    }
    ErrorResponse::new(fields)
}

pub fn notice_response(notice: &Notice) -> NoticeResponse {
    let severity = match notice.severity {
        NoticeSeverity::Notice => "NOTICE",
        NoticeSeverity::Warning => "WARNING",
        NoticeSeverity::Info => "INFO",
    };
    NoticeResponse::new(fields(severity, notice.state, &notice.message, &notice.detail, &notice.hint))
}

/// Field values are C strings: a zero byte in one would cut the message short.
fn fields(
    severity: &str,
    state: SqlState,
    message: &str,
    detail: &Option<String>,
    hint: &Option<String>,
) -> Vec<(u8, String)> {
    let clean = |text: &str| text.replace('\0', " ");
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', state.code().to_owned()),
        (b'M', clean(message)),
    ];
    fields.extend(detail.as_deref().map(|detail| (b'D', clean(detail))));
    fields.extend(hint.as_deref().map(|hint| (b'H', clean(hint))));
    fields
}
