//! What a running statement writes to: the socket's buffer, with notices slipped in as they come.

use std::future::Future;

use engine::{Column, Notice, Response, RowStream};
use futures::{FutureExt, StreamExt};
use pgwire::messages::data::{FieldDescription, RowDescription};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::UnboundedReceiver;
use types::{SqlError, ToSqlState};

use crate::encode::{Format, RowEncoder, pg_type};
use crate::errors::{Failure, notice_response};
use crate::limits::WRITE_BUFFER_BYTES;
use crate::writer::MessageWriter;

pub struct Output<W> {
    pub writer: MessageWriter<W>,
    notices: UnboundedReceiver<Notice>,
}

/// Rows that were produced but not sent yet.
pub struct Rest {
    encoder: RowEncoder,
    next: usize,
}

/// How sending rows ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub rows: u64,
    /// False: the row limit was reached first.
    pub complete: bool,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    pub fn new(writer: MessageWriter<W>, notices: UnboundedReceiver<Notice>) -> Self {
        Output { writer, notices }
    }

    /// The next notice while nothing runs. Pending for ever once the session sends no more.
    pub async fn idle_notice(&mut self) -> Notice {
        match self.notices.recv().await {
            Some(notice) => notice,
            None => std::future::pending().await,
        }
    }

    /// Queues the notices that are there.
    pub fn drain_notices(&mut self) -> Result<(), Failure> {
        while let Ok(notice) = self.notices.try_recv() {
            self.writer.send(&notice_response(&notice))?;
        }
        Ok(())
    }

    /// Runs `work`, sending notices at once while it takes its time.
    async fn with_notices<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            let notice = tokio::select! {
                biased;
                Some(notice) = self.notices.recv() => notice,
                done = &mut work => {
                    self.drain_notices()?;
                    return Ok(done);
                }
            };
            self.writer.send(&notice_response(&notice))?;
            self.writer.flush().await?;
        }
    }

    /// Waits for the answer of a statement.
    pub async fn response(
        &mut self,
        work: impl Future<Output = Result<Response, SqlError>>,
    ) -> Result<Response, Failure> {
        Ok(self.with_notices(work).await??)
    }

    /// Sends rows as DataRow messages until the stream ends or `rows_max` rows are out. `rest` is where to go on.
    pub async fn data_rows(
        &mut self,
        stream: &mut RowStream,
        rest: &mut Option<Rest>,
        formats: &[Format],
        rows_max: Option<u64>,
    ) -> Result<Sent, Failure> {
        let mut sent = 0;
        loop {
            if rest.is_none() {
                let Some(batch) = self.next_batch(stream).await? else {
                    return Ok(Sent { rows: sent, complete: true });
                };
                let encoder = RowEncoder::new(&batch, formats).map_err(|error| error.to_sql_error())?;
                *rest = Some(Rest { encoder, next: 0 });
            }
            let Some(Rest { encoder, next }) = rest else { unreachable!("filled above") };
            while *next < encoder.rows() && rows_max != Some(sent) {
                let room = rows_max.and_then(|max| usize::try_from(max - sent).ok()).unwrap_or(usize::MAX);
                let end = encoder.rows().min(next.saturating_add(room));
                let reached = encoder
                    .data_rows(*next, end, self.writer.buffer(), WRITE_BUFFER_BYTES)
                    .map_err(|error| error.to_sql_error())?;
                sent += (reached - *next) as u64;
                *next = reached;
                self.relieve().await?;
            }
            if *next == encoder.rows() {
                *rest = None;
            }
            if rows_max == Some(sent) {
                return Ok(Sent { rows: sent, complete: false });
            }
        }
    }

    /// Writes a full buffer. Lets the thread's other connections have a turn: a stream that is always ready, to a
    /// socket that always takes more, would not.
    pub async fn relieve(&mut self) -> Result<(), Failure> {
        if self.writer.is_full() {
            self.writer.flush().await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The next batch; if it is not there yet, the client first gets what is queued, so that a quiet stream delivers.
    pub async fn next_batch(&mut self, stream: &mut RowStream) -> Result<Option<arrow::array::RecordBatch>, Failure> {
        self.drain_notices()?;
        let batch = match stream.next().now_or_never() {
            Some(batch) => batch,
            None => {
                self.writer.flush().await?;
                self.with_notices(stream.next()).await?
            }
        };
        Ok(batch.transpose()?)
    }
}

/// Announces result columns; `formats` has one entry per column.
pub fn row_description(columns: &[Column], formats: &[Format]) -> RowDescription {
    let field = |(column, format): (&Column, &Format)| {
        let oid = pg_type::of_column(column);
        let (table, attribute) = column.origin.map_or((0, 0), |(table, attribute)| (object_oid(table), attribute));
        FieldDescription::new(
            column.name.clone(),
            table,
            attribute,
            oid,
            pg_type::size(oid),
            pg_type::modifier(&column.data_type),
            format.code(),
        )
    };
    RowDescription::new(columns.iter().zip(formats).map(field).collect())
}

/// Object ids are catalog OIDs; one that does not fit is announced as "no table".
fn object_oid(id: types::ObjectId) -> i32 {
    i32::try_from(id.0).unwrap_or(0)
}

/// The tag of a statement that returned rows.
pub fn rows_tag(verb: &str, rows: u64) -> String {
    match verb {
        // As Postgres: these carry no count.
        "EXPLAIN" | "SHOW" => verb.to_owned(),
        _ => format!("{verb} {rows}"),
    }
}
