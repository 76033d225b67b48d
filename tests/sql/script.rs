//! Scripts: which files there are, which ways each runs, and one run of one script one way.
//!
//! `$DATA` in a script stands for the absolute path of `sql-tests/data`, `$TEMP` for a directory of the run. A record
//! `system ok` / `restart` kills the server and starts it again, in the ways with restart only; a script without one is
//! restarted half-way. Other `system` records are shell commands (to write a file that a source reads).
//! With `HW_SLT_UPDATE=1` the selected scripts are rewritten with what the server answers on one worker; read the diff
//! before committing it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use sqllogictest::{DefaultColumnType, MakeConnection, Record, Runner};

use crate::database::{self, Database, Places, SharedServer};
use crate::report::Outcome;
use crate::server::Server;

/// First line of a script that runs one way.
const ONCE: &str = "# once";
/// Folder of scripts that run one way.
const SESSION_FOLDER: &str = "session";
/// The command of a `system` record that restarts the server.
const RESTART: &str = "restart";

/// How a script is run.
#[derive(Clone, Copy)]
pub struct Way {
    workers: usize,
    restart: bool,
}

const FOUR_WAYS: [Way; 4] = [
    Way { workers: 1, restart: false },
    Way { workers: 1, restart: true },
    Way { workers: 4, restart: false },
    Way { workers: 4, restart: true },
];
const ONE_WAY: [Way; 1] = [Way { workers: 1, restart: false }];

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} worker{}", self.workers, if self.workers == 1 { "" } else { "s" })?;
        if self.restart { f.write_str(" + kill") } else { Ok(()) }
    }
}

/// Environment variable that rewrites expectations.
const UPDATE: &str = "HW_SLT_UPDATE";

/// One script, one way.
pub struct ScriptRun {
    /// Path below `sql-tests`.
    pub file: String,
    pub way: Way,
    text: String,
    /// `sql-tests/data`.
    data: String,
    /// Where to write new expectations.
    rewrite: Option<PathBuf>,
}

/// All runs of the scripts below `root` whose path contains `filter`.
pub fn runs(root: &Path, filter: Option<&str>) -> Vec<ScriptRun> {
    let mut paths = vec![];
    collect(root, &mut paths);
    paths.sort();
    let data = root.join("data").display().to_string();
    let mut runs = vec![];
    for path in paths {
        let file = path.strip_prefix(root).expect("found below the root").display().to_string();
        if filter.is_some_and(|filter| !file.contains(filter) && !path.display().to_string().contains(filter)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a script can be read");
        let rewrite = std::env::var_os(UPDATE).map(|_| path.clone());
        let once = text.starts_with(ONCE) || file.starts_with(&format!("{SESSION_FOLDER}/"));
        let ways: &[Way] = if once || rewrite.is_some() { &ONE_WAY } else { &FOUR_WAYS };
        runs.extend(ways.iter().map(|way| ScriptRun {
            file: file.clone(),
            way: *way,
            text: text.clone(),
            data: data.clone(),
            rewrite: rewrite.clone(),
        }));
    }
    runs
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder of the scripts can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            paths.push(path);
        }
    }
}

impl ScriptRun {
    pub fn execute(&self) -> Outcome {
        let started = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = Arc::new(Mutex::new(Server::start(self.way.workers)));
        let result = runtime.block_on(self.run(&server));
        let mut server = server.lock().expect("no panic while holding the server");
        let alive = server.alive();
        let failure = match (result, alive) {
            (Ok(()), true) => None,
            (Ok(()), false) => Some("the server has ended".to_string()),
            (Err(reason), _) => Some(reason),
        };
        let failure = failure.map(|reason| format!("{reason}\n-- the server said:\n{}", server.log()));
        Outcome { name: self.file.clone(), way: self.way.to_string(), elapsed: started.elapsed(), failure }
    }

    async fn run(&self, server: &SharedServer) -> Result<(), String> {
        let records: Vec<Record<DefaultColumnType>> =
            sqllogictest::parse_with_name(&self.text, self.file.as_str()).map_err(|error| error.to_string())?;
        let statements = records.iter().filter(|record| is_statement(record)).count();
        if statements == 0 {
            return Err("the script holds no statement".to_string());
        }
        let explicit = records.iter().any(is_restart);
        let mut done = 0;
        let temp = server.lock().expect("no panic while holding the server").temp().display().to_string();
        let places = Places { data: self.data.clone(), temp };
        let mut runner = Runner::new(|| async { Ok(Database::new(server.clone(), places.clone())) });
        runner.with_column_validator(database::types_match);
        let mut rewritten = String::new();
        for record in records {
            if self.rewrite.is_some() {
                rewritten += &self.updated(&mut runner, record, &places).await;
                continue;
            }
            if is_restart(&record) {
                if self.way.restart {
                    restart(server);
                }
                continue;
            }
            if is_statement(&record) {
                if self.way.restart && !explicit && done == statements.div_ceil(2) {
                    restart(server);
                }
                done += 1;
            }
            runner.run_async(placed(record, &places)).await.map_err(|error| error.display(false).to_string())?;
        }
        match &self.rewrite {
            Some(path) => std::fs::write(path, rewritten.trim_end().to_string() + "\n").map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    /// The record with what the server answers in place of the expectation.
    async fn updated<M>(
        &self,
        runner: &mut Runner<Database, M>,
        record: Record<DefaultColumnType>,
        places: &Places,
    ) -> String
    where
        M: MakeConnection<Conn = Database>,
    {
        let updated = if is_restart(&record) {
            None
        } else {
            let output = runner.apply_record(placed(record.clone(), places)).await;
            let (validator, normalizer) = (sqllogictest::default_validator, sqllogictest::default_normalizer);
            let types_match = database::types_match;
            sqllogictest::update_record_with_output(&record, &output, " ", validator, normalizer, types_match)
        };
        format!("{}\n", updated.unwrap_or(record))
    }
}

/// Statements are expanded where they are sent; commands are run by the runner itself.
fn placed(mut record: Record<DefaultColumnType>, places: &Places) -> Record<DefaultColumnType> {
    if let Record::System { command, .. } = &mut record {
        *command = places.expanded(command);
    }
    record
}

fn is_statement(record: &Record<DefaultColumnType>) -> bool {
    matches!(record, Record::Statement { .. } | Record::Query { .. })
}

fn is_restart(record: &Record<DefaultColumnType>) -> bool {
    matches!(record, Record::System { command, .. } if command.trim() == RESTART)
}

fn restart(server: &SharedServer) {
    server.lock().expect("no panic while holding the server").restart();
}
