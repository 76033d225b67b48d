//! `highwater check FILE`: would it run? Parses and plans every statement on a throw-away server in memory.
//!
//! Definitions are applied there, so that later statements find them; materialized views are explained and then stand
//! in as plain views, so that nothing reads data. Other statements are prepared or explained, never executed.

use std::process::ExitCode;

use sql::{ObjectKind, Statement};
use tokio_postgres::Client;

use crate::args::{CheckArguments, LogFormat};
use crate::config::ServeConfig;
use crate::serve::Running;
use crate::split::{self, Piece};
use crate::{client, error_text, logging, run};

pub(crate) async fn check(arguments: CheckArguments) -> anyhow::Result<ExitCode> {
    let text = run::read(&arguments.file)?;
    let file = arguments.file.display().to_string();
    logging::start(LogFormat::Text, "error");
    let running = Running::start(&ServeConfig::private(None)?).await?;
    let result = match client::connect(&running.url()).await {
        Ok(client) => check_text(&client, &file, &text).await,
        Err(error) => Err(error),
    };
    running.stop().await;
    result
}

/// All statements are checked, so that one run shows all mistakes.
async fn check_text(client: &Client, file: &str, text: &str) -> anyhow::Result<ExitCode> {
    let pieces = split::statements(text);
    let mut failed = 0;
    for piece in &pieces {
        if let Err(message) = check_statement(client, file, piece).await {
            eprintln!("{message}");
            failed += 1;
        }
    }
    println!("{file}: {} statements, {failed} with errors", pieces.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check_statement(client: &Client, file: &str, piece: &Piece<'_>) -> Result<(), String> {
    let parsed = sql::parse(piece.text).map_err(|error| {
        let error = types::ToSqlState::to_sql_error(&error);
        let line = piece.line + error.position.map_or(0, |position| error_text::line_of(piece.text, position) - 1);
        format!("{file}:{line}: ERROR:  {}", error_text::of_sql_error(&error))
    })?;
    let Some(parsed) = parsed.into_iter().next() else { return Ok(()) };
    for text in steps(&parsed.statement, piece.text) {
        let result = match text {
            Step::Execute(text) => client.simple_query(&text).await.map(drop),
            Step::Prepare(text) => client.prepare(&text).await.map(drop),
        };
        result.map_err(|error| run::located(file, piece, &error))?;
    }
    Ok(())
}

enum Step {
    Execute(String),
    /// Parse and describe only.
    Prepare(String),
}

fn steps(statement: &Statement, text: &str) -> Vec<Step> {
    let execute = || Step::Execute(text.to_owned());
    let explain = || Step::Execute(format!("EXPLAIN {text}"));
    match statement {
        Statement::CreateMaterializedView(view) => {
            let columns: Vec<String> = view.columns.iter().map(ToString::to_string).collect();
            let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
            let stand_in = format!("CREATE VIEW {}{columns} AS {}", view.name, view.query);
            vec![explain(), Step::Execute(stand_in)]
        }
        Statement::Drop(drop) if drop.kind == ObjectKind::MaterializedView => {
            let names: Vec<String> = drop.names.iter().map(ToString::to_string).collect();
            let if_exists = if drop.if_exists { "IF EXISTS " } else { "" };
            let cascade = if drop.cascade { " CASCADE" } else { "" };
            vec![Step::Execute(format!("DROP VIEW {if_exists}{}{cascade}", names.join(", ")))]
        }
        Statement::CreateSource(_)
        | Statement::CreateTable(_)
        | Statement::CreateView(_)
        | Statement::CreateSchema { .. }
        | Statement::Drop(_)
        | Statement::Comment { .. }
        | Statement::Prepare { .. }
        | Statement::Deallocate { .. }
        | Statement::Set { .. }
        | Statement::SetTransaction { .. }
        | Statement::Reset { .. } => vec![execute()],
        Statement::Query(_) | Statement::Subscribe(_) => vec![explain()],
        Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Describe { .. } => {
            vec![Step::Prepare(text.to_owned())]
        }
        Statement::Declare { statement, .. } => match statement.as_ref() {
            Statement::Query(query) => vec![Step::Execute(format!("EXPLAIN {query}"))],
            _ => vec![],
        },
        Statement::Explain { options, .. } if !options.analyze => vec![execute()],
        Statement::Explain { .. }
        | Statement::CopyTo { .. }
        | Statement::Show(_)
        | Statement::Flush
        | Statement::Wait
        | Statement::Refresh { .. }
        | Statement::CancelJobs { .. }
        | Statement::Begin { .. }
        | Statement::Commit
        | Statement::Rollback
        | Statement::Savepoint { .. }
        | Statement::DiscardAll
        | Statement::Unlisten
        | Statement::Execute { .. }
        | Statement::Fetch { .. }
        | Statement::Close { .. } => vec![],
    }
}
