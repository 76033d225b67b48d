//! SUM and AVG of floats, exact: the result is the true sum rounded once, so it depends neither on the order of rows
//! nor on how they were split, and a retraction leaves no trace.
//!
//! A slot holds its sum as an unevaluated sum of doubles: `high + low`, and for the rare rest a list of further
//! components. Every addition is error-free (Knuth's two-sum, products by fused multiply-add). Values from 2^960 on
//! are summed scaled down by 2^128, so no finite intermediate overflows; NaN and ±infinity are counted, not added.
//!
//! State: high, low float8; n int8 (non-NULL rows); rest bytea or NULL, see [`Rest::to_bytes`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::accumulator::{Accumulator, Failures, for_each, resize};
use crate::OperatorError;

/// 2^960.
const BIG: f64 = f64::from_bits(((960 + 1023) as u64) << 52);
/// 2^128, and its inverse.
const SCALE: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
const UNSCALE: f64 = 1.0 / SCALE;

/// s + e = a + b exactly, s the rounded sum.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// What doesn't fit into two doubles.
#[derive(Debug, Default, Clone, PartialEq)]
struct Rest {
    nan: i64,
    positive_infinity: i64,
    negative_infinity: i64,
    /// Further components of the sum.
    parts: Vec<f64>,
    /// Components of the sum of values from 2^960 on, times 2^-128.
    big: Vec<f64>,
}

/// Adds `value` to an exact sum; the components stay non-overlapping, ascending and non-zero.
fn grow(parts: &mut Vec<f64>, mut value: f64) {
    let mut kept = 0;
    for i in 0..parts.len() {
        let (sum, error) = two_sum(value, parts[i]);
        if error != 0.0 {
            parts[kept] = error;
            kept += 1;
        }
        value = sum;
    }
    parts.truncate(kept);
    if value != 0.0 {
        parts.push(value);
    }
}

/// The sum of non-overlapping ascending components, rounded once (half to even).
fn rounded(parts: &[f64]) -> f64 {
    let mut rest = parts.iter().rev();
    let Some(mut high) = rest.next().copied() else { return 0.0 };
    let mut error = 0.0;
    for part in rest.by_ref() {
        (high, error) = two_sum(high, *part);
        if error != 0.0 {
            break;
        }
    }
    // `high` was rounded with `error` left: if that was a tie, what lies below decides it.
    if let Some(below) = rest.next()
        && (error < 0.0) == (*below < 0.0)
    {
        let twice = error * 2.0;
        let next = high + twice;
        if next - high == twice {
            return next;
        }
    }
    high
}

impl Rest {
    fn is_empty(&self) -> bool {
        *self == Rest::default()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![];
        for count in [self.nan, self.positive_infinity, self.negative_infinity, self.parts.len() as i64] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        for part in self.parts.iter().chain(&self.big) {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Rest, OperatorError> {
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let broken = || OperatorError::internal("state of a float sum is cut short");
        let [nan, positive, negative, parts, floats @ ..] = words.as_slice() else { return Err(broken()) };
        let floats: Vec<f64> = floats.iter().map(|bits| f64::from_bits(*bits)).collect();
        let (parts, big) = floats.split_at_checked(*parts as usize).ok_or_else(broken)?;
        Ok(Rest {
            nan: *nan as i64,
            positive_infinity: *positive as i64,
            negative_infinity: *negative as i64,
            parts: parts.to_vec(),
            big: big.to_vec(),
        })
    }
}

pub(crate) struct FloatSum {
    high: Vec<f64>,
    low: Vec<f64>,
    n: Vec<i64>,
    /// Only slots that have one. Looked up by slot, never iterated.
    rest: HashMap<u32, Rest>,
    average: bool,
}

impl FloatSum {
    pub fn new(average: bool) -> Self {
        FloatSum { high: vec![], low: vec![], n: vec![], rest: HashMap::new(), average }
    }

    /// Adds a finite value below 2^960 in magnitude.
    #[inline(always)]
    fn add_small(&mut self, slot: usize, value: f64) {
        let (high, error) = two_sum(self.high[slot], value);
        self.high[slot] = high;
        if error != 0.0 {
            let (low, error) = two_sum(self.low[slot], error);
            self.low[slot] = low;
            if error != 0.0 {
                self.change_rest(slot, |rest| grow(&mut rest.parts, error));
            }
        }
    }

    fn change_rest(&mut self, slot: usize, change: impl FnOnce(&mut Rest)) {
        let rest = self.rest.entry(slot as u32).or_default();
        change(rest);
        if rest.is_empty() {
            self.rest.remove(&(slot as u32));
        }
    }

    #[inline(always)]
    fn add(&mut self, slot: usize, value: f64, weight: i64) {
        if value.abs() < BIG {
            match weight {
                1 => self.add_small(slot, value),
                -1 => self.add_small(slot, -value),
                _ => self.add_product(slot, value, weight),
            }
        } else {
            self.add_special(slot, value, weight);
        }
    }

    /// Exact: weights are split so that each factor has at most 32 bits, products by fused multiply-add.
    #[cold]
    fn add_product(&mut self, slot: usize, value: f64, weight: i64) {
        for factor in factors(weight) {
            let product = value * factor;
            self.add_small(slot, product);
            self.add_small(slot, value.mul_add(factor, -product));
        }
    }

    #[cold]
    fn add_special(&mut self, slot: usize, value: f64, weight: i64) {
        self.change_rest(slot, |rest| {
            if value.is_nan() {
                rest.nan += weight;
            } else if value == f64::INFINITY {
                rest.positive_infinity += weight;
            } else if value == f64::NEG_INFINITY {
                rest.negative_infinity += weight;
            } else {
                for factor in factors(weight) {
                    let product = value * UNSCALE * factor;
                    grow(&mut rest.big, product);
                    grow(&mut rest.big, (value * UNSCALE).mul_add(factor, -product));
                }
            }
        });
    }

    fn sum(&self, id: u32) -> f64 {
        let (high, low) = (self.high[id as usize], self.low[id as usize]);
        match self.rest.get(&id) {
            None => high + low,
            Some(rest) => {
                let nan = rest.nan > 0 || (rest.positive_infinity > 0 && rest.negative_infinity > 0);
                if nan {
                    return f64::NAN;
                }
                if rest.positive_infinity > 0 {
                    return f64::INFINITY;
                }
                if rest.negative_infinity > 0 {
                    return f64::NEG_INFINITY;
                }
                let scale = if rest.big.is_empty() { 1.0 } else { UNSCALE };
                let mut parts = rest.big.clone();
                for part in rest.parts.iter().chain([&low, &high]) {
                    grow(&mut parts, part * scale);
                }
                rounded(&parts) / scale
            }
        }
    }
}

/// A weight as a sum of factors that doubles hold exactly with bits to spare.
fn factors(weight: i64) -> impl Iterator<Item = f64> {
    let low = weight as i32 as i64;
    [low as f64, (weight - low) as f64].into_iter().filter(|f| *f != 0.0)
}

impl Accumulator for FloatSum {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Float64, DataType::Float64, DataType::Int64, DataType::Binary]
    }

    fn resize(&mut self, len: usize) {
        resize(&mut self.high, len, 0.0);
        resize(&mut self.low, len, 0.0);
        resize(&mut self.n, len, 0);
    }

    fn update(&mut self, ids: &[u32], argument: &ArrayRef, weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let argument = cast(argument, &DataType::Float64)?;
        let values = argument.as_primitive::<Float64Type>().values();
        for_each(ids, &argument, weights, |row, slot, weight| {
            self.add(slot, values[row], weight);
            self.n[slot] += weight;
        });
        Ok(())
    }

    fn merge(&mut self, ids: &[u32], state: &[ArrayRef], weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let (highs, lows) = (state[0].as_primitive::<Float64Type>(), state[1].as_primitive::<Float64Type>().values());
        let counts = state[2].as_primitive::<Int64Type>().values();
        for_each(ids, highs, weights, |row, slot, weight| {
            self.add(slot, highs.value(row), weight);
            self.add(slot, lows[row], weight);
            self.n[slot] += counts[row] * weight;
        });
        let rests = state[3].as_binary::<i32>();
        if rests.null_count() == rests.len() {
            return Ok(());
        }
        let mut result = Ok(());
        for_each(ids, rests, weights, |row, slot, weight| match Rest::from_bytes(rests.value(row)) {
            Ok(rest) => self.merge_rest(slot, &rest, weight),
            Err(error) => result = Err(error),
        });
        result
    }

    fn state(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let floats = |column: &[f64]| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| column[*id as usize])))
        };
        let n = Int64Array::from_iter_values(ids.iter().map(|id| self.n[*id as usize]));
        let rests: ArrayRef = if self.rest.is_empty() {
            arrow::array::new_null_array(&DataType::Binary, ids.len())
        } else {
            let bytes: Vec<_> = ids.iter().map(|id| self.rest.get(id).map(Rest::to_bytes)).collect();
            Arc::new(BinaryArray::from_iter(bytes))
        };
        Ok(vec![floats(&self.high), floats(&self.low), Arc::new(n), rests])
    }

    fn result(&self, ids: &[u32], _failures: &mut Failures) -> Result<ArrayRef, OperatorError> {
        let value = |id: &u32| {
            let n = self.n[*id as usize];
            (n != 0).then(|| if self.average { self.sum(*id) / n as f64 } else { self.sum(*id) })
        };
        Ok(Arc::new(ids.iter().map(value).collect::<Float64Array>()))
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            self.high[*id as usize] = 0.0;
            self.low[*id as usize] = 0.0;
            self.n[*id as usize] = 0;
            self.rest.remove(id);
        }
    }

    fn memory_bytes(&self) -> usize {
        (self.high.capacity() + self.low.capacity() + self.n.capacity()) * 8 + self.rest.capacity() * 160
    }
}

impl FloatSum {
    fn merge_rest(&mut self, slot: usize, rest: &Rest, weight: i64) {
        for part in &rest.parts {
            self.add(slot, *part, weight);
        }
        self.change_rest(slot, |mine| {
            mine.nan += rest.nan * weight;
            mine.positive_infinity += rest.positive_infinity * weight;
            mine.negative_infinity += rest.negative_infinity * weight;
            for part in &rest.big {
                for factor in factors(weight) {
                    let product = part * factor;
                    grow(&mut mine.big, product);
                    grow(&mut mine.big, part.mul_add(factor, -product));
                }
            }
        });
    }
}
