//! What a front end (the Postgres wire, HTTP, tests) sees of the engine.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use futures::stream::BoxStream;
use sql::ParsedStatement;
use types::{ObjectId, SqlError, SqlState};

/// Rows on their way to a client; every item is worth a flush. Dropping the stream cancels the work behind it.
pub type RowStream = BoxStream<'static, Result<RecordBatch, SqlError>>;

/// The answer to one statement.
pub enum Response {
    /// `tag` is the command tag's verb; the front end appends the number of rows sent (`SELECT 5`, `FETCH 5`,
    /// `INSERT 0 5` for RETURNING, where `tag` is "INSERT 0").
    Rows { columns: Vec<Column>, stream: RowStream, tag: &'static str },
    /// COPY … TO STDOUT, text format.
    CopyOut { columns: Vec<Column>, stream: RowStream },
    /// A complete command tag, e.g. `CREATE TABLE`, `INSERT 0 3`.
    Command { tag: String },
}

/// A result column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    /// OID of the Postgres type, where `data_type` alone doesn't tell.
    pub wire_type: Option<u32>,
    /// Table and 1-based column it comes from, if it is a plain column.
    pub origin: Option<(ObjectId, i16)>,
}

impl Column {
    pub fn of_schema(schema: &SchemaRef) -> Vec<Column> {
        schema
            .fields()
            .iter()
            .map(|f| Column {
                name: f.name().clone(),
                data_type: f.data_type().clone(),
                wire_type: plan::wire_type(f),
                origin: None,
            })
            .collect()
    }
}

/// A parsed and described statement, ready to execute any number of times.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub statement: Arc<ParsedStatement>,
    pub described: Described,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Described {
    /// Types of $1, $2, …
    pub parameters: Vec<DataType>,
    /// `None`: the statement returns no rows.
    pub columns: Option<Vec<Column>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeSeverity {
    Notice,
    Warning,
    Info,
}

/// Sent to the client while or after a statement runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub severity: NoticeSeverity,
    pub state: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

// `Engine` and `Session` (session.rs) give:
//
// impl Engine {
//     pub async fn open(config: EngineConfig) -> Result<Engine, SqlError>;      // Engine: Clone (Arc inside)
//     pub fn session(&self, user: &str, database: &str, parameters: Vec<(String, String)>) -> Result<Session, SqlError>;
//     pub fn metrics(&self) -> MetricsSnapshot;
//     pub fn ready(&self) -> bool;
//     pub fn shutdown(&self) -> BoxFuture<'static, ()>;
// }
// impl Session {
//     pub fn id(&self) -> u32;                                                   // backend pid
//     pub fn parse(&self, sql: &str) -> Result<Vec<ParsedStatement>, SqlError>;  // empty for empty or comment-only text
//     pub fn describe(&mut self, statement: Arc<ParsedStatement>, parameter_types: Vec<Option<DataType>>)
//         -> Result<Prepared, SqlError>;
//     /// One value per parameter, each a one-row array of the described type. Dropping the future cancels.
//     pub fn execute(&mut self, prepared: &Prepared, parameters: Vec<arrow::array::ArrayRef>)
//         -> BoxFuture<'_, Result<Response, SqlError>>;
//     /// parse-describe-execute of one statement of a simple query.
//     pub fn execute_simple(&mut self, statement: Arc<ParsedStatement>) -> BoxFuture<'_, Result<Response, SqlError>>;
//     pub fn transaction_status(&self) -> TransactionStatus;
//     pub fn fail_transaction(&mut self);          // after an error inside a block
//     pub fn notices(&mut self) -> tokio::sync::mpsc::UnboundedReceiver<Notice>;   // taken once by the front end
//     pub fn parameter(&self, name: &str) -> Option<String>;                       // current value
//     pub fn reported_parameters(&self) -> Vec<(&'static str, String)>;            // for ParameterStatus at start
//     pub fn take_changed_parameters(&mut self) -> Vec<(&'static str, String)>;    // ParameterStatus after SET
//     pub fn statement_timeout(&self) -> Option<std::time::Duration>;
// }
