//! One connection that never waits: what is sent returns at once, and what comes back is an event, so that a scheduler can
//! watch several statements of which some are blocked. Raw messages, because drivers hide command tags, the state of the
//! transaction and pipelines.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedSender;

use crate::client;
use crate::schedule::Request;

/// What a request answered: sorted rows, tags, warnings and errors by their code, and last the transaction's state
/// (`=I`, `=T` or `=E`), as lines.
pub type Outcome = Vec<String>;

#[derive(Debug)]
pub enum Event {
    Done(Outcome),
    /// PostgreSQL has looked for deadlocks, found none, and waits for this lock.
    Waits(String),
    /// The connection ended.
    Gone,
}

pub struct Session {
    writer: OwnedWriteHalf,
    address: SocketAddr,
    pub pid: i32,
    secret: Vec<u8>,
}

impl Session {
    /// Events go to `events` as those of session `index`.
    pub async fn start(
        address: SocketAddr,
        user: &str,
        database: &str,
        index: usize,
        events: UnboundedSender<(usize, Event)>,
    ) -> Session {
        let socket = TcpStream::connect(address).await.expect("the server listens");
        socket.set_nodelay(true).expect("a TCP socket");
        let (reader, mut writer) = socket.into_split();
        let hello = client::startup(0x0003_0000, &[("user", user), ("database", database)]);
        writer.write_all(&hello).await.expect("the server reads");
        let mut reader = BufReader::new(reader);
        let (mut pid, mut secret) = (0, vec![]);
        loop {
            match message(&mut reader).await.expect("the server answers") {
                (b'K', body) => {
                    pid = i32::from_be_bytes(body[..4].try_into().expect("four bytes"));
                    secret = body[4..].to_vec();
                }
                (b'E', body) => panic!("the server refuses a session: {}", String::from_utf8_lossy(&body)),
                (b'Z', _) => break,
                _ => {}
            }
        }
        tokio::spawn(read(reader, index, events));
        Session { writer, address, pid, secret }
    }

    pub async fn send(&mut self, request: &Request, rename: impl Fn(&str) -> String) {
        let bytes = match request {
            Request::Message(sql) => client::query(&rename(sql)),
            Request::Pipeline(statements) => {
                let one = |sql: &String| {
                    [
                        client::parse("", &rename(sql), &[]),
                        client::bind("", "", &[], &[], &[]),
                        client::describe_message(b'P', ""),
                        client::execute("", 0),
                    ]
                    .concat()
                };
                [statements.iter().flat_map(one).collect(), client::sync()].concat()
            }
        };
        // The end of the connection comes as an event.
        let _ = self.writer.write_all(&bytes).await;
    }

    /// Says good-bye; the event `Gone` follows when the server has cleaned up.
    pub async fn terminate(&mut self) {
        let _ = self.writer.write_all(&client::message(b'X', &[])).await;
    }

    /// Asks for the end of the statement that runs. Returns when the request was taken.
    pub async fn cancel(&self) {
        let mut socket = TcpStream::connect(self.address).await.expect("the server listens");
        let mut packet = (12 + self.secret.len() as i32).to_be_bytes().to_vec();
        packet.extend(80_877_102_i32.to_be_bytes());
        packet.extend(self.pid.to_be_bytes());
        packet.extend(&self.secret);
        socket.write_all(&packet).await.expect("the server reads");
        // Answered by closing.
        let _ = socket.read(&mut [0]).await;
    }
}

async fn message(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = reader.read_u8().await?;
    let length = reader.read_i32().await?;
    let mut body = vec![0; length as usize - 4];
    reader.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// Turns messages into events until the connection or its owner is gone.
async fn read(mut reader: BufReader<OwnedReadHalf>, index: usize, events: UnboundedSender<(usize, Event)>) {
    let mut outcome = vec![];
    let mut rows = vec![];
    while let Ok((kind, body)) = message(&mut reader).await {
        let event = match kind {
            b'D' => {
                rows.push(row(&body));
                None
            }
            b'C' => {
                rows.sort();
                outcome.append(&mut rows);
                outcome.push(String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned());
                None
            }
            b'E' => {
                // How many rows came before an error is a matter of buffers.
                rows.clear();
                outcome.push(format!("ERROR {}", field(&body, b'C')));
                None
            }
            b'N' => notice(&body, &mut outcome),
            b'Z' => {
                outcome.push(format!("={}", body[0] as char));
                Some(Event::Done(std::mem::take(&mut outcome)))
            }
            _ => None,
        };
        if let Some(event) = event
            && events.send((index, event)).is_err()
        {
            return;
        }
    }
    // The owner may be gone as well.
    let _ = events.send((index, Event::Gone));
}

fn notice(body: &[u8], outcome: &mut Outcome) -> Option<Event> {
    match field(body, b'V').as_str() {
        "WARNING" => outcome.push(format!("WARNING {}", field(body, b'C'))),
        "LOG" => {
            let text = field(body, b'M');
            let (_, waits) = text.split_once(" still waiting for ")?;
            return Some(Event::Waits(waits.to_owned()));
        }
        _ => {}
    }
    None
}

fn field(body: &[u8], letter: u8) -> String {
    let found = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&letter));
    found.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
}

/// `(1, x, NULL)`
fn row(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut values = vec![];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                values.push(String::from_utf8_lossy(&after[..length]).into_owned());
                rest = &after[length..];
            }
            Err(_) => {
                values.push("NULL".to_owned());
                rest = after;
            }
        }
    }
    format!("({})", values.join(", "))
}
