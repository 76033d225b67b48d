//! The simple query protocol: a text of any number of statements, executed and answered one by one.
//!
//! The whole text is parsed first; the first error ends it. Several statements are one transaction, committed before the
//! last of them is answered, unless they open and end blocks themselves.

use engine::Response;
use pgwire::messages::response::EmptyQueryResponse;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::backend::BackendSession;
use crate::connection::{Connection, check_length, off_io};
use crate::copy_out::copy_out;
use crate::encode::Format;
use crate::errors::Failure;
use crate::interrupt::interruptible;
use crate::output::{Output, row_description, rows_tag};

impl<S, R, W> Connection<S, R, W>
where
    S: BackendSession,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    pub(crate) async fn simple_query(&mut self, text: &str) -> Result<(), Failure> {
        // As Postgres: a simple query destroys the unnamed statement and portal.
        self.registry.close_statement("");
        self.registry.close_portal("");
        match self.statements_of(text).await {
            Err(Failure::Sql(error)) => self.report(&error)?,
            done => done?,
        }
        self.ready().await
    }

    async fn statements_of(&mut self, text: &str) -> Result<(), Failure> {
        check_length(text)?;
        let statements = off_io(|| self.session.parse(text))?;
        if statements.is_empty() {
            return self.output.writer.send(&EmptyQueryResponse::new());
        }
        let (last, together) = (statements.len() - 1, statements.len() > 1);
        for (position, statement) in statements.into_iter().enumerate() {
            if together {
                self.session.begin_implicit();
            }
            let tag = match self.deallocate(&statement) {
                true => "DEALLOCATE".to_owned(),
                false => self.run_statement(&statement).await?,
            };
            if position == last {
                self.end_implicit().await?;
            }
            self.complete(tag)?;
        }
        Ok(())
    }

    /// Commits what the statements of a message, or of a pipeline up to its Sync, have done together.
    pub(crate) async fn end_implicit(&mut self) -> Result<(), Failure> {
        let Connection { reader, session, signals, .. } = self;
        let timeout = session.statement_timeout();
        let work = async { Ok(session.end_implicit().await?) };
        interruptible(signals, reader, timeout, work).await
    }

    async fn run_statement(&mut self, statement: &S::Statement) -> Result<String, Failure> {
        let Connection { reader, output, session, signals, .. } = self;
        let timeout = session.statement_timeout();
        let work = async {
            let response = output.response(session.execute_simple(statement)).await?;
            send(output, response).await
        };
        interruptible(signals, reader, timeout, work).await
    }
}

/// Sends an answer in text format, its description included; returns the command tag.
async fn send<W: AsyncWrite + Unpin>(output: &mut Output<W>, response: Response) -> Result<String, Failure> {
    match response {
        Response::Rows { columns, mut stream, tag } => {
            let formats = vec![Format::Text; columns.len()];
            output.writer.send(&row_description(&columns, &formats))?;
            let sent = output.data_rows(&mut stream, &mut None, &formats, None).await?;
            Ok(rows_tag(tag, sent.rows))
        }
        Response::CopyOut { columns, mut stream } => {
            let rows = copy_out(output, &columns, &mut stream).await?;
            Ok(format!("COPY {rows}"))
        }
        Response::Command { tag } => Ok(tag),
    }
}
