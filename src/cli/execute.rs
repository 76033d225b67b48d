//! Runs one statement on a connection and prints its result. Rows of a subscription are printed as they arrive, other
//! results when they are complete. Ctrl-C cancels the statement, not the program.

use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::table::{self, Row};
use crate::tag;

/// How results are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Display {
    pub(crate) expanded: bool,
    pub(crate) timing: bool,
    /// Print the tags of commands without rows.
    pub(crate) tags: bool,
}

#[derive(Debug)]
pub(crate) enum ExecuteError {
    Client(tokio_postgres::Error),
    /// Standard output is closed.
    Output(std::io::Error),
}

impl From<tokio_postgres::Error> for ExecuteError {
    fn from(error: tokio_postgres::Error) -> Self {
        ExecuteError::Client(error)
    }
}

impl From<std::io::Error> for ExecuteError {
    fn from(error: std::io::Error) -> Self {
        ExecuteError::Output(error)
    }
}

/// Sends one statement and prints what comes back.
pub(crate) async fn execute(client: &Client, text: &str, display: Display) -> Result<(), ExecuteError> {
    let started = Instant::now();
    let cancel = client.cancel_token();
    let first_word = text.split_whitespace().next().unwrap_or_default();
    let is_copy = first_word.eq_ignore_ascii_case("COPY");
    let live = first_word.eq_ignore_ascii_case("SUBSCRIBE");
    let mut work =
        pin!(async { if is_copy { copy_out(client, text).await } else { query(client, text, display, live).await } });
    loop {
        tokio::select! {
            result = &mut work => {
                result?;
                break;
            }
            signal = tokio::signal::ctrl_c() => {
                signal?;
                cancel.cancel_query(NoTls).await?;
            }
        }
    }
    if display.timing {
        print(&format!("Time: {}\n", milliseconds(started.elapsed())))?;
    }
    Ok(())
}

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1_000.0)
}

async fn query(client: &Client, text: &str, display: Display, live: bool) -> Result<(), ExecuteError> {
    let mut messages = pin!(client.simple_query_raw(text).await?);
    let mut result: Option<ResultRows> = None;
    while let Some(message) = messages.next().await {
        match message? {
            SimpleQueryMessage::RowDescription(columns) => {
                let columns = columns.iter().map(|column| column.name().to_owned()).collect();
                result = Some(ResultRows { columns, rows: vec![], live_widths: live.then(Vec::new), count: 0 });
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect();
                if let Some(result) = &mut result {
                    result.take(cells)?;
                }
            }
            SimpleQueryMessage::CommandComplete(rows) => match result.take() {
                Some(result) => result.finish(display)?,
                None if display.tags => print(&format!("{}\n", tag::of(text, rows)))?,
                None => {}
            },
            _ => {}
        }
    }
    // A subscription that was cancelled has no end of its own.
    Ok(())
}

struct ResultRows {
    columns: Vec<String>,
    rows: Vec<Row>,
    /// Column widths so far if rows are printed at once; empty before the header.
    live_widths: Option<Vec<usize>>,
    count: usize,
}

impl ResultRows {
    fn take(&mut self, row: Row) -> std::io::Result<()> {
        self.count += 1;
        let Some(widths) = &mut self.live_widths else {
            self.rows.push(row);
            return Ok(());
        };
        let needed = row.iter().map(|cell| cell.as_deref().map_or(0, table::width));
        if widths.is_empty() {
            *widths = self.columns.iter().map(|name| table::width(name)).zip(needed).map(|(a, b)| a.max(b)).collect();
            print(&table::header(&self.columns, widths))?;
        } else {
            widths.iter_mut().zip(needed).for_each(|(width, needed)| *width = (*width).max(needed));
        }
        print(&table::aligned_row(&row, widths, &vec![false; row.len()]))
    }

    fn finish(self, display: Display) -> std::io::Result<()> {
        let text = match (&self.live_widths, display.expanded) {
            (Some(_), _) => table::row_count(self.count),
            (None, true) => table::expanded(&self.columns, &self.rows),
            (None, false) => table::aligned(&self.columns, &self.rows),
        };
        print(&(text + "\n"))
    }
}

async fn copy_out(client: &Client, text: &str) -> Result<(), ExecuteError> {
    let mut chunks = pin!(client.copy_out(text).await?);
    while let Some(chunk) = chunks.next().await {
        let mut out = std::io::stdout().lock();
        out.write_all(&chunk?)?;
        out.flush()?;
    }
    Ok(())
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
