//! What can be written on the command line. Options of `serve` are all optional here: what is missing comes from the
//! configuration file, then from the defaults in `config.rs`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

/// Where clients connect unless told otherwise.
pub(crate) const DEFAULT_URL: &str = "postgres://highwater@127.0.0.1:7432/highwater";

#[derive(Debug, Parser)]
#[command(name = "highwater", version, about, args_conflicts_with_subcommands = true)]
/// The streaming SQL database: event-time views over streams, always fresh, served over the Postgres protocol.
///
/// Without a command it serves.
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    Serve(ServeArguments),
    /// Watch live views over a generated auction stream
    Demo(DemoArguments),
    /// Run the statements of a file
    Run(RunArguments),
    /// Connect and type SQL
    Sql(SqlArguments),
    /// Parse and plan a file without reading data
    Check(CheckArguments),
    /// Print the version
    Version,
}

#[derive(Debug, Default, Args)]
pub(crate) struct ServeArguments {
    /// Configuration file with the same keys [default: ./highwater.toml if it exists]
    #[arg(long, env = "HIGHWATER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Start although acknowledged changes are missing from the journal, without them; damaged files are kept
    #[arg(long)]
    pub(crate) accept_data_loss: bool,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// The keys that flags, environment and file have in common.
#[derive(Debug, Default, Clone, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Where state is kept [default: ./highwater-data]
    #[arg(long, env = "HIGHWATER_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep nothing on disk
    #[arg(long, env = "HIGHWATER_IN_MEMORY", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) in_memory: Option<bool>,
    /// Address for Postgres clients [default: 127.0.0.1:7432]
    #[arg(long, env = "HIGHWATER_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Address for health and metrics over HTTP, or "off" [default: 127.0.0.1:7480]
    #[arg(long, env = "HIGHWATER_HTTP", value_name = "ADDRESS")]
    pub(crate) http: Option<String>,
    /// Dataflow worker threads [default: one per core but one]
    #[arg(long, env = "HIGHWATER_WORKERS", value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Bytes, a percentage of the machine's memory, or a size such as 1GB [default: 75%]
    #[arg(long, env = "HIGHWATER_MEMORY_LIMIT", value_name = "SIZE")]
    pub(crate) memory_limit: Option<String>,
    /// Sessions at a time [default: 100]
    #[arg(long, env = "HIGHWATER_MAX_CONNECTIONS", value_name = "N")]
    pub(crate) max_connections: Option<usize>,
    /// Of those, kept for the users "highwater" and "postgres" [default: 3]
    #[arg(long, env = "HIGHWATER_SUPERUSER_RESERVED_CONNECTIONS", value_name = "N")]
    pub(crate) superuser_reserved_connections: Option<usize>,
    /// How log lines look [default: text]
    #[arg(long, env = "HIGHWATER_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Time between checkpoints [default: 10s]
    #[arg(long, env = "HIGHWATER_CHECKPOINT_INTERVAL", value_name = "DURATION")]
    pub(crate) checkpoint_interval: Option<String>,
    /// Allow addresses that other machines can reach, without authentication or encryption
    #[arg(long, env = "HIGHWATER_INSECURE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) insecure: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Events per second
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) rate: u64,
    /// End after this many seconds, with a summary
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
    /// Keep the demo's data in this new directory [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The file, or - for standard input
    pub(crate) file: PathBuf,
    /// Server to run it on [default: one started for the file]
    #[arg(long, env = "HIGHWATER_URL")]
    pub(crate) url: Option<String>,
    /// Data directory of the server started for the file [default: in memory]
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArguments {
    /// Run this and leave; may be repeated
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub(crate) commands: Vec<String>,
    /// Server to connect to
    #[arg(long, env = "HIGHWATER_URL", default_value = DEFAULT_URL)]
    pub(crate) url: String,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The file, or - for standard input
    pub(crate) file: PathBuf,
}
