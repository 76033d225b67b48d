//! What a transaction has done to one table: for its own reads, and for the uniqueness of what it writes next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use operators::arrangement::Overlay;
use types::{DeltaBatch, SqlError};

use super::recent::RowAt;
use super::written::{KeyedRows, RowsWritten, Written};

#[derive(Default)]
pub struct OwnRows {
    writes: Vec<RowsWritten>,
    /// So many writes are in `keys` and `counts`: a transaction of one statement never looks.
    indexed: usize,
    /// Of a table with a key: the row that a key has now, or none.
    keys: HashMap<Box<[u8]>, Option<RowAt>>,
    /// Of a table without a key: how often a row was added, less how often it was taken away.
    counts: HashMap<Box<[u8]>, i64>,
    /// Made when a read needs it.
    overlay: Mutex<Option<Arc<Overlay>>>,
}

impl OwnRows {
    pub fn add(&mut self, written: RowsWritten) {
        self.writes.push(written);
        *self.overlay.get_mut().expect("not poisoned") = None;
    }

    /// The row with a key if the transaction has written it; `None` inside if it has taken it away.
    pub fn present(&mut self, identity: &[u8]) -> Result<Option<Option<RowAt>>, SqlError> {
        self.index()?;
        Ok(self.keys.get(identity).cloned())
    }

    /// Of a table without a key: how many rows like this the transaction has added.
    pub fn added(&mut self, identity: &[u8]) -> Result<i64, SqlError> {
        self.index()?;
        Ok(self.counts.get(identity).copied().unwrap_or_default())
    }

    /// What reads of the transaction see on top of what is committed.
    pub fn overlay(&self) -> Option<Arc<Overlay>> {
        let mut overlay = self.overlay.lock().expect("not poisoned");
        if overlay.is_none() {
            let deltas: Vec<DeltaBatch> = self.writes.iter().flat_map(RowsWritten::deltas).collect();
            let schema = deltas.first()?.schema();
            *overlay = Some(Arc::new(Overlay::new(&schema, &deltas)));
        }
        overlay.clone()
    }

    fn index(&mut self) -> Result<(), SqlError> {
        while let Some(written) = self.writes.get(self.indexed) {
            let (kind, keyed) = (written.kind.clone(), written.keyed);
            match &kind {
                Written::Appended(rows) => self.come(&KeyedRows::of(rows.clone(), &[])?, keyed),
                Written::Inserted(rows) => self.come(rows, keyed),
                Written::Deleted(rows) => self.go(rows, keyed),
                Written::Updated { before, after } => {
                    self.go(before, keyed);
                    self.come(after, keyed);
                }
            }
            self.indexed += 1;
        }
        Ok(())
    }

    fn come(&mut self, rows: &KeyedRows, keyed: bool) {
        for row in 0..rows.len() {
            let identity = rows.keys.bytes(row).into();
            match keyed {
                true => drop(self.keys.insert(identity, Some(RowAt { rows: rows.rows.clone(), row }))),
                false => *self.counts.entry(identity).or_default() += 1,
            }
        }
    }

    fn go(&mut self, rows: &KeyedRows, keyed: bool) {
        for row in 0..rows.len() {
            let identity = rows.keys.bytes(row).into();
            match keyed {
                true => drop(self.keys.insert(identity, None)),
                false => *self.counts.entry(identity).or_default() -= 1,
            }
        }
    }
}
