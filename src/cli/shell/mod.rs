//! `highwater sql`: a shell on a connection, laid out and used like psql.
//!
//! On a terminal: line editing, history and completion (`editor.rs`, `complete.rs`). With `-c`, or when standard input
//! is no terminal: runs what it gets and stops at the first error.

mod commands;
mod complete;
mod editor;

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::args::{LogFormat, SqlArguments};
use crate::execute::{Display, ExecuteError, execute};
use crate::{client, error_text, logging, run, split};
use commands::Outcome;
use complete::Names;
use editor::{Editor, Input};

pub(crate) fn shell(runtime: &Runtime, arguments: SqlArguments) -> anyhow::Result<ExitCode> {
    logging::start(LogFormat::Text, "warn");
    let client = runtime.block_on(client::connect(&arguments.url))?;
    let display = Display { tags: true, ..Display::default() };
    let mut shell = Shell { runtime, client, url: arguments.url, display, names: Names::default() };
    if !arguments.commands.is_empty() {
        return shell.run_all("-c", &arguments.commands.join(";\n"));
    }
    if !std::io::stdin().is_terminal() {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return shell.run_all("stdin", &text);
    }
    shell.interact()
}

/// A session at the prompt.
pub(crate) struct Shell<'r> {
    runtime: &'r Runtime,
    client: Client,
    url: String,
    display: Display,
    names: Names,
}

impl Shell<'_> {
    /// Lines that begin with a backslash are commands, everything else is SQL. Stops at the first error.
    fn run_all(&mut self, source: &str, text: &str) -> anyhow::Result<ExitCode> {
        if !text.lines().any(|line| line.starts_with('\\')) {
            return self.runtime.block_on(run::run_text(&self.client, source, text));
        }
        let mut sql = String::new();
        for line in text.lines() {
            if !line.starts_with('\\') {
                sql.push_str(line);
                sql.push('\n');
                continue;
            }
            if !self.run_sql(&std::mem::take(&mut sql)) {
                return Ok(ExitCode::FAILURE);
            }
            match self.command(line.trim_end_matches(';')) {
                Outcome::Quit => return Ok(ExitCode::SUCCESS),
                Outcome::Failed => return Ok(ExitCode::FAILURE),
                Outcome::Done => {}
            }
        }
        Ok(if self.run_sql(&sql) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn interact(mut self) -> anyhow::Result<ExitCode> {
        println!("Highwater {} shell. \\? for help, \\q to leave.", env!("CARGO_PKG_VERSION"));
        self.load_names();
        let mut editor = Editor::new(self.names.clone());
        loop {
            match editor.read()? {
                Input::Text(text) if text.trim_start().starts_with('\\') => {
                    if matches!(self.command(text.trim()), Outcome::Quit) {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                Input::Text(text) => {
                    self.run_sql(&text);
                    self.load_names();
                }
                Input::Interrupted => {}
                Input::End => return Ok(ExitCode::SUCCESS),
            }
            if self.client.is_closed() {
                eprintln!("The connection was lost; trying again.");
                self.reconnect(&self.url.clone());
            }
        }
    }

    /// Runs the statements of a text, prints the first error and stops there. True if there was none.
    fn run_sql(&mut self, text: &str) -> bool {
        for piece in split::statements(text) {
            match self.runtime.block_on(execute(&self.client, piece.text, self.display)) {
                Ok(()) => {}
                Err(ExecuteError::Client(error)) => {
                    eprintln!("{}", error_text::of_client_error(&error, Some(piece.text)));
                    return false;
                }
                Err(ExecuteError::Output(_)) => return false,
            }
        }
        true
    }

    fn reconnect(&mut self, url: &str) -> bool {
        match self.runtime.block_on(client::connect(url)) {
            Ok(client) => {
                self.client = client;
                self.url = url.to_owned();
                true
            }
            Err(error) => {
                eprintln!("{error:#}");
                false
            }
        }
    }

    fn load_names(&self) {
        self.runtime.block_on(self.names.load(&self.client));
    }
}
