//! The wire as sqllogictest wants it: simple queries through tokio-postgres; NULL as `NULL`, an empty string as
//! `(empty)`, an error as `SQLSTATE: message DETAIL: … HINT: …`, so that one regular expression can match all of it.
//! A connection made to a server that was killed since is made anew, without its session.

use std::sync::{Arc, Mutex};

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::server::Server;

/// What a client was told, in one line.
#[derive(Debug)]
pub struct WireError {
    pub state: Option<String>,
    text: String,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for WireError {}

impl From<tokio_postgres::Error> for WireError {
    fn from(error: tokio_postgres::Error) -> WireError {
        let Some(told) = error.as_db_error() else {
            return WireError { state: None, text: error.to_string() };
        };
        let mut text = format!("{}: {}", told.code().code(), told.message());
        if let Some(detail) = told.detail() {
            text += &format!(" DETAIL: {detail}");
        }
        if let Some(hint) = told.hint() {
            text += &format!(" HINT: {hint}");
        }
        WireError { state: Some(told.code().code().to_string()), text }
    }
}

/// Rows of the last statement of a text as the server wrote them; `None` is NULL.
pub struct Answer {
    /// `None` if the last statement returns no rows.
    pub rows: Option<Vec<Vec<Option<String>>>>,
    /// Rows affected, by the command tag.
    pub count: u64,
}

/// A server that connections and the one who restarts it share.
pub type SharedServer = Arc<Mutex<Server>>;

/// A connection to a server that may be killed and started again.
pub struct Database {
    server: SharedServer,
    connected: Option<(u64, Client)>,
    /// What `$DATA` in a statement stands for.
    data: String,
}

impl Database {
    pub fn new(server: SharedServer, data: &str) -> Database {
        Database { server, connected: None, data: data.to_string() }
    }

    async fn client(&mut self) -> Result<&Client, WireError> {
        let (generation, port) = {
            let server = self.server.lock().expect("no panic while holding the server");
            (server.generation(), server.port())
        };
        if self.connected.as_ref().is_none_or(|(of, _)| *of != generation) {
            let url = format!("host=127.0.0.1 port={port} user=highwater dbname=highwater");
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            // Ends with the connection; its error reaches the statement that runs.
            tokio::spawn(connection);
            self.connected = Some((generation, client));
        }
        Ok(&self.connected.as_ref().expect("just connected").1)
    }

    /// Runs one text of one or more statements.
    pub async fn query(&mut self, sql: &str) -> Result<Answer, WireError> {
        let sql = sql.replace("$DATA", &self.data);
        let messages = self.client().await?.simple_query(&sql).await?;
        let mut answer = Answer { rows: None, count: 0 };
        let mut ended = false;
        for message in messages {
            if std::mem::take(&mut ended) {
                answer = Answer { rows: None, count: 0 };
            }
            match message {
                SimpleQueryMessage::RowDescription(_) => answer.rows = Some(vec![]),
                SimpleQueryMessage::Row(row) => {
                    let cells = (0..row.len()).map(|i| row.get(i).map(str::to_string)).collect();
                    answer.rows.get_or_insert_default().push(cells);
                }
                SimpleQueryMessage::CommandComplete(count) => {
                    answer.count = count;
                    ended = true;
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Types of the columns of a query. Empty if the statement cannot be prepared: then they are not compared.
    async fn types(&mut self, sql: &str) -> Vec<DefaultColumnType> {
        let sql = sql.replace("$DATA", &self.data);
        let Ok(client) = self.client().await else { return vec![] };
        let Ok(statement) = client.prepare(&sql).await else { return vec![] };
        statement.columns().iter().map(|column| column_type(column.type_().name())).collect()
    }
}

fn column_type(name: &str) -> DefaultColumnType {
    match name {
        "int2" | "int4" | "int8" => DefaultColumnType::Integer,
        "float4" | "float8" | "numeric" => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

/// As many columns as expected, of the expected kinds; `?` is any kind.
#[allow(clippy::ptr_arg, reason = "the runner asks for this signature")]
pub fn types_match(actual: &Vec<DefaultColumnType>, expected: &Vec<DefaultColumnType>) -> bool {
    let any = |kind: &DefaultColumnType| *kind == DefaultColumnType::Any;
    actual.is_empty()
        || actual.len() == expected.len()
            && actual.iter().zip(expected).all(|(actual, expected)| any(expected) || actual == expected)
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = WireError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, WireError> {
        let answer = self.query(sql).await?;
        let Some(rows) = answer.rows else { return Ok(DBOutput::StatementComplete(answer.count)) };
        let types = self.types(sql).await;
        let text = |cell: Option<String>| match cell {
            None => "NULL".to_string(),
            Some(text) if text.is_empty() => "(empty)".to_string(),
            Some(text) => text,
        };
        let rows = rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect();
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {
        self.connected = None;
    }

    fn engine_name(&self) -> &str {
        "highwater"
    }

    fn error_sql_state(error: &WireError) -> Option<String> {
        error.state.clone()
    }
}
