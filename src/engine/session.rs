//! One client's session: parameters, transaction, prepared statements, cursors. Statements themselves stand one per
//! file in `statements/`; this file only keeps state and dispatches.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use futures::StreamExt;
use futures::future::BoxFuture;
use plan::PlanSession;
use sql::{ParsedStatement, Statement};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use types::{SqlError, SqlState, ToSqlState};

use crate::api::{Described, Notice, NoticeSeverity, Prepared, Response, RowStream, TransactionStatus};
use crate::engine::Engine;
use crate::parameters::Parameters;
use crate::statements::cursor::Cursor;
use crate::statements::settings;
use crate::statements::{self, Context};
use crate::system::{PendingSettings, SessionEnvironment};
use crate::time::now_us;
use crate::transaction::Transaction;
use crate::zone::shown_in;

/// A session. Owned by one connection; not shared.
pub struct Session {
    pub(crate) engine: Engine,
    id: u32,
    pub(crate) user: String,
    pub(crate) database: String,
    /// Shared with the queries that are running.
    pub(crate) parameters: Arc<Parameters>,
    pub(crate) pending_settings: Arc<PendingSettings>,
    /// What the open block has set and its end undoes.
    pub(crate) block_settings: settings::BlockSettings,
    pub(crate) transaction: Transaction,
    pub(crate) prepared: HashMap<String, Prepared>,
    /// In a mutex only because streams are not `Sync`.
    pub(crate) cursors: Mutex<HashMap<String, Cursor>>,
    pub(crate) temporary_views: Vec<types::ObjectId>,
    notices: UnboundedSender<Notice>,
    receiver: Option<UnboundedReceiver<Notice>>,
}

/// What others may see of a session.
#[derive(Debug, Clone)]
pub struct SessionReading {
    pub id: u32,
    pub user: String,
    pub application: String,
    pub started_us: i64,
    pub query: String,
    pub active: bool,
    /// Counts its statements.
    statements: u64,
}

/// All open sessions, for `pg_stat_activity` and `hw_catalog.sessions`.
#[derive(Default)]
pub struct SessionRegistry {
    sessions: Mutex<BTreeMap<u32, SessionReading>>,
    next: AtomicU32,
}

impl SessionRegistry {
    pub fn read(&self) -> Vec<SessionReading> {
        self.sessions.lock().expect("not poisoned").values().cloned().collect()
    }

    fn update(&self, id: u32, change: impl FnOnce(&mut SessionReading)) {
        if let Some(session) = self.sessions.lock().expect("not poisoned").get_mut(&id) {
            change(session);
        }
    }
}

/// Marks a session as active; idle again when dropped, unless another statement has started.
struct Running {
    engine: Engine,
    session: u32,
    number: u64,
}

impl Running {
    fn start(engine: Engine, session: u32, text: &str) -> Running {
        let mut number = 0;
        engine.shared.sessions.update(session, |reading| {
            reading.statements += 1;
            reading.query = text.to_string();
            reading.active = true;
            number = reading.statements;
        });
        Running { engine, session, number }
    }

    /// The statement runs as long as its rows flow.
    fn until_end_of(self, response: Response) -> Response {
        let carry = |stream: RowStream| {
            let ended = futures::stream::poll_fn(move |_| {
                let _until_dropped = &self;
                std::task::Poll::Ready(None)
            });
            stream.chain(ended).boxed()
        };
        match response {
            Response::Rows { columns, stream, tag } => Response::Rows { columns, stream: carry(stream), tag },
            Response::CopyOut { columns, stream } => Response::CopyOut { columns, stream: carry(stream) },
            Response::Command { tag } => Response::Command { tag },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.shared.sessions.update(self.session, |reading| {
            reading.active &= reading.statements != self.number;
        });
    }
}

impl Session {
    pub(crate) fn new(
        engine: Engine,
        user: &str,
        database: &str,
        parameters: Vec<(String, String)>,
    ) -> Result<Session, SqlError> {
        if !engine.ready() {
            return Err(SqlError::new(SqlState::CannotConnectNow, "the database system is starting up"));
        }
        let (notices, receiver) = unbounded_channel();
        let mut session_parameters = Parameters::new(user);
        for (name, value) in parameters {
            session_parameters.set_at_start(&name, &value)?;
        }
        let registry = &engine.shared.sessions;
        let id = registry.next.fetch_add(1, Ordering::Relaxed) + 1;
        let reading = SessionReading {
            id,
            user: user.to_string(),
            application: session_parameters.get("application_name").unwrap_or_default(),
            started_us: now_us(),
            query: String::new(),
            active: false,
            statements: 0,
        };
        registry.sessions.lock().expect("not poisoned").insert(id, reading);
        Ok(Session {
            engine,
            id,
            user: user.to_string(),
            database: database.to_string(),
            parameters: Arc::new(session_parameters),
            pending_settings: Arc::default(),
            block_settings: settings::BlockSettings::default(),
            transaction: Transaction::default(),
            prepared: HashMap::new(),
            cursors: Mutex::default(),
            temporary_views: vec![],
            notices,
            receiver: Some(receiver),
        })
    }

    /// Backend process id as clients see it.
    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// Statements of `sql`; none for empty or comment-only text.
    pub fn parse(&self, sql: &str) -> Result<Vec<ParsedStatement>, SqlError> {
        sql::parse(sql).map_err(|e| e.to_sql_error())
    }

    /// Types of parameters and result, without executing.
    pub fn describe(
        &mut self,
        statement: Arc<ParsedStatement>,
        parameter_types: Vec<Option<DataType>>,
    ) -> Result<Prepared, SqlError> {
        let described = statements::describe(&self.context(), self, &statement.statement, &parameter_types)?;
        Ok(Prepared { statement, described })
    }

    /// Executes with one one-row array per parameter. Dropping the future cancels.
    pub fn execute(
        &mut self,
        prepared: &Prepared,
        parameters: Vec<ArrayRef>,
    ) -> BoxFuture<'_, Result<Response, SqlError>> {
        let statement = prepared.statement.clone();
        let expected = prepared.described.parameters.len();
        Box::pin(async move {
            if parameters.len() != expected {
                let message = format!("{} parameters were bound, the statement has {expected}", parameters.len());
                return Err(SqlError::new(SqlState::ProtocolViolation, message));
            }
            self.run(statement, parameters).await
        })
    }

    /// Executes one statement of a simple query.
    pub fn execute_simple(&mut self, statement: Arc<ParsedStatement>) -> BoxFuture<'_, Result<Response, SqlError>> {
        Box::pin(self.run(statement, vec![]))
    }

    async fn run(&mut self, statement: Arc<ParsedStatement>, parameters: Vec<ArrayRef>) -> Result<Response, SqlError> {
        if self.transaction.status() == TransactionStatus::Failed && !ends_transaction(&statement.statement) {
            return Err(SqlError::new(
                SqlState::InFailedSqlTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        self.adopt_settings();
        let registry = self.engine.clone();
        // Until the statement has failed, was cancelled, or its rows are out.
        let running = Running::start(registry, self.id, &statement.text);
        let result = statements::execute(self, &statement, &parameters).await;
        let application = self.parameters.get("application_name").unwrap_or_default();
        self.engine.shared.sessions.update(self.id, |session| session.application = application);
        let result = result.map(|response| running.until_end_of(response));
        if result.is_err() {
            self.fail_transaction();
        }
        let zone = self.parameters.get("TimeZone");
        result.map(|response| shown_in(response, zone.as_deref().unwrap_or(kernels::functions::UTC)))
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        self.transaction.status()
    }

    /// An error inside a block: everything but its end is refused from here on.
    pub fn fail_transaction(&mut self) {
        self.transaction.fail();
    }

    /// Notices as they are raised; taken once by the front end.
    pub fn notices(&mut self) -> UnboundedReceiver<Notice> {
        self.receiver.take().unwrap_or_else(|| unbounded_channel().1)
    }

    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.get(name)
    }

    pub fn reported_parameters(&self) -> Vec<(&'static str, String)> {
        self.parameters.reported()
    }

    pub fn take_changed_parameters(&mut self) -> Vec<(&'static str, String)> {
        self.adopt_settings();
        match self.parameters.has_changed() {
            true => Arc::make_mut(&mut self.parameters).take_changed(),
            false => vec![],
        }
    }

    /// Takes over what `set_config` has set in queries that are done.
    fn adopt_settings(&mut self) {
        for setting in self.pending_settings.take() {
            // The function has tried it on a copy.
            let _ = settings::set(self, setting.local, &setting.name, Some(&setting.value));
        }
    }

    pub fn statement_timeout(&self) -> Option<Duration> {
        self.parameters.statement_timeout()
    }

    pub(crate) fn notice(&self, message: impl Into<String>) {
        self.notice_of(NoticeSeverity::Notice, SqlState::SuccessfulCompletion, message, None);
    }

    pub(crate) fn warning(&self, state: SqlState, message: impl Into<String>) {
        self.notice_of(NoticeSeverity::Warning, state, message, None);
    }

    fn notice_of(&self, severity: NoticeSeverity, state: SqlState, message: impl Into<String>, hint: Option<String>) {
        // The front end may have gone; then nobody wants the notice.
        let _ = self.notices.send(Notice { severity, state, message: message.into(), detail: None, hint });
    }

    pub(crate) fn notice_sender(&self) -> UnboundedSender<Notice> {
        self.notices.clone()
    }

    pub(crate) fn context(&self) -> Context {
        Context {
            temporary_schema: self.temporary_schema(),
            shared: self.engine.shared.clone(),
            environment: Arc::new(SessionEnvironment::new(self)),
            session: PlanSession {
                time_zone: self.parameters.get("TimeZone").unwrap_or_else(|| "UTC".into()),
                search_path: self.search_path(),
            },
        }
    }

    /// Where the session's temporary objects are.
    pub(crate) fn temporary_schema(&self) -> String {
        format!("{}{}", catalog::TEMPORARY_SCHEMA, self.id)
    }

    /// Schemas in which unqualified names are looked up: first, as in Postgres, that of the temporary objects.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let temporary = (!self.temporary_views.is_empty()).then(|| self.temporary_schema());
        temporary.into_iter().chain(self.parameters.search_path()).collect()
    }

    /// Whether a view that reads `objects` is temporary because one of them is; tells the client.
    pub(crate) fn inherits_temporary(&self, objects: &[types::ObjectId], view: &str) -> bool {
        let temporary = objects.iter().any(|id| self.temporary_views.contains(id));
        if temporary {
            self.notice(format!("view \"{view}\" will be a temporary view"));
        }
        temporary
    }

    pub(crate) fn cursors(&mut self) -> &mut HashMap<String, Cursor> {
        self.cursors.get_mut().expect("not poisoned")
    }

    /// A described statement that returns nothing.
    pub(crate) fn nothing() -> Described {
        Described::default()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let shared = &self.engine.shared;
        shared.sessions.sessions.lock().expect("not poisoned").remove(&self.id);
        if !self.temporary_views.is_empty() {
            drop(statements::create_view::drop_temporary(shared.clone(), std::mem::take(&mut self.temporary_views)));
        }
    }
}

fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit | Statement::Rollback)
}
