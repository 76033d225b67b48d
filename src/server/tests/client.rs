//! A client that writes raw messages and reads answers as one line of text each.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far beyond what any answer takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    pub socket: TcpStream,
    /// From BackendKeyData.
    pub pid: i32,
    pub secret: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).await.expect("the server listens");
        Client { socket, pid: 0, secret: vec![] }
    }

    /// Connects and starts a session of protocol 3.0.
    pub async fn start(address: SocketAddr) -> Client {
        let mut client = Client::connect(address).await;
        client.send(&startup(0x0003_0000, &[("user", "ann")])).await;
        client.until_ready().await;
        client
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("the server reads");
    }

    pub async fn query(&mut self, sql: &str) -> Vec<String> {
        self.send(&query(sql)).await;
        self.until_ready().await
    }

    /// Raw bytes, exactly.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = tokio::time::timeout(PATIENCE, self.socket.read_exact(&mut bytes)).await;
        read.expect("an answer in time").expect("the server answers");
        bytes
    }

    /// The next message; `None` when the server closed the connection.
    pub async fn message(&mut self) -> Option<String> {
        let first = tokio::time::timeout(PATIENCE, self.socket.read_u8()).await.expect("an answer in time");
        let kind = first.ok()?;
        let length = i32::from_be_bytes(self.bytes(4).await.try_into().unwrap());
        let body = self.bytes(length as usize - 4).await;
        if kind == b'K' {
            self.pid = i32::from_be_bytes(body[..4].try_into().unwrap());
            self.secret = body[4..].to_vec();
        }
        Some(describe(kind, &body))
    }

    /// Messages up to and with ReadyForQuery.
    pub async fn until_ready(&mut self) -> Vec<String> {
        let mut messages = vec![];
        loop {
            let message = self.message().await.unwrap_or_else(|| panic!("closed after {messages:?}"));
            let ready = message.starts_with("ready");
            messages.push(message);
            if ready {
                return messages;
            }
        }
    }

    /// Messages up to the end of the connection.
    pub async fn until_closed(&mut self) -> Vec<String> {
        let mut messages = vec![];
        while let Some(message) = self.message().await {
            messages.push(message);
        }
        messages
    }

    pub async fn cancel(&self, address: SocketAddr) {
        let mut other = Client::connect(address).await;
        let mut packet = BytesMut::new();
        packet.put_i32(12 + self.secret.len() as i32);
        packet.put_i32(80877102);
        packet.put_i32(self.pid);
        packet.put_slice(&self.secret);
        other.send(&packet).await;
        assert_eq!(other.message().await, None, "a cancel request is answered by closing");
    }
}

fn describe(kind: u8, body: &[u8]) -> String {
    let int = |at: usize| i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
    let strings = || String::from_utf8_lossy(body).trim_end_matches('\0').replace('\0', "=");
    match kind {
        b'R' => format!("authentication {}", int(0)),
        b'S' => format!("parameter {}", strings()),
        b'K' => "key".to_owned(),
        b'Z' => format!("ready {}", body[0] as char),
        b'C' => format!("tag {}", strings()),
        b'I' => "empty".to_owned(),
        b'T' => format!("columns {}", columns(body)),
        b'D' => format!("row {}", row(body)),
        b'E' | b'N' => fields(kind, body),
        b'1' => "parsed".to_owned(),
        b'2' => "bound".to_owned(),
        b'3' => "closed".to_owned(),
        b'n' => "no data".to_owned(),
        b's' => "suspended".to_owned(),
        b't' => {
            let oids: Vec<String> =
                body[2..].chunks(4).map(|oid| i32::from_be_bytes(oid.try_into().unwrap()).to_string()).collect();
            format!("parameters {}", oids.join(","))
        }
        b'H' => format!("copy out {} {}", body[0], i16::from_be_bytes([body[1], body[2]])),
        b'd' => format!("copy {:?}", String::from_utf8_lossy(body)),
        b'c' => "copy done".to_owned(),
        b'v' => format!(
            "negotiate {}.{} {}",
            int(0) >> 16,
            int(0) & 0xffff,
            String::from_utf8_lossy(&body[8..]).replace('\0', ";")
        ),
        other => panic!("unexpected message {}", other as char),
    }
}

/// `name:oid:format` per column.
fn columns(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut columns = vec![];
    while !rest.is_empty() {
        let end = rest.iter().position(|&b| b == 0).unwrap();
        let name = String::from_utf8_lossy(&rest[..end]);
        let fixed = &rest[end + 1..end + 19];
        let oid = u32::from_be_bytes(fixed[6..10].try_into().unwrap());
        columns.push(format!("{name}:{oid}:{}", i16::from_be_bytes([fixed[16], fixed[17]])));
        rest = &rest[end + 19..];
    }
    columns.join(" ")
}

/// Text as it is, other bytes escaped.
fn row(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut values = vec![];
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        match usize::try_from(length) {
            Ok(length) => {
                values.push(rest[..length].escape_ascii().to_string());
                rest = &rest[length..];
            }
            Err(_) => values.push("NULL".to_owned()),
        }
    }
    values.join(" ")
}

/// Severity, code, message, and the rest with its field letter.
fn fields(kind: u8, body: &[u8]) -> String {
    let kind = if kind == b'E' { "error" } else { "notice" };
    let mut shown = vec![kind.to_owned()];
    for field in body.split(|&b| b == 0).filter(|field| !field.is_empty()) {
        let text = String::from_utf8_lossy(&field[1..]);
        match field[0] {
            b'S' | b'C' | b'M' => shown.push(text.into_owned()),
            b'V' => {}
            letter => shown.push(format!("[{}: {text}]", letter as char)),
        }
    }
    shown.join(" ")
}

pub fn startup(version: i32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_i32(version);
    for (name, value) in parameters {
        put_string(&mut body, name);
        put_string(&mut body, value);
    }
    body.put_u8(0);
    let mut packet = BytesMut::new();
    packet.put_i32(body.len() as i32 + 4);
    packet.put_slice(&body);
    packet.to_vec()
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(body);
    message
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

fn built(kind: u8, build: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut body = BytesMut::new();
    build(&mut body);
    message(kind, &body)
}

pub fn query(sql: &str) -> Vec<u8> {
    built(b'Q', |body| put_string(body, sql))
}

pub fn parse(name: &str, sql: &str, oids: &[u32]) -> Vec<u8> {
    built(b'P', |body| {
        put_string(body, name);
        put_string(body, sql);
        body.put_u16(oids.len() as u16);
        oids.iter().for_each(|&oid| body.put_u32(oid));
    })
}

pub fn bind(portal: &str, statement: &str, formats: &[i16], values: &[Option<&[u8]>], results: &[i16]) -> Vec<u8> {
    built(b'B', |body| {
        put_string(body, portal);
        put_string(body, statement);
        body.put_u16(formats.len() as u16);
        formats.iter().for_each(|&code| body.put_i16(code));
        body.put_u16(values.len() as u16);
        for value in values {
            match value {
                Some(value) => {
                    body.put_i32(value.len() as i32);
                    body.put_slice(value);
                }
                None => body.put_i32(-1),
            }
        }
        body.put_u16(results.len() as u16);
        results.iter().for_each(|&code| body.put_i16(code));
    })
}

/// `kind` is `S` for statements, `P` for portals.
pub fn describe_message(kind: u8, name: &str) -> Vec<u8> {
    built(b'D', |body| {
        body.put_u8(kind);
        put_string(body, name);
    })
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    built(b'C', |body| {
        body.put_u8(kind);
        put_string(body, name);
    })
}

pub fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    built(b'E', |body| {
        put_string(body, portal);
        body.put_i32(max_rows);
    })
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}
