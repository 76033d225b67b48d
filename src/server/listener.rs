//! Accepting Postgres connections: one task each, bounded in number, from start-up to the end of the session.

use std::sync::Arc;

use futures::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use types::{SqlError, SqlState};

use crate::backend::{Backend, BackendSession};
use crate::cancel::CancelRegistry;
use crate::codec::FrameReader;
use crate::connection::{Connection, say_farewell};
use crate::errors::Failure;
use crate::interrupt::{Interrupts, stopped};
use crate::limits::{STARTING_CONNECTIONS_MAX, STARTUP_TIMEOUT, STOP_GRACE};
use crate::startup::{greet, read_startup};
use crate::writer::MessageWriter;

/// What all connections share.
pub struct Shared<B> {
    pub backend: B,
    cancels: Arc<CancelRegistry>,
    /// One permit per session.
    sessions: Arc<Semaphore>,
    /// One permit per socket: sessions and those still starting.
    sockets: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl<B: Backend> Shared<B> {
    pub fn new(backend: B, sessions_max: usize, stopping: watch::Receiver<bool>) -> Self {
        Shared {
            backend,
            cancels: Arc::default(),
            sessions: Arc::new(Semaphore::new(sessions_max)),
            sockets: Arc::new(Semaphore::new(sessions_max + STARTING_CONNECTIONS_MAX)),
            stopping,
        }
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
            Ok((socket, _)) => {
                // Past this bound clients can only be strangers that never finish starting up: close at once.
                let Ok(permit) = shared.sockets.clone().try_acquire_owned() else { continue };
                let shared = shared.clone();
                connections.spawn(async move {
                    let served = std::panic::AssertUnwindSafe(serve(socket, shared)).catch_unwind().await;
                    if served.is_err() {
                        tracing::error!("a connection hit a bug and was closed");
                    }
                    drop(permit);
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

async fn serve<B: Backend>(socket: TcpStream, shared: Arc<Shared<B>>) {
    // Answers are small and awaited; a socket that refuses the option is closing anyway.
    let _ = socket.set_nodelay(true);
    let (read, write) = socket.into_split();
    let mut reader = FrameReader::new(read);
    let mut writer = MessageWriter::new(write);
    let mut stopping = shared.stopping.clone();
    let startup = tokio::select! {
        biased;
        () = stopped(&mut stopping) => return,
        startup = tokio::time::timeout(STARTUP_TIMEOUT, read_startup(&mut reader, &mut writer, &shared.cancels)) => startup,
    };
    let request = match startup {
        Ok(Ok(Some(request))) => request,
        Ok(Err(Failure::Fatal(error) | Failure::Sql(error))) => return say_farewell(&mut writer, &error).await,
        // Timed out, gone, garbage, or a cancel request: closing is the answer.
        Ok(Ok(None) | Err(Failure::Gone)) | Err(_) => return,
    };
    let (_permit, session) = match open_session(&shared, &request) {
        Ok(opened) => opened,
        Err(error) => return say_farewell(&mut writer, &error).await,
    };
    let pid = i32::try_from(session.id()).expect("session ids stay below 2^31");
    let greeted = greet(&mut writer, &request, &shared.cancels, pid, session.reported_parameters());
    let Ok(registration) = greeted else { return };
    let interrupts = Interrupts { cancel: registration.cancel.clone(), stopping };
    Connection::new(reader, writer, session, interrupts).run().await;
}

fn open_session<B: Backend>(
    shared: &Shared<B>,
    request: &crate::startup::StartupRequest,
) -> Result<(OwnedSemaphorePermit, B::Session), SqlError> {
    let permit = shared
        .sessions
        .clone()
        .try_acquire_owned()
        .map_err(|_| SqlError::new(SqlState::TooManyConnections, "sorry, too many clients already"))?;
    let session = shared.backend.session(&request.user, &request.database, request.parameters.clone())?;
    Ok((permit, session))
}
