//! The Nexmark cases: each query of `sql-tests/nexmark/cases` as an ad-hoc query and as a materialized view, on 1 and
//! on 4 workers, and the views once more after kill -9 and a restart. The rows, rendered in the line format of
//! `sql-tests/nexmark/README.md`, must have exactly the expected number and SHA-256.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::database::{Answer, Database, Places, SharedServer};
use crate::report::Outcome;
use crate::server::Server;

const WORKERS: [usize; 2] = [1, 4];
/// A case may exclude the view: a comment line with the reason.
const AD_HOC_ONLY: &str = "-- ad-hoc only:";

/// All cases on one server.
pub struct NexmarkRun {
    workers: usize,
    folder: PathBuf,
    data: String,
    cases: Vec<String>,
}

struct Case {
    name: String,
    /// Statements before the query.
    setup: Vec<String>,
    query: String,
    as_view: bool,
    rows: u64,
    sha256: String,
}

/// One run per number of workers, if `filter` leaves any case. `nexmark` selects all of them.
pub fn runs(root: &Path, filter: Option<&str>) -> Vec<NexmarkRun> {
    let folder = root.join("nexmark");
    let entries = std::fs::read_dir(folder.join("cases")).expect("the cases can be listed");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let stem = |path: PathBuf| path.file_stem().expect("a file has a name").to_string_lossy().to_string();
    let mut cases: Vec<String> = paths.map(stem).collect();
    cases.retain(|case| filter.is_none_or(|filter| filter == "nexmark" || case.contains(filter)));
    cases.sort();
    if cases.is_empty() {
        return vec![];
    }
    let data = root.join("data").display().to_string();
    let run = |workers| NexmarkRun { workers, folder: folder.clone(), data: data.clone(), cases: cases.clone() };
    WORKERS.into_iter().map(run).collect()
}

impl NexmarkRun {
    pub fn way(&self) -> String {
        format!("{} worker{}", self.workers, if self.workers == 1 { "" } else { "s" })
    }

    pub fn execute(&self) -> Vec<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = Arc::new(Mutex::new(Server::start(self.workers)));
        let mut outcomes = runtime.block_on(self.run(&server));
        let server = server.lock().expect("no panic while holding the server");
        if let Some(failure) = outcomes.iter_mut().rev().find_map(|outcome| outcome.failure.as_mut()) {
            let _ = write!(failure, "\n-- the server said:\n{}", server.log());
        }
        outcomes
    }

    async fn run(&self, server: &SharedServer) -> Vec<Outcome> {
        let mut outcomes = vec![];
        let temp = server.lock().expect("no panic while holding the server").temp().display().to_string();
        let mut database = Database::new(server.clone(), Places { data: self.data.clone(), temp });
        let sources = read(&self.folder.join("sources.sql"));
        if let Err(error) = database.query(&sources).await {
            let failure = Some(format!("cannot create the sources: {error}"));
            return vec![self.outcome("sources", "", Duration::ZERO, failure)];
        }
        let cases: Vec<Case> = self.cases.iter().map(|name| load(&self.folder, name)).collect();
        for case in &cases {
            outcomes.push(self.ad_hoc(&mut database, case).await);
            if case.as_view {
                outcomes.push(self.create_view(&mut database, case).await);
            }
        }
        server.lock().expect("no panic while holding the server").restart();
        for case in cases.iter().filter(|case| case.as_view) {
            outcomes.push(self.read_view(&mut database, case, "view + kill").await);
        }
        outcomes
    }

    async fn ad_hoc(&self, database: &mut Database, case: &Case) -> Outcome {
        let started = Instant::now();
        let mut failure = None;
        for statement in &case.setup {
            failure = failure.or(database.query(statement).await.err().map(|error| error.to_string()));
        }
        let failure = match failure {
            None => verdict(case, database.query(&case.query).await.map_err(|error| error.to_string())),
            failed => failed,
        };
        self.outcome(&case.name, "ad-hoc", started.elapsed(), failure)
    }

    /// The view is complete when CREATE returns: it is read at once.
    async fn create_view(&self, database: &mut Database, case: &Case) -> Outcome {
        let started = Instant::now();
        let create = format!("CREATE MATERIALIZED VIEW \"view_{}\" AS {}", case.name, case.query);
        match database.query(&create).await {
            Err(error) => self.outcome(&case.name, "view", started.elapsed(), Some(error.to_string())),
            Ok(_) => self.read_view(database, case, "view").await,
        }
    }

    async fn read_view(&self, database: &mut Database, case: &Case, what: &str) -> Outcome {
        let started = Instant::now();
        let answer = database.query(&format!("SELECT * FROM \"view_{}\"", case.name)).await;
        let failure = verdict(case, answer.map_err(|error| error.to_string()));
        self.outcome(&case.name, what, started.elapsed(), failure)
    }

    fn outcome(&self, case: &str, what: &str, elapsed: Duration, failure: Option<String>) -> Outcome {
        Outcome { name: format!("nexmark/{case}"), way: format!("{}, {what}", self.way()), elapsed, failure }
    }
}

fn load(folder: &Path, name: &str) -> Case {
    let text = read(&folder.join(format!("cases/{name}.sql")));
    let expected: serde_json::Value =
        serde_json::from_str(&read(&folder.join(format!("expected/{name}.json")))).expect("an expectation is JSON");
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let code = code.join("\n");
    let mut statements: Vec<String> =
        code.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_string).collect();
    let query = statements.pop().expect("a case has a query");
    Case {
        name: name.to_string(),
        // A materialized view outlives the session: what it reads must do so too.
        setup: statements.into_iter().map(|s| s.replace("CREATE TEMPORARY VIEW", "CREATE VIEW")).collect(),
        query,
        as_view: !text.contains(AD_HOC_ONLY),
        rows: expected["rows"].as_u64().expect("the number of rows"),
        sha256: expected["sha256"].as_str().expect("the hash").to_string(),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Why the answer is not the expected one, with its first lines.
fn verdict(case: &Case, answer: Result<Answer, String>) -> Option<String> {
    let rows = match answer {
        Ok(answer) => answer.rows.unwrap_or_default(),
        Err(error) => return Some(error),
    };
    let mut lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
    lines.sort();
    let mut hash = Sha256::new();
    lines.iter().for_each(|line| hash.update(line));
    let mut sha256 = String::new();
    hash.finalize().iter().for_each(|byte| write!(sha256, "{byte:02x}").expect("writing to a string"));
    if lines.len() as u64 == case.rows && sha256 == case.sha256 {
        return None;
    }
    let head: String = lines.iter().take(5).map(String::as_str).collect();
    Some(format!("{} rows, expected {}; hash {sha256}, expected {}\n{head}", lines.len(), case.rows, case.sha256))
}

/// NULL is nothing, an empty string `""`, a timestamp has three decimals, quotes only where needed.
fn line(row: &[Option<String>]) -> String {
    let mut line = String::new();
    for (position, cell) in row.iter().enumerate() {
        if position > 0 {
            line.push(',');
        }
        match cell.as_deref() {
            None => {}
            Some("") => line.push_str("\"\""),
            Some("t") => line.push_str("true"),
            Some("f") => line.push_str("false"),
            Some(text) => match timestamp(text) {
                Some(timestamp) => line.push_str(&timestamp),
                None if text.contains([',', '"']) => {
                    let _ = write!(line, "\"{}\"", text.replace('"', "\"\""));
                }
                None => line.push_str(text),
            },
        }
    }
    line.push('\n');
    line
}

/// A timestamp as the server writes it, with exactly three decimals; `None` if the text is none.
fn timestamp(text: &str) -> Option<String> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let pattern = "dddd-dd-dd dd:dd:dd";
    let fits = seconds.len() == pattern.len()
        && seconds
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, p)| if p == b'd' { byte.is_ascii_digit() } else { byte == p });
    let fraction_fits = fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    (fits && fraction_fits).then(|| format!("{seconds}.{:0<3}", &fraction[..fraction.len().min(3)]))
}
