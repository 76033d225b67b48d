//! `year(timestamp)`, `hour(timestamp)` and their like: Flink's short forms of EXTRACT, bigint like theirs.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion_functions::utils::make_scalar_function;

#[derive(Debug, PartialEq, Eq, Hash)]
struct CalendarField {
    name: &'static str,
    signature: Signature,
}

/// One function per field.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    FIELDS.iter().map(|(name, _)| {
        ScalarUDF::new_from_impl(CalendarField { name, signature: Signature::user_defined(Volatility::Immutable) })
    })
}

const FIELDS: &[(&str, DatePart)] = &[
    ("year", DatePart::Year),
    ("quarter", DatePart::Quarter),
    ("month", DatePart::Month),
    ("week", DatePart::Week),
    ("dayofyear", DatePart::DayOfYear),
    ("dayofmonth", DatePart::Day),
    ("dayofweek", DatePart::DayOfWeekSunday0),
    ("hour", DatePart::Hour),
    ("minute", DatePart::Minute),
    ("second", DatePart::Second),
];

impl ScalarUDFImpl for CalendarField {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [value] = take_function_args(self.name, arg_types)?;
        match value {
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 | DataType::Null => {
                Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, None)])
            }
            // Of an instant they would depend on the session's zone: EXTRACT does.
            other => plan_err!("{} of type {other} is not supported", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (_, part) = FIELDS.iter().find(|(name, _)| *name == self.name).expect("made from this list");
        let field = |arguments: &[ArrayRef]| {
            let [moments] = take_function_args(self.name, arguments)?;
            let field = cast(&date_part(moments, *part)?, &DataType::Int64)?;
            Ok(match part {
                // Sunday is the first day.
                DatePart::DayOfWeekSunday0 => {
                    Arc::new(field.as_primitive::<Int64Type>().unary::<_, Int64Type>(|day| day + 1))
                }
                _ => field,
            })
        };
        make_scalar_function(field, vec![])(&args.args)
    }
}
