//! Keys of K columns of at most eight bytes each: `[i64; K]` per id, no encoding, hashes recomputed from the key.
//! The hash is in memory only and may change.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::fixed::{fixed_array, fixed_values};
use super::key_table::{FreeList, KeyStore, NO_ID};
use crate::OperatorError;

pub(crate) struct FixedKeys<const K: usize> {
    types: Vec<DataType>,
    keys: Vec<[i64; K]>,
    /// Bit k of a key's mask: column k is NULL. Empty while no key has a NULL.
    masks: Vec<u8>,
    table: HashTable<u32>,
    free: FreeList,
}

#[inline(always)]
fn hash_key<const K: usize>(key: &[i64; K], mask: u8) -> u64 {
    let mut h = mask as u64;
    for part in key {
        h = (h.rotate_left(29) ^ *part as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        h ^= h >> 32;
    }
    h = h.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h ^ (h >> 32)
}

/// One batch's key columns, read row by row.
struct Batch<const K: usize> {
    values: [ScalarBuffer<i64>; K],
    nulls: [Option<NullBuffer>; K],
    any_null: bool,
}

impl<const K: usize> Batch<K> {
    fn new(columns: &[ArrayRef]) -> Self {
        assert_eq!(columns.len(), K, "as many key columns as the table was made for");
        let nulls: [Option<NullBuffer>; K] =
            std::array::from_fn(|k| columns[k].nulls().filter(|n| n.null_count() > 0).cloned());
        Batch {
            values: std::array::from_fn(|k| fixed_values(&columns[k])),
            any_null: nulls.iter().any(Option::is_some),
            nulls,
        }
    }

    #[inline(always)]
    fn key(&self, row: usize) -> ([i64; K], u8) {
        let mut key: [i64; K] = std::array::from_fn(|k| self.values[k][row]);
        let mut mask = 0u8;
        if self.any_null {
            for k in 0..K {
                if self.nulls[k].as_ref().is_some_and(|n| n.is_null(row)) {
                    key[k] = 0;
                    mask |= 1 << k;
                }
            }
        }
        (key, mask)
    }
}

impl<const K: usize> FixedKeys<K> {
    pub fn new(types: &[DataType]) -> Self {
        FixedKeys {
            types: types.to_vec(),
            keys: vec![],
            masks: vec![],
            table: HashTable::new(),
            free: FreeList::default(),
        }
    }

    fn put(keys: &mut Vec<[i64; K]>, masks: &mut Vec<u8>, free: &mut FreeList, key: [i64; K], mask: u8) -> u32 {
        let id = match free.pop() {
            Some(id) => {
                keys[id as usize] = key;
                id
            }
            None => {
                keys.push(key);
                (keys.len() - 1) as u32
            }
        };
        if mask != 0 || !masks.is_empty() {
            masks.resize(keys.len(), 0);
            masks[id as usize] = mask;
        }
        id
    }
}

#[inline(always)]
fn mask_of(masks: &[u8], id: u32) -> u8 {
    if masks.is_empty() { 0 } else { masks[id as usize] }
}

impl<const K: usize> KeyStore for FixedKeys<K> {
    fn ids_of(&mut self, columns: &[ArrayRef], rows: usize, fresh: &mut Vec<u32>) -> Result<Vec<u32>, OperatorError> {
        let batch = Batch::<K>::new(columns);
        let FixedKeys { keys, masks, table, free, .. } = self;
        let mut ids: Vec<u32> = Vec::with_capacity(rows);
        for row in 0..rows {
            let (key, mask) = batch.key(row);
            if let Some(last) = ids.last()
                && keys[*last as usize] == key
                && mask_of(masks, *last) == mask
            {
                ids.push(*last);
                continue;
            }
            let entry = table.entry(
                hash_key(&key, mask),
                |id| keys[*id as usize] == key && mask_of(masks, *id) == mask,
                |id| hash_key(&keys[*id as usize], mask_of(masks, *id)),
            );
            let id = match entry {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    let id = Self::put(keys, masks, free, key, mask);
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
        let batch = Batch::<K>::new(columns);
        let find = |row| {
            let (key, mask) = batch.key(row);
            let same = |id: &u32| self.keys[*id as usize] == key && mask_of(&self.masks, *id) == mask;
            self.table.find(hash_key(&key, mask), same).copied().unwrap_or(NO_ID)
        };
        Ok((0..rows).map(find).collect())
    }

    fn columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let column = |k: usize| {
            let values: Vec<i64> = ids.iter().map(|id| self.keys[*id as usize][k]).collect();
            let valid = |id: &u32| self.masks[*id as usize] >> k & 1 == 0;
            let nulls = (!self.masks.is_empty()).then(|| NullBuffer::from_iter(ids.iter().map(valid)));
            fixed_array(&self.types[k], values, nulls.filter(|n| n.null_count() > 0))
        };
        Ok((0..K).map(column).collect())
    }

    fn release(&mut self, ids: &[u32]) {
        for id in ids {
            let hash = hash_key(&self.keys[*id as usize], mask_of(&self.masks, *id));
            let entry = self.table.find_entry(hash, |other| other == id);
            entry.expect("only live ids are released").remove();
        }
        self.free.extend(ids);
    }

    fn is_live(&self, id: u32) -> bool {
        let Some(key) = self.keys.get(id as usize) else { return false };
        self.table.find(hash_key(key, mask_of(&self.masks, id)), |other| *other == id).is_some()
    }

    fn slots(&self) -> usize {
        self.keys.len()
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
        let slots = self.free.trim(self.keys.len());
        self.keys.truncate(slots);
        self.keys.shrink_to(slots * 2);
        self.masks.truncate(slots);
        self.masks.shrink_to(slots * 2);
        let FixedKeys { keys, masks, table, .. } = self;
        table.shrink_to(table.len() * 2, |id| hash_key(&keys[*id as usize], mask_of(masks, *id)));
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.masks.clear();
        self.table.clear();
        self.free.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.keys.capacity() * K * 8 + self.masks.capacity() + self.table.allocation_size() + self.free.memory_bytes()
    }
}
