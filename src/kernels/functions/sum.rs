//! SUM that fails with 22003 where a sum of integers leaves int8, as in views; DataFusion's own wraps around. Integers
//! are added up as decimals and come back to int8 when the sum is asked for, so no partial sum can overflow. Every other
//! type is DataFusion's.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::AggregateOrderSensitivity;
use datafusion_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature};
use datafusion_functions_aggregate::sum::Sum;

use crate::KernelError;
use crate::expr::arithmetic::out_of_range;

/// 2^63 sums of 2^63 each fit.
const WIDE: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct CheckedSum {
    inner: Sum,
}

fn is_checked(result: &DataType) -> bool {
    *result == DataType::Int64
}

fn wide_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), WIDE, true))
}

/// `args` for a sum of decimals.
fn with_wide<T>(args: AccumulatorArgs, build: impl FnOnce(AccumulatorArgs) -> Result<T>) -> Result<T> {
    let fields: Vec<FieldRef> = args.expr_fields.iter().map(wide_field).collect();
    build(AccumulatorArgs { return_field: wide_field(&args.return_field), expr_fields: &fields, ..args })
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match is_checked(args.return_type()) {
            true => self.inner.state_fields(StateFieldsArgs { return_field: wide_field(&args.return_field), ..args }),
            false => self.inner.state_fields(args),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match is_checked(args.return_type()) {
            true => Ok(Box::new(WideSum(with_wide(args, |args| self.inner.accumulator(args))?))),
            false => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // DataFusion has a sliding DISTINCT for int8 only.
        match is_checked(args.return_type()) && !args.is_distinct {
            true => Ok(Box::new(WideSum(with_wide(args, |args| self.inner.create_sliding_accumulator(args))?))),
            false => self.inner.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match is_checked(args.return_type()) {
            true => Ok(Box::new(WideSums(with_wide(args, |args| self.inner.create_groups_accumulator(args))?))),
            false => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// int8 → decimal.
fn widen(values: &[ArrayRef]) -> Vec<ArrayRef> {
    let one = |array: &ArrayRef| {
        let wide: Decimal128Array = array.as_primitive::<Int64Type>().unary(i128::from);
        Arc::new(wide.with_data_type(WIDE)) as ArrayRef
    };
    values.iter().map(one).collect()
}

/// decimal → int8. Errors: `Evaluation` if a sum does not fit.
fn narrow(sums: &ArrayRef) -> Result<ArrayRef> {
    let narrowed: Result<Int64Array, KernelError> = sums
        .as_primitive::<Decimal128Type>()
        .try_unary(|sum| i64::try_from(sum).map_err(|_| out_of_range(&DataType::Int64)));
    Ok(Arc::new(narrowed.map_err(KernelError::into_datafusion)?))
}

/// One sum of integers.
#[derive(Debug)]
struct WideSum(Box<dyn Accumulator>);

impl Accumulator for WideSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&widen(values))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&widen(values))
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.0.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&narrow(&sum)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.size()
    }
}

/// Sums of integers by group.
struct WideSums(Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for WideSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_count: usize,
    ) -> Result<()> {
        self.0.update_batch(&widen(values), groups, filter, groups_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        narrow(&self.0.evaluate(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], groups_count: usize) -> Result<()> {
        self.0.merge_batch(values, groups, groups_count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&widen(values), filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
