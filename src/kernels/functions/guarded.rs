//! A wall around each function of the libraries: what it would make is measured before it is made, and a panic inside
//! becomes the error of the row it panicked on. Neither may take a worker, or a statement's neighbours, with it.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{ExprSchema, Result, ScalarValue};
use datafusion_expr::interval_arithmetic::Interval;
use datafusion_expr::preimage::PreimageResult;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};
use types::SqlState;

use super::result_size::ResultSize;
use crate::KernelError;

/// Bytes of one row's result, from above; `None` if it is NULL or an error, which take none.
type Measure = fn(&[ArrayRef], usize) -> Option<u64>;

#[derive(Debug)]
pub(super) struct Guarded {
    inner: Arc<ScalarUDF>,
    measure: Option<Measure>,
}

/// The function behind its wall.
pub(super) fn guarded(inner: Arc<ScalarUDF>) -> ScalarUDF {
    let measure: Option<Measure> = match inner.name() {
        "array_repeat" => Some(repeated_array),
        "array_resize" => Some(resized_array),
        "generate_series" | "range" => Some(series),
        "replace" => Some(replaced_text),
        _ => None,
    };
    ScalarUDF::new_from_impl(Guarded { inner, measure })
}

fn text_bytes(array: &ArrayRef, row: usize) -> Option<u64> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row).len() as u64),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row).len() as u64),
        DataType::Utf8View => Some(array.as_string_view().value(row).len() as u64),
        _ => None,
    }
}

/// As a number of elements: none are negative.
fn count(array: &ArrayRef, row: usize) -> Option<u64> {
    let wide = arrow::compute::cast(&array.slice(row, 1), &DataType::Int64).ok()?;
    let wide = wide.as_primitive::<Int64Type>();
    wide.is_valid(0).then(|| u64::try_from(wide.value(0)).unwrap_or(0))
}

/// From above: of what any value of this array takes, 16 at least.
fn element_bytes(array: &ArrayRef, row: usize) -> u64 {
    let one = array.slice(row, 1).to_data();
    one.get_slice_memory_size().unwrap_or(0).max(16) as u64
}

fn repeated_array(args: &[ArrayRef], row: usize) -> Option<u64> {
    let [element, times] = args else { return None };
    Some(count(times, row)?.saturating_mul(element_bytes(element, row)))
}

fn resized_array(args: &[ArrayRef], row: usize) -> Option<u64> {
    let fill = args.get(2).map_or(16, |fill| element_bytes(fill, row));
    Some(count(args.get(1)?, row)?.saturating_mul(fill))
}

/// Eight bytes for each element of a series, also of one that has no end.
fn series(args: &[ArrayRef], row: usize) -> Option<u64> {
    let number = |array: &ArrayRef| {
        let one = array.slice(row, 1);
        let micros = match array.data_type() {
            DataType::Date32 | DataType::Timestamp(..) => {
                arrow::compute::cast(&one, &DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?
            }
            _ => one,
        };
        let wide = arrow::compute::cast(&micros, &DataType::Int64).ok()?;
        let wide = wide.as_primitive::<Int64Type>();
        wide.is_valid(0).then(|| i128::from(wide.value(0)))
    };
    let step = match args.get(2) {
        None => 1,
        Some(steps) => match steps.as_primitive_opt::<IntervalMonthDayNanoType>() {
            // The shortest months make the most elements.
            Some(steps) if steps.is_valid(row) => {
                let step = steps.value(row);
                let days = i128::from(step.months) * 28 + i128::from(step.days);
                days * 86_400_000_000 + i128::from(step.nanoseconds / 1_000)
            }
            Some(_) => return None,
            None => number(steps)?,
        },
    };
    let (start, stop) = match args {
        [stop] => (0, number(stop)?),
        [start, stop, ..] => (number(start)?, number(stop)?),
        [] => return None,
    };
    let elements = (stop - start).checked_div(step)?;
    u64::try_from(elements).ok()?.checked_mul(8).or(Some(u64::MAX))
}

/// If every character were replaced.
fn replaced_text(args: &[ArrayRef], row: usize) -> Option<u64> {
    let [text, from, to] = args else { return None };
    let (text, from, to) = (text_bytes(text, row)?, text_bytes(from, row)?, text_bytes(to, row)?);
    Some(text.max(text.checked_div(from)?.saturating_mul(to)))
}

impl Guarded {
    fn check_size(&self, measure: Measure, args: &ScalarFunctionArgs) -> Result<()> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let mut size = ResultSize::default();
        for row in 0..rows {
            size.add(measure(&arrays, row).unwrap_or(0)).map_err(KernelError::into_datafusion)?;
        }
        Ok(())
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

/// All but the invocation is the function's own.
impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        self.inner.inner().with_updated_config(config).map(|function| guarded(Arc::new(function)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    #[expect(deprecated, reason = "functions of the library still answer it")]
    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        self.inner.is_nullable(args, schema)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(measure) = self.measure {
            self.check_size(measure, &args)?;
        }
        let done = catch_unwind(AssertUnwindSafe(|| self.inner.invoke_with_args(args)));
        done.unwrap_or_else(|panic| {
            let otherwise = KernelError::evaluation(
                SqlState::InvalidParameterValue,
                format!("invalid arguments for function \"{}\"", self.inner.name()),
            );
            Err(KernelError::of_panic(panic.as_ref()).unwrap_or(otherwise).into_datafusion())
        })
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, context)
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, context: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, literal, context)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(input)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn struct_field_mapping(&self, literals: &[Option<ScalarValue>]) -> Option<datafusion_expr::StructFieldMapping> {
        self.inner.struct_field_mapping(literals)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }
}
