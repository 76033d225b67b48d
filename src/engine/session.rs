//! One client's session: parameters, transaction, prepared statements, cursors. Statements themselves stand one per
//! file in `statements/`; this file only keeps state and dispatches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use coordinator::oracle::Pin;
use futures::StreamExt;
use futures::future::BoxFuture;
use plan::{PlanSession, PlannedQuery};
use sql::{ParsedStatement, Statement};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use types::limits::FAILURES_TOLD_MAX;
use types::{SqlError, SqlState, ToSqlState};

use crate::api::{Described, Notice, NoticeSeverity, Notices, Prepared, Response, RowStream, TransactionStatus};
use crate::engine::{Engine, Shared};
use crate::locks::{Mode, Resource};
use crate::parameters::Parameters;
use crate::reads::Reading;
use crate::sessions::{Registration, Running, Signals};
use crate::statements::cursor::Cursor;
use crate::statements::settings;
use crate::statements::{self, Context};
use crate::system::{PendingSettings, SessionEnvironment};
use crate::tables;
use crate::transaction::Transaction;
use crate::work::Work;
use crate::zone::shown_in;

/// A session. Owned by one connection; not shared.
pub struct Session {
    pub(crate) engine: Engine,
    registration: Registration,
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
    notices: Notices,
    receiver: Option<UnboundedReceiver<Notice>>,
}

/// Lets go the advisory locks of a session's transaction when dropped.
struct EndTransaction {
    shared: Arc<Shared>,
    session: u32,
}

impl Drop for EndTransaction {
    fn drop(&mut self) {
        self.shared.advisory.end_transaction(self.session);
    }
}

/// A statement at work. One that stands alone ends its transaction when it ends itself.
struct Underway {
    _alone: Option<EndTransaction>,
    _running: Running,
}

/// The statement runs as long as its rows flow.
fn until_end_of(underway: Underway, response: Response) -> Response {
    let carry = |stream: RowStream| {
        let ended = futures::stream::poll_fn(move |_| {
            let _until_dropped = &underway;
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
        let registration = engine.shared.sessions.register(user)?;
        let (notices, receiver) = unbounded_channel();
        let mut session_parameters = Parameters::new(user, engine.shared.sessions.limits());
        for (name, value) in parameters {
            session_parameters.set_at_start(&name, &value)?;
        }
        registration.set_application(session_parameters.get("application_name").unwrap_or_default());
        engine.shared.advisory.open(registration.id());
        let session = Session {
            engine,
            registration,
            user: user.to_string(),
            database: database.to_string(),
            parameters: Arc::new(session_parameters),
            pending_settings: Arc::default(),
            block_settings: settings::BlockSettings::default(),
            transaction: Transaction::default(),
            prepared: HashMap::new(),
            cursors: Mutex::default(),
            temporary_views: vec![],
            notices: Notices(notices),
            receiver: Some(receiver),
        };
        session.warn_of_failures();
        Ok(session)
    }

    /// Tells the client what cannot be used.
    fn warn_of_failures(&self) {
        let degraded = self.engine.degraded();
        let hint = "See hw_catalog.failures and hw_catalog.sources.";
        let warn = |message: String, hint: Option<String>| {
            self.notices.send(NoticeSeverity::Warning, SqlState::Warning, message, hint);
        };
        for line in degraded.iter().take(FAILURES_TOLD_MAX) {
            warn(line.clone(), Some(hint.into()));
        }
        if degraded.len() > FAILURES_TOLD_MAX {
            warn(format!("{} more relations and sources have failed", degraded.len() - FAILURES_TOLD_MAX), None);
        }
    }

    /// Backend process id as clients see it.
    pub fn id(&self) -> u32 {
        self.registration.id()
    }

    /// How others cancel its statements and end it; the front end listens.
    pub fn signals(&self) -> Arc<Signals> {
        self.registration.signals()
    }

    /// What a cancel request must know.
    pub fn set_cancel_key(&self, key: Vec<u8>) {
        self.registration.set_cancel_key(key);
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
        self.check_not_failed(&statement.statement)?;
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

    /// 25P02 for all that doesn't end a failed block, before anything of it is looked at, as in Postgres.
    fn check_not_failed(&self, statement: &Statement) -> Result<(), SqlError> {
        if self.transaction.status() != TransactionStatus::Failed || ends_transaction(statement) {
            return Ok(());
        }
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        Err(SqlError::new(SqlState::InFailedSqlTransaction, message))
    }

    async fn run(&mut self, statement: Arc<ParsedStatement>, parameters: Vec<ArrayRef>) -> Result<Response, SqlError> {
        self.check_not_failed(&statement.statement)?;
        self.adopt_settings();
        // Until the statement has failed, was cancelled, or its rows are out.
        let running = self.registration.start(&statement.text);
        let result = self.carry_out(&statement, &parameters).await;
        let application = self.parameters.get("application_name").unwrap_or_default();
        self.registration.set_application(application);
        self.registration.set_transaction(self.transaction.status());
        let alone = self.transaction.stands_alone();
        let alone = alone.then(|| EndTransaction { shared: self.engine.shared.clone(), session: self.id() });
        let underway = Underway { _alone: alone, _running: running };
        let result = result.map(|response| until_end_of(underway, response));
        let zone = self.parameters.get("TimeZone");
        result.map(|response| shown_in(response, zone.as_deref().unwrap_or(kernels::functions::UTC)))
    }

    /// Executes, and commits a statement that stands alone. If it does not succeed its transaction has failed.
    async fn carry_out(&mut self, statement: &ParsedStatement, parameters: &[ArrayRef]) -> Result<Response, SqlError> {
        let mut unfinished = Unfinished(Some(self));
        let session = unfinished.0.as_mut().expect("just put there");
        let response = statements::execute(session, statement, parameters).await?;
        if let Some(work) = session.transaction.after_statement() {
            session.commit(work).await?;
        }
        unfinished.0 = None;
        Ok(response)
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        self.transaction.status()
    }

    /// An error inside a block: everything but its end is refused from here on.
    pub fn fail_transaction(&mut self) {
        let advisory = &self.engine.shared.advisory;
        match self.transaction.last_savepoint() {
            Some(savepoint) => advisory.roll_back(self.id(), savepoint.advisory),
            None => advisory.end_transaction(self.id()),
        }
        self.transaction.fail();
        self.registration.set_transaction(self.transaction.status());
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

    /// How long the client may do nothing while a block is open.
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.parameters.idle_in_transaction_timeout()
    }

    pub(crate) fn notice(&self, message: impl Into<String>) {
        self.notices.notice(message);
    }

    pub(crate) fn warning(&self, state: SqlState, message: impl Into<String>) {
        self.notices.warning(state, message);
    }

    pub(crate) fn notices_of(&self) -> &Notices {
        &self.notices
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
        format!("{}{}", catalog::TEMPORARY_SCHEMA, self.id())
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

    /// Takes locks for the transaction, one after the other; waits for those that others hold.
    pub(crate) async fn lock(&mut self, locks: &[(Resource, Mode)]) -> Result<(), SqlError> {
        let session = self.id();
        let owner = self.transaction.work().owner(&self.engine.shared.locks, session);
        owner.lock(locks, self.parameters.lock_timeout()).await.map(|_| ()).map_err(|e| e.to_sql_error())
    }

    /// Commits; whoever would cancel the statement waits for the outcome.
    pub(crate) async fn commit(&self, work: Work) -> Result<(), SqlError> {
        let _committing = self.registration.signals().commit();
        tables::commit(&self.engine.shared, work).await
    }

    /// What a query reads beside what is committed.
    pub(crate) fn reading(&mut self, planned: &PlannedQuery) -> Reading {
        let own = Arc::new(self.transaction.work().overlays(&planned.relations));
        Reading { own, pin: self.snapshot(), target: None, proposed: None }
    }

    /// The instant of all reads of the open block, if it has one.
    fn snapshot(&mut self) -> Option<Arc<Pin>> {
        let shared = &self.engine.shared;
        let repeatable = self.transaction.is_open() && self.parameters.repeatable_read();
        repeatable.then(|| self.transaction.snapshot(&shared.oracle, &shared.recent))
    }

    /// The statements that follow, up to `end_implicit`, are one transaction.
    pub fn begin_implicit(&mut self) {
        self.transaction.begin_implicit();
    }

    /// Commits what has been done since `begin_implicit`, unless a block was opened.
    pub fn end_implicit(&mut self) -> BoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move {
            let Some(work) = self.transaction.end_implicit() else { return Ok(()) };
            // Whether or not it commits.
            let _locks = EndTransaction { shared: self.engine.shared.clone(), session: self.id() };
            self.commit(work).await
        })
    }

    /// A described statement that returns nothing.
    pub(crate) fn nothing() -> Described {
        Described::default()
    }
}

/// A statement that has not succeeded yet: if it ends like this, by an error or because nobody waits for it any more, its
/// transaction has failed.
struct Unfinished<'a>(Option<&'a mut Session>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(session) = &mut self.0 {
            session.fail_transaction();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let shared = &self.engine.shared;
        shared.advisory.close(self.id());
        if !self.temporary_views.is_empty() {
            drop(statements::create_view::drop_temporary(shared.clone(), std::mem::take(&mut self.temporary_views)));
        }
    }
}

fn ends_transaction(statement: &Statement) -> bool {
    use sql::SavepointAction::RollBackTo;
    matches!(statement, Statement::Commit | Statement::Rollback | Statement::Savepoint { action: RollBackTo, .. })
}
