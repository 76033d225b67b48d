//! DECLARE, FETCH, CLOSE: a query or subscription read in portions. FETCH with a timeout returns what came in time.

use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use futures::{FutureExt, StreamExt};
use sql::{FetchCount, Statement};
use types::{SqlError, SqlState};

use super::{query, subscribe, tag};
use crate::api::{Column, Described, Response, RowStream};
use crate::session::Session;

/// An open cursor: the stream and what of its last batch has not been fetched.
pub(crate) struct Cursor {
    columns: Vec<Column>,
    stream: RowStream,
    rest: Option<RecordBatch>,
    /// A subscription ends a FETCH when nothing more is there; a query only at its end.
    endless: bool,
}

/// `parameters` are the query's: drivers declare cursors through the extended protocol.
pub(crate) async fn declare(
    session: &mut Session,
    name: &str,
    statement: &Statement,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    if session.cursors().contains_key(name) {
        return Err(SqlError::new(SqlState::DuplicateCursor, format!("cursor \"{name}\" already exists")));
    }
    let (columns, stream, endless) = match statement {
        Statement::Query(select) => match query::execute(session, select, parameters).await? {
            Response::Rows { columns, stream, .. } => (columns, stream, false),
            Response::CopyOut { .. } | Response::Command { .. } => {
                return Err(SqlError::internal("a query gives rows"));
            }
        },
        Statement::Subscribe(subscription) => {
            let (columns, stream) = subscribe::open(session, subscription).await?;
            (columns, stream, true)
        }
        _ => return Err(SqlError::new(SqlState::SyntaxError, "a cursor needs a query or SUBSCRIBE")),
    };
    // Who fetches at the end may fetch again.
    let stream = stream.fuse().boxed();
    session.cursors().insert(name.to_string(), Cursor { columns, stream, rest: None, endless });
    tag("DECLARE CURSOR")
}

pub(crate) fn describe(session: &Session, name: &str) -> Result<Described, SqlError> {
    let cursors = session.cursors.lock().expect("not poisoned");
    let cursor = cursors.get(name).ok_or_else(|| unknown(name))?;
    Ok(Described { parameters: vec![], columns: Some(cursor.columns.clone()) })
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
}

pub(crate) async fn fetch(
    session: &mut Session,
    name: &str,
    count: FetchCount,
    timeout_ms: Option<u64>,
) -> Result<Response, SqlError> {
    let cursor = session.cursors().get_mut(name).ok_or_else(|| unknown(name))?;
    let wanted = match count {
        FetchCount::Count(n) => usize::try_from(n).unwrap_or(usize::MAX),
        FetchCount::All => usize::MAX,
    };
    let deadline = timeout_ms.map(|ms| tokio::time::Instant::now() + Duration::from_millis(ms));
    let columns = cursor.columns.clone();
    let batches = match cursor.take(wanted, deadline).await {
        Ok(batches) => batches,
        Err(error) => {
            // What it had left is not all there was: fetching on must not look like the end.
            session.cursors().remove(name);
            return Err(error);
        }
    };
    let stream = futures::stream::iter(batches.into_iter().map(Ok)).boxed();
    Ok(Response::Rows { columns, stream, tag: "FETCH" })
}

impl Cursor {
    async fn take(
        &mut self,
        wanted: usize,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Vec<RecordBatch>, SqlError> {
        let (mut batches, mut rows) = (vec![], 0);
        while rows < wanted {
            let batch = match self.rest.take() {
                Some(batch) => batch,
                None => match self.next(rows > 0, deadline).await {
                    Some(batch) => batch?,
                    None => break,
                },
            };
            let taken = batch.num_rows().min(wanted - rows);
            if taken < batch.num_rows() {
                self.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            rows += taken;
            batches.push(batch.slice(0, taken));
        }
        Ok(batches)
    }

    async fn next(
        &mut self,
        have_some: bool,
        deadline: Option<tokio::time::Instant>,
    ) -> Option<Result<RecordBatch, SqlError>> {
        if self.endless && have_some && deadline.is_none() {
            return self.stream.next().now_or_never().flatten();
        }
        match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, self.stream.next()).await.ok().flatten(),
            None => self.stream.next().await,
        }
    }
}

pub(crate) fn close(session: &mut Session, name: Option<&str>) -> Result<Response, SqlError> {
    match name {
        None => session.cursors().clear(),
        Some(name) => {
            session.cursors().remove(name).ok_or_else(|| unknown(name))?;
        }
    }
    tag("CLOSE CURSOR")
}
