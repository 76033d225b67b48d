//! The contract between an operator and its host.

use std::sync::Arc;

use types::{DeltaBatch, EpochRecord, ErrorDelta, ObjectId, SqlState, ToSqlState};

use crate::arrangement::Shard;
use crate::{Cut, RestoredTable};

/// An incremental operator.
///
/// The host calls, per epoch: `on_batch` any number of times, ports interleaved freely; then `on_seal` once, again
/// while it answers `More`; then possibly `checkpoint`. Batches of later epochs are held back meanwhile, so state is
/// always exactly "as of" one epoch. Epochs that bring nothing to an operator's dataflow are skipped altogether.
///
/// Output must not depend on batch boundaries nor on order inside an epoch, and must be deterministic.
/// At most `limits::BATCH_ROWS_MAX` rows leave per `on_seal` call; then `More`.
/// Failing rows go to `out.errors`, with the diff of the row that failed. `Err` is for broken invariants and
/// resource limits only: it stops the dataflow and names it, and so does a panic (see [`guarded`](crate::guarded)).
pub trait Operator: Send {
    fn on_batch(&mut self, port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError>;

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError>;

    /// Errors that arrived on an input. They pass through every operator unchanged; only the last one keeps them.
    fn on_errors(&mut self, errors: Vec<ErrorDelta>, out: &mut Output) {
        out.errors.extend(errors);
    }

    /// Hands over what changed since the last checkpoint, at once: what can be shared is gathered later, see [`Cut`].
    /// Called only right after `on_seal` answered `Done`. Stateless operators return an empty cut.
    fn checkpoint(&mut self) -> Cut {
        Cut::default()
    }

    /// Takes back one batch of a table this operator has cut; called oldest first, before any input, only with rows
    /// whose vnode this worker owns. Later rows override (keyed) or add to (multiset) earlier ones.
    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        let _ = table;
        Err(OperatorError::internal("a stateless operator was given state to restore"))
    }

    /// Bytes of state held, for the memory budget.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// What an operator has produced. The host drains it after every call.
#[derive(Debug, Default)]
pub struct Output {
    pub rows: Vec<DeltaBatch>,
    pub errors: Vec<ErrorDelta>,
}

impl Output {
    /// Adds a batch; empty ones are dropped.
    pub fn push(&mut self, batch: DeltaBatch) {
        if !batch.is_empty() {
            self.rows.push(batch);
        }
    }
}

/// Whether a seal is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Call `on_seal` again with the same record.
    More,
    /// Sealed. `deadline_us`: wall-clock time (µs) at which this operator wants an epoch although no input came.
    Done { deadline_us: Option<i64> },
}

impl Progress {
    pub const DONE: Progress = Progress::Done { deadline_us: None };
}

/// What an operator may need from outside when it is built.
pub struct BuildContext {
    /// Index of the worker that will own the operator, and how many there are.
    pub worker: usize,
    pub workers: usize,
    /// Rows that leave a relation at a time.
    pub batch_rows: usize,
    /// The readable shard of a relation that this worker owns; used by `Materialize` only.
    pub shard: Arc<dyn Fn(ObjectId) -> Arc<Shard> + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("{message}")]
    Internal { message: String },
    /// A resource limit or an unsupported situation met at run time.
    #[error("{message}")]
    Limit { state: SqlState, message: String },
    /// It panicked; what it says.
    #[error("{message}")]
    Panic { message: String },
    #[error(transparent)]
    Types(#[from] types::TypesError),
    #[error(transparent)]
    Kernel(#[from] kernels::KernelError),
    #[error("arrow kernel failed")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl OperatorError {
    pub fn internal(message: impl Into<String>) -> Self {
        OperatorError::Internal { message: message.into() }
    }
}

impl ToSqlState for OperatorError {
    fn sql_state(&self) -> SqlState {
        match self {
            OperatorError::Internal { .. } | OperatorError::Panic { .. } | OperatorError::Arrow(_) => {
                SqlState::InternalError
            }
            OperatorError::Limit { state, .. } => *state,
            OperatorError::Types(e) => e.sql_state(),
            OperatorError::Kernel(e) => e.sql_state(),
        }
    }
}
