//! The first packets of a connection: encryption requests, cancel requests, start-up parameters, version negotiation.

use bytes::BytesMut;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::response::SslResponse;
use pgwire::messages::startup::{
    Authentication, BackendKeyData, GssEncRequest, NegotiateProtocolVersion, ParameterStatus, SecretKey, SslRequest,
    Startup,
};
use pgwire::messages::{DecodeContext, Message, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use types::{SqlError, SqlState};

use crate::backend::{Backend, BackendSession};
use crate::codec::FrameReader;
use crate::errors::Failure;
use crate::writer::MessageWriter;

/// Secret of protocol 3.0, bytes.
const SECRET_BYTES_3_0: usize = 4;
/// Secret of protocol 3.2, bytes.
const SECRET_BYTES_3_2: usize = 32;

/// What the client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupRequest {
    pub user: String,
    pub database: String,
    /// The other parameters, those in `options` included, names as sent.
    pub parameters: Vec<(String, String)>,
    /// Minor protocol version in force.
    pub minor: u16,
    negotiate: Option<Vec<String>>,
}

/// Reads packets up to the start-up message. `None`: a cancel request was served, or there is nothing to answer.
pub async fn read_startup<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut FrameReader<R>,
    writer: &mut MessageWriter<W>,
    backend: &impl Backend,
) -> Result<Option<StartupRequest>, Failure> {
    // Each kind of encryption may be asked for once.
    let (mut tls_asked, mut gss_asked) = (false, false);
    loop {
        let Some(packet) = reader.startup_packet().await? else { return Ok(None) };
        let asked = match () {
            () if SslRequest::is_ssl_request_packet(&packet) => &mut tls_asked,
            () if GssEncRequest::is_gss_enc_request_packet(&packet) => &mut gss_asked,
            () if CancelRequest::is_cancel_request_packet(&packet) => {
                serve_cancel(packet, backend);
                return Ok(None);
            }
            () => return parse_startup(packet),
        };
        if packet.len() != 8 || std::mem::replace(asked, true) {
            return Ok(None);
        }
        writer.send(&SslResponse::Refuse)?;
        writer.flush().await?;
    }
}

fn serve_cancel(mut packet: BytesMut, backend: &impl Backend) {
    // Decoding as 3.2 keeps the key as bytes, whatever its length.
    let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
    if let Ok(Some(request)) = CancelRequest::decode(&mut packet, &context)
        && let Ok(session) = u32::try_from(request.pid)
    {
        backend.cancel(session, &request.secret_key.to_bytes());
    }
}

fn parse_startup(mut packet: BytesMut) -> Result<Option<StartupRequest>, Failure> {
    let major = u16::from_be_bytes([packet[4], packet[5]]);
    let minor = u16::from_be_bytes([packet[6], packet[7]]);
    if major != 3 {
        // Version 2 clients could still read an error; anything else is not Postgres at all.
        if major > 10 || major == 0 {
            return Ok(None);
        }
        let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
        return Err(Failure::Fatal(SqlError::new(SqlState::FeatureNotSupported, message)));
    }
    if packet.len() <= 8 || packet.last() != Some(&0) {
        return Err(Failure::Fatal(crate::errors::protocol_violation(
            "invalid startup packet layout: expected terminator as last byte",
        )));
    }
    let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    match Startup::decode(&mut packet, &context) {
        Ok(Some(startup)) => request(startup).map(Some).map_err(Failure::Fatal),
        Ok(None) | Err(_) => Ok(None),
    }
}

fn request(startup: Startup) -> Result<StartupRequest, SqlError> {
    let mut given = startup.parameters;
    let user = given.remove("user").filter(|user| !user.is_empty()).ok_or_else(|| {
        SqlError::new(
            SqlState::InvalidAuthorizationSpecification,
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    let database = given.remove("database").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    if given.remove("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
        return Err(SqlError::unsupported(
            "replication connections are not supported",
            "Use SUBSCRIBE to follow changes.",
        ));
    }
    let mut parameters = match given.remove("options") {
        Some(options) => parse_options(&options)?,
        None => vec![],
    };
    let (unknown, settings): (Vec<_>, Vec<_>) = given.into_iter().partition(|(name, _)| name.starts_with("_pq_."));
    parameters.extend(settings);
    let unknown: Vec<String> = unknown.into_iter().map(|(name, _)| name).collect();
    let requested = startup.protocol_number_minor;
    let minor = match requested {
        0 | 1 => 0,
        _ => 2,
    };
    let negotiate = (requested != minor || !unknown.is_empty()).then_some(unknown);
    Ok(StartupRequest { user, database, parameters, minor, negotiate })
}

/// `-c name=value`, `-cname=value` and `--name=value`, separated by spaces; a backslash protects the next character.
fn parse_options(options: &str) -> Result<Vec<(String, String)>, SqlError> {
    let mut words = split_words(options).into_iter();
    let mut parameters = vec![];
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next(),
            Some(rest) => Some(rest.to_owned()),
            None => None,
        };
        let pair = setting.as_deref().and_then(|setting| setting.split_once('='));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            let message = format!("invalid command-line argument for server process: {word}");
            return Err(SqlError::new(SqlState::SyntaxError, message)
                .with_hint("Write settings as \"-c name=value\" in the connection's options."));
        };
        parameters.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(parameters)
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            _ if character.is_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Queues the messages that precede the first ReadyForQuery, and makes the session cancellable.
pub fn greet<W: AsyncWrite + Unpin>(
    writer: &mut MessageWriter<W>,
    request: &StartupRequest,
    session: &mut impl BackendSession,
) -> Result<(), Failure> {
    if let Some(unknown) = &request.negotiate {
        let version = match request.minor {
            0 => ProtocolVersion::PROTOCOL3_0,
            _ => ProtocolVersion::PROTOCOL3_2,
        };
        writer.send(&NegotiateProtocolVersion::new(version.into(), unknown.clone()))?;
    }
    writer.send(&Authentication::Ok)?;
    for (name, value) in session.reported_parameters() {
        writer.send(&ParameterStatus::new(name.to_owned(), value))?;
    }
    let secret_bytes = if request.minor == 0 { SECRET_BYTES_3_0 } else { SECRET_BYTES_3_2 };
    let random: [u8; SECRET_BYTES_3_2] = rand::random();
    let secret = random[..secret_bytes].to_vec();
    session.set_cancel_key(secret.clone());
    let pid = i32::try_from(session.id()).expect("session ids stay below 2^31");
    writer.send(&BackendKeyData::new(pid, SecretKey::Bytes(secret.into())))
}
