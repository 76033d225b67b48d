//! One of two servers as a schedule meets it: sessions, tables of its own, and the answer to "who is blocked now?".
//!
//! Nothing is decided by waiting a while. PostgreSQL tells a client that its statement waits for a lock, and `pg_locks`
//! that it still does: releasing a lock and granting it to the next is one step there. Highwater's `pg_locks` says it too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{Client, NoTls};

use crate::process::{describe, rows};
use crate::schedule::{Act, Schedule};
use crate::session::{Event, Outcome, Session};
use crate::tables::{self, Table, VIEWS, rename, view_query};

/// A statement that neither ends nor waits for a lock by then hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at who is blocked, while no event comes.
const GLANCE: Duration = Duration::from_millis(2);
const IMPATIENCE: &str = "SET lock_timeout = '20ms'";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    Highwater,
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Idle,
    Runs,
    /// PostgreSQL said for what.
    Waits(String),
    Gone,
}

pub struct Side {
    pub kind: Kind,
    address: SocketAddr,
    /// Of this runner's tables.
    name: String,
    generation: u32,
    /// Tables of this generation that are there.
    made: BTreeSet<&'static str>,
    /// Something differed: tables may not be what they should be.
    suspect: bool,
    monitor: Client,
    sessions: Vec<(Session, State)>,
    /// Of each session's transaction: `I`, `T` or `E`.
    blocks: Vec<char>,
    impatient: BTreeSet<usize>,
    events: UnboundedReceiver<(usize, Event)>,
    sender: tokio::sync::mpsc::UnboundedSender<(usize, Event)>,
}

/// What happened by a step: which sessions' requests ended, and how.
pub type Ended = BTreeMap<usize, Outcome>;

async fn client(kind: Kind, address: SocketAddr) -> Client {
    let (user, database) = kind.login();
    let configuration = format!("host=127.0.0.1 port={} user={user} dbname={database}", address.port());
    let (client, connection) = tokio_postgres::connect(&configuration, NoTls).await.expect("it accepts clients");
    tokio::spawn(connection);
    client
}

impl Kind {
    fn login(self) -> (&'static str, &'static str) {
        match self {
            Kind::Postgres => ("postgres", "postgres"),
            Kind::Highwater => ("highwater", "highwater"),
        }
    }
}

impl Side {
    pub async fn new(kind: Kind, address: SocketAddr, name: &str) -> Side {
        let (sender, events) = unbounded_channel();
        Side {
            kind,
            address,
            name: name.to_owned(),
            generation: 0,
            made: BTreeSet::new(),
            suspect: false,
            monitor: client(kind, address).await,
            sessions: vec![],
            blocks: vec![],
            impatient: BTreeSet::new(),
            events,
            sender,
        }
    }

    /// Statements name tables as `tables.rs` does; this side's are its own.
    fn suffix(&self) -> String {
        format!("_{}_{}", self.name, self.generation)
    }

    async fn try_to(&self, sql: &str) -> Result<(), String> {
        let sql = rename(sql, &self.suffix());
        self.monitor.batch_execute(&sql).await.map_err(|error| format!("{sql}: {}", describe(&error)))
    }

    async fn must(&self, sql: &str) {
        self.try_to(sql).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn make(&mut self, table: &'static Table) {
        if !self.made.insert(table.name) {
            return;
        }
        self.must(&format!("CREATE TABLE {} {}", table.name, table.columns)).await;
        for (view, query) in VIEWS {
            let what = match self.kind {
                // Always as of now, as a view that is kept up to date is.
                Kind::Postgres => "VIEW",
                Kind::Highwater => "MATERIALIZED VIEW",
            };
            let query = view_query(query, table.name);
            self.must(&format!("CREATE {what} {}{view} AS {query}", table.name)).await;
        }
    }

    /// Empties the table; with `false` when that fails, or leaves something behind.
    async fn clear(&self, table: &'static Table) -> bool {
        let clear = if self.kind == Kind::Postgres { "TRUNCATE" } else { "DELETE FROM" };
        let cleared = self.try_to(&format!("{clear} {}", table.name)).await;
        if !self.suspect || cleared.is_err() {
            return cleared.is_ok();
        }
        let contents = self.contents_of(table).await;
        contents.iter().all(|(name, lines)| lines.is_empty() || name.ends_with("_sum") && lines[0].starts_with("0,"))
    }

    /// Everybody is connected and idle, tables hold what the schedule says. Fails where a table takes no writes any more.
    pub async fn begin(&mut self, schedule: &Schedule) -> Result<(), String> {
        while self.sessions.len() < schedule.sessions() {
            let session = self.connect(self.sessions.len()).await;
            self.sessions.push((session, State::Idle));
            self.blocks.push('I');
        }
        for index in 0..self.sessions.len() {
            if self.sessions[index].1 == State::Gone {
                self.sessions[index] = (self.connect(index).await, State::Idle);
                self.blocks[index] = 'I';
            }
            assert!(
                self.sessions[index].1 == State::Idle && self.blocks[index] == 'I',
                "a schedule leaves work behind"
            );
            let impatient = schedule.impatient.contains(&index);
            if impatient != self.impatient.contains(&index) {
                let sql = if impatient { IMPATIENCE } else { "SET lock_timeout = 0" };
                self.sessions[index].0.send(&crate::schedule::Request::Message(sql.to_owned()), str::to_owned).await;
                self.sessions[index].1 = State::Runs;
                let ended = self.settle_expecting(&BTreeSet::from([index])).await;
                assert_eq!(ended.get(&index).map(Vec::len), Some(2), "{sql}: {ended:?}");
            }
        }
        self.impatient = schedule.impatient.iter().copied().collect();
        for filled in &schedule.tables {
            let table = tables::table(&filled.table);
            self.make(table).await;
            if !self.clear(table).await {
                if !self.suspect {
                    return Err(format!("{} cannot be emptied", filled.table));
                }
                self.generation += 1;
                self.made.clear();
                self.make(table).await;
            }
            if !filled.rows.is_empty() {
                self.try_to(&format!("INSERT INTO {} VALUES {}", filled.table, filled.rows)).await?;
            }
        }
        self.suspect = false;
        Ok(())
    }

    async fn connect(&self, index: usize) -> Session {
        let (user, database) = self.kind.login();
        Session::start(self.address, user, database, index, self.sender.clone()).await
    }

    /// After a difference: new sessions, and a look at the tables, whatever the old ones were up to.
    pub async fn renew(&mut self) {
        for (session, _) in &mut self.sessions {
            session.terminate().await;
        }
        self.sessions.clear();
        self.blocks.clear();
        self.impatient.clear();
        // Until readers have met the ends of their connections.
        let (sender, events) = unbounded_channel();
        self.sender = sender;
        let mut old = std::mem::replace(&mut self.events, events);
        let gone = async { while old.recv().await.is_some() {} };
        // A session that hangs stays behind.
        let _ = tokio::time::timeout(PATIENCE, gone).await;
        self.suspect = true;
    }

    pub fn blocked(&self, session: usize) -> bool {
        matches!(self.sessions[session].1, State::Runs | State::Waits(_))
    }

    pub fn gone(&self, session: usize) -> bool {
        self.sessions[session].1 == State::Gone
    }

    /// In a transaction block, and free to end it.
    pub fn in_block(&self, session: usize) -> bool {
        self.sessions[session].1 == State::Idle && self.blocks[session] != 'I'
    }

    pub fn failed(&self, session: usize) -> bool {
        self.blocks[session] == 'E'
    }

    /// Does what the act says; its outcome comes with `settle`.
    pub async fn act(&mut self, act: &Act) {
        let suffix = self.suffix();
        let (session, state) = &mut self.sessions[act.session()];
        match act {
            Act::Send { request, .. } => {
                session.send(request, |sql| rename(sql, &suffix)).await;
                *state = State::Runs;
            }
            Act::Cancel { .. } => session.cancel().await,
            Act::Close { .. } => {
                session.terminate().await;
                *state = State::Runs;
            }
        }
    }

    fn take(&mut self, index: usize, event: Event, ended: &mut Ended) {
        match event {
            Event::Done(outcome) => {
                let state = outcome.last().and_then(|line| line.strip_prefix('=')).and_then(|s| s.chars().next());
                self.blocks[index] = state.expect("an outcome ends with the transaction's state");
                self.sessions[index].1 = State::Idle;
                ended.insert(index, outcome);
            }
            Event::Waits(what) => self.sessions[index].1 = State::Waits(what),
            Event::Gone => {
                self.sessions[index].1 = State::Gone;
                self.blocks[index] = 'I';
                self.impatient.remove(&index);
                ended.insert(index, vec!["closed".to_owned()]);
            }
        }
    }

    fn pending(&self) -> Vec<usize> {
        (0..self.sessions.len()).filter(|session| self.blocked(*session)).collect()
    }

    /// PostgreSQL only: waits until whoever has not ended is blocked for good. What was cancelled must end.
    pub async fn settle(&mut self, act: &Act) -> Ended {
        let cancelled = matches!(act, Act::Cancel { .. }).then(|| act.session());
        let mut ended = Ended::new();
        loop {
            while let Ok((index, event)) = self.events.try_recv() {
                self.take(index, event, &mut ended);
            }
            let pending = self.pending();
            if pending.is_empty() {
                return ended;
            }
            let waits = |index: &usize| matches!(self.sessions[*index].1, State::Waits(_));
            let must_end = |index: &usize| self.impatient.contains(index) || Some(*index) == cancelled;
            let patient = !pending.iter().any(must_end);
            let mut limit = PATIENCE;
            if patient && pending.iter().all(waits) {
                if self.all_still_wait(&pending).await {
                    return ended;
                }
                // Someone was let go, and will be heard of.
                limit = GLANCE;
            }
            match tokio::time::timeout(limit, self.events.recv()).await {
                Ok(event) => {
                    let (index, event) = event.expect("this side holds a sender");
                    self.take(index, event, &mut ended);
                }
                Err(_) => assert!(limit == GLANCE, "PostgreSQL hangs: {pending:?}"),
            }
        }
    }

    /// Whether each of these waits for the lock that it spoke of, all at one moment.
    async fn all_still_wait(&self, pending: &[usize]) -> bool {
        let pids: Vec<String> = pending.iter().map(|index| self.sessions[*index].0.pid.to_string()).collect();
        let sql = format!(
            "SELECT pid, mode || ' on ' || CASE locktype WHEN 'transactionid' THEN 'transaction ' || transactionid \
             WHEN 'tuple' THEN 'tuple (' || page || ',' || tuple || ')' ELSE locktype END \
             FROM pg_locks WHERE NOT granted AND pid IN ({})",
            pids.join(", ")
        );
        let waiting = rows(&self.monitor, &sql).await.expect("pg_locks can be read");
        let waits_as_told = |index: &usize| {
            let (session, state) = &self.sessions[*index];
            let State::Waits(told) = state else { return false };
            waiting.iter().any(|row| {
                let lock = row[1].as_deref().unwrap_or_default();
                row[0] == Some(session.pid.to_string()) && (told == lock || told.starts_with(&format!("{lock} ")))
            })
        };
        pending.iter().all(waits_as_told)
    }

    /// Whether this session queues behind another waiter: who comes next is then a race within PostgreSQL.
    pub async fn crowded(&self, session: usize) -> bool {
        let (of, state) = &self.sessions[session];
        if matches!(state, State::Waits(what) if what.contains(" on tuple ")) {
            return true;
        }
        let pids: Vec<String> = self.pending().iter().map(|index| self.sessions[*index].0.pid.to_string()).collect();
        let sql = format!(
            "SELECT count(*) FROM unnest(ARRAY[{}]) AS p (pid) WHERE pid <> {} AND \
             pg_blocking_pids(pid) && pg_blocking_pids({})",
            pids.join(", "),
            of.pid,
            of.pid
        );
        let found = rows(&self.monitor, &sql).await.expect("pg_blocking_pids can be called");
        found[0][0].as_deref() != Some("0")
    }

    /// Any server: waits until these have ended, and takes what else comes meanwhile.
    pub async fn settle_expecting(&mut self, expected: &BTreeSet<usize>) -> Ended {
        let mut ended = Ended::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !expected.iter().all(|session| ended.contains_key(session)) {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(event) => {
                    let (index, event) = event.expect("this side holds a sender");
                    self.take(index, event, &mut ended);
                }
                // What didn't end is missing in the answer.
                Err(_) => break,
            }
        }
        while let Ok((index, event)) = self.events.try_recv() {
            self.take(index, event, &mut ended);
        }
        ended
    }

    /// Highwater: waits until this session is seen waiting for a lock, or has ended.
    pub async fn settle_blocked(&mut self, session: usize, ended: &mut Ended) {
        let pid = self.sessions[session].0.pid;
        let sql = format!("SELECT count(*) > 0 FROM pg_locks WHERE pid = {pid} AND NOT granted");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.blocked(session) {
            if rows(&self.monitor, &sql).await.is_ok_and(|found| found[0][0].as_deref() == Some("t")) {
                return;
            }
            if tokio::time::Instant::now() > deadline {
                ended.insert(session, vec!["neither ends nor waits for a lock".to_owned()]);
                return;
            }
            if let Ok(Some((index, event))) = tokio::time::timeout(GLANCE, self.events.recv()).await {
                self.take(index, event, ended);
            }
        }
    }

    /// What tables and views hold in the end.
    pub async fn contents(&self, schedule: &Schedule) -> Vec<(String, Vec<String>)> {
        let mut contents = vec![];
        for filled in &schedule.tables {
            contents.append(&mut self.contents_of(tables::table(&filled.table)).await);
        }
        contents
    }

    async fn contents_of(&self, table: &Table) -> Vec<(String, Vec<String>)> {
        let views = VIEWS.iter().map(|(view, _)| format!("{}{view}", table.name));
        let mut contents = vec![];
        for relation in std::iter::once(table.name.to_owned()).chain(views) {
            let sql = rename(&format!("SELECT * FROM {relation}"), &self.suffix());
            let lines = match rows(&self.monitor, &sql).await {
                Ok(rows) => {
                    let value = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
                    let line = |row: Vec<Option<String>>| row.into_iter().map(value).collect::<Vec<_>>().join(", ");
                    let mut lines: Vec<String> = rows.into_iter().map(line).collect();
                    lines.sort();
                    lines
                }
                Err(error) => vec![describe(&error)],
            };
            contents.push((relation, lines));
        }
        contents
    }
}
