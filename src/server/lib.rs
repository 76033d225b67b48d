//! The front door: the Postgres wire protocol and a small HTTP server, over the engine.
//!
//! pgwire gives message types and their coding; the query loops, row encoding, cancelling and flushing are ours,
//! because a quiet subscription must deliver, a cancel must reach a running stream, and a vanished client must end
//! its work. Reading order: `listener` → `startup` → `connection` → `simple`, `extended` → `output` → `encode`.

mod backend;
mod codec;
mod connection;
mod copy_out;
mod decode;
mod encode;
mod engine_backend;
mod errors;
mod extended;
mod http;
mod interrupt;
pub mod limits;
mod listener;
mod output;
mod portal;
mod simple;
mod starting;
mod startup;
#[cfg(test)]
mod tests;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use backend::{Backend, BackendSession};
pub use errors::ServerError;

use limits::LISTEN_BACKLOG;
use listener::Shared;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where Postgres clients connect. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// Health, readiness and metrics; `None` for no HTTP server.
    pub http: Option<SocketAddr>,
}

/// A running server. Dropping it stops it without waiting.
pub struct Server {
    local_addr: SocketAddr,
    http_addr: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds and starts serving; must be called within a tokio runtime.
    ///
    /// Errors: an address that cannot be bound.
    pub async fn start<B: Backend>(backend: B, config: ServerConfig) -> Result<Server, ServerError> {
        let listener = bind(config.listen)?;
        let local_addr = bound_addr(&listener, config.listen)?;
        let http_listener = match config.http {
            Some(address) => Some((bind(address)?, address)),
            None => None,
        };
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared::new(backend, stopping.clone()));
        let mut tasks = vec![];
        let mut http_addr = None;
        if let Some((listener, address)) = http_listener {
            http_addr = Some(bound_addr(&listener, address)?);
            tasks.push(tokio::spawn(http::serve(listener, shared.backend.clone(), stopping)));
        }
        tasks.push(tokio::spawn(listener::accept(listener, shared)));
        Ok(Server { local_addr, http_addr, stop, tasks })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }

    /// Stops accepting, tells every session goodbye (57P01), and waits briefly for them to end.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            // A task that panicked has stopped as well; the panic was reported where it happened.
            let _ = task.await;
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // Connections inherit it: a client whose machine is gone is found out some day, even if nothing is sent.
        socket.set_keepalive(true)?;
        socket.bind(address)?;
        socket.listen(LISTEN_BACKLOG)
    };
    listen().map_err(|source| ServerError::Listen { address, source })
}

fn bound_addr(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, ServerError> {
    listener.local_addr().map_err(|source| ServerError::Listen { address, source })
}
