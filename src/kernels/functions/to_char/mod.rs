//! `to_char(timestamp | date | time | interval, text)` with Postgres' template patterns, and
//! `date_format(timestamp | date, text)` with Java's, as in Flink.
//! `template` and `java` read a pattern, `moment` takes a value apart, `write` prints one by the other.
//! DataFusion's takes strftime patterns and returns a Postgres pattern unchanged: silently wrong, hence replaced.

mod java;
mod moment;
mod template;
mod write;

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::KernelError;
use moment::Moment;
use template::Template;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    patterns: Patterns,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Patterns {
    Postgres,
    Java,
}

impl Patterns {
    fn parse(self, format: &str) -> Result<Template, KernelError> {
        match self {
            Patterns::Postgres => Ok(template::parse(format)),
            Patterns::Java => java::parse(format),
        }
    }
}

impl ToChar {
    pub fn with_postgres_patterns() -> Self {
        ToChar { patterns: Patterns::Postgres, signature: Signature::user_defined(Volatility::Immutable) }
    }

    pub fn with_java_patterns() -> Self {
        ToChar { patterns: Patterns::Java, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        match self.patterns {
            Patterns::Postgres => "to_char",
            Patterns::Java => "date_format",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    /// Everything becomes a timestamp in microseconds or an interval.
    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, _] = take_function_args(self.name(), arg_types)?;
        let value = match value {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Interval(_) | DataType::Duration(_) | DataType::Time32(_) | DataType::Time64(_)
                if self.patterns == Patterns::Postgres =>
            {
                DataType::Interval(IntervalUnit::MonthDayNano)
            }
            DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return plan_err!("{} of type {other} is not supported", self.name()),
        };
        Ok(vec![value, DataType::Utf8])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let [values, formats] = take_function_args(self.name(), args.args)?;
        let parse = |format: &str| self.patterns.parse(format).map_err(KernelError::into_datafusion);
        let values = values.into_array(if scalar { 1 } else { rows })?;
        let result = match &formats {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(format))) => {
                let template = parse(format)?;
                format_rows(&values, |_| Some(&template))
            }
            ColumnarValue::Scalar(_) => format_rows(&values, |_| None),
            ColumnarValue::Array(formats) => {
                let templates: Vec<Option<Template>> = formats
                    .as_string::<i32>()
                    .iter()
                    .map(|format| format.map(parse).transpose())
                    .collect::<Result<_>>()?;
                format_rows(&values, |row| templates[row].as_ref())
            }
        };
        let result = result.map_err(KernelError::into_datafusion)?;
        match scalar {
            true => ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

fn format_rows<'a>(
    values: &ArrayRef,
    template: impl Fn(usize) -> Option<&'a Template>,
) -> Result<ArrayRef, KernelError> {
    let zone = match values.data_type() {
        DataType::Timestamp(_, Some(zone)) => Some(Tz::from_str(zone).map_err(|e| KernelError::from_arrow(&e))?),
        _ => None,
    };
    let values = match values.data_type() {
        // A literal that skipped coercion.
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Interval(IntervalUnit::MonthDayNano) => {
            values.clone()
        }
        _ => {
            cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(|e| KernelError::from_arrow(&e))?
        }
    };
    let mut builder = StringBuilder::with_capacity(values.len(), values.len() * 24);
    let mut text = String::new();
    for row in 0..values.len() {
        let Some(template) = template(row).filter(|_| values.is_valid(row)) else {
            builder.append_null();
            continue;
        };
        text.clear();
        let moment = match values.data_type() {
            DataType::Interval(_) => Moment::of_interval(values.as_primitive::<IntervalMonthDayNanoType>().value(row)),
            _ => Moment::of_timestamp(values.as_primitive::<TimestampMicrosecondType>().value(row), zone)?,
        };
        template.iter().for_each(|token| token.write(&moment, &mut text));
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}
