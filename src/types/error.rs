//! The error a client sees, and how every crate's error becomes one.

use crate::SqlState;

/// What a client is told. Message as Postgres words it: lowercase, no full stop, names in double quotes.
/// Detail and hint are sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub state: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// 1-based character position in the statement text.
    pub position: Option<u32>,
}

impl SqlError {
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        SqlError { state, message: message.into(), detail: None, hint: None, position: None }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        SqlError::new(SqlState::InternalError, message)
    }

    /// A feature we know but don't have: says what, and what to do instead.
    pub fn unsupported(message: impl Into<String>, hint: impl Into<String>) -> Self {
        SqlError::new(SqlState::FeatureNotSupported, message).with_hint(hint)
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn at(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.state)
    }
}

impl std::error::Error for SqlError {}

/// Every crate's error enum says which SQLSTATE, detail and hint each variant has, by full match.
pub trait ToSqlState: std::error::Error {
    fn sql_state(&self) -> SqlState;

    fn detail(&self) -> Option<String> {
        None
    }

    fn hint(&self) -> Option<String> {
        None
    }

    /// The client's view of this error; the cause chain becomes the detail unless one is given.
    fn to_sql_error(&self) -> SqlError {
        let cause = || {
            let mut parts = vec![];
            let mut next = self.source();
            while let Some(error) = next {
                parts.push(error.to_string());
                next = error.source();
            }
            (!parts.is_empty()).then(|| parts.join(": "))
        };
        SqlError {
            state: self.sql_state(),
            message: self.to_string(),
            detail: self.detail().or_else(cause),
            hint: self.hint(),
            position: None,
        }
    }
}

/// Errors of the shared data types.
#[derive(Debug, thiserror::Error)]
pub enum TypesError {
    #[error("a summed diff leaves the range of int8")]
    Overflow,
    #[error("batch has no trailing diff column")]
    MissingDiff,
    #[error("row cannot be encoded")]
    RowEncoding(#[source] arrow::error::ArrowError),
    #[error("type {0} cannot be used as a key")]
    UnhashableType(arrow::datatypes::DataType),
}

impl ToSqlState for TypesError {
    fn sql_state(&self) -> SqlState {
        match self {
            TypesError::Overflow => SqlState::NumericValueOutOfRange,
            TypesError::MissingDiff | TypesError::RowEncoding(_) => SqlState::InternalError,
            TypesError::UnhashableType(_) => SqlState::FeatureNotSupported,
        }
    }
}
