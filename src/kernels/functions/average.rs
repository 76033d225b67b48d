//! AVG of decimals rounds its last digit, as in Postgres; DataFusion's cuts the rest off. It is asked for one digit more,
//! which is then rounded away. Every other type is DataFusion's.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::AggregateOrderSensitivity;
use datafusion_expr::{Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature};
use datafusion_functions_aggregate::average::Avg;

use super::converted::{Conversion, accumulator, groups_accumulator};
use crate::expr::arithmetic::{one_digit_more, round_to};

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RoundedAverage {
    inner: Avg,
}

impl RoundedAverage {
    pub fn new() -> Self {
        RoundedAverage { inner: Avg::new() }
    }
}

fn rounded(result: &DataType) -> Conversion {
    let output = |finer: &ArrayRef, result: &DataType| Ok(round_to(finer, result)?);
    Conversion { input: <[ArrayRef]>::to_vec, output, result: result.clone() }
}

/// Builds with DataFusion's function: for a finer result if there is one.
fn build<A>(
    args: AccumulatorArgs,
    build: impl FnOnce(AccumulatorArgs) -> Result<A>,
) -> Result<(A, Option<Conversion>)> {
    let result = args.return_type().clone();
    let Some(finer) = one_digit_more(&result) else { return Ok((build(args)?, None)) };
    let return_field: FieldRef = Arc::new(args.return_field.as_ref().clone().with_data_type(finer));
    Ok((build(AccumulatorArgs { return_field, ..args })?, Some(rounded(&result))))
}

impl AggregateUDFImpl for RoundedAverage {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        build(args, |args| self.inner.accumulator(args)).map(accumulator)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        build(args, |args| self.inner.create_sliding_accumulator(args)).map(accumulator)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        build(args, |args| self.inner.create_groups_accumulator(args)).map(groups_accumulator)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
