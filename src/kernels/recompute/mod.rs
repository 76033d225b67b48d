//! Keyed recompute: the general mechanism. An operator keeps its input by key; once per seal the rows of all touched
//! keys come here, and DataFusion's accumulators and window evaluators run over them, key by key. The operator emits
//! the difference.
//!
//! No execution plan is built: each key is one partition, its rows are at hand and already in order, so accumulators
//! and window expressions are fed directly. That keeps the failure of one key from touching the others.

mod aggregate;
mod calls;
pub(crate) mod row_pattern;
mod spec;
#[cfg(test)]
mod tests;
mod window;

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use types::canonical_columns;

use crate::{CompiledExpr, KernelError, ScalarExpr};
use aggregate::AggregateCalls;
use row_pattern::CompiledMatch;
use window::WindowCalls;

pub use row_pattern::{
    MatchColumn, MatchExpr, MatchLimit, MatchOutput, MatchProgress, MatchSource, MatchSpec, MatchValue, MatchVisit,
    Matched, ROW_LABEL, ROW_MATCH_NUMBER, StreamMatcher, match_row_schema,
};
pub use spec::{FrameBound, FrameSpec, RecomputeCall, RecomputeKind, RecomputeSort, RecomputeSpec};

/// A [`RecomputeSpec`] ready to run.
#[derive(Debug)]
pub struct Recomputer {
    key: Vec<usize>,
    input: SchemaRef,
    output: SchemaRef,
    calls: Calls,
}

#[derive(Debug)]
enum Calls {
    Aggregate(AggregateCalls),
    Window(WindowCalls),
    Match(Box<CompiledMatch>),
}

/// What came out for each partition, in their order.
#[derive(Debug)]
pub struct Recomputed {
    /// Rows of the output schema.
    pub rows: RecordBatch,
    /// One per partition: its rows, or why it has none.
    pub partitions: Vec<Result<Range<usize>, KernelError>>,
}

impl Recomputer {
    /// Errors: `Unsupported` names a function or frame that cannot be maintained; `Internal` if the spec contradicts
    /// itself.
    pub fn compile(spec: &RecomputeSpec) -> Result<Recomputer, KernelError> {
        let (passed, count) = match &spec.kind {
            RecomputeKind::Aggregate { calls } => (spec.key.len(), calls.len()),
            RecomputeKind::Window { calls } => (spec.input.fields().len(), calls.len()),
            RecomputeKind::Match(pattern) => (0, pattern.columns.len()),
        };
        if spec.output.fields().len() != passed + count {
            return Err(KernelError::internal("a recompute's output has one column per key or input column and call"));
        }
        let planned: Vec<DataType> =
            spec.output.fields()[passed..].iter().map(|field| field.data_type().clone()).collect();
        let calls = match &spec.kind {
            RecomputeKind::Aggregate { calls } => {
                Calls::Aggregate(AggregateCalls::compile(calls, &spec.input, &planned)?)
            }
            RecomputeKind::Window { calls } => {
                Calls::Window(WindowCalls::compile(calls, &spec.key, &spec.input, &planned)?)
            }
            RecomputeKind::Match(pattern) => Calls::Match(Box::new(CompiledMatch::compile(pattern, &spec.input)?)),
        };
        Ok(Recomputer { key: spec.key.clone(), input: spec.input.clone(), output: spec.output.clone(), calls })
    }

    /// Whether a key without rows still has an answer (an aggregate without GROUP BY).
    pub fn answers_empty_input(&self) -> bool {
        self.key.is_empty() && matches!(self.calls, Calls::Aggregate(_))
    }

    /// Recomputes each partition of `rows`. A partition holds all rows of one key, in an order that depends only on
    /// the rows themselves: it breaks the ties of every ORDER BY.
    ///
    /// Errors: everything that is not `Evaluation`; that is the answer of its partition.
    pub fn recompute(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> Result<Recomputed, KernelError> {
        match &self.calls {
            Calls::Aggregate(calls) => {
                let (columns, partitions, first_rows) = calls.run(rows, partitions)?;
                let keys: Vec<ArrayRef> = self.key.iter().map(|column| rows.column(*column).clone()).collect();
                let keys = take_all(&keys, &first_rows)?;
                Ok(Recomputed { rows: self.output_batch(keys, columns, first_rows.len())?, partitions })
            }
            Calls::Window(calls) => {
                let (columns, partitions, kept) = calls.run(rows, partitions)?;
                let passed = take_all(rows.columns(), &kept)?;
                Ok(Recomputed { rows: self.output_batch(passed, columns, kept.len())?, partitions })
            }
            Calls::Match(pattern) => {
                let (columns, partitions) = pattern.run(rows, partitions)?;
                let count = partitions.iter().flatten().map(|range| range.end).max().unwrap_or(0);
                Ok(Recomputed { rows: self.output_batch(vec![], columns, count)?, partitions })
            }
        }
    }

    /// Like [`recompute`](Self::recompute) for rows in any order: they are put in order and partitioned by the key.
    ///
    /// Errors: also the `Evaluation` of the first failing key.
    pub fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>, KernelError> {
        let rows = concat_batches(&self.input, rows).map_err(|error| KernelError::from_arrow(&error))?;
        let (rows, partitions) = self.partition(&rows)?;
        let result = self.recompute(&rows, &partitions)?;
        for partition in result.partitions {
            partition?;
        }
        Ok(vec![result.rows])
    }

    fn partition(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<Range<usize>>), KernelError> {
        let n = rows.num_rows();
        if n == 0 {
            let empty = self.answers_empty_input().then_some(0..0);
            return Ok((rows.clone(), empty.into_iter().collect()));
        }
        let keys: Vec<ArrayRef> = self.key.iter().map(|column| rows.column(*column).clone()).collect();
        let keys = encode(&keys, &[])?;
        let whole = encode(rows.columns(), &[])?;
        let mut order: Vec<u32> = (0..n as u32).collect();
        let at = |encoded: &Encoded, row: u32| encoded.row(row as usize).to_vec();
        order.sort_by_cached_key(|row| (at(&keys, *row), at(&whole, *row)));
        let mut partitions: Vec<Range<usize>> = vec![];
        for position in 0..n {
            let same = position > 0 && keys.row(order[position] as usize) == keys.row(order[position - 1] as usize);
            match partitions.last_mut() {
                Some(last) if same => last.end += 1,
                _ => partitions.push(position..position + 1),
            }
        }
        let ordered = take_record_batch(rows, &UInt32Array::from(order)).expect("a permutation of the rows");
        Ok((ordered, partitions))
    }

    fn output_batch(
        &self,
        mut passed: Vec<ArrayRef>,
        computed: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch, KernelError> {
        passed.extend(computed);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.output.clone(), passed, &options)
            .map_err(|error| KernelError::internal(format!("recompute does not give the planned output: {error}")))
    }
}

fn take_all(columns: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>, KernelError> {
    let take = |column: &ArrayRef| arrow::compute::take(column, rows, None);
    columns.iter().map(take).collect::<Result<_, _>>().map_err(|error| KernelError::from_arrow(&error))
}

/// Rows in a byte form that sorts as the columns do; rows of no columns are all equal.
struct Encoded(Option<arrow::row::Rows>);

impl Encoded {
    fn row(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

/// `options`: one per column, or none for the default order.
fn encode(columns: &[ArrayRef], options: &[SortOptions]) -> Result<Encoded, KernelError> {
    if columns.is_empty() {
        return Ok(Encoded(None));
    }
    let field = |(i, column): (usize, &ArrayRef)| {
        let options = options.get(i).copied().unwrap_or_default();
        SortField::new_with_options(column.data_type().clone(), options)
    };
    let fields = columns.iter().enumerate().map(field).collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&canonical_columns(columns)));
    rows.map(|rows| Encoded(Some(rows)))
        .map_err(|error| KernelError::unsupported(format!("ordering by this type: {error}")))
}

/// The values of ORDER BY, compiled.
#[derive(Debug)]
struct Ordering {
    exprs: Vec<CompiledExpr>,
    options: Vec<SortOptions>,
}

impl Ordering {
    fn compile(order_by: &[RecomputeSort], input: &SchemaRef) -> Result<Ordering, KernelError> {
        let exprs = order_by.iter().map(|sort| CompiledExpr::compile(&sort.expr, input)).collect::<Result<_, _>>()?;
        let option = |sort: &RecomputeSort| SortOptions { descending: sort.descending, nulls_first: sort.nulls_first };
        Ok(Ordering { exprs, options: order_by.iter().map(option).collect() })
    }

    /// Sorts `indices` (into `rows`) stably. Nothing to order by: they stay as they are.
    fn sort(&self, rows: &RecordBatch, indices: &mut [u32]) -> Result<(), KernelError> {
        if self.exprs.is_empty() {
            return Ok(());
        }
        let columns = self.exprs.iter().map(|expr| expr.evaluate(rows)).collect::<Result<Vec<_>, _>>()?;
        let encoded = encode(&columns, &self.options)?;
        indices.sort_by(|a, b| encoded.row(*a as usize).cmp(encoded.row(*b as usize)));
        Ok(())
    }

    /// Sorts each partition of `indices` by itself, stably.
    fn sort_partitions(
        &self,
        rows: &RecordBatch,
        partitions: &[Range<usize>],
        indices: &mut [u32],
    ) -> Result<(), KernelError> {
        if self.exprs.is_empty() {
            return Ok(());
        }
        let columns = self.exprs.iter().map(|expr| expr.evaluate(rows)).collect::<Result<Vec<_>, _>>()?;
        let encoded = encode(&columns, &self.options)?;
        for partition in partitions {
            indices[partition.clone()].sort_by(|a, b| encoded.row(*a as usize).cmp(encoded.row(*b as usize)));
        }
        Ok(())
    }
}

/// The call with room for every sum: a sum of integers ends at int8, one of decimals does not. What comes out is cast to
/// the planned type, which may be wider, and fails there if it does not fit.
fn exact(call: &RecomputeCall, input: &SchemaRef) -> Result<RecomputeCall, KernelError> {
    let mut call = call.clone();
    if let ("sum", [arg]) = (call.function.as_str(), call.args.as_mut_slice())
        && CompiledExpr::compile(arg, input)?.data_type().is_integer()
    {
        let plain = Box::new(arg.clone());
        *arg = ScalarExpr::Cast { arg: plain, to: DataType::Decimal128(20, 0), try_cast: false };
    }
    Ok(call)
}

/// One answer per partition; only failures that are not about values stop the whole.
fn isolate<T>(
    partitions: &[Range<usize>],
    mut one: impl FnMut(&Range<usize>) -> Result<T, KernelError>,
) -> Result<Vec<Result<T, KernelError>>, KernelError> {
    let settle = |result: Result<T, KernelError>| match result {
        Ok(value) => Ok(Ok(value)),
        Err(error @ KernelError::Evaluation { .. }) => Ok(Err(error)),
        Err(other) => Err(other),
    };
    partitions.iter().map(|partition| settle(one(partition))).collect()
}
