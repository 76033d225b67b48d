//! What the wire needs from the engine, as a trait: the loops are tested against a scripted double.
//!
//! The methods mirror `engine::Engine` and `engine::Session` one to one (`engine_backend.rs`). Futures are boxed
//! here, so that no loop carries the engine's type graph in its own future.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use engine::{Described, MetricSample, Notice, Response, Signals, TransactionStatus};
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use types::SqlError;

/// The engine as a whole; cheap to clone.
pub trait Backend: Clone + Send + Sync + 'static {
    type Session: BackendSession;

    /// Opens a session. `parameters` are the start-up parameters other than user and database.
    fn session(&self, user: &str, database: &str, parameters: Vec<(String, String)>)
    -> Result<Self::Session, SqlError>;

    /// Serves a cancel request: cancels what the session runs, if the key is its own. Says nothing either way.
    fn cancel(&self, session: u32, key: &[u8]);

    fn metrics(&self) -> Vec<MetricSample>;

    /// True once recovery is over and reads are served.
    fn ready(&self) -> bool;

    /// What cannot be used although reads are served, a line each.
    fn degraded(&self) -> Vec<String>;
}

/// One client's session. Dropping a future it returned cancels the work.
pub trait BackendSession: Send + 'static {
    /// A parsed statement.
    type Statement: Clone + Send + Sync + 'static;
    /// A described statement.
    type Prepared: Clone + Send + Sync + 'static;

    /// The process id announced to the client; unique among open sessions.
    fn id(&self) -> u32;
    /// How others cancel its statements and end it.
    fn signals(&self) -> Arc<Signals>;
    /// What a cancel request must know.
    fn set_cancel_key(&mut self, key: Vec<u8>);
    /// Empty for empty or comment-only text.
    fn parse(&self, sql: &str) -> Result<Vec<Self::Statement>, SqlError>;
    /// `None` among the types: to be inferred.
    fn describe(
        &mut self,
        statement: &Self::Statement,
        parameter_types: Vec<Option<DataType>>,
    ) -> Result<Self::Prepared, SqlError>;
    fn described(prepared: &Self::Prepared) -> &Described;
    /// One one-row array of the described type per parameter.
    fn execute<'a>(
        &'a mut self,
        prepared: &'a Self::Prepared,
        parameters: Vec<ArrayRef>,
    ) -> BoxFuture<'a, Result<Response, SqlError>>;
    fn execute_simple(&mut self, statement: &Self::Statement) -> BoxFuture<'_, Result<Response, SqlError>>;
    fn transaction_status(&self) -> TransactionStatus;
    /// The statements that follow are one transaction, up to `end_implicit`.
    fn begin_implicit(&mut self);
    /// Commits them, unless they have opened a block.
    fn end_implicit(&mut self) -> BoxFuture<'_, Result<(), SqlError>>;
    /// How long the client may do nothing while a block is open.
    fn idle_in_transaction_timeout(&self) -> Option<Duration>;
    fn fail_transaction(&mut self);
    /// Taken once, when the session starts.
    fn notices(&mut self) -> UnboundedReceiver<Notice>;
    fn reported_parameters(&self) -> Vec<(&'static str, String)>;
    fn take_changed_parameters(&mut self) -> Vec<(&'static str, String)>;
    fn statement_timeout(&self) -> Option<Duration>;
    /// The name if the statement is `DEALLOCATE name`: protocol-level statements share its name space and live here.
    fn deallocates(_statement: &Self::Statement) -> Option<String> {
        None
    }
}
