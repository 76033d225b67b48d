//! Running a statement while listening for everything that may end it early: cancel, timeout, a client that left, a bug.
//! What ends the session with its statement (a server that stops, `pg_terminate_backend`) is watched over the whole
//! session, not here (`connection.rs`).
//!
//! The statement is a future; ending it early is dropping it, which cancels the work behind it. A commit that is under way
//! cannot be cancelled: its outcome is waited for, so that an error always means that nothing has happened.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use engine::Signals;
use futures::FutureExt;
use tokio::io::AsyncRead;
use tokio::sync::watch;
use types::{SqlError, SqlState};

use crate::codec::FrameReader;
use crate::errors::Failure;

/// The farewell of a stopping server, and of a session that is made to end.
pub fn shutting_down() -> SqlError {
    SqlError::new(SqlState::AdminShutdown, "terminating connection due to administrator command")
}

/// Runs `work` to its end or to the first interruption. Messages that arrive meanwhile are kept in `reader`.
pub async fn interruptible<R: AsyncRead + Unpin, T>(
    signals: &Signals,
    reader: &mut FrameReader<R>,
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // Created before the work is polled: a cancel request reaches it from here on.
    let cancel = signals.cancelled();
    let timed_out = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let finished = |done: std::thread::Result<Result<T, Failure>>| done.unwrap_or_else(|_| Err(Failure::Fatal(bug())));
    let message = tokio::select! {
        biased;
        () = cancel => "canceling statement due to user request",
        () = timed_out => "canceling statement due to statement timeout",
        done = &mut work => return finished(done),
        () = reader.gone() => return Err(Failure::Gone),
    };
    if !signals.committing() {
        return Err(Failure::Sql(SqlError::new(SqlState::QueryCanceled, message)));
    }
    // Too late: what it has written will be there, and the client is to know.
    tokio::select! {
        biased;
        done = work => finished(done),
        () = reader.gone() => Err(Failure::Gone),
    }
}

/// Waits until the server stops; a server that vanished has stopped.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|&stopping| stopping).await;
}

/// A panic left the session in an unknown state: it ends.
fn bug() -> SqlError {
    SqlError::internal("the statement hit a bug in the server; the connection is closed")
}
