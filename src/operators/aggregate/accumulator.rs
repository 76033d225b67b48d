//! One aggregate call's state over all groups, in columns by slot.
//!
//! Every accumulator is a commutative group (extremes: a semilattice): `update` adds weighted input values, `merge`
//! adds states, both in any order and any split with the same outcome. A slot nothing was added to is the neutral
//! element, and so is a state row of NULLs.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field};
use types::SqlState;

use super::extreme::Extreme;
use super::float_sum::FloatSum;
use super::order_key::Codec;
use super::sum::SumOutput;
use crate::OperatorError;
use crate::spec::AggregateFunction;

/// Results that have no value, by position in the asked ids.
pub(crate) type Failures = BTreeMap<usize, Failure>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub state: SqlState,
    pub message: &'static str,
}

pub(crate) trait Accumulator: Send {
    /// Types of the state columns; all nullable.
    fn state_types(&self) -> Vec<DataType>;

    /// Makes room for slots below `len`, or gives the slots from `len` on back.
    fn resize(&mut self, len: usize);

    /// Adds `argument[i]`, `weights[i]` times (once if `None`), to slot `ids[i]`. NULLs and weights of 0 add nothing.
    fn update(&mut self, ids: &[u32], argument: &ArrayRef, weights: Option<&[i64]>) -> Result<(), OperatorError>;

    /// Adds row i of the state columns, `weights[i]` times, to slot `ids[i]`.
    fn merge(&mut self, ids: &[u32], state: &[ArrayRef], weights: Option<&[i64]>) -> Result<(), OperatorError>;

    /// The state of `ids`, as `state_types` says.
    fn state(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError>;

    /// SQL results of `ids`.
    fn result(&self, ids: &[u32], failures: &mut Failures) -> Result<ArrayRef, OperatorError>;

    /// Back to neutral.
    fn clear(&mut self, ids: &[u32]);

    fn memory_bytes(&self) -> usize;
}

/// The accumulator of a call that isn't COUNT(*). Errors: `Limit` (0A000) for a combination of types it has not.
pub(crate) fn accumulator(
    function: AggregateFunction,
    argument: &DataType,
    result: &DataType,
) -> Result<Box<dyn Accumulator>, OperatorError> {
    use AggregateFunction::*;
    let unsupported = || OperatorError::Limit {
        state: SqlState::FeatureNotSupported,
        message: format!("{function:?} of {argument} as {result} is not supported").to_lowercase(),
    };
    Ok(match function {
        Count => Box::new(super::count::Count::default()),
        Min | Max if argument == result => {
            let max = function == Max;
            match Codec::of(argument)? {
                Codec::Int(codec) => Box::new(Extreme::new(codec, max)),
                Codec::Decimal(codec) => Box::new(Extreme::new(codec, max)),
                Codec::Bytes(codec) => Box::new(Extreme::new(codec, max)),
            }
        }
        Min | Max => return Err(unsupported()),
        Sum | Avg => {
            let average = function == Avg;
            let output = SumOutput::new(argument, result, average);
            match argument {
                DataType::Int64 | DataType::Int32 | DataType::Int16 | DataType::Int8 => {
                    Box::new(super::sum::Sum::<i64>::new(output.ok_or_else(unsupported)?))
                }
                DataType::Decimal128(_, _) => Box::new(super::sum::Sum::<i128>::new(output.ok_or_else(unsupported)?)),
                DataType::Float64 | DataType::Float32 if *result == DataType::Float64 => {
                    Box::new(FloatSum::new(average))
                }
                _ => return Err(unsupported()),
            }
        }
    })
}

/// Fields of state columns: `__{call}_{index}`.
pub(crate) fn state_fields(call: usize, types: Vec<DataType>) -> impl Iterator<Item = Field> {
    types.into_iter().enumerate().map(move |(i, t)| Field::new(format!("__{call}_{i}"), t, true))
}

/// Calls `f(row, slot, weight)` for every row that is neither NULL nor of weight 0; no branch on weights or NULLs
/// inside the loop where there are none.
#[inline(always)]
pub(crate) fn for_each(
    ids: &[u32],
    argument: &dyn Array,
    weights: Option<&[i64]>,
    mut f: impl FnMut(usize, usize, i64),
) {
    let nulls = argument.nulls().filter(|n| n.null_count() > 0);
    match (nulls, weights) {
        (None, None) => ids.iter().enumerate().for_each(|(row, id)| f(row, *id as usize, 1)),
        (None, Some(weights)) => {
            for (row, (id, weight)) in ids.iter().zip(weights).enumerate() {
                if *weight != 0 {
                    f(row, *id as usize, *weight);
                }
            }
        }
        (Some(nulls), weights) => {
            for (row, id) in ids.iter().enumerate() {
                let weight = weights.map_or(1, |w| w[row]);
                if weight != 0 && nulls.is_valid(row) {
                    f(row, *id as usize, weight);
                }
            }
        }
    }
}

/// Resizes a column of state, giving memory back when it shrinks.
pub(crate) fn resize<T: Clone>(column: &mut Vec<T>, len: usize, neutral: T) {
    let shrinks = len < column.len();
    column.resize(len, neutral);
    if shrinks {
        column.shrink_to(len * 2);
    }
}
