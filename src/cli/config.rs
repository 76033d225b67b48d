//! Settings → what the server is started with: flags over environment (both by clap) over file over defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use engine::SessionLimits;

use crate::args::{LogFormat, ServeArguments, Settings};
use crate::memory_size;
use crate::usage::usage;

const DEFAULT_FILE: &str = "highwater.toml";
const DEFAULT_DATA_DIR: &str = "./highwater-data";
const DEFAULT_LISTEN: &str = "127.0.0.1:7432";
const DEFAULT_HTTP: &str = "127.0.0.1:7480";
/// As in Postgres.
const CONNECTIONS_MAX: usize = 262_143;
const DEFAULT_MEMORY_LIMIT: &str = "75%";

/// Everything checked and filled in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServeConfig {
    /// `None`: in memory.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) accept_data_loss: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) workers: usize,
    pub(crate) memory_limit_bytes: usize,
    pub(crate) log_format: LogFormat,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) sessions: SessionLimits,
}

impl ServeConfig {
    /// Errors: usage for values that make no sense; I/O and syntax for the file.
    pub(crate) fn load(arguments: ServeArguments) -> anyhow::Result<ServeConfig> {
        let file = match arguments.config {
            Some(path) => read_file(&path)?,
            None if Path::new(DEFAULT_FILE).exists() => read_file(Path::new(DEFAULT_FILE))?,
            None => Settings::default(),
        };
        let given = arguments.settings;
        if given.in_memory == Some(true) && given.data_dir.is_some() {
            return Err(usage("--in-memory and --data-dir exclude each other"));
        }
        // Neither environment nor file: it is for one start.
        let accept_data_loss = arguments.accept_data_loss;
        Ok(ServeConfig { accept_data_loss, ..resolve(merge(given, file))? })
    }

    /// A server on free loopback ports for one command, without HTTP.
    pub(crate) fn private(data_dir: Option<PathBuf>) -> anyhow::Result<ServeConfig> {
        let settings = Settings {
            in_memory: Some(data_dir.is_none()),
            data_dir,
            listen: Some("127.0.0.1:0".to_owned()),
            http: Some("off".to_owned()),
            ..Settings::default()
        };
        resolve(settings)
    }
}

fn read_file(path: &Path) -> anyhow::Result<Settings> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).map_err(|error| usage(format!("{}: {error}", path.display())))
}

/// What is given wins; a data directory given by flag also beats `in-memory` of the file.
fn merge(given: Settings, file: Settings) -> Settings {
    let in_memory = match (&given.in_memory, &given.data_dir) {
        (None, Some(_)) => None,
        (None, None) => file.in_memory,
        (given, _) => *given,
    };
    Settings {
        data_dir: given.data_dir.or(file.data_dir),
        in_memory,
        listen: given.listen.or(file.listen),
        http: given.http.or(file.http),
        workers: given.workers.or(file.workers),
        memory_limit: given.memory_limit.or(file.memory_limit),
        max_connections: given.max_connections.or(file.max_connections),
        superuser_reserved_connections: given.superuser_reserved_connections.or(file.superuser_reserved_connections),
        log_format: given.log_format.or(file.log_format),
        checkpoint_interval: given.checkpoint_interval.or(file.checkpoint_interval),
        insecure: given.insecure.or(file.insecure),
    }
}

fn resolve(settings: Settings) -> anyhow::Result<ServeConfig> {
    let insecure = settings.insecure.unwrap_or(false);
    let listen = parse_address("listen", settings.listen.as_deref().unwrap_or(DEFAULT_LISTEN), insecure)?;
    let http = match settings.http.as_deref().unwrap_or(DEFAULT_HTTP) {
        "off" | "none" | "" => None,
        address => Some(parse_address("http", address, insecure)?),
    };
    // One core is left for connectors, clients and queries.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let workers = settings.workers.unwrap_or(cores.saturating_sub(1).max(1));
    if workers == 0 || workers > 256 {
        return Err(usage("--workers must be between 1 and 256"));
    }
    let limit = settings.memory_limit.as_deref().unwrap_or(DEFAULT_MEMORY_LIMIT);
    let memory_limit_bytes = memory_size::parse(limit, memory_size::machine_bytes())?;
    let checkpoint_interval = match settings.checkpoint_interval {
        Some(text) => parse_duration("checkpoint-interval", &text)?,
        None => Duration::from_millis(types::limits::CHECKPOINT_INTERVAL_MS),
    };
    let data_dir = match settings.in_memory {
        Some(true) => None,
        _ => Some(settings.data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into())),
    };
    let log_format = settings.log_format.unwrap_or_default();
    let sessions = session_limits(settings.max_connections, settings.superuser_reserved_connections)?;
    Ok(ServeConfig {
        data_dir,
        accept_data_loss: false,
        listen,
        http,
        workers,
        memory_limit_bytes,
        log_format,
        checkpoint_interval,
        sessions,
    })
}

fn session_limits(sessions_max: Option<usize>, reserved: Option<usize>) -> anyhow::Result<SessionLimits> {
    let default = SessionLimits::default();
    let sessions_max = sessions_max.unwrap_or(default.sessions_max);
    if !(1..=CONNECTIONS_MAX).contains(&sessions_max) {
        return Err(usage(format!("--max-connections must be between 1 and {CONNECTIONS_MAX}")));
    }
    // The default must not refuse a small number of connections.
    let reserved = reserved.unwrap_or(default.reserved.min(sessions_max - 1));
    if reserved >= sessions_max {
        return Err(usage(format!(
            "--superuser-reserved-connections ({reserved}) must be less than --max-connections ({sessions_max})"
        )));
    }
    Ok(SessionLimits { sessions_max, reserved })
}

/// Without roles, passwords and TLS, only this machine may connect unless the user insists.
fn parse_address(name: &str, text: &str, insecure: bool) -> anyhow::Result<SocketAddr> {
    let text = text.replace("localhost", "127.0.0.1");
    let address: SocketAddr =
        text.parse().map_err(|_| usage(format!("--{name}: \"{text}\" is not an address such as 127.0.0.1:7432")))?;
    if !address.ip().is_loopback() && !insecure {
        return Err(usage(format!(
            "--{name}: {address} can be reached from other machines, and there is no authentication yet; \
             add --insecure if that is what you want"
        )));
    }
    Ok(address)
}

fn parse_duration(name: &str, text: &str) -> anyhow::Result<Duration> {
    let us = sql::interval_text_us(text).map_err(|error| usage(format!("--{name}: {}", error.message)))?;
    match u64::try_from(us) {
        Ok(us) if us > 0 => Ok(Duration::from_micros(us)),
        _ => Err(usage(format!("--{name} must be positive"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(given: Settings, file: &str) -> Result<ServeConfig, String> {
        let file = toml::from_str(file).map_err(|error| error.to_string())?;
        resolve(merge(given, file)).map_err(|error| error.to_string())
    }

    #[test]
    fn given_settings_beat_the_file_and_the_file_beats_defaults() {
        let given = Settings { workers: Some(3), ..Settings::default() };
        let file = "workers = 1\nlisten = '127.0.0.1:9'\ndata-dir = 'd'\ncheckpoint-interval = '1 min'\nhttp = 'off'";
        let config = config(given, file).unwrap();
        assert_eq!(config.workers, 3);
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.http, None);
        assert_eq!(config.data_dir, Some("d".into()));
        assert_eq!(config.checkpoint_interval, Duration::from_secs(60));
        assert!(config.memory_limit_bytes > 1 << 20);
    }

    #[test]
    fn a_given_directory_beats_in_memory_of_the_file() {
        let given = Settings { data_dir: Some("d".into()), ..Settings::default() };
        assert_eq!(config(given, "in-memory = true").unwrap().data_dir, Some("d".into()));
        assert_eq!(config(Settings::default(), "in-memory = true").unwrap().data_dir, None);
        assert_eq!(config(Settings::default(), "").unwrap().data_dir, Some(DEFAULT_DATA_DIR.into()));
    }

    #[test]
    fn other_machines_are_refused_unless_insecure() {
        let error = config(Settings::default(), "listen = '0.0.0.0:7432'").unwrap_err();
        assert!(error.contains("--insecure"), "{error}");
        assert!(config(Settings::default(), "listen = '0.0.0.0:7432'\ninsecure = true").is_ok());
    }

    #[test]
    fn connections_have_a_reserve() {
        let limits = |file: &str| config(Settings::default(), file).unwrap().sessions;
        assert_eq!(limits(""), SessionLimits { sessions_max: 100, reserved: 3 });
        assert_eq!(limits("max-connections = 500"), SessionLimits { sessions_max: 500, reserved: 3 });
        assert_eq!(limits("max-connections = 2"), SessionLimits { sessions_max: 2, reserved: 1 });
        let both = "max-connections = 10\nsuperuser-reserved-connections = 0";
        assert_eq!(limits(both), SessionLimits { sessions_max: 10, reserved: 0 });
    }

    #[test]
    fn mistakes_are_refused() {
        let files = [
            "wokers = 1",
            "workers = 0",
            "listen = 'x'",
            "checkpoint-interval = '-1 s'",
            "memory-limit = 'x'",
            "max-connections = 0",
            "max-connections = 5\nsuperuser-reserved-connections = 5",
        ];
        for file in files {
            assert!(config(Settings::default(), file).is_err(), "{file}");
        }
    }
}
