//! How many rows of each table were late. Counted with the journal entry that says so, so that a checkpoint knows
//! which are in it and a restart counts none twice.

use std::collections::BTreeMap;
use std::sync::Mutex;

use types::ObjectId;

#[derive(Debug, Default)]
pub struct LateCounts {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Up to the last checkpoint.
    settled: BTreeMap<ObjectId, u64>,
    /// (journal position, table, rows) since, in the order of the journal.
    recent: Vec<(u64, ObjectId, u64)>,
}

impl LateCounts {
    pub fn restored(settled: BTreeMap<ObjectId, u64>) -> Self {
        LateCounts { inner: Mutex::new(Inner { settled, recent: vec![] }) }
    }

    pub fn add(&self, position: u64, table: ObjectId, rows: u64) {
        self.inner.lock().expect("not poisoned").recent.push((position, table, rows));
    }

    /// The counts as of journal position `position`, which becomes the last checkpoint's.
    pub fn settle(&self, position: u64) -> BTreeMap<ObjectId, u64> {
        let mut inner = self.inner.lock().expect("not poisoned");
        let (settled, recent): (Vec<_>, Vec<_>) = inner.recent.drain(..).partition(|(at, _, _)| *at <= position);
        inner.recent = recent;
        for (_, table, rows) in settled {
            *inner.settled.entry(table).or_default() += rows;
        }
        inner.settled.clone()
    }

    /// The counts now.
    pub fn read(&self) -> BTreeMap<ObjectId, u64> {
        let inner = self.inner.lock().expect("not poisoned");
        let mut counts = inner.settled.clone();
        for (_, table, rows) in &inner.recent {
            *counts.entry(*table).or_default() += rows;
        }
        counts
    }

    pub fn forget(&self, table: ObjectId) {
        let mut inner = self.inner.lock().expect("not poisoned");
        inner.settled.remove(&table);
        inner.recent.retain(|(_, of, _)| *of != table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_has_what_lies_below_its_position() {
        let (a, b) = (ObjectId(1), ObjectId(2));
        let counts = LateCounts::restored([(a, 5)].into());
        counts.add(10, a, 1);
        counts.add(11, b, 2);
        counts.add(12, a, 4);
        assert_eq!(counts.settle(11), [(a, 6), (b, 2)].into());
        assert_eq!(counts.read(), [(a, 10), (b, 2)].into());
        counts.forget(a);
        assert_eq!(counts.settle(20), [(b, 2)].into());
    }
}
