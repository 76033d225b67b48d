//! `highwater run FILE`: statement by statement, results to standard output, notices to standard error, the first
//! error ends it. Without `--url` a server is started for the file.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use crate::args::{LogFormat, RunArguments};
use crate::config::ServeConfig;
use crate::execute::{Display, ExecuteError, execute};
use crate::serve::Running;
use crate::split::{self, Piece};
use crate::{client, error_text, logging};

pub(crate) async fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let text = read(&arguments.file)?;
    logging::start(LogFormat::Text, "warn");
    let own = match arguments.url {
        Some(_) => None,
        None => Some(Running::start(&ServeConfig::private(arguments.data_dir)?).await?),
    };
    let url = arguments.url.or_else(|| own.as_ref().map(Running::url)).expect("a server is given or started");
    let code = match client::connect(&url).await {
        Ok(client) => run_text(&client, &arguments.file.display().to_string(), &text).await,
        Err(error) => Err(error),
    };
    if let Some(own) = own {
        own.stop().await;
    }
    code
}

/// `-` is standard input.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
        .with_context(|| format!("cannot read {}", file.display()))
        .map_err(|error| crate::usage::usage(format!("{error:#}")))
}

/// Runs all statements of a text; an error is printed with the file's name and line.
pub(crate) async fn run_text(client: &Client, file: &str, text: &str) -> anyhow::Result<ExitCode> {
    let display = Display { tags: true, ..Display::default() };
    for piece in split::statements(text) {
        match execute(client, piece.text, display).await {
            Ok(()) => {}
            Err(ExecuteError::Client(error)) => {
                eprintln!("{}", located(file, &piece, &error));
                return Ok(ExitCode::FAILURE);
            }
            // The reader of our output has enough.
            Err(ExecuteError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(ExecuteError::Output(error)) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `file:line: ERROR:  …`
pub(crate) fn located(file: &str, piece: &Piece, error: &tokio_postgres::Error) -> String {
    let within = match error.as_db_error().and_then(|error| error.position()) {
        Some(ErrorPosition::Original(position)) => error_text::line_of(piece.text, *position) - 1,
        _ => 0,
    };
    format!("{file}:{}: {}", piece.line + within, error_text::of_client_error(error, Some(piece.text)))
}
