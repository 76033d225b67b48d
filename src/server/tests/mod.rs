//! The wire against a scripted backend: raw bytes over a socket, then a real driver.

mod client;
mod extended;
mod fake;
mod interrupts;
mod programs;
mod simple;
mod startup;

use std::net::SocketAddr;

use crate::{Server, ServerConfig};
use client::Client;
pub(crate) use fake::Fake;

/// A server on a free port of loopback.
pub(crate) async fn serve(fake: &Fake) -> Server {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = ServerConfig { listen: loopback, http: Some(loopback) };
    Server::start(fake.clone(), config).await.expect("a free port")
}

/// A server and a client whose session has started.
async fn session() -> (Fake, Server, Client) {
    let fake = Fake::default();
    let server = serve(&fake).await;
    let client = Client::start(server.local_addr()).await;
    (fake, server, client)
}
