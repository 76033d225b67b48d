//! Keys to dense ids and back: the index of every grouped state.
//!
//! Ids are u32, reused after release (lowest first once shrunk), so values live in plain columns by id. Two stores:
//! up to four columns of at most eight bytes each (`fixed_keys`), anything else as row encodings in an arena
//! (`row_keys`). NULLs are equal to each other; −0 is 0 and there is one NaN.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use types::canonical_columns;

use super::fixed::is_fixed;
use super::fixed_keys::FixedKeys;
use super::row_keys::RowKeys;
use crate::OperatorError;

/// What `find` answers for keys that are not in the table.
pub(crate) const NO_ID: u32 = u32::MAX;

/// The store behind a [`KeyTable`]; all calls are per batch.
pub(crate) trait KeyStore: Send {
    fn ids_of(&mut self, columns: &[ArrayRef], rows: usize, fresh: &mut Vec<u32>) -> Result<Vec<u32>, OperatorError>;
    fn find(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, OperatorError>;
    fn columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError>;
    fn release(&mut self, ids: &[u32]);
    fn is_live(&self, id: u32) -> bool;
    fn slots(&self) -> usize;
    fn live_ids(&self) -> Vec<u32>;
    fn shrink(&mut self);
    fn clear(&mut self);
    fn memory_bytes(&self) -> usize;
}

pub(crate) struct KeyTable {
    store: Box<dyn KeyStore>,
}

impl KeyTable {
    /// Errors: `Arrow` for a type that has no row encoding.
    pub fn new(types: &[DataType]) -> Result<Self, OperatorError> {
        let store: Box<dyn KeyStore> = match types.len() {
            _ if !types.iter().all(is_fixed) => Box::new(RowKeys::new(types)?),
            0 => Box::new(FixedKeys::<0>::new(types)),
            1 => Box::new(FixedKeys::<1>::new(types)),
            2 => Box::new(FixedKeys::<2>::new(types)),
            3 => Box::new(FixedKeys::<3>::new(types)),
            4 => Box::new(FixedKeys::<4>::new(types)),
            _ => Box::new(RowKeys::new(types)?),
        };
        Ok(KeyTable { store })
    }

    /// The id of every row's key, inserting new ones. Row indices that brought a new key are appended to `fresh`.
    pub fn ids_of(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        fresh: &mut Vec<u32>,
    ) -> Result<Vec<u32>, OperatorError> {
        self.store.ids_of(&canonical_columns(columns), rows, fresh)
    }

    /// The id of every row's key, [`NO_ID`] where there is none.
    pub fn find(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, OperatorError> {
        self.store.find(&canonical_columns(columns), rows)
    }

    /// The keys of live ids as columns.
    pub fn columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        self.store.columns(ids)
    }

    /// Forgets live keys; their ids may be given to others.
    pub fn release(&mut self, ids: &[u32]) {
        self.store.release(ids);
    }

    /// All ids are below this.
    pub fn slots(&self) -> usize {
        self.store.slots()
    }

    /// Ids in use, ascending.
    pub fn live_ids(&self) -> Vec<u32> {
        self.store.live_ids()
    }

    /// Those of `ids` that are in use.
    pub fn live_ids_among(&self, ids: &[u32]) -> Vec<u32> {
        ids.iter().copied().filter(|id| self.store.is_live(*id)).collect()
    }

    /// Gives memory back where most ids are free: `slots` may fall, live ids stay.
    pub fn shrink(&mut self) {
        self.store.shrink();
    }

    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.store.clear();
    }

    pub fn memory_bytes(&self) -> usize {
        self.store.memory_bytes()
    }
}

/// The free ids of a store: reused last in, first out.
#[derive(Default)]
pub(crate) struct FreeList {
    ids: Vec<u32>,
}

impl FreeList {
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        self.ids.pop()
    }

    pub fn extend(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn clear(&mut self) {
        self.ids.clear();
    }

    /// Takes back free ids at the end of `slots` and answers the new number of slots.
    pub fn trim(&mut self, mut slots: usize) -> usize {
        self.ids.sort_unstable_by(|a, b| b.cmp(a));
        let kept = self.ids.iter().take_while(|id| {
            let last = **id as usize + 1 == slots;
            slots -= usize::from(last);
            last
        });
        let trimmed = kept.count();
        self.ids.drain(..trimmed);
        self.ids.shrink_to(self.ids.len() * 2);
        slots
    }

    pub fn memory_bytes(&self) -> usize {
        self.ids.capacity() * 4
    }
}
