//! MIN and MAX over an append-only input: the running extreme per slot. State: the value.
//! With retractions extremes come from `value_set` instead.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::accumulator::{Accumulator, Failures, for_each, resize};
use super::order_key::OrderCodec;
use crate::OperatorError;

pub(crate) struct Extreme<C: OrderCodec> {
    codec: C,
    best: Vec<Option<C::Key>>,
    /// The order of a better value relative to the best so far.
    better: Ordering,
    /// Bytes of keys outside `best`.
    heap_bytes: usize,
}

impl<C: OrderCodec> Extreme<C> {
    pub fn new(codec: C, max: bool) -> Self {
        Extreme { codec, best: vec![], better: if max { Ordering::Greater } else { Ordering::Less }, heap_bytes: 0 }
    }
}

impl<C: OrderCodec> Accumulator for Extreme<C> {
    fn state_types(&self) -> Vec<DataType> {
        vec![self.codec.data_type().clone()]
    }

    fn resize(&mut self, len: usize) {
        resize(&mut self.best, len, None);
    }

    fn update(&mut self, ids: &[u32], argument: &ArrayRef, weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let encoded = self.codec.encode(argument)?;
        let (best, better, heap_bytes) = (self.best.as_mut_slice(), self.better, &mut self.heap_bytes);
        for_each(ids, argument, weights, |row, slot, weight| {
            debug_assert!(weight > 0, "running extremes need an append-only input");
            let wins = match &best[slot] {
                Some(key) => C::compare(&encoded, row, key) == better,
                None => true,
            };
            if wins && weight > 0 {
                let key = C::key(&encoded, row);
                *heap_bytes += C::heap_bytes(&key);
                *heap_bytes -= best[slot].replace(key).as_ref().map_or(0, C::heap_bytes);
            }
        });
        Ok(())
    }

    fn merge(&mut self, ids: &[u32], state: &[ArrayRef], weights: Option<&[i64]>) -> Result<(), OperatorError> {
        self.update(ids, &state[0], weights)
    }

    fn state(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let keys: Vec<Option<&C::Key>> = ids.iter().map(|id| self.best[*id as usize].as_ref()).collect();
        Ok(vec![self.codec.decode(&keys)?])
    }

    fn result(&self, ids: &[u32], _failures: &mut Failures) -> Result<ArrayRef, OperatorError> {
        Ok(self.state(ids)?.swap_remove(0))
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            self.heap_bytes -= self.best[*id as usize].take().as_ref().map_or(0, C::heap_bytes);
        }
    }

    fn memory_bytes(&self) -> usize {
        self.best.capacity() * size_of::<Option<C::Key>>() + self.heap_bytes
    }
}
