//! SUM that fails with 22003 where a sum of integers leaves int8, as in views; DataFusion's own wraps around. Integers
//! are added up as decimals and come back to int8 when the sum is asked for, so no partial sum can overflow. Every other
//! type is DataFusion's.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion_common::Result;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::AggregateOrderSensitivity;
use datafusion_expr::{Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature};
use datafusion_functions_aggregate::sum::Sum;

use super::converted::{Conversion, accumulator, groups_accumulator};
use crate::KernelError;
use crate::expr::arithmetic::out_of_range;

/// Integers in, integers out, decimals between.
const WIDENED: Conversion = Conversion { input: widen, output: narrow, result: DataType::Int64 };

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
fn with_wide<A>(
    args: AccumulatorArgs,
    build: impl FnOnce(AccumulatorArgs) -> Result<A>,
) -> Result<(A, Option<Conversion>)> {
    let fields: Vec<FieldRef> = args.expr_fields.iter().map(wide_field).collect();
    let args = AccumulatorArgs { return_field: wide_field(&args.return_field), expr_fields: &fields, ..args };
    Ok((build(args)?, Some(WIDENED)))
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
            true => with_wide(args, |args| self.inner.accumulator(args)).map(accumulator),
            false => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // DataFusion has a sliding DISTINCT for int8 only.
        match is_checked(args.return_type()) && !args.is_distinct {
            true => with_wide(args, |args| self.inner.create_sliding_accumulator(args)).map(accumulator),
            false => self.inner.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match is_checked(args.return_type()) {
            true => with_wide(args, |args| self.inner.create_groups_accumulator(args)).map(groups_accumulator),
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
fn narrow(sums: &ArrayRef, _result: &DataType) -> Result<ArrayRef> {
    let narrowed: Result<Int64Array, KernelError> = sums
        .as_primitive::<Decimal128Type>()
        .try_unary(|sum| i64::try_from(sum).map_err(|_| out_of_range(&DataType::Int64)));
    Ok(Arc::new(narrowed.map_err(KernelError::into_datafusion)?))
}
