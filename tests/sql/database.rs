//! The wire as sqllogictest wants it: simple queries through tokio-postgres; NULL as `NULL`, an empty string as
//! `(empty)`, an error as `SQLSTATE: message`, then a line `DETAIL: …` and a line `HINT: …` if it has them, so that a block
//! under `----` compares all of it. A connection made to a server that was killed since is made anew, without its
//! session.

use std::sync::{Arc, Mutex};

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::server::Server;

/// What a client was told; detail and hint on lines of their own.
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

impl WireError {
    fn new(error: tokio_postgres::Error, places: &Places) -> WireError {
        let Some(told) = error.as_db_error() else {
            return WireError { state: None, text: error.to_string() };
        };
        let mut text = format!("{}: {}", told.code().code(), told.message());
        if let Some(detail) = told.detail() {
            text += &format!("\nDETAIL: {detail}");
        }
        if let Some(hint) = told.hint() {
            text += &format!("\nHINT: {hint}");
        }
        WireError { state: Some(told.code().code().to_string()), text: places.shortened(text) }
    }
}

/// Directories that scripts name and that lie elsewhere on every machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// `$DATA`: `sql-tests/data`.
    pub data: String,
    /// `$TEMP`: the run's own directory, empty at the start.
    pub temp: String,
}

impl Places {
    /// A statement or command as it is run.
    pub fn expanded(&self, text: &str) -> String {
        text.replace("$DATA", &self.data).replace("$TEMP", &self.temp)
    }

    /// An answer as it is compared.
    fn shortened(&self, text: String) -> String {
        let holds = |place: &str| text.contains(place);
        if !holds(&self.data) && !holds(&self.temp) {
            return text;
        }
        text.replace(&self.data, "$DATA").replace(&self.temp, "$TEMP")
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
    places: Places,
}

impl Database {
    pub fn new(server: SharedServer, places: Places) -> Database {
        Database { server, connected: None, places }
    }

    async fn client(&mut self) -> Result<&Client, WireError> {
        let (generation, port) = {
            let server = self.server.lock().expect("no panic while holding the server");
            (server.generation(), server.port())
        };
        if self.connected.as_ref().is_none_or(|(of, _)| *of != generation) {
            let url = format!("host=127.0.0.1 port={port} user=highwater dbname=highwater");
            let connected = tokio_postgres::connect(&url, NoTls).await;
            let (client, connection) = connected.map_err(|error| WireError::new(error, &self.places))?;
            // Ends with the connection; its error reaches the statement that runs.
            tokio::spawn(connection);
            self.connected = Some((generation, client));
        }
        Ok(&self.connected.as_ref().expect("just connected").1)
    }

    /// Runs one text of one or more statements.
    pub async fn query(&mut self, sql: &str) -> Result<Answer, WireError> {
        let places = self.places.clone();
        let sql = places.expanded(sql);
        let told = self.client().await?.simple_query(&sql).await;
        let messages = told.map_err(|error| WireError::new(error, &places))?;
        let mut answer = Answer { rows: None, count: 0 };
        let mut ended = false;
        for message in messages {
            if std::mem::take(&mut ended) {
                answer = Answer { rows: None, count: 0 };
            }
            match message {
                SimpleQueryMessage::RowDescription(_) => answer.rows = Some(vec![]),
                SimpleQueryMessage::Row(row) => {
                    let cell = |i| row.get(i).map(|text| places.shortened(text.to_string()));
                    let cells = (0..row.len()).map(cell).collect();
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
        let sql = self.places.expanded(sql);
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
