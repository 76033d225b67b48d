//! A schedule: which tables hold what, and which session sends what, in one global order. It has a text form, in which
//! differences are reported and cases are kept (`cases/`):
//!
//! ```text
//! # a comment
//! acct (1, 5, 'x'), (2, 3, NULL)   a table and its rows at the start
//! impatient B                      B has a lock_timeout
//! A: BEGIN                         one message of session A
//! B*: UPDATE acct SET a = a + 1    `*`: it may touch several rows, in an order that nobody promises
//! A| SELECT 1 | SELECT 2           a pipeline: one Sync after several statements
//! cancel B                         a request to end what B runs; left out if B isn't blocked
//! close A                          A disconnects; left out if it is blocked
//! ```

use std::fmt;

/// What one session sends before it waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Statements of one simple-query message.
    Message(String),
    /// Statements of the extended protocol before one Sync.
    Pipeline(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Send {
        session: usize,
        request: Request,
        /// May lock several rows: in which order is PostgreSQL's physical one, and ours another.
        several: bool,
    },
    Cancel {
        session: usize,
    },
    Close {
        session: usize,
    },
}

impl Act {
    pub fn session(&self) -> usize {
        match self {
            Act::Send { session, .. } | Act::Cancel { session } | Act::Close { session } => *session,
        }
    }
}

/// A table of `tables.rs` and its rows at the start, as a list for VALUES; without rows it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    pub table: String,
    pub rows: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    pub tables: Vec<Filled>,
    /// Sessions with a `lock_timeout`.
    pub impatient: Vec<usize>,
    pub acts: Vec<Act>,
}

impl Schedule {
    pub fn sessions(&self) -> usize {
        let acting = self.acts.iter().map(Act::session).chain(self.impatient.iter().copied());
        acting.map(|session| session + 1).max().unwrap_or(0)
    }

    /// Reads the text form. Panics on what isn't one: schedules are written by us.
    pub fn parse(text: &str) -> Schedule {
        let mut schedule = Schedule::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(act) = parse_act(line) {
                schedule.acts.push(act);
            } else if let Some(session) = line.strip_prefix("impatient ") {
                schedule.impatient.push(number(session));
            } else {
                let (table, rows) = line.split_once(' ').unwrap_or((line, ""));
                schedule.tables.push(Filled { table: table.to_owned(), rows: rows.to_owned() });
            }
        }
        schedule
    }
}

fn parse_act(line: &str) -> Option<Act> {
    if let Some(session) = line.strip_prefix("cancel ") {
        return Some(Act::Cancel { session: number(session) });
    }
    if let Some(session) = line.strip_prefix("close ") {
        return Some(Act::Close { session: number(session) });
    }
    let end = line.find([':', '|'])?;
    let head = &line[..end];
    let (head, several) = head.strip_suffix('*').map_or((head, false), |head| (head, true));
    if head.len() != 1 {
        return None;
    }
    let text = line[end + 1..].trim();
    let request = match line.as_bytes()[end] {
        b'|' => Request::Pipeline(text.split(" | ").map(str::to_owned).collect()),
        _ => Request::Message(text.to_owned()),
    };
    Some(Act::Send { session: number(head), request, several })
}

fn number(letter: &str) -> usize {
    match letter.trim().as_bytes() {
        [letter @ b'A'..=b'Z'] => usize::from(letter - b'A'),
        _ => panic!("{letter} is no session"),
    }
}

/// Sessions are letters.
pub fn letter(session: usize) -> char {
    char::from(b'A' + session as u8)
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Send { session, request, several } => {
                let star = if *several { "*" } else { "" };
                match request {
                    Request::Message(sql) => write!(f, "{}{star}: {sql}", letter(*session)),
                    Request::Pipeline(all) => write!(f, "{}{star}| {}", letter(*session), all.join(" | ")),
                }
            }
            Act::Cancel { session } => write!(f, "cancel {}", letter(*session)),
            Act::Close { session } => write!(f, "close {}", letter(*session)),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filled in &self.tables {
            writeln!(f, "{} {}", filled.table, filled.rows)?;
        }
        for session in &self.impatient {
            writeln!(f, "impatient {}", letter(*session))?;
        }
        for act in &self.acts {
            writeln!(f, "{act}")?;
        }
        Ok(())
    }
}
