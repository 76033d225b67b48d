//! Runs one block against the server.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Error, NoTls, SimpleQueryMessage};

use crate::blocks::{Block, Mode};
use crate::compare::{self, Answer};

/// Longest wait for one statement, for the rows of a stream and for an answer that comes eventually.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before asking again.
const POLL: Duration = Duration::from_millis(20);

pub struct Client {
    client: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Client {
    pub async fn connect(port: u16) -> Result<Client, Error> {
        let config = format!("host=127.0.0.1 port={port} user=highwater dbname=highwater");
        let (client, mut connection) = tokio_postgres::connect(&config, NoTls).await?;
        let notices: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = notices.clone();
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |ctx| connection.poll_message(ctx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    heard.lock().expect("not poisoned").push(message_text(&notice));
                }
            }
        });
        Ok(Client { client, notices })
    }
}

/// Runs the statements of a block and compares. Errors: what differs, for the reader of the test's output.
pub async fn block(client: &mut Client, block: &Block) -> Result<(), String> {
    client.notices.lock().expect("not poisoned").clear();
    let (last, before) = block.statements.split_last().expect("blocks have statements");
    for statement in before {
        run(client, statement).await.map_err(|error| format!("{statement}\n{}", error_text(&error)))?;
    }
    match &block.mode {
        Mode::Plain => {
            let answer = run(client, last).await.map_err(|error| format!("{last}\n{}", error_text(&error)))?;
            let Some(expected) = &block.expected else { return Ok(()) };
            if expected.iter().any(|line| line.starts_with("NOTICE:") || line.starts_with("WARNING:")) {
                let heard = client.notices.lock().expect("not poisoned").join("\n");
                return compare::lines(expected, &heard);
            }
            compare::rows(expected, &answer)
        }
        Mode::Error(state) => must_fail(client, last, state, block.expected.as_deref()).await,
        Mode::Stream => {
            let expected = block.expected.as_deref().expect("streams come with a text block");
            stream(client, last, expected).await
        }
        Mode::Eventually => {
            let expected = block.expected.as_deref().expect("such blocks come with a text block");
            eventually(client, last, expected).await
        }
    }
}

/// Runs one statement. One that takes too long is cancelled and fails as such.
async fn run(client: &Client, statement: &str) -> Result<Answer, Error> {
    let answer = answer(client, statement);
    tokio::pin!(answer);
    match tokio::time::timeout(PATIENCE, &mut answer).await {
        Ok(answer) => answer,
        Err(_) => {
            cancel(client).await;
            answer.await
        }
    }
}

async fn answer(client: &Client, statement: &str) -> Result<Answer, Error> {
    if is_copy(statement) {
        let mut answer = Answer { is_copy: true, ..Answer::default() };
        let mut stream = Box::pin(client.client.copy_out(statement).await?);
        let mut text = vec![];
        while let Some(chunk) = stream.try_next().await? {
            text.extend_from_slice(&chunk);
        }
        answer.rows = String::from_utf8_lossy(&text).lines().map(copied).collect();
        return Ok(answer);
    }
    let mut answer = Answer::default();
    for message in client.client.simple_query(statement).await? {
        take(message, &mut answer);
    }
    Ok(answer)
}

fn is_copy(statement: &str) -> bool {
    statement.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy"))
}

fn copied(line: &str) -> Vec<Option<String>> {
    line.split('\t').map(|cell| (cell != "\\N").then(|| cell.to_string())).collect()
}

fn take(message: SimpleQueryMessage, answer: &mut Answer) {
    match message {
        SimpleQueryMessage::RowDescription(columns) => {
            answer.columns = columns.iter().map(|column| column.name().to_string()).collect();
            answer.rows.clear();
        }
        SimpleQueryMessage::Row(row) => {
            answer.rows.push((0..row.len()).map(|column| row.get(column).map(str::to_string)).collect());
        }
        _ => {}
    }
}

async fn must_fail(client: &Client, statement: &str, state: &str, expected: Option<&[String]>) -> Result<(), String> {
    let error = match run(client, statement).await {
        Ok(_) => return Err(format!("{statement}\nsucceeded instead of failing with {state}")),
        Err(error) => error,
    };
    if error.code().is_none_or(|code| code.code() != state) {
        return Err(format!("{statement}\nexpected SQLSTATE {state}, got {}", error_text(&error)));
    }
    match (expected, error.as_db_error()) {
        (Some(expected), Some(error)) => compare::lines(expected, &message_text(error)),
        _ => Ok(()),
    }
}

/// Reads as many rows as expected, then cancels.
async fn stream(client: &Client, statement: &str, expected: &[String]) -> Result<(), String> {
    let mut answer = Answer { is_copy: is_copy(statement), ..Answer::default() };
    let read = async {
        if answer.is_copy {
            let mut rows = Box::pin(client.client.copy_out(statement).await?);
            while compare::promised(expected, &answer) > answer.rows.len() {
                let Some(chunk) = rows.try_next().await? else { return Ok(()) };
                answer.rows.extend(String::from_utf8_lossy(&chunk).lines().map(copied));
            }
            cancel(client).await;
            while let Some(Ok(_)) = rows.next().await {}
        } else {
            let mut rows = Box::pin(client.client.simple_query_raw(statement).await?);
            while answer.columns.is_empty() || compare::promised(expected, &answer) > answer.rows.len() {
                let Some(message) = rows.try_next().await? else { return Ok(()) };
                take(message, &mut answer);
            }
            cancel(client).await;
            while let Some(Ok(_)) = rows.next().await {}
        }
        Ok::<(), Error>(())
    };
    let ended = tokio::time::timeout(PATIENCE, read).await;
    match ended {
        Ok(Ok(())) => compare::unordered_rows(expected, &answer),
        Ok(Err(error)) => Err(format!("{statement}\n{}", error_text(&error))),
        Err(_) => {
            cancel(client).await;
            Err(format!("{statement}\nonly these rows came: {:?}", answer.rows))
        }
    }
}

async fn cancel(client: &Client) {
    // If it fails, the statement goes on and the next one says so.
    let _ = client.client.cancel_token().cancel_query(NoTls).await;
}

async fn eventually(client: &Client, statement: &str, expected: &[String]) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let answer = run(client, statement).await.map_err(|error| format!("{statement}\n{}", error_text(&error)))?;
        match compare::rows(expected, &answer) {
            Err(difference) if start.elapsed() > PATIENCE => return Err(difference),
            Err(_) => tokio::time::sleep(POLL).await,
            Ok(()) => return Ok(()),
        }
    }
}

fn error_text(error: &Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), message_text(error)),
        None => error.to_string(),
    }
}

/// As psql prints it.
fn message_text(error: &DbError) -> String {
    let mut text = format!("{}:  {}", error.severity(), error.message());
    for (label, part) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
        if let Some(part) = part {
            text.push_str(&format!("\n{label}:  {part}"));
        }
    }
    text
}
