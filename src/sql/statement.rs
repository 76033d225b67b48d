//! The statements Highwater accepts. One variant, one engine file.

use sqlparser::ast;

/// One parsed statement with its own text (for the catalog, logs and `pg_stat_activity`).
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    pub text: String,
    pub statement: Statement,
}

#[derive(Debug, Clone)]
pub enum Statement {
    CreateSource(CreateSource),
    CreateTable(CreateTable),
    CreateView(CreateView),
    CreateMaterializedView(CreateMaterializedView),
    CreateSchema {
        name: ast::ObjectName,
        if_not_exists: bool,
    },
    Drop(Drop),
    Comment {
        kind: ObjectKind,
        name: ast::ObjectName,
        column: Option<ast::Ident>,
        text: Option<String>,
    },
    Insert(Insert),
    Update(Update),
    Delete(Delete),
    /// SELECT, VALUES, TABLE, WITH …
    Query(Box<ast::Query>),
    Subscribe(Subscribe),
    /// `COPY (query | SUBSCRIBE …) TO STDOUT` or `COPY table TO STDOUT`.
    CopyTo {
        from: CopySource,
        options: Vec<(String, Option<String>)>,
    },
    Explain {
        options: ExplainOptions,
        statement: Box<Statement>,
    },
    Show(Show),
    Describe {
        name: ast::ObjectName,
    },
    Set {
        local: bool,
        name: String,
        value: Option<String>,
    },
    Reset {
        name: Option<String>,
    },
    Flush,
    Wait,
    /// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH DATA]`.
    Refresh {
        name: ast::ObjectName,
    },
    CancelJobs {
        ids: Vec<u32>,
    },
    /// `BEGIN`, or `START TRANSACTION`, whose tag is another.
    Begin {
        modes: TransactionModes,
        start: bool,
    },
    /// SET TRANSACTION, or what the session's transactions start with.
    SetTransaction {
        session: bool,
        modes: TransactionModes,
    },
    Commit,
    Rollback,
    Savepoint {
        action: SavepointAction,
        name: String,
    },
    DiscardAll,
    /// `UNLISTEN …`: nothing to do without LISTEN, but drivers send it when they return a connection to their pool.
    Unlisten,
    Prepare {
        name: String,
        statement: Box<Statement>,
    },
    Execute {
        name: String,
        parameters: Vec<ast::Expr>,
    },
    Deallocate {
        name: Option<String>,
    },
    Declare {
        name: String,
        statement: Box<Statement>,
        hold: bool,
    },
    Fetch {
        name: String,
        count: FetchCount,
        timeout_ms: Option<u64>,
    },
    Close {
        name: Option<String>,
    },
}

/// Option lists `WITH (a = 'x', b = true)`: names lower case, values as text, in order.
pub type OptionList = Vec<(String, String)>;

#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    pub name: ast::Ident,
    pub data_type: ast::DataType,
    pub not_null: bool,
    pub primary_key: bool,
    pub default: Option<ast::Expr>,
    /// `GENERATED ALWAYS AS (expr) STORED`, or RisingWave's `name type AS expr`.
    pub generated: Option<ast::Expr>,
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub struct WatermarkDefinition {
    pub column: ast::Ident,
    pub expr: ast::Expr,
}

/// `FORMAT PLAIN ENCODE JSON (option = value, …)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatClause {
    /// Upper case: PLAIN, UPSERT, DEBEZIUM …
    pub format: String,
    /// Upper case: CSV, JSON, PARQUET …
    pub encode: String,
    pub options: OptionList,
}

#[derive(Debug, Clone)]
pub struct CreateSource {
    pub name: ast::ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDefinition>,
    pub watermark: Option<WatermarkDefinition>,
    pub options: OptionList,
    pub format: Option<FormatClause>,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: ast::ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDefinition>,
    /// Column names of a table-level `PRIMARY KEY (…)`; empty if only column-level or none.
    pub primary_key: Vec<ast::Ident>,
    pub watermark: Option<WatermarkDefinition>,
    pub append_only: bool,
    /// With `connector` among them the table stores the rows of that connector.
    pub options: OptionList,
    pub format: Option<FormatClause>,
    /// `CREATE TABLE … AS query`.
    pub query: Option<Box<ast::Query>>,
}

#[derive(Debug, Clone)]
pub struct CreateView {
    pub name: ast::ObjectName,
    pub or_replace: bool,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub columns: Vec<ast::Ident>,
    pub query: Box<ast::Query>,
}

#[derive(Debug, Clone)]
pub struct CreateMaterializedView {
    pub name: ast::ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<ast::Ident>,
    pub options: OptionList,
    pub query: Box<ast::Query>,
    pub emit_on_window_close: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Source,
    Table,
    View,
    MaterializedView,
    Schema,
    Index,
}

#[derive(Debug, Clone)]
pub struct Drop {
    pub kind: ObjectKind,
    pub names: Vec<ast::ObjectName>,
    pub if_exists: bool,
    pub cascade: bool,
}

/// `ISOLATION LEVEL …`, `READ ONLY`, …; `None`: not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// In lower case.
    pub isolation: Option<String>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavepointAction {
    Define,
    Release,
    RollBackTo,
}

impl SavepointAction {
    /// The command as errors name it.
    pub fn command(self) -> &'static str {
        match self {
            SavepointAction::Define => "SAVEPOINT",
            SavepointAction::Release => "RELEASE SAVEPOINT",
            SavepointAction::RollBackTo => "ROLLBACK TO SAVEPOINT",
        }
    }

    pub fn tag(self) -> &'static str {
        match self {
            SavepointAction::Define => "SAVEPOINT",
            SavepointAction::Release => "RELEASE",
            SavepointAction::RollBackTo => "ROLLBACK",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Insert {
    pub table: ast::ObjectName,
    pub alias: Option<ast::Ident>,
    /// Empty: all insertable columns in order.
    pub columns: Vec<ast::Ident>,
    /// `None`: DEFAULT VALUES.
    pub source: Option<Box<ast::Query>>,
    pub on_conflict: Option<OnConflict>,
    pub returning: Vec<ast::SelectItem>,
}

/// What becomes of a row whose key is taken.
#[derive(Debug, Clone)]
pub struct OnConflict {
    pub target: Option<ConflictTarget>,
    pub action: ConflictAction,
}

#[derive(Debug, Clone)]
pub enum ConflictTarget {
    Columns(Vec<ast::Ident>),
    Constraint(ast::Ident),
}

#[derive(Debug, Clone)]
pub enum ConflictAction {
    Nothing,
    /// Expressions may name the row that is there by the table's name, the one that was given by `excluded`.
    Update {
        assignments: Vec<(ast::Ident, ast::Expr)>,
        selection: Option<ast::Expr>,
    },
}

#[derive(Debug, Clone)]
pub struct Update {
    pub table: ast::ObjectName,
    pub alias: Option<ast::Ident>,
    pub assignments: Vec<(ast::Ident, ast::Expr)>,
    pub selection: Option<ast::Expr>,
    pub returning: Vec<ast::SelectItem>,
}

#[derive(Debug, Clone)]
pub struct Delete {
    pub table: ast::ObjectName,
    pub alias: Option<ast::Ident>,
    pub selection: Option<ast::Expr>,
    pub returning: Vec<ast::SelectItem>,
}

#[derive(Debug, Clone)]
pub struct Subscribe {
    pub target: SubscribeTarget,
    /// Default true.
    pub snapshot: bool,
    /// Default false.
    pub progress: bool,
    /// Goes on after this epoch.
    pub as_of: Option<u64>,
}

#[derive(Debug, Clone)]
pub enum SubscribeTarget {
    Relation(ast::ObjectName),
    Query(Box<ast::Query>),
}

#[derive(Debug, Clone)]
pub enum CopySource {
    Query(Box<ast::Query>),
    Relation { name: ast::ObjectName, columns: Vec<ast::Ident> },
    Subscribe(Subscribe),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    pub format: ExplainFormat,
    pub verbose: bool,
    pub analyze: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExplainFormat {
    #[default]
    Text,
    Json,
    Dot,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// `SHOW name`; `None` is `SHOW ALL`.
    Parameter(Option<String>),
    Sources,
    Tables,
    Views,
    MaterializedViews,
    Schemas,
    Databases,
    Jobs,
    Watermarks,
    Columns(ast::ObjectName),
    /// `SHOW CREATE SOURCE|TABLE|VIEW|MATERIALIZED VIEW name`.
    Create(ast::ObjectName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchCount {
    Count(u64),
    All,
}
