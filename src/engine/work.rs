//! What a transaction has done: rows written, locks held. Dropped, none of it has happened.

use std::collections::HashMap;
use std::sync::Arc;

use operators::arrangement::Overlay;
use types::{ObjectId, WATERMARK_NONE};

use crate::locks::{Locks, Owner};
use crate::tables::{OwnRows, RowsWritten};

#[derive(Default)]
pub struct Work {
    owner: Option<Arc<Owner>>,
    writes: Vec<RowsWritten>,
    own: HashMap<ObjectId, OwnRows>,
    /// Watermarks of append-only tables that its rows alone give.
    lines: HashMap<ObjectId, i64>,
}

/// A place to roll back to.
#[derive(Default)]
pub struct Mark {
    writes: usize,
    locks: usize,
    lines: HashMap<ObjectId, i64>,
}

impl Work {
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    pub fn writes(&self) -> &[RowsWritten] {
        &self.writes
    }

    pub fn owner(&mut self, locks: &Arc<Locks>, session: u32) -> Arc<Owner> {
        self.owner.get_or_insert_with(|| Arc::new(locks.owner(session))).clone()
    }

    pub fn write(&mut self, written: RowsWritten) {
        if written.is_empty() {
            return;
        }
        self.own.entry(written.table).or_default().add(written.clone());
        self.writes.push(written);
    }

    /// What the transaction has done to a table.
    pub fn own(&mut self, table: ObjectId) -> Option<&mut OwnRows> {
        self.own.get_mut(&table)
    }

    /// The watermark that the transaction's own rows give an append-only table.
    pub fn line(&self, table: ObjectId) -> i64 {
        self.lines.get(&table).copied().unwrap_or(WATERMARK_NONE)
    }

    pub fn raise_line(&mut self, table: ObjectId, watermark: i64) {
        let line = self.lines.entry(table).or_insert(watermark);
        *line = watermark.max(*line);
    }

    /// What its reads of these relations see on top of what is committed.
    pub fn overlays(&self, relations: &[ObjectId]) -> HashMap<ObjectId, Arc<Overlay>> {
        let overlay = |table: &ObjectId| Some((*table, self.own.get(table)?.overlay()?));
        relations.iter().filter_map(overlay).collect()
    }

    pub fn mark(&self) -> Mark {
        let locks = self.owner.as_ref().map_or(0, |owner| owner.mark());
        Mark { writes: self.writes.len(), locks, lines: self.lines.clone() }
    }

    /// Forgets what was written since the mark, and lets go of the locks taken since.
    pub fn roll_back_to(&mut self, mark: &Mark) {
        if mark.writes < self.writes.len() {
            self.writes.truncate(mark.writes);
            self.own.clear();
            for written in &self.writes {
                self.own.entry(written.table).or_default().add(written.clone());
            }
        }
        self.lines.clone_from(&mark.lines);
        if let Some(owner) = &self.owner {
            owner.release_since(mark.locks);
        }
    }
}
