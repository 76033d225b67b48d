//! Runs the documentation: every ```sql block of README.md and docs/**/*.md, file by file, each file on a fresh server
//! in an otherwise empty copy of `tests/docs/data`.
//!
//! A block is run statement by statement. What follows it decides what is checked:
//!
//! * nothing: every statement must succeed;
//! * a ```text block: the last statement's rows (as psql prints them), or the notices (`NOTICE:  …`) it must have caused;
//! * ```sql,error=42P01: the last statement must fail with that SQLSTATE, those before it must not; a ```text block
//!   after it holds the message as psql prints it;
//! * ```sql,stream: the last statement never ends; it must bring the rows of the ```text block, then it is cancelled;
//! * ```sql,eventually: the last statement is asked again until it answers as the ```text block says.
//!
//! In expected rows `…` stands for any text. Not a `#[test]` harness because the tests are the blocks: each is counted.

mod blocks;
mod compare;
mod run;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blocks::Block;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut files = vec![root.join("README.md")];
    markdown_files(&root.join("docs"), &mut files);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let name = file.strip_prefix(root).expect("files lie in the repository").display().to_string();
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {name}: {error}"));
        let found = match blocks::parse(&text) {
            Ok(found) => found,
            Err(error) => {
                println!("test {name}:{error}");
                failed += 1;
                continue;
            }
        };
        for (block, outcome) in runtime.block_on(run_file(&found)) {
            let place = format!("{name}:{}", block.line);
            match outcome {
                Ok(()) => {
                    passed += 1;
                    println!("test {place} ... ok");
                }
                Err(message) => {
                    failed += 1;
                    println!("test {place} ... FAILED\n{}\n", indented(&message));
                }
            }
        }
    }
    if passed + failed == 0 && filters.is_empty() {
        println!("no SQL was found in the documentation");
        failed = 1;
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the blocks of one file in order. A block that fails does not stop those after it.
async fn run_file(found: &[Block]) -> Vec<(&Block, Result<(), String>)> {
    if found.is_empty() {
        return vec![];
    }
    let server = match server::Server::start() {
        Ok(server) => server,
        Err(error) => return found.iter().map(|block| (block, Err(error.clone()))).collect(),
    };
    let mut outcomes = vec![];
    let mut client = run::Client::connect(server.port()).await;
    for block in found {
        let outcome = match &mut client {
            Ok(client) => run::block(client, block).await,
            Err(error) => Err(format!("cannot connect: {error}")),
        };
        outcomes.push((block, outcome));
    }
    outcomes
}

fn markdown_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            markdown_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
