//! Aggregates of one partition through DataFusion's accumulators.
//!
//! FILTER, DISTINCT and ORDER BY are done here, before the accumulator sees a row: DataFusion's own DISTINCT keeps
//! hash order, and one plan node cannot serve several orders.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_common::utils::normalize_float_zero;
use datafusion_expr::Accumulator;
use datafusion_physical_expr::PhysicalSortExpr;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};

use super::{Ordering, RecomputeCall, encode, exact, isolate, take_all};
use crate::expr::cast::cast_array;
use crate::expr::physical;
use crate::functions::aggregate_function;
use crate::{CompiledExpr, KernelError};

/// Aggregates whose accumulators say their value without giving it away.
const REPEATABLE: [&str; 5] = ["count", "sum", "avg", "min", "max"];

#[derive(Debug)]
pub(super) struct AggregateCalls {
    calls: Vec<AggregateCall>,
}

#[derive(Debug)]
pub(super) struct AggregateCall {
    function: AggregateFunctionExpr,
    args: Vec<CompiledExpr>,
    filter: Option<CompiledExpr>,
    order: Ordering,
    distinct: bool,
    result: DataType,
}

impl AggregateCalls {
    /// `planned`: the type the plan wants of each call. Functions return types of their own.
    pub fn compile(
        calls: &[RecomputeCall],
        input: &SchemaRef,
        planned: &[DataType],
    ) -> Result<AggregateCalls, KernelError> {
        let compile = |(call, result): (&RecomputeCall, &DataType)| {
            AggregateCall::compile(&exact(call, input)?, input, result.clone())
        };
        Ok(AggregateCalls { calls: calls.iter().zip(planned).map(compile).collect::<Result<_, _>>()? })
    }

    /// One column per call, the outcome of each partition, and the first row of each partition that has an answer.
    pub fn run(
        &self,
        rows: &RecordBatch,
        partitions: &[Range<usize>],
    ) -> Result<(Vec<ArrayRef>, Vec<Result<Range<usize>, KernelError>>, UInt32Array), KernelError> {
        let answers = isolate(partitions, |partition| {
            let rows = rows.slice(partition.start, partition.len());
            self.calls.iter().map(|call| call.run(&rows)).collect::<Result<Vec<_>, _>>()
        })?;
        let mut columns: Vec<Vec<ScalarValue>> = vec![vec![]; self.calls.len()];
        let mut first_rows = vec![];
        let mut outcomes = Vec::with_capacity(partitions.len());
        for (partition, answer) in partitions.iter().zip(answers) {
            outcomes.push(answer.map(|values| {
                values.into_iter().zip(&mut columns).for_each(|(value, column)| column.push(value));
                first_rows.push(partition.start as u32);
                first_rows.len() - 1..first_rows.len()
            }));
        }
        let column = |(values, call): (Vec<ScalarValue>, &AggregateCall)| match values.is_empty() {
            true => Ok(arrow::array::new_empty_array(&call.result)),
            false => ScalarValue::iter_to_array(values).map_err(KernelError::from_planning),
        };
        let columns = columns.into_iter().zip(&self.calls).map(column).collect::<Result<_, _>>()?;
        Ok((columns, outcomes, UInt32Array::from(first_rows)))
    }
}

impl AggregateCall {
    pub fn compile(call: &RecomputeCall, input: &SchemaRef, result: DataType) -> Result<AggregateCall, KernelError> {
        let udaf = aggregate_function(&call.function);
        let udaf = udaf.ok_or_else(|| KernelError::unsupported(format!("aggregate function \"{}\"", call.function)))?;
        let args = call.args.iter().map(|arg| physical(arg, input)).collect::<Result<Vec<_>, _>>()?;
        let order = Ordering::compile(&call.order_by, input)?;
        // WITHIN GROUP: the order is an argument of the function, not the order of its input.
        let within_group = udaf.supports_within_group_clause() && !call.order_by.is_empty();
        let mut builder = AggregateExprBuilder::new(udaf, args)
            .schema(input.clone())
            .alias(call.function.clone())
            .with_ignore_nulls(call.ignore_nulls);
        if within_group {
            let sort = |(sort, options): (&super::RecomputeSort, &arrow::compute::SortOptions)| {
                Ok(PhysicalSortExpr::new(physical(&sort.expr, input)?, *options))
            };
            let sorts = call.order_by.iter().zip(&order.options).map(sort);
            builder = builder.order_by(sorts.collect::<Result<_, KernelError>>()?);
        }
        let function = builder.build().map_err(KernelError::from_planning)?;
        // Some functions look at their argument types only here.
        function.create_accumulator().map_err(KernelError::from_planning)?;
        Ok(AggregateCall {
            args: call.args.iter().map(|arg| CompiledExpr::compile(arg, input)).collect::<Result<_, _>>()?,
            filter: call.filter.as_ref().map(|filter| CompiledExpr::compile(filter, input)).transpose()?,
            order,
            distinct: call.distinct,
            function,
            result,
        })
    }

    /// The value over `rows`, one partition.
    pub fn run(&self, rows: &RecordBatch) -> Result<ScalarValue, KernelError> {
        let mut rows = rows.clone();
        if let Some(filter) = &self.filter {
            let keep = filter.evaluate(&rows)?;
            rows = arrow::compute::filter_record_batch(&rows, keep.as_boolean())
                .map_err(|error| KernelError::from_arrow(&error))?;
        }
        let mut args = self.args.iter().map(|arg| arg.evaluate(&rows)).collect::<Result<Vec<_>, _>>()?;
        if !self.order.exprs.is_empty() || self.distinct {
            let mut indices: Vec<u32> = (0..rows.num_rows() as u32).collect();
            if self.distinct {
                args = args.iter().map(normalize_float_zero).collect();
                indices = distinct(&args, indices, self.order.exprs.is_empty())?;
            }
            self.order.sort(&rows, &mut indices)?;
            args = take_all(&args, &UInt32Array::from(indices))?;
        }
        let evaluated = self.function.create_accumulator().and_then(|mut accumulator| {
            if args.first().is_some_and(|arg| !arg.is_empty()) {
                accumulator.update_batch(&args)?;
            }
            accumulator.evaluate()
        });
        self.as_planned(evaluated.map_err(KernelError::from_evaluation)?)
    }

    /// The values over no row, the first, the first two, … of `rows`: one more than there are rows.
    ///
    /// Cost: linear for the common aggregates, which can be asked again and again; quadratic for others.
    pub fn running(&self, rows: &RecordBatch) -> Result<Vec<ScalarValue>, KernelError> {
        let plain = self.filter.is_none() && !self.distinct && self.order.exprs.is_empty();
        if !plain || !REPEATABLE.contains(&self.function.fun().name()) {
            return (0..=rows.num_rows()).map(|count| self.run(&rows.slice(0, count))).collect();
        }
        let args = self.args.iter().map(|arg| arg.evaluate(rows)).collect::<Result<Vec<_>, _>>()?;
        let mut accumulator = self.function.create_accumulator().map_err(KernelError::from_evaluation)?;
        let mut values = vec![self.as_planned(accumulator.evaluate().map_err(KernelError::from_evaluation)?)?];
        for row in 0..rows.num_rows() {
            let one: Vec<ArrayRef> = args.iter().map(|arg| arg.slice(row, 1)).collect();
            let value = accumulator.update_batch(&one).and_then(|()| accumulator.evaluate());
            values.push(self.as_planned(value.map_err(KernelError::from_evaluation)?)?);
        }
        Ok(values)
    }

    /// The aggregate over rows that come one after another. `None` for those that can't say their value in between.
    pub fn incremental(&self) -> Result<Option<Incremental>, KernelError> {
        if self.distinct || !self.order.exprs.is_empty() || !REPEATABLE.contains(&self.function.fun().name()) {
            return Ok(None);
        }
        let accumulator = self.function.create_accumulator().map_err(KernelError::from_evaluation)?;
        Ok(Some(Incremental { accumulator }))
    }

    fn as_planned(&self, value: ScalarValue) -> Result<ScalarValue, KernelError> {
        if value.data_type() == self.result {
            return Ok(value);
        }
        let value = value.to_array().map_err(KernelError::from_evaluation)?;
        let value = cast_array(&value, &self.result, false)?;
        ScalarValue::try_from_array(&value, 0).map_err(KernelError::from_evaluation)
    }
}

/// What an aggregate has made of the rows so far.
#[derive(Debug)]
pub(super) struct Incremental {
    accumulator: Box<dyn Accumulator>,
}

impl Incremental {
    pub fn add(&mut self, call: &AggregateCall, rows: &RecordBatch) -> Result<(), KernelError> {
        Incremental::update(&mut self.accumulator, call, rows)
    }

    /// The value with `rows` as well, which are not added.
    pub fn with(&mut self, call: &AggregateCall, rows: &RecordBatch) -> Result<ScalarValue, KernelError> {
        let arrays = |state: Vec<ScalarValue>| state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>();
        let copied = call.function.create_accumulator().and_then(|mut copy| {
            copy.merge_batch(&arrays(self.accumulator.state()?)?)?;
            Ok(copy)
        });
        let mut copy = copied.map_err(KernelError::from_evaluation)?;
        Incremental::update(&mut copy, call, rows)?;
        call.as_planned(copy.evaluate().map_err(KernelError::from_evaluation)?)
    }

    fn update(
        accumulator: &mut Box<dyn Accumulator>,
        call: &AggregateCall,
        rows: &RecordBatch,
    ) -> Result<(), KernelError> {
        let mut rows = rows.clone();
        if let Some(filter) = &call.filter {
            let keep = filter.evaluate(&rows)?;
            rows = arrow::compute::filter_record_batch(&rows, keep.as_boolean())
                .map_err(|error| KernelError::from_arrow(&error))?;
        }
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let args = call.args.iter().map(|arg| arg.evaluate(&rows)).collect::<Result<Vec<_>, _>>()?;
        accumulator.update_batch(&args).map_err(KernelError::from_evaluation)
    }
}

/// The first of `indices` for each combination of arguments; in their order if nothing else orders them.
fn distinct(args: &[ArrayRef], mut indices: Vec<u32>, sorted: bool) -> Result<Vec<u32>, KernelError> {
    let encoded = encode(args, &[])?;
    let mut seen = HashSet::new();
    indices.retain(|row| seen.insert(encoded.row(*row as usize)));
    if sorted {
        indices.sort_by(|a, b| encoded.row(*a as usize).cmp(encoded.row(*b as usize)));
    }
    Ok(indices)
}
