//! What a front end (the Postgres wire, HTTP, tests) sees of the engine, besides `Engine` (`engine.rs`) and `Session`
//! (`session.rs`).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use futures::stream::BoxStream;
use sql::ParsedStatement;
use tokio::sync::mpsc::UnboundedSender;
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

/// Where a session's notices go; the front end listens.
#[derive(Debug, Clone)]
pub(crate) struct Notices(pub UnboundedSender<Notice>);

impl Notices {
    pub fn notice(&self, message: impl Into<String>) {
        self.send(NoticeSeverity::Notice, SqlState::SuccessfulCompletion, message.into(), None);
    }

    pub fn warning(&self, state: SqlState, message: impl Into<String>) {
        self.send(NoticeSeverity::Warning, state, message.into(), None);
    }

    pub fn send(&self, severity: NoticeSeverity, state: SqlState, message: String, hint: Option<String>) {
        // The front end may have gone; then nobody wants the notice.
        let _ = self.0.send(Notice { severity, state, message, detail: None, hint });
    }
}
