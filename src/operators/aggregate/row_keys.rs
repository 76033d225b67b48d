//! Keys of any types: Arrow row encodings in an arena, with their u32 hash beside for growth.
//! Released bytes are dead until they are the larger half; then the arena is rewritten.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use types::hash_columns;

use super::key_table::{FreeList, KeyStore, NO_ID};
use crate::OperatorError;

/// Dead bytes below this are not worth a rewrite.
const ARENA_DEAD_BYTES_MIN: usize = 64 * 1024;

pub(crate) struct RowKeys {
    converter: RowConverter,
    arena: Vec<u8>,
    /// By id: start and length in the arena.
    starts: Vec<u64>,
    lengths: Vec<u32>,
    hashes: Vec<u32>,
    dead_bytes: usize,
    table: HashTable<u32>,
    free: FreeList,
}

/// The table takes its tag from the top bits and the bucket from the low ones: spread 32 bits over both.
#[inline(always)]
fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl RowKeys {
    pub fn new(types: &[DataType]) -> Result<Self, OperatorError> {
        let fields = types.iter().map(|t| SortField::new(t.clone())).collect();
        Ok(RowKeys {
            converter: RowConverter::new(fields)?,
            arena: vec![],
            starts: vec![],
            lengths: vec![],
            hashes: vec![],
            dead_bytes: 0,
            table: HashTable::new(),
            free: FreeList::default(),
        })
    }

    fn key(&self, id: u32) -> &[u8] {
        let start = self.starts[id as usize] as usize;
        &self.arena[start..start + self.lengths[id as usize] as usize]
    }

    fn compact(&mut self) {
        let mut live = self.live_ids();
        live.sort_unstable_by_key(|id| self.starts[*id as usize]);
        let mut arena = Vec::with_capacity(self.arena.len() - self.dead_bytes);
        for id in live {
            let start = arena.len() as u64;
            arena.extend_from_slice(self.key(id));
            self.starts[id as usize] = start;
        }
        self.arena = arena;
        self.dead_bytes = 0;
    }
}

impl KeyStore for RowKeys {
    fn ids_of(&mut self, columns: &[ArrayRef], rows: usize, fresh: &mut Vec<u32>) -> Result<Vec<u32>, OperatorError> {
        let encoded = self.converter.convert_columns(columns)?;
        let row_hashes = hash_columns(columns, rows)?;
        let RowKeys { arena, starts, lengths, hashes, table, free, .. } = self;
        let mut ids = Vec::with_capacity(rows);
        for row in 0..rows {
            let (key, hash) = (encoded.row(row).data(), row_hashes[row] as u32);
            let same = |id: &u32| {
                let start = starts[*id as usize] as usize;
                hashes[*id as usize] == hash && arena[start..start + lengths[*id as usize] as usize] == *key
            };
            let id = match table.entry(spread(hash), same, |id| spread(hashes[*id as usize])) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    let id = free.pop().unwrap_or(starts.len() as u32);
                    if id as usize == starts.len() {
                        starts.push(0);
                        lengths.push(0);
                        hashes.push(0);
                    }
                    starts[id as usize] = arena.len() as u64;
                    lengths[id as usize] = key.len() as u32;
                    hashes[id as usize] = hash;
                    arena.extend_from_slice(key);
                    entry.insert(id);
                    fresh.push(row as u32);
                    id
                }
            };
            ids.push(id);
        }
        Ok(ids)
    }

    fn find(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, OperatorError> {
        let encoded = self.converter.convert_columns(columns)?;
        let row_hashes = hash_columns(columns, rows)?;
        let find = |row: usize| {
            let (key, hash) = (encoded.row(row).data(), row_hashes[row] as u32);
            let same = |id: &u32| self.hashes[*id as usize] == hash && self.key(*id) == key;
            self.table.find(spread(hash), same).copied().unwrap_or(NO_ID)
        };
        Ok((0..rows).map(find).collect())
    }

    fn columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(ids.iter().map(|id| parser.parse(self.key(*id))))?)
    }

    fn release(&mut self, ids: &[u32]) {
        for id in ids {
            let entry = self.table.find_entry(spread(self.hashes[*id as usize]), |other| other == id);
            entry.expect("only live ids are released").remove();
            self.dead_bytes += self.lengths[*id as usize] as usize;
        }
        self.free.extend(ids);
        if self.dead_bytes > ARENA_DEAD_BYTES_MIN && self.dead_bytes * 2 > self.arena.len() {
            self.compact();
        }
    }

    fn is_live(&self, id: u32) -> bool {
        let Some(hash) = self.hashes.get(id as usize) else { return false };
        self.table.find(spread(*hash), |other| *other == id).is_some()
    }

    fn slots(&self) -> usize {
        self.starts.len()
    }

    fn live_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.table.iter().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn shrink(&mut self) {
        if self.free.len() <= self.table.len() {
            return;
        }
        let slots = self.free.trim(self.starts.len());
        self.starts.truncate(slots);
        self.starts.shrink_to(slots * 2);
        self.lengths.truncate(slots);
        self.lengths.shrink_to(slots * 2);
        self.hashes.truncate(slots);
        self.hashes.shrink_to(slots * 2);
        let hashes = &self.hashes;
        self.table.shrink_to(self.table.len() * 2, |id| spread(hashes[*id as usize]));
        self.compact();
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.starts.clear();
        self.lengths.clear();
        self.hashes.clear();
        self.dead_bytes = 0;
        self.table.clear();
        self.free.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.arena.capacity()
            + self.starts.capacity() * 16
            + self.table.allocation_size()
            + self.free.memory_bytes()
            + self.converter.size()
    }
}
