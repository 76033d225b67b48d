//! A backend whose statements do what their text says:
//!
//! `rows N`: one int4 column, batches of 3 · `endless`: rows without end · `quiet`: one row, then silence ·
//! `hang`: no answer · `notice T`: a notice · `slow notice T`: a notice, then silence · `fail`: an error ·
//! `echo …$1…`, `say …$1…`: its parameters, bigint or text unless told · `begin` (or `start`), `commit`, `rollback` · `copy N` · `set N V`: a reported parameter ·
//! `timeout MS` · `panic` · `deallocate N` · `FETCH … FROM "c"`: the cursor `c` · anything else: a command whose tag
//! is the text in upper case.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use engine::{
    Column, Described, MetricKind, MetricSample, Notice, NoticeSeverity, Registration, Response, RowStream,
    SessionLimits, SessionRegistry, Signals, TransactionStatus,
};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use types::{SqlError, SqlState};

use crate::backend::{Backend, BackendSession};

#[derive(Clone)]
pub struct Fake {
    sessions: Arc<SessionRegistry>,
    /// Statements at work: running, or streams that still exist.
    pub live: Arc<watch::Sender<usize>>,
    pub ready: Arc<watch::Sender<bool>>,
    pub degraded: Arc<Mutex<Vec<String>>>,
}

impl Default for Fake {
    fn default() -> Self {
        let count = || Arc::new(watch::Sender::new(0));
        Fake {
            sessions: Arc::default(),
            live: count(),
            ready: Arc::new(watch::Sender::new(true)),
            degraded: Arc::default(),
        }
    }
}

impl Fake {
    pub fn with_limits(sessions_max: usize, reserved: usize) -> Fake {
        let limits = SessionLimits { sessions_max, reserved };
        Fake { sessions: Arc::new(SessionRegistry::new(limits)), ..Fake::default() }
    }

    /// Waits until that many statements are at work.
    pub async fn wait_for_live(&self, count: usize) {
        let mut live = self.live.subscribe();
        let reached = tokio::time::timeout(Duration::from_secs(20), live.wait_for(|&live| live == count)).await;
        assert!(reached.is_ok(), "{} statements at work instead of {count}", *self.live.borrow());
    }

    fn work(&self) -> Work {
        self.live.send_modify(|live| *live += 1);
        Work(self.live.clone())
    }
}

struct Work(Arc<watch::Sender<usize>>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.send_modify(|live| *live -= 1);
    }
}

impl Backend for Fake {
    type Session = FakeSession;

    fn session(&self, user: &str, database: &str, parameters: Vec<(String, String)>) -> Result<FakeSession, SqlError> {
        if database == "missing" {
            return Err(SqlError::new(SqlState::InvalidCatalogName, "database \"missing\" does not exist"));
        }
        let (notify, notices) = unbounded_channel();
        Ok(FakeSession {
            fake: self.clone(),
            registration: self.sessions.register(user)?,
            start: format!("{user}@{database} {parameters:?}"),
            status: TransactionStatus::Idle,
            notify,
            notices: Some(notices),
            changed: vec![],
            timeout: None,
        })
    }

    fn cancel(&self, session: u32, key: &[u8]) {
        self.sessions.cancel_with_key(session, key);
    }

    fn metrics(&self) -> Vec<MetricSample> {
        let rows = |source: &str, value| MetricSample {
            name: "highwater_source_rows_total",
            help: "Rows read",
            kind: MetricKind::Counter,
            labels: vec![("source", source.to_owned())],
            value,
        };
        let epoch = MetricSample {
            name: "highwater_epoch",
            help: "Newest epoch",
            kind: MetricKind::Gauge,
            labels: vec![],
            value: 3.0,
        };
        vec![rows("bid", 7.0), epoch, rows("a\"b", 1.5)]
    }

    fn ready(&self) -> bool {
        *self.ready.borrow()
    }

    fn degraded(&self) -> Vec<String> {
        self.degraded.lock().unwrap().clone()
    }
}

pub struct FakeSession {
    fake: Fake,
    registration: Registration,
    start: String,
    status: TransactionStatus,
    notify: UnboundedSender<Notice>,
    notices: Option<UnboundedReceiver<Notice>>,
    changed: Vec<(&'static str, String)>,
    timeout: Option<Duration>,
}

fn batch(values: std::ops::Range<i32>) -> RecordBatch {
    let values: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
    RecordBatch::try_new(Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)])), vec![values]).unwrap()
}

fn column(name: &str, data_type: DataType) -> Column {
    Column { name: name.to_owned(), data_type, wire_type: None, origin: None }
}

impl FakeSession {
    fn notice(&self, message: &str) {
        let notice = Notice {
            severity: NoticeSeverity::Notice,
            state: SqlState::SuccessfulCompletion,
            message: message.to_owned(),
            detail: None,
            hint: None,
        };
        self.notify.send(notice).expect("the connection listens");
    }

    /// A stream whose end, or drop, is seen in `live`.
    fn counted(&self, rows: impl futures::Stream<Item = RecordBatch> + Send + 'static) -> RowStream {
        let work = self.fake.work();
        rows.map(move |rows| {
            let _ = &work;
            Ok(rows)
        })
        .boxed()
    }

    fn rows(&self, count: i32) -> RowStream {
        self.counted(stream::iter((0..count).step_by(3).map(move |at| batch(at..(at + 3).min(count)))))
    }

    async fn answer(&mut self, sql: &str, parameters: Vec<ArrayRef>) -> Result<Response, SqlError> {
        let (verb, rest) = sql.split_once(' ').unwrap_or((sql, ""));
        let verb = verb.to_lowercase();
        if self.status == TransactionStatus::Failed && verb != "rollback" {
            return Err(SqlError::new(SqlState::InFailedSqlTransaction, "current transaction is aborted"));
        }
        let rows = |stream| Ok(Response::Rows { columns: vec![column("n", DataType::Int32)], stream, tag: "SELECT" });
        match verb.as_str() {
            "rows" => return rows(self.rows(rest.parse().unwrap())),
            "endless" => return rows(self.counted(stream::repeat_with(|| batch(0..1000)))),
            "quiet" => return rows(self.counted(stream::iter([batch(7..8)]).chain(stream::pending()))),
            "hang" => {
                let _work = self.fake.work();
                std::future::pending::<()>().await;
            }
            "copy" => {
                let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a\tb\\c\nd"), None, Some("")]));
                let columns = vec![column("t", DataType::Utf8), column("u", DataType::Utf8)];
                let rows = RecordBatch::try_from_iter([("t", values.clone()), ("u", values)]).unwrap();
                let stream = match rest {
                    "quiet" => self.counted(stream::iter([rows]).chain(stream::pending())),
                    _ => self.counted(stream::iter([rows])),
                };
                return Ok(Response::CopyOut { columns, stream });
            }
            "notice" => self.notice(rest),
            "slow" => {
                self.notice(rest);
                let _work = self.fake.work();
                std::future::pending::<()>().await;
            }
            "fail" => {
                return Err(SqlError::new(SqlState::DivisionByZero, "division by zero")
                    .with_detail("One.")
                    .with_hint("Two.")
                    .at(3));
            }
            "echo" | "say" => {
                let columns: Vec<Column> = parameters.iter().map(|p| column("p", p.data_type().clone())).collect();
                let fields: Vec<Field> = columns.iter().map(|c| Field::new("p", c.data_type.clone(), true)).collect();
                let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), parameters).unwrap();
                return Ok(Response::Rows { columns, stream: self.counted(stream::iter([rows])), tag: "SELECT" });
            }
            "explain" => {
                let rows = Response::Rows {
                    columns: vec![column("n", DataType::Int32)],
                    stream: self.rows(1),
                    tag: "EXPLAIN",
                };
                return Ok(rows);
            }
            "begin" | "start" => self.status = TransactionStatus::InTransaction,
            "commit" | "rollback" => self.status = TransactionStatus::Idle,
            "set" => self.changed.push(("application_name", rest.to_owned())),
            "timeout" => self.timeout = Some(Duration::from_millis(rest.parse().unwrap())),
            "panic" => panic!("as asked"),
            _ => {}
        }
        Ok(Response::Command { tag: sql.to_uppercase() })
    }
}

impl BackendSession for FakeSession {
    type Statement = Arc<str>;
    type Prepared = Arc<(Arc<str>, Described)>;

    fn id(&self) -> u32 {
        self.registration.id()
    }

    fn signals(&self) -> Arc<Signals> {
        self.registration.signals()
    }

    fn set_cancel_key(&mut self, key: Vec<u8>) {
        self.registration.set_cancel_key(key);
    }

    fn parse(&self, sql: &str) -> Result<Vec<Arc<str>>, SqlError> {
        if sql.contains("syntax") {
            return Err(SqlError::new(SqlState::SyntaxError, "syntax error at or near \"syntax\"").at(1));
        }
        let statements = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        let text = statements.collect::<Vec<_>>().join(" ");
        Ok(text.split(';').map(str::trim).filter(|s| !s.is_empty()).map(Arc::from).collect())
    }

    fn describe(
        &mut self,
        statement: &Arc<str>,
        parameter_types: Vec<Option<DataType>>,
    ) -> Result<Self::Prepared, SqlError> {
        let untold = if statement.starts_with("say") { DataType::Utf8 } else { DataType::Int64 };
        let count = (1..=9).take_while(|at| statement.contains(&format!("${at}"))).count();
        let parameters = (0..count)
            .map(|at| parameter_types.get(at).cloned().flatten().unwrap_or(untold.clone()))
            .collect::<Vec<_>>();
        let verb = statement.split(' ').next().unwrap_or_default();
        let columns = match verb {
            "rows" | "endless" | "quiet" | "explain" => Some(vec![column("n", DataType::Int32)]),
            "echo" | "say" => Some(parameters.iter().map(|p| column("p", p.clone())).collect()),
            "FETCH" if statement.ends_with("\"c\"") => Some(vec![column("of_cursor", DataType::Utf8)]),
            "FETCH" => return Err(SqlError::new(SqlState::InvalidCursorName, "no such cursor")),
            _ => None,
        };
        Ok(Arc::new((statement.clone(), Described { parameters, columns })))
    }

    fn described(prepared: &Self::Prepared) -> &Described {
        &prepared.1
    }

    fn execute<'a>(
        &'a mut self,
        prepared: &'a Self::Prepared,
        parameters: Vec<ArrayRef>,
    ) -> BoxFuture<'a, Result<Response, SqlError>> {
        let sql = prepared.0.clone();
        Box::pin(async move { self.answer(&sql, parameters).await })
    }

    fn execute_simple(&mut self, statement: &Arc<str>) -> BoxFuture<'_, Result<Response, SqlError>> {
        let sql = statement.clone();
        Box::pin(async move { self.answer(&sql, vec![]).await })
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn begin_implicit(&mut self) {}

    fn end_implicit(&mut self) -> BoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async { Ok(()) })
    }

    fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        None
    }

    fn fail_transaction(&mut self) {
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
    }

    fn notices(&mut self) -> UnboundedReceiver<Notice> {
        self.notices.take().expect("taken once")
    }

    fn reported_parameters(&self) -> Vec<(&'static str, String)> {
        vec![("server_version", "15.0".to_owned()), ("start", self.start.clone())]
    }

    fn take_changed_parameters(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.changed)
    }

    fn statement_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn deallocates(statement: &Arc<str>) -> Option<String> {
        let name = statement.strip_prefix("deallocate ").filter(|name| *name != "all")?;
        Some(name.to_owned())
    }
}
