//! Protocol scripts: what a client sends and what comes back, message by message, as text.
//!
//! A script is a file of `tests/wire/scripts`. Lines that begin with `<` are answers, all others are sent; `#` begins
//! a comment. Answers are written as `client.rs` shows them, and `< end` is that of the connection.
//!
//! ```text
//! query select 1 as a; select 2 as b
//! < columns a:23:0
//! < row 1
//! …
//! parse s (23) select $1          # name, declared type OIDs, text; `-` is the empty name
//! bind p s (t:42, null, b:0000002a) (1)   # portal, statement, values, result formats
//! describe statement s | describe portal p | execute p 2 | close statement s | flush | sync
//! connect | start [user] | startup 3.0 user=ann | bytes 00 2a | text GET / | message d 00 | cancel
//! ```
//!
//! All answers to the lines before must be listed before the next line is sent. `UPDATE_EXPECT=1` writes what came;
//! read the diff before committing it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::client::{self, Client};

/// Only when answers are rewritten: so much silence ends a group of them.
const SILENCE: Duration = Duration::from_millis(700);

/// Runs a script of `tests/wire/scripts` against a server.
pub async fn run(address: SocketAddr, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/scripts").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut seen = String::new();
    let mut lines = text.lines().peekable();
    let mut client = Client::connect(address).await;
    while let Some(line) = lines.next() {
        if !line.starts_with("< ") {
            seen += &format!("{line}\n");
            if !line.is_empty() && !line.starts_with('#') {
                send(&mut client, address, line).await;
            }
            if update && lines.peek().is_none_or(|next| next.starts_with("< ") || next.is_empty()) {
                while let Ok(answer) = tokio::time::timeout(SILENCE, answer(&mut client)).await {
                    seen += &format!("< {answer}\n");
                    if answer == "end" {
                        break;
                    }
                }
            }
        } else if !update {
            let answer = format!("< {}", answer(&mut client).await);
            seen += &format!("{answer}\n");
            assert_eq!(answer, line, "{name}, after:\n{}", tail(&seen));
        }
    }
    if update {
        std::fs::write(&path, seen).expect("scripts can be written");
    }
}

async fn answer(client: &mut Client) -> String {
    client.message().await.unwrap_or_else(|| "end".to_owned())
}

fn tail(seen: &str) -> String {
    let lines: Vec<&str> = seen.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

async fn send(client: &mut Client, address: SocketAddr, line: &str) {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match command {
        "connect" => *client = Client::connect(address).await,
        "start" => {
            *client = Client::connect(address).await;
            let user = if rest.is_empty() { "highwater" } else { rest };
            client.send(&client::startup(0x0003_0000, &[("user", user)])).await;
            client.until_ready().await;
        }
        "cancel" => client.cancel(address).await,
        // The one answer that is not a message: a byte that refuses encryption.
        "refused" => assert_eq!(client.bytes(1).await, b"N", "{line}"),
        _ => client.send(&bytes(command, rest)).await,
    }
}

/// The bytes of one line.
fn bytes(command: &str, rest: &str) -> Vec<u8> {
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    let kind = || if first == "statement" { b'S' } else { b'P' };
    match command {
        "startup" => {
            let (major, minor) = first.split_once('.').expect("a version such as 3.0");
            let version = (number::<i32>(major) << 16) + number::<i32>(minor);
            let parameters: Vec<(&str, &str)> = second.split_whitespace().filter_map(|p| p.split_once('=')).collect();
            client::startup(version, &parameters)
        }
        "bytes" => hex(rest),
        "text" => rest.replace("\\r\\n", "\r\n").into_bytes(),
        "message" => client::message(first.as_bytes()[0], &hex(second)),
        "query" => client::query(rest),
        "parse" => {
            let (oids, sql) = list(second);
            client::parse(name(first), sql, &oids.iter().map(|oid| number(oid)).collect::<Vec<u32>>())
        }
        "bind" => bind(first, second),
        "describe" => client::describe_message(kind(), name(second)),
        "execute" => client::execute(name(first), if second.is_empty() { 0 } else { number(second) }),
        "close" => client::close(kind(), name(second)),
        "flush" => client::flush(),
        "sync" => client::sync(),
        "terminate" => client::message(b'X', &[]),
        _ => panic!("{command} is no command of a script"),
    }
}

/// `STATEMENT (values) (result formats)`; a value is `t:text`, `b:hex` or `null`.
fn bind(portal: &str, rest: &str) -> Vec<u8> {
    let (statement, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (values, rest) = list(rest);
    let (results, _) = list(rest);
    let formats: Vec<i16> = values.iter().map(|value| i16::from(value.starts_with("b:"))).collect();
    let values: Vec<Option<Vec<u8>>> = values
        .iter()
        .map(|value| match value.split_once(':') {
            Some(("t", text)) => Some(text.as_bytes().to_vec()),
            Some(("b", bytes)) => Some(hex(bytes)),
            _ => None,
        })
        .collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    let results: Vec<i16> = results.iter().map(|code| number(code)).collect();
    client::bind(name(portal), name(statement), &formats, &values, &results)
}

/// `(a, b) rest`; without a list it is empty.
fn list(text: &str) -> (Vec<&str>, &str) {
    let Some((inside, rest)) = text.strip_prefix('(').and_then(|text| text.split_once(')')) else {
        return (vec![], text);
    };
    (inside.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(), rest.trim_start())
}

fn name(written: &str) -> &str {
    if written == "-" { "" } else { written }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("\"{text}\" is not such a number"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).expect("hexadecimal digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits")).collect()
}
