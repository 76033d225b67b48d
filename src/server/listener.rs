//! Accepting Postgres connections: one task each, from start-up to the end of the session. How many sessions there may
//! be is the engine's to say; how many sockets may wait to become one is `starting.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::backend::Backend;
use crate::codec::FrameReader;
use crate::connection::{Connection, say_farewell};
use crate::errors::Failure;
use crate::interrupt::stopped;
use crate::limits::{STARTING_CONNECTIONS_MAX, STARTUP_TIMEOUT, STOP_GRACE};
use crate::starting::{Place, Starting};
use crate::startup::{greet, read_startup};
use crate::writer::MessageWriter;

/// What all connections share.
pub struct Shared<B> {
    pub backend: B,
    starting: Arc<Starting>,
    stopping: watch::Receiver<bool>,
}

impl<B: Backend> Shared<B> {
    pub fn new(backend: B, stopping: watch::Receiver<bool>) -> Self {
        Shared { backend, starting: Arc::new(Starting::new(STARTING_CONNECTIONS_MAX)), stopping }
    }
}

/// Accepts until the server stops, then waits a moment for the sessions to end.
pub async fn accept<B: Backend>(listener: TcpListener, shared: Arc<Shared<B>>) {
    let mut connections = JoinSet::new();
    let mut stopping = shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    let served = std::panic::AssertUnwindSafe(serve(socket, address, shared)).catch_unwind().await;
                    if served.is_err() {
                        tracing::error!("a connection hit a bug and was closed");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors: accepting again at once would spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_gone).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve<B: Backend>(socket: TcpStream, address: SocketAddr, shared: Arc<Shared<B>>) {
    // Answers are small and awaited; a socket that refuses the option is closing anyway.
    let _ = socket.set_nodelay(true);
    let place = shared.starting.enter(address.ip());
    if let Some(connection) = start(socket, place, &shared).await {
        connection.run().await;
    }
}

/// Brings a socket to the point where its session exists. `None`: it timed out, lost its place, or has had its answer.
async fn start<B: Backend>(
    socket: TcpStream,
    mut place: Place,
    shared: &Shared<B>,
) -> Option<Connection<B::Session, OwnedReadHalf, OwnedWriteHalf>> {
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        biased;
        () = stopped(&mut stopping) => None,
        () = place.lost() => None,
        started = tokio::time::timeout(STARTUP_TIMEOUT, start_session(socket, shared)) => started.ok().flatten(),
    }
}

async fn start_session<B: Backend>(
    socket: TcpStream,
    shared: &Shared<B>,
) -> Option<Connection<B::Session, OwnedReadHalf, OwnedWriteHalf>> {
    let (read, write) = socket.into_split();
    let mut reader = FrameReader::new(read);
    let mut writer = MessageWriter::new(write);
    let request = match read_startup(&mut reader, &mut writer, &shared.backend).await {
        Ok(request) => request?,
        Err(Failure::Fatal(error) | Failure::Sql(error)) => {
            say_farewell(&mut writer, &error).await;
            return None;
        }
        Err(Failure::Gone) => return None,
    };
    let mut session = match shared.backend.session(&request.user, &request.database, request.parameters.clone()) {
        Ok(session) => session,
        Err(error) => {
            say_farewell(&mut writer, &error).await;
            return None;
        }
    };
    greet(&mut writer, &request, &mut session).ok()?;
    Some(Connection::new(reader, writer, session, shared.stopping.clone()))
}
