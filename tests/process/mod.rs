//! The real server as a child process: started on a directory, killed, started again. Clients are tokio-postgres.
//!
//! A server never survives its owner: dropping a handle kills it. What it logs goes to a file beside its directory, so
//! that a panic in any of its lives is seen.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, CancelToken, Client, NoTls, SimpleQueryMessage};

/// A server that isn't ready by then hangs.
const READY_MAX: Duration = Duration::from_secs(60);
/// Of the log, in a failure's message.
const LOG_LINES_SHOWN: usize = 40;

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// A number from the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => default,
    }
}

/// A directory for one database and its log. Stays, and is named, when the test fails.
pub struct Place {
    directory: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Place {
        let directory = tempfile::Builder::new().prefix(&format!("highwater-{name}-")).tempdir().expect("a directory");
        Place { path: directory.path().to_path_buf(), directory: Some(directory) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// Fails if any life of the server panicked or reported an error.
    pub fn check_log(&self) {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let bad = log.lines().find(|line| line.contains("panicked at") || line.contains("ERROR"));
        if let Some(line) = bad {
            panic!("the server complained: {line}\n{}", self.log_tail());
        }
    }

    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("the database is kept in {}\n{}", directory.keep().display(), self.log_tail());
        }
    }
}

/// How a server is started.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub workers: u64,
    pub checkpoint_interval_ms: u64,
}

/// A server that may not be ready yet.
pub struct Starting {
    child: Option<Child>,
    banner: Receiver<String>,
    log_path: PathBuf,
}

impl Starting {
    pub fn spawn(place: &Place, options: Options) -> Starting {
        Starting::spawn_extra(place, options, &[])
    }

    /// With arguments of `serve` besides.
    pub fn spawn_extra(place: &Place, options: Options, arguments: &[&str]) -> Starting {
        let log = OpenOptions::new().create(true).append(true).open(place.log()).expect("a log file");
        let mut command = command(&place.data(), options);
        command.args(arguments);
        Starting::spawn_with(command, log, place.log())
    }

    pub fn spawn_with(mut command: Command, log: File, log_path: PathBuf) -> Starting {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the server starts");
        let output = child.stdout.take().expect("it is piped");
        let (sender, banner) = channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Starting { child: Some(child), banner, log_path }
    }

    /// Waits for the banner.
    pub fn ready(mut self) -> Server {
        let deadline = Instant::now() + READY_MAX;
        loop {
            match self.banner.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(port) = port_in(&line) {
                        let child = self.child.take().expect("not killed");
                        return Server { child, port };
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail("is not ready after a minute"),
                Err(RecvTimeoutError::Disconnected) => self.fail("refuses to start"),
            }
        }
    }

    fn fail(&mut self, what: &str) -> ! {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let log = std::fs::read_to_string(&self.log_path).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        panic!("the server {what} ({status:?}):\n{}", tail.join("\n"))
    }

    /// Kills it, ready or not.
    pub fn kill(mut self) {
        self.child.take().into_iter().for_each(end);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.child.take().into_iter().for_each(end);
    }
}

fn command(data: &Path, options: Options) -> Command {
    // Another build (a release) can be put to the same test.
    let binary = std::env::var_os("HW_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_highwater").into());
    let mut command = Command::new(binary);
    command.arg("serve").arg("--data-dir").arg(data).args(["--listen", "127.0.0.1:0", "--http", "off"]);
    command.args(["--workers", &options.workers.to_string()]);
    command.args(["--checkpoint-interval", &format!("{}ms", options.checkpoint_interval_ms)]);
    command
}

/// `  connect  psql -h 127.0.0.1 -p 40213 -U …`
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(" -p ")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn end(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// A server that accepts clients.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub fn start(place: &Place, options: Options) -> Server {
        Starting::spawn(place, options).ready()
    }

    /// kill -9.
    pub fn kill(self) {}

    /// How it ended, if it did so by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be asked")
    }

    pub fn address(&self) -> Address {
        Address { port: self.port }
    }

    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Of the operating system.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub async fn connect(&self) -> Client {
        self.address().connect().await.expect("a ready server accepts clients")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server listens, also after it has gone.
#[derive(Debug, Clone, Copy)]
pub struct Address {
    port: u16,
}

impl Address {
    /// For `tokio_postgres::connect`.
    pub fn configuration(&self) -> String {
        format!("host=127.0.0.1 port={} user=highwater dbname=highwater", self.port)
    }

    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.configuration(), NoTls).await?;
        // Ends with the client, or with the server.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Asks the server to cancel what the token's session runs. Returns when the request was served: a request that
    /// is still on its way could reach the session's next statement.
    pub async fn cancel(&self, token: &CancelToken) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.expect("it accepts clients");
        token.cancel_query_raw(&mut stream, NoTls).await.expect("a cancel request is taken");
        let closed = stream.read(&mut [0]).await.expect("it is answered by closing");
        assert_eq!(closed, 0, "a cancel request has no other answer");
    }

    /// As `cancel`, of a server that may be gone.
    pub async fn try_cancel(&self, token: &CancelToken) {
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await
            && token.cancel_query_raw(&mut stream, NoTls).await.is_ok()
        {
            // Closed when the request was served, or with the server.
            let _ = stream.read(&mut [0]).await;
        }
    }

    /// With the messages of the notices and warnings that come.
    pub async fn connect_with_notices(&self) -> (Client, UnboundedReceiver<String>) {
        let (client, mut connection) =
            tokio_postgres::connect(&self.configuration(), NoTls).await.expect("it accepts clients");
        let (sender, notices) = unbounded_channel();
        let mut messages = futures::stream::poll_fn(move |ctx| connection.poll_message(ctx));
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    // The test may not want them any more.
                    let _ = sender.send(notice.message().to_owned());
                }
            }
        });
        (client, notices)
    }
}

/// All rows of a query, as text.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect()),
        _ => None,
    });
    Ok(rows.collect())
}

/// The rows of a query that must succeed, sorted.
pub async fn sorted(client: &Client, sql: &str) -> Vec<Row> {
    let mut rows = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)));
    rows.sort();
    rows
}

/// The single value of a query that must succeed.
pub async fn value(client: &Client, sql: &str) -> Option<String> {
    sorted(client, sql).await.into_iter().next().and_then(|row| row.into_iter().next().flatten())
}

/// The server's own message, if the error is one.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => error.to_string(),
    }
}

/// Whether the error is the connection's end rather than an answer.
pub fn disconnected(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|error| error.code().code() == "57P01")
}
