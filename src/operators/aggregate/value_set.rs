//! Values with weights per slot, in order: what DISTINCT calls and retractable MIN and MAX need to remember.
//! One tree over (slot, value) serves all calls on the same argument and filter; a slot's values are a range of it.
//! A value is present while its weight is positive.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::accumulator::for_each;
use super::order_key::{Codec, OrderCodec};
use crate::OperatorError;

/// Weighted values of slots.
pub(crate) struct Entries {
    pub ids: Vec<u32>,
    pub values: ArrayRef,
    pub weights: Vec<i64>,
}

/// Rows of an applied batch whose value appeared (+1) or vanished (−1).
#[derive(Default)]
pub(crate) struct Crossings {
    pub rows: Vec<u32>,
    pub diffs: Vec<i64>,
}

pub(crate) trait ValueSet: Send {
    /// Adds `weights[i]` (1 if `None`) to value i of slot `ids[i]`. NULLs are no values.
    fn apply(&mut self, ids: &[u32], values: &ArrayRef, weights: Option<&[i64]>) -> Result<Crossings, OperatorError>;

    /// The least or greatest present value of each slot, NULL if none.
    fn extremes(&self, ids: &[u32], max: bool) -> Result<ArrayRef, OperatorError>;

    /// Everything the slots hold.
    fn entries(&self, ids: &[u32]) -> Result<Entries, OperatorError>;

    /// Empties the slots. Answers what the last cut holds of them, weights meaningless.
    fn clear(&mut self, ids: &[u32]) -> Result<Entries, OperatorError>;

    /// What changed since the last cut: entries to write, entries to delete (weights meaningless).
    fn cut(&mut self) -> Result<(Entries, Entries), OperatorError>;

    /// Puts entries back as a cut wrote them; weight 0 deletes.
    fn restore(&mut self, entries: &Entries) -> Result<(), OperatorError>;

    fn memory_bytes(&self) -> usize;
}

/// A set over values of `data_type`. `tracked`: changes are remembered for `cut`.
pub(crate) fn value_set(data_type: &DataType, tracked: bool) -> Result<Box<dyn ValueSet>, OperatorError> {
    Ok(match Codec::of(data_type)? {
        Codec::Int(codec) => Box::new(OrderedSet::new(codec, tracked)),
        Codec::Decimal(codec) => Box::new(OrderedSet::new(codec, tracked)),
        Codec::Bytes(codec) => Box::new(OrderedSet::new(codec, tracked)),
    })
}

struct Entry {
    weight: i64,
    /// The last cut has this value.
    saved: bool,
}

struct OrderedSet<C: OrderCodec> {
    codec: C,
    entries: BTreeMap<(u32, C::Key), Entry>,
    /// Changed since the last cut.
    dirty: BTreeSet<(u32, C::Key)>,
    /// Gone since the last cut, which has them.
    gone: BTreeSet<(u32, C::Key)>,
    tracked: bool,
    heap_bytes: usize,
}

impl<C: OrderCodec> OrderedSet<C> {
    fn new(codec: C, tracked: bool) -> Self {
        OrderedSet {
            codec,
            entries: BTreeMap::new(),
            dirty: BTreeSet::new(),
            gone: BTreeSet::new(),
            tracked,
            heap_bytes: 0,
        }
    }

    /// The bounds of all keys of a slot.
    fn range(id: u32) -> std::ops::Range<(u32, C::Key)> {
        (id, C::least())..(id + 1, C::least())
    }

    /// Adds `weight`; answers the weight before and after.
    fn add(&mut self, key: (u32, C::Key), weight: i64) -> (i64, i64) {
        use std::collections::btree_map::Entry::*;
        if self.tracked {
            self.dirty.insert(key.clone());
        }
        match self.entries.entry(key) {
            Vacant(vacant) => {
                self.heap_bytes += C::heap_bytes(&vacant.key().1);
                let saved = self.gone.remove(vacant.key());
                vacant.insert(Entry { weight, saved });
                (0, weight)
            }
            Occupied(mut occupied) => {
                let before = occupied.get().weight;
                occupied.get_mut().weight += weight;
                let after = occupied.get().weight;
                if after == 0 {
                    let (key, entry) = occupied.remove_entry();
                    self.heap_bytes -= C::heap_bytes(&key.1);
                    self.dirty.remove(&key);
                    if entry.saved {
                        self.gone.insert(key);
                    }
                }
                (before, after)
            }
        }
    }

    fn to_entries<'a>(&self, keys: impl Iterator<Item = (&'a (u32, C::Key), i64)>) -> Result<Entries, OperatorError> {
        let (mut ids, mut values, mut weights) = (vec![], vec![], vec![]);
        for ((id, key), weight) in keys {
            ids.push(*id);
            values.push(Some(key));
            weights.push(weight);
        }
        Ok(Entries { ids, values: self.codec.decode(&values)?, weights })
    }
}

impl<C: OrderCodec> ValueSet for OrderedSet<C> {
    fn apply(&mut self, ids: &[u32], values: &ArrayRef, weights: Option<&[i64]>) -> Result<Crossings, OperatorError> {
        let encoded = self.codec.encode(values)?;
        let mut crossings = Crossings::default();
        for_each(ids, values, weights, |row, slot, weight| {
            let (before, after) = self.add((slot as u32, C::key(&encoded, row)), weight);
            if (before > 0) != (after > 0) {
                crossings.rows.push(row as u32);
                crossings.diffs.push(if after > 0 { 1 } else { -1 });
            }
        });
        Ok(crossings)
    }

    fn extremes(&self, ids: &[u32], max: bool) -> Result<ArrayRef, OperatorError> {
        let extreme = |id: &u32| {
            let mut range = self.entries.range(Self::range(*id));
            let present = |(_, entry): &(&(u32, C::Key), &Entry)| entry.weight > 0;
            let found = if max { range.rfind(present) } else { range.find(present) };
            found.map(|((_, key), _)| key)
        };
        let keys: Vec<Option<&C::Key>> = ids.iter().map(extreme).collect();
        self.codec.decode(&keys)
    }

    fn entries(&self, ids: &[u32]) -> Result<Entries, OperatorError> {
        self.to_entries(ids.iter().flat_map(|id| self.entries.range(Self::range(*id)).map(|(k, e)| (k, e.weight))))
    }

    fn clear(&mut self, ids: &[u32]) -> Result<Entries, OperatorError> {
        let mut saved = vec![];
        for id in ids {
            for (key, entry) in self.entries.extract_if(Self::range(*id), |_, _| true) {
                self.heap_bytes -= C::heap_bytes(&key.1);
                self.dirty.remove(&key);
                if entry.saved {
                    saved.push(key);
                }
            }
            saved.extend(self.gone.extract_if(Self::range(*id), |_| true));
        }
        self.to_entries(saved.iter().map(|key| (key, 0)))
    }

    fn cut(&mut self) -> Result<(Entries, Entries), OperatorError> {
        let (dirty, gone) = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.gone));
        let mut weights = Vec::with_capacity(dirty.len());
        for key in &dirty {
            let entry = self.entries.get_mut(key).expect("removed entries leave the dirty set");
            entry.saved = true;
            weights.push(entry.weight);
        }
        Ok((self.to_entries(dirty.iter().zip(weights))?, self.to_entries(gone.iter().map(|key| (key, 0)))?))
    }

    fn restore(&mut self, entries: &Entries) -> Result<(), OperatorError> {
        let encoded = self.codec.encode(&entries.values)?;
        for (row, (id, weight)) in entries.ids.iter().zip(&entries.weights).enumerate() {
            let key = (*id, C::key(&encoded, row));
            if *weight == 0 {
                if let Some((key, _)) = self.entries.remove_entry(&key) {
                    self.heap_bytes -= C::heap_bytes(&key.1);
                }
                continue;
            }
            self.heap_bytes += C::heap_bytes(&key.1);
            if let Some(before) = self.entries.insert(key, Entry { weight: *weight, saved: true }) {
                debug_assert!(before.saved, "only restored entries are there during a restore");
                self.heap_bytes -= C::heap_bytes(&C::key(&encoded, row));
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let key = size_of::<(u32, C::Key)>();
        // Tree nodes are about two thirds full.
        let tree = self.entries.len() * (key + size_of::<Entry>()) + (self.dirty.len() + self.gone.len()) * key;
        tree * 3 / 2 + self.heap_bytes
    }
}
