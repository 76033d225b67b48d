//! The only file that knows the engine and the server: starting both, the banner, and stopping in order.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use engine::{Engine, EngineConfig};
use server::{Server, ServerConfig};

use crate::args::ServeArguments;
use crate::config::ServeConfig;
use crate::{logging, signals};

/// An engine and its front door.
pub(crate) struct Running {
    engine: Engine,
    server: Server,
}

impl Running {
    pub(crate) async fn start(config: &ServeConfig) -> anyhow::Result<Running> {
        let engine = Engine::open(EngineConfig {
            data_dir: config.data_dir.clone(),
            accept_data_loss: config.accept_data_loss,
            workers: config.workers,
            memory_limit_bytes: config.memory_limit_bytes,
            checkpoint_interval: config.checkpoint_interval,
            sessions: config.sessions,
        })
        .await
        .map_err(|error| anyhow::Error::msg(crate::error_text::of_sql_error(&error)))?;
        let front = ServerConfig { listen: config.listen, http: config.http };
        match Server::start(engine.clone(), front).await {
            Ok(server) => Ok(Running { engine, server }),
            Err(error) => {
                engine.shutdown().await;
                Err(error).context("cannot start the server")
            }
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn http_addr(&self) -> Option<SocketAddr> {
        self.server.http_addr()
    }

    /// Where a client of this process connects.
    pub(crate) fn url(&self) -> String {
        format!("postgres://highwater@{}/highwater", self.local_addr())
    }

    pub(crate) fn psql_line(&self) -> String {
        let address = self.local_addr();
        format!("psql -h {} -p {} -U highwater -d highwater", address.ip(), address.port())
    }

    /// Says goodbye to clients, then checkpoints and stops the engine.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.engine.shutdown().await;
    }
}

/// `highwater serve`: runs until a signal.
pub(crate) async fn serve(arguments: ServeArguments) -> anyhow::Result<ExitCode> {
    let config = ServeConfig::load(arguments)?;
    logging::start(config.log_format, "info");
    let running = Running::start(&config).await?;
    print!("{}", banner(&running, &config));
    let signal = signals::stop_requested().await?;
    tracing::info!(signal, "stopping");
    running.stop().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn banner(running: &Running, config: &ServeConfig) -> String {
    let data = match &config.data_dir {
        Some(directory) => directory.display().to_string(),
        None => "in memory, nothing is kept".to_owned(),
    };
    let http = running.http_addr().map_or("off".to_owned(), |address| format!("http://{address}"));
    format!(
        "Highwater {}\n  connect  {}\n  http     {http}\n  data     {data}\n  workers  {}, memory limit {} MiB\n  stop     Ctrl-C\n",
        env!("CARGO_PKG_VERSION"),
        running.psql_line(),
        config.workers,
        config.memory_limit_bytes >> 20,
    )
}
