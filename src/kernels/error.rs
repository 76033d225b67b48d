//! Errors of the kernels, and how a DataFusion or Arrow error becomes a SQLSTATE.

use types::{SqlState, ToSqlState};

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// An expression failed on a value: division by zero, bad cast, overflow.
    #[error("{message}")]
    Evaluation { state: SqlState, message: String },
    /// The planner produced something this layer has no kernel for.
    #[error("{what} is not supported")]
    Unsupported { what: String },
    #[error("kernel invariant broken: {message}")]
    Internal { message: String },
}

impl ToSqlState for KernelError {
    fn sql_state(&self) -> SqlState {
        match self {
            KernelError::Evaluation { state, .. } => *state,
            KernelError::Unsupported { .. } => SqlState::FeatureNotSupported,
            KernelError::Internal { .. } => SqlState::InternalError,
        }
    }
}
