//! What committed transactions have done to rows lately: for writers whose snapshot is older than what they may change.
//!
//! A commit notes its rows here when it has its epoch, before it lets go of its locks. So who gets a lock finds here what
//! became of the row since he has read it, and whether a key is taken although the table has not sealed the epoch yet.
//! A note is kept until its epoch is sealed and no writer reads at an older one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::RecordBatch;
use types::{Epoch, ObjectId};

use super::written::{KeyedRows, RowsWritten, Written};

/// One row of a batch that others hold too.
#[derive(Debug, Clone)]
pub struct RowAt {
    pub rows: Arc<RecordBatch>,
    pub row: usize,
}

impl RowAt {
    pub fn batch(&self) -> RecordBatch {
        self.rows.slice(self.row, 1)
    }
}

/// From where on notes are of interest.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// Those above the epoch that was read.
    Epoch(Epoch),
    /// Those after a statement that was followed.
    Statement(u64),
}

/// What became of a row.
#[derive(Debug)]
pub enum Fate {
    Same,
    /// Its newest version, the identity of that, and the last statement that made it.
    Now {
        row: RowAt,
        identity: Arc<[u8]>,
        since: Since,
    },
    Gone,
}

/// Notes of all tables.
#[derive(Default)]
pub struct RecentChanges {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tables: HashMap<ObjectId, Notes>,
    /// Epochs at which writers read now; 0 of those that have yet to choose.
    readers: BTreeMap<Epoch, usize>,
    /// Statements and notes are numbered as they come.
    last_statement: u64,
    last_note: u64,
}

#[derive(Default)]
struct Notes {
    by_identity: HashMap<Arc<[u8]>, VecDeque<Note>>,
    /// Oldest first.
    order: VecDeque<(Epoch, Arc<[u8]>)>,
    sealed: Epoch,
}

struct Note {
    number: u64,
    statement: u64,
    epoch: Epoch,
    became: Became,
}

enum Became {
    /// A version with the same identity: inserted, or updated.
    Row(RowAt),
    /// A version with another identity.
    Other(RowAt, Arc<[u8]>),
    Nothing,
}

impl RecentChanges {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("notes are plain data")
    }

    /// Notes what a transaction has committed at `epoch`. Its locks are still held.
    pub fn record(&self, epoch: Epoch, writes: &[RowsWritten]) {
        let mut inner = self.lock();
        for write in writes {
            inner.last_statement += 1;
            let notes = notes_of(write);
            let (statement, first) = (inner.last_statement, inner.last_note);
            inner.last_note += notes.len() as u64;
            if notes.is_empty() {
                continue;
            }
            let table = inner.tables.entry(write.table).or_default();
            for (number, (identity, became)) in (first + 1..).zip(notes) {
                table.order.push_back((epoch, identity.clone()));
                let notes = table.by_identity.entry(identity).or_default();
                notes.push_back(Note { number, statement, epoch, became });
            }
        }
    }

    /// A writer that is about to read: nothing goes that it may need.
    pub fn reader(self: &Arc<Self>) -> Reader {
        *self.lock().readers.entry(0).or_default() += 1;
        Reader { recent: self.clone(), epoch: 0 }
    }

    /// Whether a row of that identity is there now, as far as notes tell; the row itself if so.
    pub fn present(&self, table: ObjectId, identity: &[u8]) -> Option<Option<RowAt>> {
        let inner = self.lock();
        let note = inner.tables.get(&table)?.by_identity.get(identity)?.back()?;
        Some(match &note.became {
            Became::Row(row) => Some(row.clone()),
            Became::Other(..) | Became::Nothing => None,
        })
    }

    /// What became of rows, each named by its identity, since they were read. Equal rows of a table without a key are
    /// told apart by `taken`: each note is the fate of one of them.
    pub fn fates(&self, table: ObjectId, rows: &[(Arc<[u8]>, Since)], taken: &mut HashSet<u64>) -> Vec<Fate> {
        let inner = self.lock();
        let Some(notes) = inner.tables.get(&table) else { return rows.iter().map(|_| Fate::Same).collect() };
        rows.iter().map(|(identity, since)| notes.follow(identity, *since, taken)).collect()
    }

    /// A table has sealed `epoch`.
    pub fn sealed(&self, table: ObjectId, epoch: Epoch) {
        let mut inner = self.lock();
        let oldest = inner.oldest_reader();
        if let Some(notes) = inner.tables.get_mut(&table) {
            notes.sealed = notes.sealed.max(epoch);
            notes.prune(oldest);
        }
    }

    pub fn forget(&self, table: ObjectId) {
        self.lock().tables.remove(&table);
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.lock().tables.values().map(|notes| notes.order.len()).sum()
    }
}

impl Inner {
    fn oldest_reader(&self) -> Epoch {
        self.readers.keys().next().copied().unwrap_or(Epoch::MAX)
    }

    fn leave(&mut self, epoch: Epoch) {
        let count = self.readers.get_mut(&epoch).expect("a reader is counted");
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.readers.remove(&epoch);
        let oldest = self.oldest_reader();
        if epoch < oldest {
            self.tables.values_mut().for_each(|notes| notes.prune(oldest));
        }
    }
}

impl Notes {
    fn prune(&mut self, oldest_reader: Epoch) {
        let bound = self.sealed.min(oldest_reader);
        while self.order.front().is_some_and(|(epoch, _)| *epoch <= bound) {
            let (_, identity) = self.order.pop_front().expect("just seen");
            let notes = self.by_identity.get_mut(&identity).expect("what is in order is noted");
            notes.pop_front();
            if notes.is_empty() {
                self.by_identity.remove(&identity);
            }
        }
    }

    fn follow(&self, identity: &Arc<[u8]>, since: Since, taken: &mut HashSet<u64>) -> Fate {
        let mut at = (identity.clone(), since);
        let mut newest = None;
        while let Some(note) = self.next(&at.0, at.1, taken) {
            taken.insert(note.number);
            let since = Since::Statement(note.statement);
            match &note.became {
                Became::Nothing => return Fate::Gone,
                Became::Row(row) => {
                    newest = Some(row.clone());
                    at.1 = since;
                }
                Became::Other(row, identity) => {
                    newest = Some(row.clone());
                    at = (identity.clone(), since);
                }
            }
        }
        match newest {
            None => Fate::Same,
            Some(row) => Fate::Now { row, identity: at.0, since: at.1 },
        }
    }

    fn next(&self, identity: &[u8], since: Since, taken: &HashSet<u64>) -> Option<&Note> {
        let later = |note: &&Note| match since {
            Since::Epoch(epoch) => note.epoch > epoch,
            Since::Statement(statement) => note.statement > statement,
        };
        self.by_identity.get(identity)?.iter().find(|note| later(note) && !taken.contains(&note.number))
    }
}

/// What is to be noted of a write: first what became of rows that were there, then rows that have come.
fn notes_of(write: &RowsWritten) -> Vec<(Arc<[u8]>, Became)> {
    let at = |rows: &KeyedRows, row| RowAt { rows: rows.rows.clone(), row };
    let identity = |rows: &KeyedRows, row| Arc::<[u8]>::from(rows.keys.bytes(row));
    match &write.kind {
        Written::Appended(_) => vec![],
        Written::Inserted(rows) => {
            (0..rows.len()).map(|row| (identity(rows, row), Became::Row(at(rows, row)))).collect()
        }
        Written::Deleted(rows) => (0..rows.len()).map(|row| (identity(rows, row), Became::Nothing)).collect(),
        Written::Updated { before, after } => {
            let stays = |row| before.keys.bytes(row) == after.keys.bytes(row);
            let became = |row| match stays(row) {
                true => Became::Row(at(after, row)),
                false => Became::Other(at(after, row), identity(after, row)),
            };
            let mut notes: Vec<_> = (0..before.len()).map(|row| (identity(before, row), became(row))).collect();
            if write.keyed {
                let moved = (0..after.len()).filter(|row| !stays(*row));
                notes.extend(moved.map(|row| (identity(after, row), Became::Row(at(after, row)))));
            }
            notes
        }
    }
}

/// A writer that reads at an epoch.
pub struct Reader {
    recent: Arc<RecentChanges>,
    epoch: Epoch,
}

impl Reader {
    /// It has chosen its epoch.
    pub fn reads_at(&mut self, epoch: Epoch) {
        let mut inner = self.recent.lock();
        *inner.readers.entry(epoch).or_default() += 1;
        inner.leave(self.epoch);
        self.epoch = epoch;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.recent.lock().leave(self.epoch);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    const TABLE: ObjectId = ObjectId(9);

    /// Rows (key, value).
    fn rows(rows: &[(i64, i64)], key: &[usize]) -> KeyedRows {
        let column =
            |of: fn(&(i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
        KeyedRows::of(RecordBatch::try_from_iter([("k", column(|r| r.0)), ("v", column(|r| r.1))]).unwrap(), key)
            .unwrap()
    }

    fn update(before: &[(i64, i64)], after: &[(i64, i64)], key: &[usize]) -> RowsWritten {
        let kind = Written::Updated { before: rows(before, key), after: rows(after, key) };
        RowsWritten { table: TABLE, keyed: !key.is_empty(), kind, late: 0 }
    }

    fn delete(gone: &[(i64, i64)], key: &[usize]) -> RowsWritten {
        RowsWritten { table: TABLE, keyed: !key.is_empty(), kind: Written::Deleted(rows(gone, key)), late: 0 }
    }

    fn insert(new: &[(i64, i64)], key: &[usize]) -> RowsWritten {
        RowsWritten { table: TABLE, keyed: !key.is_empty(), kind: Written::Inserted(rows(new, key)), late: 0 }
    }

    fn fates(recent: &RecentChanges, found: &[(i64, i64)], key: &[usize], epoch: Epoch) -> String {
        let found = rows(found, key);
        let found: Vec<_> = (0..found.len()).map(|row| (found.keys.bytes(row).into(), Since::Epoch(epoch))).collect();
        let shown = recent.fates(TABLE, &found, &mut HashSet::new()).into_iter().map(|fate| match fate {
            Fate::Same => "same".to_string(),
            Fate::Gone => "gone".to_string(),
            Fate::Now { row, .. } => {
                let cell = |column: usize| row.rows.column(column).as_primitive::<Int64Type>().value(row.row);
                format!("{}:{}", cell(0), cell(1))
            }
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_are_followed_from_version_to_version() {
        let recent = RecentChanges::default();
        recent.record(10, &[update(&[(1, 0), (2, 0)], &[(1, 1), (2, 1)], &[0])]);
        recent.record(11, &[update(&[(1, 1)], &[(7, 2)], &[0]), delete(&[(2, 1)], &[0])]);
        recent.record(12, &[update(&[(7, 2)], &[(7, 3)], &[0]), insert(&[(2, 9)], &[0])]);
        assert_eq!(fates(&recent, &[(1, 0), (2, 0), (3, 0)], &[0], 9), "7:3 gone same");
        assert_eq!(fates(&recent, &[(1, 1), (2, 1)], &[0], 10), "7:3 gone");
        assert_eq!(fates(&recent, &[(7, 3), (2, 9)], &[0], 12), "same same");
    }

    #[test]
    fn keys_that_move_up_together_are_not_taken_for_each_other() {
        let recent = RecentChanges::default();
        recent.record(10, &[update(&[(1, 10), (2, 20)], &[(2, 10), (3, 20)], &[0])]);
        assert_eq!(fates(&recent, &[(1, 10), (2, 20)], &[0], 9), "2:10 3:20");
        let taken = |key: i64| recent.present(TABLE, rows(&[(key, 0)], &[0]).keys.bytes(0)).map(|row| row.is_some());
        assert_eq!([taken(1), taken(2), taken(3), taken(4)], [Some(false), Some(true), Some(true), None]);
    }

    #[test]
    fn equal_rows_without_a_key_have_a_fate_each() {
        let recent = RecentChanges::default();
        recent.record(10, &[update(&[(1, 1), (1, 1)], &[(1, 2), (1, 3)], &[])]);
        recent.record(11, &[delete(&[(1, 2)], &[])]);
        assert_eq!(fates(&recent, &[(1, 1), (1, 1), (1, 1)], &[], 9), "gone 1:3 same");
    }

    #[test]
    fn notes_go_when_their_epoch_is_sealed_and_nobody_reads_below_it() {
        let recent = Arc::new(RecentChanges::default());
        recent.record(10, &[insert(&[(1, 1)], &[0])]);
        let mut reader = recent.reader();
        recent.sealed(TABLE, 10);
        assert_eq!(recent.count(), 1);
        reader.reads_at(10);
        assert_eq!(recent.count(), 0);
        recent.record(11, &[update(&[(1, 1)], &[(1, 2)], &[0])]);
        recent.sealed(TABLE, 11);
        assert_eq!(recent.count(), 1);
        drop(reader);
        assert_eq!(recent.count(), 0);
    }
}
