//! SUM and AVG of integers and decimals, exact whatever the order: sums wrap in their native width and a carry,
//! kept only for slots that have one, counts the wraps. So a sum may leave the range and come back by retraction.
//!
//! State: sum (int8, or numeric(38, scale) whose digits may exceed 38), n int8 (non-NULL rows), carry int8 or NULL:
//! the exact sum is carry · 2^width + sum.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{ArrowNativeType, ArrowPrimitiveType, DataType, Decimal128Type, DecimalType, Int64Type, i256};
use types::SqlState;

use super::accumulator::{Accumulator, Failure, Failures, for_each, resize};
use super::fixed::fixed_values;
use crate::OperatorError;

/// i64 or i128 with what a wrapping sum with carry needs.
pub(crate) trait Wide: ArrowNativeType + Default {
    type Arrow: ArrowPrimitiveType<Native = Self>;
    const STATE_BYTES: usize = size_of::<Self>();

    fn values(column: &ArrayRef) -> ScalarBuffer<Self>;
    fn overflowing_add(self, other: Self) -> (Self, bool);
    fn is_negative(self) -> bool;
    /// self · times as (wrapped, carry).
    fn multiply(self, times: i64) -> (Self, i64);
    /// self + carry · 2^width.
    fn exact(self, carry: i64) -> i256;
    fn as_f64(self) -> f64;
}

impl Wide for i64 {
    type Arrow = Int64Type;

    fn values(column: &ArrayRef) -> ScalarBuffer<i64> {
        fixed_values(column)
    }

    #[inline(always)]
    fn overflowing_add(self, other: i64) -> (i64, bool) {
        i64::overflowing_add(self, other)
    }

    fn is_negative(self) -> bool {
        self < 0
    }

    #[inline(always)]
    fn multiply(self, times: i64) -> (i64, i64) {
        let product = self as i128 * times as i128;
        let low = product as i64;
        (low, ((product - low as i128) >> 64) as i64)
    }

    fn exact(self, carry: i64) -> i256 {
        i256::from_i128(((carry as i128) << 64) + self as i128)
    }

    fn as_f64(self) -> f64 {
        self as f64
    }
}

impl Wide for i128 {
    type Arrow = Decimal128Type;

    fn values(column: &ArrayRef) -> ScalarBuffer<i128> {
        column.as_primitive::<Decimal128Type>().values().clone()
    }

    #[inline(always)]
    fn overflowing_add(self, other: i128) -> (i128, bool) {
        i128::overflowing_add(self, other)
    }

    fn is_negative(self) -> bool {
        self < 0
    }

    #[inline]
    fn multiply(self, times: i64) -> (i128, i64) {
        if let Some(product) = self.checked_mul(times as i128) {
            return (product, 0);
        }
        let (low, high) = i256::from_i128(self).wrapping_mul(i256::from_i128(times as i128)).to_parts();
        let low = low as i128;
        (low, (high + i128::from(low < 0)) as i64)
    }

    fn exact(self, carry: i64) -> i256 {
        i256::from_parts(0, carry as i128).wrapping_add(i256::from_i128(self))
    }

    fn as_f64(self) -> f64 {
        self as f64
    }
}

/// How a sum becomes a SQL value.
pub(crate) struct SumOutput {
    average: bool,
    input_scale: i8,
    result: DataType,
    state_type: DataType,
}

impl SumOutput {
    /// `None` if there is no such conversion.
    pub fn new(argument: &DataType, result: &DataType, average: bool) -> Option<Self> {
        let (input_scale, state_type) = match argument {
            DataType::Decimal128(_, scale) => (*scale, DataType::Decimal128(38, *scale)),
            _ => (0, DataType::Int64),
        };
        match result {
            DataType::Int64 if !average && input_scale == 0 => {}
            DataType::Float64 if average => {}
            DataType::Decimal128(_, scale) if *scale >= input_scale => {}
            _ => return None,
        }
        Some(SumOutput { average, input_scale, result: result.clone(), state_type })
    }

    fn failure(&self) -> Failure {
        let message = if self.result == DataType::Int64 { "bigint out of range" } else { "numeric field overflow" };
        Failure { state: SqlState::NumericValueOutOfRange, message }
    }

    /// The decimal result; averages round half away from zero, as in Postgres.
    fn decimal(&self, sum: i256, n: i64, precision: u8, scale: i8) -> Option<i128> {
        let factor = i256::from_i128(10).checked_pow((scale - self.input_scale) as u32)?;
        let scaled = sum.checked_mul(factor)?;
        let value = if self.average { rounded_quotient(scaled, i256::from_i128(n as i128))? } else { scaled };
        let value = value.to_i128()?;
        Decimal128Type::is_valid_decimal_precision(value, precision).then_some(value)
    }
}

/// `n` > 0.
fn rounded_quotient(sum: i256, n: i256) -> Option<i256> {
    let (quotient, rest) = (sum.checked_div(n)?, sum.checked_rem(n)?);
    let up = rest.wrapping_abs().checked_mul(i256::from_i128(2))? >= n;
    Some(if up { quotient + sum.signum() } else { quotient })
}

pub(crate) struct Sum<N: Wide> {
    sum: Vec<N>,
    n: Vec<i64>,
    /// Only slots whose carry isn't 0. Looked up by slot, never iterated.
    carry: HashMap<u32, i64>,
    output: SumOutput,
}

impl<N: Wide> Sum<N> {
    pub fn new(output: SumOutput) -> Self {
        Sum { sum: vec![], n: vec![], carry: HashMap::new(), output }
    }

    fn add_carry(carry: &mut HashMap<u32, i64>, slot: usize, by: i64) {
        let total = carry.entry(slot as u32).or_insert(0);
        *total += by;
        if *total == 0 {
            carry.remove(&(slot as u32));
        }
    }

    #[inline(always)]
    fn add(sum: &mut [N], carry: &mut HashMap<u32, i64>, slot: usize, value: N) {
        let (total, wrapped) = sum[slot].overflowing_add(value);
        sum[slot] = total;
        if wrapped {
            Self::add_carry(carry, slot, if value.is_negative() { -1 } else { 1 });
        }
    }

    #[inline(always)]
    fn add_times(sum: &mut [N], carry: &mut HashMap<u32, i64>, slot: usize, value: N, weight: i64) {
        let (product, extra) = value.multiply(weight);
        Self::add(sum, carry, slot, product);
        if extra != 0 {
            Self::add_carry(carry, slot, extra);
        }
    }

    fn carry_of(&self, id: u32) -> i64 {
        if self.carry.is_empty() { 0 } else { self.carry.get(&id).copied().unwrap_or(0) }
    }

    fn int_result(&self, ids: &[u32], failures: &mut Failures) -> ArrayRef {
        let value = |(i, id): (usize, &u32)| {
            if self.n[*id as usize] == 0 {
                return None;
            }
            let exact = self.sum[*id as usize].exact(self.carry_of(*id)).to_i128();
            let value = exact.and_then(|v| i64::try_from(v).ok());
            if value.is_none() {
                failures.insert(i, self.output.failure());
            }
            value
        };
        Arc::new(ids.iter().enumerate().map(value).collect::<Int64Array>())
    }

    fn float_result(&self, ids: &[u32]) -> ArrayRef {
        let unit = 10f64.powi(self.output.input_scale as i32);
        let value = |id: &u32| {
            let n = self.n[*id as usize];
            let (sum, carry) = (self.sum[*id as usize], self.carry_of(*id));
            let exact = if carry == 0 {
                sum.as_f64()
            } else {
                sum.as_f64() + carry as f64 * 2f64.powi(8 * N::STATE_BYTES as i32)
            };
            (n != 0).then(|| exact / unit / n as f64)
        };
        Arc::new(ids.iter().map(value).collect::<Float64Array>())
    }

    fn decimal_result(&self, ids: &[u32], precision: u8, scale: i8, failures: &mut Failures) -> ArrayRef {
        let value = |(i, id): (usize, &u32)| {
            let n = self.n[*id as usize];
            if n == 0 {
                return None;
            }
            let exact = self.sum[*id as usize].exact(self.carry_of(*id));
            let value = self.output.decimal(exact, n, precision, scale);
            if value.is_none() {
                failures.insert(i, self.output.failure());
            }
            value
        };
        let array: Decimal128Array = ids.iter().enumerate().map(value).collect();
        Arc::new(array.with_data_type(self.output.result.clone()))
    }
}

impl<N: Wide> Accumulator for Sum<N> {
    fn state_types(&self) -> Vec<DataType> {
        vec![self.output.state_type.clone(), DataType::Int64, DataType::Int64]
    }

    fn resize(&mut self, len: usize) {
        resize(&mut self.sum, len, N::default());
        resize(&mut self.n, len, 0);
    }

    fn update(&mut self, ids: &[u32], argument: &ArrayRef, weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let values = N::values(argument);
        let (sum, n, carry) = (self.sum.as_mut_slice(), self.n.as_mut_slice(), &mut self.carry);
        if weights.is_none() {
            for_each(ids, argument, None, |row, slot, _| {
                Self::add(sum, carry, slot, values[row]);
                n[slot] += 1;
            });
        } else {
            for_each(ids, argument, weights, |row, slot, weight| {
                Self::add_times(sum, carry, slot, values[row], weight);
                n[slot] += weight;
            });
        }
        Ok(())
    }

    fn merge(&mut self, ids: &[u32], state: &[ArrayRef], weights: Option<&[i64]>) -> Result<(), OperatorError> {
        let sums = state[0].as_primitive::<N::Arrow>();
        let counts = state[1].as_primitive::<Int64Type>().values();
        let (sum, n, carry) = (self.sum.as_mut_slice(), self.n.as_mut_slice(), &mut self.carry);
        let values = sums.values();
        for_each(ids, sums, weights, |row, slot, weight| {
            if weight == 1 {
                Self::add(sum, carry, slot, values[row]);
            } else {
                Self::add_times(sum, carry, slot, values[row], weight);
            }
            n[slot] += counts[row] * weight;
        });
        let carries = state[2].as_primitive::<Int64Type>();
        if carries.null_count() < carries.len() {
            for_each(ids, carries, weights, |row, slot, weight| {
                Self::add_carry(carry, slot, carries.value(row) * weight);
            });
        }
        Ok(())
    }

    fn state(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let sums: Vec<N> = ids.iter().map(|id| self.sum[*id as usize]).collect();
        let sums = PrimitiveArray::<N::Arrow>::new(sums.into(), None).with_data_type(self.output.state_type.clone());
        let counts: Vec<i64> = ids.iter().map(|id| self.n[*id as usize]).collect();
        let carries = if self.carry.is_empty() {
            Int64Array::new_null(ids.len())
        } else {
            ids.iter().map(|id| self.carry.get(id).copied()).collect()
        };
        Ok(vec![Arc::new(sums), Arc::new(Int64Array::from(counts)), Arc::new(carries)])
    }

    fn result(&self, ids: &[u32], failures: &mut Failures) -> Result<ArrayRef, OperatorError> {
        Ok(match self.output.result {
            DataType::Int64 => self.int_result(ids, failures),
            DataType::Decimal128(precision, scale) => self.decimal_result(ids, precision, scale, failures),
            _ => self.float_result(ids),
        })
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            self.sum[*id as usize] = N::default();
            self.n[*id as usize] = 0;
        }
        if !self.carry.is_empty() {
            for id in ids {
                self.carry.remove(id);
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        self.sum.capacity() * N::STATE_BYTES + self.n.capacity() * 8 + self.carry.capacity() * 16
    }
}
