//! A session's transaction: its state, and what it has done so far. Writes are collected and become one journal entry at
//! COMMIT (`tables/commit.rs`), so they enter in one epoch or not at all; until then only the transaction itself sees
//! them. Every write runs in a transaction: a statement alone is one of its own, and the statements of one message, or up
//! to one Sync, are one together.

use std::collections::HashSet;
use std::sync::Arc;

use coordinator::oracle::{Oracle, Pin};
use types::limits::SAVEPOINTS_MAX;
use types::{SqlError, SqlState};

use crate::api::TransactionStatus;
use crate::parameters::Parameters;
use crate::tables::{Reader, RecentChanges};
use crate::work::{Mark, Work};

#[derive(Default)]
pub struct Transaction {
    state: State,
    work: Work,
    savepoints: Vec<Savepoint>,
    /// Something has been read or written: what it is stays.
    begun: bool,
    /// The instant of all reads, if it has one.
    snapshot: Option<Snapshot>,
    /// Command tags of what cannot be rolled back.
    definitions: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum State {
    /// A statement commits by itself.
    #[default]
    Idle,
    /// Statements that came together commit together.
    Implicit,
    /// BEGIN was said.
    Open,
    /// Nothing but its end, or the return to a savepoint, is accepted.
    Failed,
}

/// Where ROLLBACK TO returns to.
pub struct Savepoint {
    name: String,
    mark: Mark,
    /// Of the session's advisory locks.
    pub advisory: usize,
    pub parameters: Arc<Parameters>,
    pub cursors: HashSet<String>,
}

/// The instant at which a REPEATABLE READ transaction reads.
struct Snapshot {
    pin: Arc<Pin>,
    /// Changes since then are kept, so that it sees whether a row that it writes is among them.
    _reader: Reader,
}

impl Transaction {
    pub fn status(&self) -> TransactionStatus {
        match self.state {
            State::Idle | State::Implicit => TransactionStatus::Idle,
            State::Open => TransactionStatus::InTransaction,
            State::Failed => TransactionStatus::Failed,
        }
    }

    /// BEGIN: what came before it in the same message belongs to the block. False if one was open already.
    pub fn begin(&mut self) -> bool {
        let fresh = matches!(self.state, State::Idle | State::Implicit);
        if fresh {
            self.state = State::Open;
        }
        fresh
    }

    /// The next statements commit together, unless a block is open.
    pub fn begin_implicit(&mut self) {
        if self.state == State::Idle {
            self.state = State::Implicit;
        }
    }

    /// Ends what `begin_implicit` began; its work.
    pub fn end_implicit(&mut self) -> Option<Work> {
        (self.state == State::Implicit).then(|| self.reset())
    }

    /// A statement failed: nothing of the transaction will happen, or nothing since the last savepoint.
    pub fn fail(&mut self) {
        match self.state {
            State::Idle | State::Implicit => drop(self.reset()),
            State::Open => {
                match self.savepoints.last() {
                    Some(savepoint) => self.work.roll_back_to(&savepoint.mark),
                    None => self.work = Work::default(),
                }
                self.state = State::Failed;
            }
            State::Failed => {}
        }
    }

    /// A statement is a transaction of its own: neither BEGIN nor a message with others is around it.
    pub fn stands_alone(&self) -> bool {
        self.state == State::Idle
    }

    pub fn last_savepoint(&self) -> Option<&Savepoint> {
        self.savepoints.last()
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub fn work(&mut self) -> &mut Work {
        &mut self.work
    }

    /// What is to be committed after a statement that stands alone.
    pub fn after_statement(&mut self) -> Option<Work> {
        (self.state == State::Idle).then(|| std::mem::take(&mut self.work))
    }

    /// What is to be committed before a definition, which takes effect at once.
    pub fn before_definition(&mut self) -> Option<Work> {
        (self.state == State::Implicit).then(|| std::mem::take(&mut self.work))
    }

    /// A definition took effect inside the block.
    pub fn defined(&mut self, what: &str) {
        if self.state == State::Open && !self.definitions.iter().any(|known| known == what) {
            self.definitions.push(what.to_string());
        }
    }

    /// The definitions of the block that ends.
    pub fn take_definitions(&mut self) -> Vec<String> {
        std::mem::take(&mut self.definitions)
    }

    /// COMMIT or ROLLBACK: the work, if it may commit.
    pub fn end(&mut self) -> Option<Work> {
        let committed = matches!(self.state, State::Open | State::Implicit);
        let work = self.reset();
        committed.then_some(work)
    }

    fn reset(&mut self) -> Work {
        self.state = State::Idle;
        self.savepoints.clear();
        self.snapshot = None;
        self.begun = false;
        std::mem::take(&mut self.work)
    }

    /// Errors: 54000 if there are too many.
    pub fn define_savepoint(
        &mut self,
        name: &str,
        advisory: usize,
        parameters: Arc<Parameters>,
        cursors: HashSet<String>,
    ) -> Result<(), SqlError> {
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, "too many savepoints in one transaction")
                .with_hint("Release savepoints that are not needed any more."));
        }
        let mark = self.work.mark();
        self.savepoints.push(Savepoint { name: name.to_string(), mark, advisory, parameters, cursors });
        Ok(())
    }

    /// What was done since the newest savepoint of this name stays, and the name goes, with all that are newer.
    pub fn release_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let position = self.position(name)?;
        self.savepoints.truncate(position);
        Ok(())
    }

    /// Undoes what was done since the newest savepoint of this name, which stays. A failed block goes on from there.
    pub fn roll_back_to(&mut self, name: &str) -> Result<&Savepoint, SqlError> {
        let position = self.position(name)?;
        self.savepoints.truncate(position + 1);
        self.work.roll_back_to(&self.savepoints[position].mark);
        self.state = State::Open;
        Ok(&self.savepoints[position])
    }

    fn position(&self, name: &str) -> Result<usize, SqlError> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            SqlError::new(SqlState::InvalidSavepointSpecification, format!("savepoint \"{name}\" does not exist"))
        })
    }

    /// Whether its first query has run.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// A query or write runs in it.
    pub fn begun(&mut self) {
        self.begun = self.state != State::Idle;
    }

    /// The instant of all its reads; the first one chooses it.
    pub fn snapshot(&mut self, oracle: &Arc<Oracle>, recent: &Arc<RecentChanges>) -> Arc<Pin> {
        let snapshot = self.snapshot.get_or_insert_with(|| {
            let mut reader = recent.reader();
            let pin = Arc::new(oracle.pin(&[]));
            reader.reads_at(pin.epoch());
            Snapshot { pin, _reader: reader }
        });
        snapshot.pin.clone()
    }
}
