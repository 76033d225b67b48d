//! `interval_mul(interval, number)` and `interval_div(interval, number)`: what Postgres calls the operators * and /.
//! Parts of months become days (of 30 a month), parts of days become time, as in Postgres.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion_functions::utils::make_scalar_function;
use types::SqlState;

use crate::KernelError;

const DAYS_PER_MONTH: f64 = 30.0;
const MICROS_PER_DAY: f64 = 86_400e6;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ScaleInterval {
    divides: bool,
    signature: Signature,
}

impl ScaleInterval {
    pub fn multiplication() -> Self {
        ScaleInterval { divides: false, signature: signature() }
    }

    pub fn division() -> Self {
        ScaleInterval { divides: true, signature: signature() }
    }
}

fn signature() -> Signature {
    let types = vec![DataType::Interval(IntervalUnit::MonthDayNano), DataType::Float64];
    Signature::exact(types, Volatility::Immutable)
}

impl ScalarUDFImpl for ScaleInterval {
    fn name(&self) -> &str {
        if self.divides { "interval_div" } else { "interval_mul" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(|arguments: &[ArrayRef]| self.scale_all(arguments), vec![])(&args.args)
    }
}

impl ScaleInterval {
    fn scale_all(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let [intervals, numbers] = take_function_args(self.name(), arguments)?;
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let rows = intervals.iter().zip(numbers.as_primitive::<Float64Type>());
        let scaled = rows.map(|(interval, number)| interval.zip(number).map(|(i, n)| self.scale(i, n)).transpose());
        let scaled = scaled.collect::<std::result::Result<IntervalMonthDayNanoArray, KernelError>>();
        Ok(Arc::new(scaled.map_err(KernelError::into_datafusion)?))
    }

    fn scale(
        &self,
        interval: IntervalMonthDayNano,
        number: f64,
    ) -> std::result::Result<IntervalMonthDayNano, KernelError> {
        if self.divides && number == 0.0 {
            return Err(KernelError::evaluation(SqlState::DivisionByZero, "division by zero"));
        }
        let scaled = |part: f64| if self.divides { part / number } else { part * number };
        let months = scaled(interval.months as f64);
        let days = scaled(interval.days as f64);
        let days_of_months = to_microseconds((months - months.trunc()) * DAYS_PER_MONTH);
        let mut whole_days = days.trunc() + days_of_months.trunc();
        let parts_of_days = (days - days.trunc()) + (days_of_months - days_of_months.trunc());
        let mut micros_of_days = (parts_of_days * MICROS_PER_DAY).round_ties_even();
        if micros_of_days.abs() >= MICROS_PER_DAY {
            let more = (micros_of_days / MICROS_PER_DAY).trunc();
            whole_days += more;
            micros_of_days -= more * MICROS_PER_DAY;
        }
        let micros = (scaled(interval.nanoseconds as f64 / 1e3) + micros_of_days).round_ties_even();
        let out_of_range = || KernelError::evaluation(SqlState::DatetimeFieldOverflow, "interval out of range");
        let whole = |part: f64| if part.abs() < i32::MAX as f64 { Ok(part as i32) } else { Err(out_of_range()) };
        if !(micros * 1e3).is_finite() || (micros * 1e3).abs() >= i64::MAX as f64 {
            return Err(out_of_range());
        }
        Ok(IntervalMonthDayNano::new(whole(months.trunc())?, whole(whole_days)?, micros as i64 * 1_000))
    }
}

/// Rounds away what a binary fraction adds below a microsecond.
fn to_microseconds(days: f64) -> f64 {
    (days * 1e6).round_ties_even() / 1e6
}
