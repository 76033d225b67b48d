//! `highwater demo`: a server of its own, a generated auction stream, four views, and a live table of them read over a
//! Postgres connection like any client's.
//!
//! The objects are in `demo.sql`; what is measured in `probes.rs`; how it looks in `screen.rs`.

mod probes;
mod screen;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::Client;

use crate::args::{DemoArguments, LogFormat};
use crate::config::ServeConfig;
use crate::serve::Running;
use crate::usage::usage;
use crate::{client, error_text, logging, signals, split};
use probes::Probes;
use screen::Screen;

const DEFINITIONS: &str = include_str!("../demo.sql");
/// Between two readings of the views.
const READ_INTERVAL: Duration = Duration::from_millis(100);
/// Where a free port is looked for, from the usual one upwards.
const PORTS_TRIED: u16 = 20;

pub(crate) async fn demo(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    logging::start(LogFormat::Text, "error");
    let directory = Directory::create(arguments.data_dir.clone())?;
    let mut config = ServeConfig::private(Some(directory.path.clone()))?;
    config.listen = free_address(7432);
    config.http = Some(free_address(7480));
    let running = Running::start(&config).await?;
    let result = watch(&running, &arguments).await;
    running.stop().await;
    directory.remove();
    result
}

async fn watch(running: &Running, arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    // Notices about unbounded state are true of the demo's views, and would scroll the table away.
    let client = client::connect_with(&running.url(), drop).await?;
    println!("Highwater demo: {} auction events a second. Look at it from another terminal:", arguments.rate);
    println!("  {}", running.psql_line());
    if let Some(http) = running.http_addr() {
        println!("  http://{http}/metrics");
    }
    println!();
    define(&client, arguments.rate).await?;
    let started = Instant::now();
    let until = arguments.seconds.map(|seconds| started + Duration::from_secs(seconds));
    let mut probes = Probes::new(&client).await?;
    let mut screen = Screen::new();
    let mut stop = std::pin::pin!(signals::stop_requested());
    let mut ticks = tokio::time::interval(READ_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            signal = &mut stop => {
                signal?;
                break;
            }
            _ = ticks.tick() => {}
        }
        probes.read(&client).await.map_err(|error| anyhow::anyhow!(error_text::of_client_error(&error, None)))?;
        screen.show(&probes, started.elapsed())?;
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
    }
    screen.finish(&probes, started.elapsed())?;
    Ok(ExitCode::SUCCESS)
}

async fn define(client: &Client, rate: u64) -> anyhow::Result<()> {
    let gap_ns = (1_000_000_000 / rate).max(1);
    let text = DEFINITIONS.replace("{gap_ns}", &gap_ns.to_string());
    for piece in split::statements(&text) {
        client.simple_query(piece.text).await.map_err(|error| {
            anyhow::anyhow!("demo.sql:{}: {}", piece.line, error_text::of_client_error(&error, Some(piece.text)))
        })?;
    }
    Ok(())
}

/// The usual port, or the next one nobody listens on; 0 lets the system choose.
fn free_address(usual: u16) -> SocketAddr {
    let free = (usual..usual.saturating_add(PORTS_TRIED)).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    SocketAddr::from(([127, 0, 0, 1], free.unwrap_or(0)))
}

/// The demo's data directory: always a new one, because the generator's clock starts when its source is created.
struct Directory {
    path: PathBuf,
    temporary: bool,
}

impl Directory {
    fn create(given: Option<PathBuf>) -> anyhow::Result<Directory> {
        let temporary = given.is_none();
        let path = given.unwrap_or_else(|| std::env::temp_dir().join(format!("highwater-demo-{}", std::process::id())));
        if path.exists() && std::fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_some()) {
            return Err(usage(format!("{} is not an empty directory; the demo starts from nothing", path.display())));
        }
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Directory { path, temporary })
    }

    /// Only what the demo made for itself.
    fn remove(self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_parse() {
        let text = DEFINITIONS.replace("{gap_ns}", "100000");
        assert_eq!(sql::parse(&text).map(|parsed| parsed.len()), Ok(7));
        assert_eq!(split::statements(&text).len(), 7);
    }

    #[test]
    fn a_directory_with_files_is_refused() {
        let path = std::env::temp_dir().join(format!("highwater-demo-test-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("x"), "x").unwrap();
        assert!(Directory::create(Some(path.clone())).is_err());
        std::fs::remove_dir_all(path).unwrap();
    }
}
