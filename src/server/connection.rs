//! One client's session on the wire: the message loop and what simple and extended queries share.
//!
//! Invariants: every message is answered in order; after an error in the extended protocol everything up to Sync is
//! skipped; a session ends with a fatal error or silently, never with a panic that leaves this task.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use engine::{Signals, TransactionStatus};
use futures::FutureExt;
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::response::{CommandComplete, ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use types::{SqlError, SqlState};

use crate::backend::BackendSession;
use crate::codec::{FrameReader, Incoming};
use crate::errors::{Failure, Severity, error_response, notice_response, protocol_violation};
use crate::interrupt::{shutting_down, stopped};
use crate::limits::FAREWELL_TIMEOUT;
use crate::output::Output;
use crate::portal::Registry;
use crate::writer::MessageWriter;

pub struct Connection<S: BackendSession, R, W> {
    pub(crate) reader: FrameReader<R>,
    pub(crate) output: Output<W>,
    pub(crate) session: S,
    /// How others cancel its statements and end it.
    pub(crate) signals: Arc<Signals>,
    stopping: watch::Receiver<bool>,
    pub(crate) registry: Registry<S::Statement, S::Prepared>,
    /// An extended query failed: messages are ignored up to the next Sync.
    skipping: bool,
}

impl<S, R, W> Connection<S, R, W>
where
    S: BackendSession,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// `writer` may hold the greeting; it goes out with the first ReadyForQuery.
    pub fn new(
        reader: FrameReader<R>,
        writer: MessageWriter<W>,
        mut session: S,
        stopping: watch::Receiver<bool>,
    ) -> Connection<S, R, W> {
        let output = Output::new(writer, session.notices());
        let signals = session.signals();
        let registry = Registry::default();
        Connection { reader, output, session, signals, stopping, registry, skipping: false }
    }

    /// Serves the session to its end.
    pub async fn run(mut self) {
        let (signals, mut stopping) = (self.signals.clone(), self.stopping.clone());
        // Around everything the session may wait for: a statement, a message, a client that does not read.
        let end = tokio::select! {
            biased;
            () = stopped(&mut stopping) => Ok(Err(Failure::Fatal(shutting_down()))),
            () = signals.ended() => Ok(Err(Failure::Fatal(shutting_down()))),
            end = AssertUnwindSafe(self.serve()).catch_unwind() => end,
        };
        let farewell = match end {
            Ok(Ok(never)) => match never {},
            Ok(Err(Failure::Gone)) => return,
            Ok(Err(Failure::Fatal(error) | Failure::Sql(error))) => error,
            Err(_) => SqlError::internal("the connection hit a bug in the server"),
        };
        say_farewell(&mut self.output.writer, &farewell).await;
    }

    async fn serve(&mut self) -> Result<Infallible, Failure> {
        self.ready().await?;
        loop {
            let timeout = match self.session.transaction_status() {
                TransactionStatus::Idle => None,
                TransactionStatus::InTransaction | TransactionStatus::Failed => {
                    self.session.idle_in_transaction_timeout()
                }
            };
            let idle = async {
                match timeout {
                    Some(timeout) => tokio::time::sleep(timeout).await,
                    None => std::future::pending().await,
                }
            };
            let incoming = tokio::select! {
                biased;
                notice = self.output.idle_notice() => {
                    self.output.writer.send(&notice_response(&notice))?;
                    self.output.writer.flush().await?;
                    continue;
                }
                incoming = self.reader.next() => incoming?,
                () = idle => return Err(Failure::Fatal(idle_in_transaction())),
            };
            match incoming {
                Incoming::Message(message) => self.handle(message).await?,
                Incoming::BadText { simple: true, error } if !self.skipping => {
                    self.report(&error)?;
                    self.ready().await?;
                }
                Incoming::BadText { error, .. } => self.fail_extended(error).await?,
            }
        }
    }

    async fn handle(&mut self, message: PgWireFrontendMessage) -> Result<(), Failure> {
        use PgWireFrontendMessage as Message;
        if self.skipping && !matches!(message, Message::Sync(_)) {
            return Ok(());
        }
        let done = match message {
            Message::Query(query) => return self.simple_query(&query.query).await,
            Message::Sync(_) => {
                self.skipping = false;
                match self.end_implicit().await {
                    Err(Failure::Sql(error)) => self.report(&error)?,
                    done => done?,
                }
                return self.ready().await;
            }
            Message::Flush(_) => return Ok(self.output.writer.flush().await?),
            Message::Parse(parse) => self.parse(parse),
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(describe) => self.describe(&describe),
            Message::Execute(execute) => self.execute(execute).await,
            Message::Close(close) => self.close(&close),
            // Some clients send CopyData before they know that there is no COPY.
            Message::CopyData(_) | Message::CopyDone(_) | Message::CopyFail(_) => Ok(()),
            Message::Terminate(_) => Err(Failure::Gone),
            Message::SslNegotiation(_)
            | Message::Startup(_)
            | Message::CancelRequest(_)
            | Message::PasswordMessageFamily(_)
            | Message::PortalSuspended(_) => Err(Failure::Fatal(protocol_violation("unexpected frontend message"))),
        };
        match done {
            Err(Failure::Sql(error)) => self.fail_extended(error).await,
            Err(other) => Err(other),
            Ok(()) if self.output.writer.is_full() => Ok(self.output.writer.flush().await?),
            Ok(()) => Ok(()),
        }
    }

    async fn fail_extended(&mut self, error: SqlError) -> Result<(), Failure> {
        if self.skipping {
            return Ok(());
        }
        self.skipping = true;
        self.report(&error)?;
        Ok(self.output.writer.flush().await?)
    }

    /// Sends an error; a transaction block it happened in has failed.
    pub(crate) fn report(&mut self, error: &SqlError) -> Result<(), Failure> {
        self.session.fail_transaction();
        if error.state == SqlState::InternalError {
            tracing::error!(session = self.session.id(), message = %error.message, "statement failed");
        }
        self.output.drain_notices()?;
        self.output.writer.send(&error_response(error, Severity::Error))
    }

    /// Ends a query cycle: outside a transaction block portals are gone, and the client may speak again.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => {
                self.registry.close_portals();
                WireStatus::Idle
            }
            TransactionStatus::InTransaction => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        self.output.drain_notices()?;
        for (name, value) in self.session.take_changed_parameters() {
            self.output.writer.send(&ParameterStatus::new(name.to_owned(), value))?;
        }
        self.output.writer.send(&ReadyForQuery::new(status))?;
        Ok(self.output.writer.flush().await?)
    }

    /// Sends the tag of a finished statement and follows what it means for this connection.
    pub(crate) fn complete(&mut self, tag: String) -> Result<(), Failure> {
        if tag == "DISCARD ALL" || tag == "DEALLOCATE ALL" {
            self.registry.close_statements();
        }
        self.output.writer.send(&CommandComplete::new(tag))
    }

    /// `DEALLOCATE` of a statement prepared with a Parse message; true if that is what it was.
    pub(crate) fn deallocate(&mut self, statement: &S::Statement) -> bool {
        S::deallocates(statement).is_some_and(|name| self.registry.close_statement(&name))
    }
}

/// The farewell to a client that keeps a transaction open and does nothing.
fn idle_in_transaction() -> SqlError {
    let message = "terminating connection due to idle-in-transaction timeout";
    SqlError::new(SqlState::IdleInTransactionSessionTimeout, message)
}

/// Tells the client why its connection ends, if it still listens.
pub async fn say_farewell<W: AsyncWrite + Unpin>(writer: &mut MessageWriter<W>, error: &SqlError) {
    if writer.send(&error_response(error, Severity::Fatal)).is_ok() {
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, writer.flush()).await;
    }
}

/// Runs planning, which takes milliseconds of CPU, without holding up the other connections of this thread.
pub(crate) fn off_io<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Refuses SQL text that would only tie up the parser.
pub(crate) fn check_length(sql: &str) -> Result<(), SqlError> {
    if sql.len() <= types::limits::SQL_BYTES_MAX {
        return Ok(());
    }
    let message = format!("statement text of {} bytes is too long", sql.len());
    Err(SqlError::new(SqlState::ProgramLimitExceeded, message)
        .with_detail(format!("The limit is {} bytes.", types::limits::SQL_BYTES_MAX)))
}
