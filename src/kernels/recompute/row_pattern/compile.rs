//! A [`MatchSpec`] ready to run, and what each condition depends on.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pattern::{AfterMatch, Dependence, End, Label, LabelSet, Program, Read};

use super::super::aggregate::AggregateCall;
use super::super::{Ordering, exact};
use super::{MatchColumn, MatchExpr, MatchLimit, MatchOutput, MatchSource, MatchSpec, match_row_schema};
use crate::{CompiledExpr, KernelError, ScalarExpr};

#[derive(Debug)]
pub(in crate::recompute) struct CompiledMatch {
    pub(super) order: Ordering,
    pub(super) variables: Vec<String>,
    pub(super) program: Arc<Program>,
    pub(super) after_match: AfterMatch,
    pub(super) rows: MatchOutput,
    pub(super) limit: Option<MatchLimit>,
    pub(super) timed_out: bool,
    pub(super) skip_faults_pass: bool,
    pub(super) conditions: Vec<Option<Expression>>,
    pub(super) columns: Vec<Column>,
    /// Rows as navigation and aggregates see them.
    pub(super) row_schema: SchemaRef,
    /// What rows give by themselves, each distinct expression once, over the input.
    pub(super) row_exprs: Vec<CompiledExpr>,
}

#[derive(Debug)]
pub(super) enum Column {
    Input(usize),
    Measure(Expression),
}

#[derive(Debug)]
pub(super) struct Expression {
    pub values: Vec<Value>,
    pub schema: SchemaRef,
    pub expr: CompiledExpr,
    /// It depends on the candidate's place in the partition alone.
    pub local: bool,
}

#[derive(Debug)]
pub(super) struct Value {
    pub data_type: DataType,
    pub source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    Row(RowValue),
    Aggregate { set: LabelSet, complete: bool, call: AggregateCall },
    MatchNumber,
    TimedOut,
}

#[derive(Debug)]
pub(super) struct RowValue {
    pub set: LabelSet,
    pub end: End,
    pub offset: usize,
    pub shift: i64,
    pub complete: bool,
    /// Over `row_schema`.
    pub expr: CompiledExpr,
    /// Its place in `row_exprs`, unless it reads the row's label or the match's number.
    pub by_itself: Option<usize>,
}

impl CompiledMatch {
    pub(in crate::recompute) fn compile(spec: &MatchSpec, input: &SchemaRef) -> Result<CompiledMatch, KernelError> {
        let row_schema = Arc::new(match_row_schema(input));
        let mut compiler = Compiler { input, row_schema: &row_schema, row_exprs: vec![], sources: vec![] };
        let mut conditions = vec![];
        let mut dependences = vec![];
        for (label, condition) in spec.conditions.iter().enumerate() {
            let label = Label(label as u8);
            dependences.push(condition.as_ref().map_or_else(Dependence::default, |c| dependence(c, label, input)));
            let compiled =
                condition.as_ref().map(|condition| compiler.expression(condition, Some(label))).transpose()?;
            conditions.push(compiled);
        }
        let program = pattern::compile(&spec.pattern, &dependences)
            .map_err(|error| KernelError::evaluation(types::SqlState::ProgramLimitExceeded, error.to_string()))?;
        let column = |column: &MatchColumn| match column {
            MatchColumn::Input(column) => Ok(Column::Input(*column)),
            MatchColumn::Measure(measure) => compiler.expression(measure, None).map(Column::Measure),
        };
        let columns = spec.columns.iter().map(column).collect::<Result<_, KernelError>>()?;
        let row_exprs = compiler.row_exprs;
        Ok(CompiledMatch {
            order: Ordering::compile(&spec.order_by, input)?,
            variables: spec.variables.clone(),
            program: Arc::new(program),
            after_match: spec.after_match,
            rows: spec.rows,
            limit: spec.limit,
            timed_out: spec.timed_out,
            skip_faults_pass: spec.skip_faults_pass,
            conditions,
            columns,
            row_schema,
            row_exprs,
        })
    }
}

struct Compiler<'a> {
    input: &'a SchemaRef,
    row_schema: &'a SchemaRef,
    row_exprs: Vec<CompiledExpr>,
    /// What `row_exprs` was compiled from.
    sources: Vec<ScalarExpr>,
}

impl Compiler<'_> {
    /// `label`: the variable whose condition it is.
    fn expression(&mut self, expr: &MatchExpr, label: Option<Label>) -> Result<Expression, KernelError> {
        let mut values = vec![];
        for value in &expr.values {
            let source = match &value.source {
                MatchSource::Row { set, end, offset, shift, complete, expr } => Source::Row(RowValue {
                    set: *set,
                    end: *end,
                    offset: *offset,
                    shift: *shift,
                    complete: *complete,
                    expr: CompiledExpr::compile(expr, self.row_schema)?,
                    by_itself: self.by_itself(expr)?,
                }),
                MatchSource::Aggregate { set, complete, call } => {
                    let call = exact(call, self.row_schema)?;
                    let call = AggregateCall::compile(&call, self.row_schema, value.data_type.clone())?;
                    Source::Aggregate { set: *set, complete: *complete, call }
                }
                MatchSource::MatchNumber => Source::MatchNumber,
                MatchSource::TimedOut => Source::TimedOut,
            };
            values.push(Value { data_type: value.data_type.clone(), source });
        }
        let fields = values.iter().enumerate().map(|(n, v)| Field::new(n.to_string(), v.data_type.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let compiled = CompiledExpr::compile(&expr.expr, &schema)?;
        let local = label.is_some_and(|label| values.iter().all(|value| is_local(value, label)));
        Ok(Expression { values, schema, expr: compiled, local })
    }

    fn by_itself(&mut self, expr: &ScalarExpr) -> Result<Option<usize>, KernelError> {
        if reads_match(expr, self.input) {
            return Ok(None);
        }
        if let Some(known) = self.sources.iter().position(|source| source == expr) {
            return Ok(Some(known));
        }
        self.row_exprs.push(CompiledExpr::compile(expr, self.input)?);
        self.sources.push(expr.clone());
        Ok(Some(self.sources.len() - 1))
    }
}

/// Whether it reads a row's label or the match's number, which are not the row's own.
fn reads_match(expr: &ScalarExpr, input: &Schema) -> bool {
    expr.columns().iter().any(|column| *column >= input.fields().len())
}

fn is_local(value: &Value, label: Label) -> bool {
    match &value.source {
        Source::Row(row) => row.by_itself.is_some() && is_candidate(row.set, row.end, row.offset, label),
        Source::Aggregate { .. } | Source::MatchNumber | Source::TimedOut => false,
    }
}

/// Whether the row is the candidate itself: the last of a set that it is in.
fn is_candidate(set: LabelSet, end: End, offset: usize, label: Label) -> bool {
    set.contains(label) && end == End::Last && offset == 0
}

fn dependence(condition: &MatchExpr, label: Label, input: &Schema) -> Dependence {
    let mut found = Dependence::default();
    for value in &condition.values {
        match &value.source {
            MatchSource::Row { set, end, offset, shift, expr, .. } => {
                found.lookahead = found.lookahead.max((*shift).max(0) as usize);
                let candidate = is_candidate(*set, *end, *offset, label);
                if !candidate {
                    found.reads.push(Read { set: *set, end: *end, offset: *offset });
                }
                let width = input.fields().len();
                // The candidate's own label is known; those of other rows depend on the way here.
                found.whole_match |= expr.columns().contains(&width) && (!candidate || *shift != 0);
                found.match_number |= expr.columns().contains(&(width + 1));
            }
            MatchSource::Aggregate { .. } => found.whole_match = true,
            MatchSource::MatchNumber => found.match_number = true,
            MatchSource::TimedOut => {}
        }
    }
    found
}
