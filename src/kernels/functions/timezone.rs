//! `timezone(zone, time)`, which is what `time AT TIME ZONE zone` means: an instant as the clock of the zone shows it, or
//! the instant at which that clock shows a time. DataFusion's binder only changes the type.

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::KernelError;
use crate::expr::zone::{UTC, cast_array_in, check, zoned};

const NAME: &str = "timezone";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Timezone {
    signature: Signature,
}

impl Timezone {
    pub fn udf() -> ScalarUDF {
        ScalarUDF::new_from_impl(Timezone { signature: Signature::user_defined(Volatility::Immutable) })
    }
}

fn plain() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// A text is an instant, as Postgres prefers it; a date is midnight.
    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [zone, time] = take_function_args(NAME, arg_types)?;
        if !zone.is_string() && !zone.is_null() {
            return plan_err!("Failed to coerce arguments to satisfy a call to '{NAME}' function");
        }
        Ok(vec![
            DataType::Utf8,
            match time {
                DataType::Timestamp(_, None) | DataType::Date32 => plain(),
                DataType::Timestamp(_, Some(_)) => zoned(UTC),
                other if other.is_string() || other.is_null() => zoned(UTC),
                _ => return plan_err!("Failed to coerce arguments to satisfy a call to '{NAME}' function"),
            },
        ])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [_, time] = take_function_args(NAME, arg_types)?;
        Ok(if matches!(time, DataType::Timestamp(_, Some(_))) { plain() } else { zoned(UTC) })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_type().clone();
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let [zone, time] = take_function_args(NAME, args.args)?;
        let time = time.to_array(rows)?;
        let result = match zone {
            ColumnarValue::Scalar(ScalarValue::Utf8(zone)) => in_zone(&time, &to, zone.as_deref()),
            zones => {
                let zones = zones.to_array(rows)?;
                let zones = zones.as_string::<i32>();
                let one = |row| in_zone(&time.slice(row, 1), &to, zones.is_valid(row).then(|| zones.value(row)));
                (0..rows).map(one).collect::<Result<Vec<_>, _>>().and_then(|parts| joined(&parts, &to))
            }
        };
        let result = result.map_err(KernelError::into_datafusion)?;
        match constant {
            true => ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

fn in_zone(time: &ArrayRef, to: &DataType, zone: Option<&str>) -> Result<ArrayRef, KernelError> {
    match zone {
        Some(zone) => check(zone).and_then(|()| cast_array_in(time, to, false, zone)),
        None => Ok(new_null_array(to, time.len())),
    }
}

fn joined(parts: &[ArrayRef], to: &DataType) -> Result<ArrayRef, KernelError> {
    if parts.is_empty() {
        return Ok(new_null_array(to, 0));
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    concat(&parts).map_err(|error| KernelError::from_arrow(&error))
}
