//! Row ids by hash, without a copy of any key: 4 bytes and a tag per entry.
//! Split into parts that grow one by one, so that growth never stops the worker for a whole table, nor doubles it.

use hashbrown::HashTable;

const PARTS: usize = 64;

/// Odd, so that multiplying loses nothing: table tags come from high bits, which must not be the vnode alone
/// (a worker's rows share few vnodes).
const SPREAD: u64 = 0xD6E8_FEB8_6659_FD93;

#[derive(Debug)]
pub(crate) struct RowIndex {
    parts: Vec<HashTable<u32>>,
    bytes: usize,
}

fn part_of(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

impl RowIndex {
    pub fn new() -> Self {
        RowIndex { parts: (0..PARTS).map(|_| HashTable::new()).collect(), bytes: PARTS * size_of::<HashTable<u32>>() }
    }

    /// The id with this hash that `is_it` accepts.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.parts[part_of(hash)].find(hash.wrapping_mul(SPREAD), |id| is_it(*id)).copied()
    }

    /// Puts `new` in the place of `old`, which is there with this hash.
    pub fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let entry = self.parts[part_of(hash)].find_mut(hash.wrapping_mul(SPREAD), |id| *id == old);
        *entry.expect("the replaced id is in the index") = new;
    }

    /// Adds an id; equal hashes may stand several times. `hashes_of` recomputes hashes of ids already in here and is
    /// called when a part grows.
    pub fn insert(&mut self, hash: u64, id: u32, hashes_of: impl FnOnce(&[u32]) -> Vec<u64>) {
        let part = &mut self.parts[part_of(hash)];
        if part.len() == part.capacity() {
            let before = part.allocation_size();
            let ids: Vec<u32> = part.iter().copied().collect();
            *part = rebuilt(part, &ids, &hashes_of(&ids));
            self.bytes = self.bytes + part.allocation_size() - before;
        }
        part.insert_unique(hash.wrapping_mul(SPREAD), id, |_| unreachable!("room was made before"));
    }

    /// Takes `id` out; whether it was there.
    pub fn remove(&mut self, hash: u64, id: u32) -> bool {
        let found = self.parts[part_of(hash)].find_entry(hash.wrapping_mul(SPREAD), |other| *other == id);
        found.map(|entry| entry.remove()).is_ok()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// The same entries with room for more: in a table of the same size if it was mostly tombstones, else a larger one.
fn rebuilt(part: &HashTable<u32>, ids: &[u32], hashes: &[u64]) -> HashTable<u32> {
    let full = part.num_buckets() / 8 * 7;
    let capacity = if ids.len() < full / 2 { full } else { (full + 1).max(4) };
    let mut table = HashTable::with_capacity(capacity.max(ids.len() + 1));
    for (id, hash) in ids.iter().zip(hashes) {
        table.insert_unique(hash.wrapping_mul(SPREAD), *id, |_| unreachable!("capacity was reserved"));
    }
    table
}
