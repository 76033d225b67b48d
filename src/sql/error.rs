//! What can be wrong with SQL text. `Failure` is the inner form, placed by line and column as sqlparser counts;
//! `SqlParseError` is what callers see, placed by character.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::Location;
use types::{SqlError, SqlState, ToSqlState};

/// Text that is not a statement we accept. Positions are 1-based characters in the text given to `parse`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlParseError {
    #[error("syntax error at or near \"{near}\"")]
    Syntax { near: String, detail: String, position: u32 },
    #[error("syntax error at end of input")]
    UnexpectedEnd { detail: String, position: u32 },
    #[error("{message}")]
    Lexical { message: String, position: u32 },
    #[error("query text of {bytes} bytes exceeds the limit of {} bytes", types::limits::SQL_BYTES_MAX)]
    TooLong { bytes: usize },
    #[error("statement is nested too deeply")]
    TooDeep { position: Option<u32> },
    /// Well-formed, but not what this statement accepts; the inner error carries its state and position.
    #[error("{}", .0.message)]
    Refused(Box<SqlError>),
}

impl SqlParseError {
    /// 1-based character position.
    pub fn position(&self) -> Option<u32> {
        match self {
            SqlParseError::Syntax { position, .. }
            | SqlParseError::UnexpectedEnd { position, .. }
            | SqlParseError::Lexical { position, .. } => Some(*position),
            SqlParseError::TooLong { .. } => None,
            SqlParseError::TooDeep { position } => *position,
            SqlParseError::Refused(error) => error.position,
        }
    }
}

impl ToSqlState for SqlParseError {
    fn sql_state(&self) -> SqlState {
        match self {
            SqlParseError::Syntax { .. } | SqlParseError::UnexpectedEnd { .. } | SqlParseError::Lexical { .. } => {
                SqlState::SyntaxError
            }
            SqlParseError::TooLong { .. } => SqlState::ProgramLimitExceeded,
            SqlParseError::TooDeep { .. } => SqlState::StatementTooComplex,
            SqlParseError::Refused(error) => error.state,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            SqlParseError::Syntax { detail, .. } | SqlParseError::UnexpectedEnd { detail, .. } => {
                (!detail.is_empty()).then(|| detail.clone())
            }
            SqlParseError::Refused(error) => error.detail.clone(),
            SqlParseError::Lexical { .. } | SqlParseError::TooLong { .. } | SqlParseError::TooDeep { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SqlParseError::TooDeep { .. } => Some("Split the statement, or move parts of it into views.".to_owned()),
            SqlParseError::Refused(error) => error.hint.clone(),
            SqlParseError::Syntax { .. }
            | SqlParseError::UnexpectedEnd { .. }
            | SqlParseError::Lexical { .. }
            | SqlParseError::TooLong { .. } => None,
        }
    }

    fn to_sql_error(&self) -> SqlError {
        SqlError {
            state: self.sql_state(),
            message: self.to_string(),
            detail: self.detail(),
            hint: self.hint(),
            position: self.position(),
        }
    }
}

/// An error inside the parser, before its place is known as a character position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Parser(ParserError),
    Refused { error: Box<SqlError>, at: Option<Location> },
}

impl Failure {
    /// A well-formed statement or clause that we don't have.
    pub(crate) fn unsupported(at: Location, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::from(SqlError::unsupported(message, hint)).placed(at)
    }

    pub(crate) fn invalid(at: Location, state: SqlState, message: impl Into<String>) -> Failure {
        Failure::from(SqlError::new(state, message)).placed(at)
    }

    /// Keeps the place it already has, if any.
    pub(crate) fn placed(self, place: Location) -> Failure {
        match self {
            Failure::Refused { error, at: None } if place.line > 0 => Failure::Refused { error, at: Some(place) },
            other => other,
        }
    }
}

impl From<ParserError> for Failure {
    fn from(error: ParserError) -> Self {
        Failure::Parser(error)
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Failure::Refused { error: Box::new(error), at: None }
    }
}
