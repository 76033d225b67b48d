//! Errors of binding and planning, worded as in Postgres.

use catalog::CatalogError;
use kernels::KernelError;
use types::{SqlError, SqlState, ToSqlState};

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("column {name} does not exist")]
    UndefinedColumn { name: String, hint: Option<String> },
    #[error("column reference \"{name}\" is ambiguous")]
    AmbiguousColumn { name: String },
    #[error("column \"{name}\" specified more than once")]
    DuplicateColumn { name: String },
    #[error("function {name} does not exist")]
    UndefinedFunction { name: String, hint: Option<String> },
    #[error("{message}")]
    Grouping { message: String },
    #[error("{message}")]
    TypeMismatch { message: String, hint: Option<String> },
    #[error("type \"{name}\" does not exist")]
    UndefinedType { name: String },
    /// What we know and don't have. `hint` says what to do instead.
    #[error("{what}")]
    Unsupported { what: String, hint: String },
    /// A wrong statement that has no variant of its own.
    #[error("{message}")]
    Invalid { state: SqlState, message: String, hint: Option<String> },
    #[error("cannot emit on window close without a watermark")]
    NoWatermark { hint: String },
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An error that already is what the client sees, e.g. from parsing the text of a view.
    #[error("{}", .0.message)]
    Sql(SqlError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("planner invariant broken: {message}")]
    Internal { message: String },
}

/// As docs/sql/types.md lists them.
const KNOWN_TYPES: &str = "boolean, smallint, integer, bigint, real, double precision, numeric, text, varchar, char, \
     bytea, date, time, timestamp, timestamptz, interval, uuid, json, jsonb, and arrays of them";

impl PlanError {
    pub fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        PlanError::Unsupported { what: what.into(), hint: hint.into() }
    }

    pub fn invalid(state: SqlState, message: impl Into<String>) -> Self {
        PlanError::Invalid { state, message: message.into(), hint: None }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        PlanError::Internal { message: message.into() }
    }
}

impl ToSqlState for PlanError {
    fn sql_state(&self) -> SqlState {
        match self {
            PlanError::UndefinedColumn { .. } => SqlState::UndefinedColumn,
            PlanError::AmbiguousColumn { .. } => SqlState::AmbiguousColumn,
            PlanError::DuplicateColumn { .. } => SqlState::DuplicateColumn,
            PlanError::UndefinedFunction { .. } => SqlState::UndefinedFunction,
            PlanError::Grouping { .. } => SqlState::GroupingError,
            PlanError::TypeMismatch { .. } => SqlState::DatatypeMismatch,
            PlanError::UndefinedType { .. } => SqlState::UndefinedObject,
            PlanError::Unsupported { .. } | PlanError::NoWatermark { .. } => SqlState::FeatureNotSupported,
            PlanError::Invalid { state, .. } => *state,
            PlanError::Catalog(error) => error.sql_state(),
            PlanError::Sql(error) => error.state,
            PlanError::Kernel(error) => error.sql_state(),
            PlanError::Internal { .. } => SqlState::InternalError,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            PlanError::Catalog(error) => error.detail(),
            PlanError::Sql(error) => error.detail.clone(),
            PlanError::Kernel(error) => error.detail(),
            PlanError::NoWatermark { .. } => {
                Some("Without one no window is ever complete, so nothing would be emitted.".into())
            }
            PlanError::UndefinedType { .. } => Some(format!("Known types: {KNOWN_TYPES}.")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PlanError::UndefinedColumn { hint, .. }
            | PlanError::UndefinedFunction { hint, .. }
            | PlanError::TypeMismatch { hint, .. }
            | PlanError::Invalid { hint, .. } => hint.clone(),
            PlanError::Unsupported { hint, .. } => (!hint.is_empty()).then(|| hint.clone()),
            PlanError::NoWatermark { hint } => Some(hint.clone()),
            PlanError::UndefinedType { .. } => Some("Correct the name, or use text.".into()),
            PlanError::Catalog(error) => error.hint(),
            PlanError::Sql(error) => error.hint.clone(),
            PlanError::Kernel(error) => error.hint(),
            _ => None,
        }
    }
}
