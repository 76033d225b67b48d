//! Transaction blocks. Writes of a block are collected and journaled as one entry at COMMIT, so they enter in one
//! epoch or not at all. Reads inside a block see the database, not the block's own writes: statements that would
//! depend on them are refused. Definitions take effect at once, so they must come before the block's writes.

use types::ObjectId;

use crate::api::TransactionStatus;
use crate::tables::TableChange;

#[derive(Default)]
pub struct Transaction {
    state: State,
    writes: Vec<TableChange>,
    /// Command tags of what cannot be rolled back.
    definitions: Vec<String>,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum State {
    #[default]
    Idle,
    Open,
    Failed,
}

impl Transaction {
    pub fn status(&self) -> TransactionStatus {
        match self.state {
            State::Idle => TransactionStatus::Idle,
            State::Open => TransactionStatus::InTransaction,
            State::Failed => TransactionStatus::Failed,
        }
    }

    /// False if a block was open already.
    pub fn begin(&mut self) -> bool {
        let fresh = self.state == State::Idle;
        if fresh {
            self.state = State::Open;
        }
        fresh
    }

    pub fn fail(&mut self) {
        if self.state == State::Open {
            self.state = State::Failed;
            self.writes.clear();
        }
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub fn write(&mut self, change: TableChange) {
        self.writes.push(change);
    }

    /// Whether anything waits for COMMIT.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
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

    pub fn wrote(&self, table: ObjectId) -> bool {
        self.writes.iter().any(|change| change.table == table)
    }

    /// Ends the block; its writes if it may commit.
    pub fn end(&mut self) -> (bool, Vec<TableChange>) {
        let committed = self.state == State::Open;
        self.state = State::Idle;
        (committed, std::mem::take(&mut self.writes))
    }
}
