//! Logs go to standard error; standard output belongs to results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts logging at `level` unless HIGHWATER_LOG says otherwise. Later calls in one process change nothing.
pub(crate) fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_env("HIGHWATER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(colours_on(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // Fails only if logging runs already, which is as good.
    drop(started);
}

/// Colours: on a terminal, and only if NO_COLOR is not set.
pub(crate) fn colours_on(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
