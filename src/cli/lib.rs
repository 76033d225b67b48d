//! The command line: `serve`, `demo`, `run`, `sql`, `check`, `version`.
//!
//! Only `serve.rs` knows the engine and the server; everything else is a Postgres client over a URL, as any other
//! program would be. Exit codes: 0 good, 1 a statement (or the server) failed, 2 wrong usage.

mod args;
mod check;
mod client;
mod config;
mod demo;
mod error_text;
mod execute;
mod logging;
mod memory_size;
mod run;
mod serve;
mod shell;
mod signals;
mod split;
mod table;
mod tag;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use usage::UsageError;

/// Deeply nested queries are planned on these threads; a debug build needs more stack than the usual 2 MiB.
const THREAD_STACK_BYTES: usize = 8 * 1024 * 1024;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("highwater: {error:#}");
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("highwater-io")
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()?;
    let code = match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(serve) => runtime.block_on(serve::serve(serve)),
        Command::Demo(demo) => runtime.block_on(demo::demo(demo)),
        Command::Run(run) => runtime.block_on(run::run(run)),
        Command::Check(check) => runtime.block_on(check::check(check)),
        Command::Sql(sql) => shell::shell(&runtime, sql),
        Command::Version => {
            println!("highwater {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    // A connector thread that is still reading must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}
