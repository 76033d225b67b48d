//! COUNT(argument): rows whose argument is not NULL. State: n int8.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::accumulator::{Accumulator, Failures, for_each, resize};
use crate::OperatorError;

#[derive(Default)]
pub(crate) struct Count {
    n: Vec<i64>,
}

impl Accumulator for Count {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn resize(&mut self, len: usize) {
        resize(&mut self.n, len, 0);
    }

    fn update(&mut self, ids: &[u32], argument: &ArrayRef, weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let n = self.n.as_mut_slice();
        for_each(ids, argument, weights, |_, slot, weight| n[slot] += weight);
        Ok(())
    }

    fn merge(&mut self, ids: &[u32], state: &[ArrayRef], weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let counts = state[0].as_primitive::<Int64Type>();
        let (n, values) = (self.n.as_mut_slice(), counts.values());
        for_each(ids, counts, weights, |row, slot, weight| n[slot] += values[row] * weight);
        Ok(())
    }

    fn state(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        Ok(vec![Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| self.n[*id as usize])))])
    }

    fn result(&self, ids: &[u32], _failures: &mut Failures) -> Result<ArrayRef, OperatorError> {
        Ok(self.state(ids)?.swap_remove(0))
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| self.n[*id as usize] = 0);
    }

    fn memory_bytes(&self) -> usize {
        self.n.capacity() * 8
    }
}
