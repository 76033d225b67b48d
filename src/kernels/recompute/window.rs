//! Window functions of one partition through DataFusion's window expressions, which take the sorted partition as one
//! batch. Calls with the same ORDER BY share the sort.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{concat, take, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_expr::{WindowFrame, WindowFunctionDefinition};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion_physical_plan::windows::create_window_expr;

use super::{Ordering, RecomputeCall, RecomputeSort, exact, isolate};
use crate::KernelError;
use crate::expr::cast::cast_array;
use crate::expr::physical;
use crate::functions::{aggregate_function, window_function};

#[derive(Debug)]
pub(super) struct WindowCalls {
    groups: Vec<SortedCalls>,
    /// Result type of each call, in the order of the spec.
    results: Vec<DataType>,
}

/// Calls with one ORDER BY.
#[derive(Debug)]
struct SortedCalls {
    order_by: Vec<RecomputeSort>,
    order: Ordering,
    /// Position among the spec's calls, and the call.
    calls: Vec<(usize, Arc<dyn WindowExpr>)>,
}

impl WindowCalls {
    /// `planned`: the type the plan wants of each call. Functions return types of their own.
    pub fn compile(
        calls: &[RecomputeCall],
        key: &[usize],
        input: &SchemaRef,
        planned: &[DataType],
    ) -> Result<WindowCalls, KernelError> {
        let mut groups: Vec<SortedCalls> = vec![];
        for (position, call) in calls.iter().enumerate() {
            let window = window_expr(&exact(call, input)?, key, input)?;
            match groups.iter_mut().find(|group| group.order_by == call.order_by) {
                Some(group) => group.calls.push((position, window)),
                None => groups.push(SortedCalls {
                    order_by: call.order_by.clone(),
                    order: Ordering::compile(&call.order_by, input)?,
                    calls: vec![(position, window)],
                }),
            }
        }
        Ok(WindowCalls { groups, results: planned.to_vec() })
    }

    /// One column per call, the outcome of each partition, and the input row of each output row.
    pub fn run(
        &self,
        rows: &RecordBatch,
        partitions: &[Range<usize>],
    ) -> Result<(Vec<ArrayRef>, Vec<Result<Range<usize>, KernelError>>, UInt32Array), KernelError> {
        let answers = isolate(partitions, |partition| self.run_one(&rows.slice(partition.start, partition.len())))?;
        let mut pieces: Vec<Vec<ArrayRef>> = vec![vec![]; self.results.len()];
        let mut kept: Vec<u32> = vec![];
        let mut outcomes = Vec::with_capacity(partitions.len());
        for (partition, answer) in partitions.iter().zip(answers) {
            outcomes.push(answer.map(|columns| {
                columns.into_iter().zip(&mut pieces).for_each(|(column, pieces)| pieces.push(column));
                let start = kept.len();
                kept.extend(partition.clone().map(|row| row as u32));
                start..kept.len()
            }));
        }
        let column = |(pieces, result): (Vec<ArrayRef>, &DataType)| {
            let pieces: Vec<&dyn arrow::array::Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
            match pieces.is_empty() {
                true => Ok(new_empty_array(result)),
                false => concat(&pieces).map_err(|error| KernelError::from_arrow(&error)),
            }
        };
        let columns = pieces.into_iter().zip(&self.results).map(column).collect::<Result<_, _>>()?;
        Ok((columns, outcomes, UInt32Array::from(kept)))
    }

    /// The columns of all calls over one partition, in the order of its rows.
    fn run_one(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, KernelError> {
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.results.len()];
        for group in &self.groups {
            let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
            group.order.sort(rows, &mut order)?;
            let mut back = vec![0u32; order.len()];
            order.iter().enumerate().for_each(|(position, row)| back[*row as usize] = position as u32);
            let back = UInt32Array::from(back);
            let sorted = take_record_batch(rows, &UInt32Array::from(order)).expect("a permutation of the rows");
            for (position, call) in &group.calls {
                let values = call.evaluate(&sorted).map_err(KernelError::from_evaluation)?;
                let values = cast_array(&values, &self.results[*position], false)?;
                columns[*position] = Some(take(&values, &back, None).expect("a permutation of the rows"));
            }
        }
        Ok(columns.into_iter().map(|column| column.expect("every call belongs to a group")).collect())
    }
}

fn window_expr(call: &RecomputeCall, key: &[usize], input: &SchemaRef) -> Result<Arc<dyn WindowExpr>, KernelError> {
    let args = call.args.iter().map(|arg| physical(arg, input)).collect::<Result<Vec<_>, _>>()?;
    let sort = |sort: &RecomputeSort| {
        let options = arrow::compute::SortOptions { descending: sort.descending, nulls_first: sort.nulls_first };
        Ok(PhysicalSortExpr::new(physical(&sort.expr, input)?, options))
    };
    let order_by = call.order_by.iter().map(sort).collect::<Result<Vec<_>, KernelError>>()?;
    let partition_by: Vec<Arc<dyn PhysicalExpr>> = key
        .iter()
        .map(|column| Arc::new(Column::new(input.field(*column).name(), *column)) as Arc<dyn PhysicalExpr>)
        .collect();
    let frame = match &call.frame {
        Some(frame) => frame.to_frame()?,
        None => WindowFrame::new((!order_by.is_empty()).then_some(true)),
    };
    let function = definition(call, &args, &frame, input)?;
    let filter = call.filter.as_ref().map(|filter| physical(filter, input)).transpose()?;
    create_window_expr(
        &function,
        call.function.clone(),
        &args,
        &partition_by,
        &order_by,
        Arc::new(frame),
        input.clone(),
        call.ignore_nulls,
        call.distinct,
        filter,
    )
    .map_err(KernelError::from_planning)
}

/// A window function by this name, else an aggregate that can follow the frame.
fn definition(
    call: &RecomputeCall,
    args: &[Arc<dyn PhysicalExpr>],
    frame: &WindowFrame,
    input: &SchemaRef,
) -> Result<WindowFunctionDefinition, KernelError> {
    if let Some(function) = window_function(&call.function) {
        return Ok(WindowFunctionDefinition::WindowUDF(function));
    }
    let function = aggregate_function(&call.function)
        .ok_or_else(|| KernelError::unsupported(format!("window function \"{}\"", call.function)))?;
    if !frame.is_ever_expanding() {
        let probe = AggregateExprBuilder::new(function.clone(), args.to_vec())
            .schema(input.clone())
            .alias(call.function.clone())
            .with_distinct(call.distinct)
            .build()
            .and_then(|aggregate| aggregate.create_sliding_accumulator());
        if !probe.is_ok_and(|accumulator| accumulator.supports_retract_batch()) {
            return Err(KernelError::unsupported(format!(
                "\"{}\" over a frame that does not start at the first row",
                call.function
            )));
        }
    }
    Ok(WindowFunctionDefinition::AggregateUDF(function))
}
