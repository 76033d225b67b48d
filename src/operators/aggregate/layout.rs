//! Which state an aggregation's calls need, and the columns it travels in between the two phases.
//!
//! Partial output, in this order (all nullable but the first three kinds are never NULL in practice):
//! 1. the group columns, named and typed as in the final output;
//! 2. `__rows` int8: the sum of input diffs behind this row; for value rows the value's weight;
//! 3. per non-distinct call other than COUNT(*) its state columns `__{call}_{i}` (see `count`, `sum`, `float_sum`,
//!    `extreme`), to be added to the group's state;
//! 4. only if some call needs values: `__set` int8 (0: an additive row, as above; s > 0: a value row of value set
//!    s − 1, whose columns of 3 are NULL), and per value set one column `__value_{s}` of the argument's type.
//!
//! Rows carry diffs as any delta: a row with diff d counts d times. A value set is a pair (argument, filter);
//! DISTINCT calls and retractable MIN and MAX on the same pair share it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use types::SqlState;

use super::accumulator::{Accumulator, accumulator, state_fields};
use crate::OperatorError;
use crate::spec::{AggregateCall, AggregateFunction};

/// How a call is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CallKind {
    /// COUNT(*) without a filter, or of a column that can't be NULL: the group's row count.
    Rows,
    /// COUNT(*) with a filter, and everything additive.
    Additive,
    /// An additive accumulator fed with values as they appear and vanish.
    Distinct { set: usize },
    /// MIN or MAX of a value set.
    Extreme { set: usize, max: bool },
}

#[derive(Debug, Clone)]
pub(crate) struct CallLayout {
    pub kind: CallKind,
    pub call: AggregateCall,
    pub argument_type: DataType,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SetLayout {
    pub argument: usize,
    pub filter: Option<usize>,
    pub data_type: DataType,
}

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub group_fields: Vec<Field>,
    pub calls: Vec<CallLayout>,
    pub sets: Vec<SetLayout>,
    /// Partial output.
    pub partial: SchemaRef,
    /// Final output.
    pub output: SchemaRef,
    /// A result that leaves its type is NULL.
    pub null_on_error: bool,
}

impl Layout {
    /// Errors: `Internal` where columns don't exist or aren't what they should be; `Limit` (0A000) for a call that has
    /// no accumulator.
    pub fn new(
        groups: usize,
        calls: &[AggregateCall],
        input: &SchemaRef,
        output: &SchemaRef,
        append_only: bool,
        null_on_error: bool,
    ) -> Result<Arc<Layout>, OperatorError> {
        if output.fields().len() != groups + calls.len() {
            return Err(OperatorError::internal("output of an aggregation is its group columns, then its calls"));
        }
        let typed = |(call, field): (&AggregateCall, &Arc<Field>)| call.return_type == *field.data_type();
        if !calls.iter().zip(&output.fields()[groups..]).all(typed) {
            return Err(OperatorError::internal("output types of an aggregation are those of its calls"));
        }
        let mut sets: Vec<SetLayout> = vec![];
        let layouts = calls.iter().map(|call| call_layout(call, input, append_only, &mut sets));
        let layouts = layouts.collect::<Result<Vec<_>, _>>()?;
        let group_fields: Vec<Field> =
            output.fields()[..groups].iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let mut fields = group_fields.clone();
        fields.push(Field::new("__rows", DataType::Int64, true));
        for (index, call) in layouts.iter().enumerate() {
            let state = call.accumulator()?;
            if call.kind == CallKind::Additive {
                fields.extend(state_fields(index, state.map(|a| a.state_types()).unwrap_or_default()));
            }
        }
        if !sets.is_empty() {
            fields.push(Field::new("__set", DataType::Int64, true));
            let value = |(i, s): (usize, &SetLayout)| Field::new(format!("__value_{i}"), s.data_type.clone(), true);
            fields.extend(sets.iter().enumerate().map(value));
        }
        let partial = Arc::new(Schema::new(fields));
        Ok(Arc::new(Layout { group_fields, calls: layouts, sets, partial, output: output.clone(), null_on_error }))
    }

    pub fn groups(&self) -> usize {
        self.group_fields.len()
    }

    /// Position of `__set` in the partial output.
    pub fn set_column(&self) -> usize {
        self.partial.fields().len() - self.sets.len() - 1
    }
}

impl CallLayout {
    /// The accumulator of an additive or distinct call.
    pub fn accumulator(&self) -> Result<Option<Box<dyn Accumulator>>, OperatorError> {
        Ok(match self.kind {
            CallKind::Additive | CallKind::Distinct { .. } => {
                Some(accumulator(self.call.function, &self.argument_type, &self.call.return_type)?)
            }
            CallKind::Rows | CallKind::Extreme { .. } => None,
        })
    }
}

fn call_layout(
    call: &AggregateCall,
    input: &SchemaRef,
    append_only: bool,
    sets: &mut Vec<SetLayout>,
) -> Result<CallLayout, OperatorError> {
    let field = |column: usize| {
        input
            .fields()
            .get(column)
            .ok_or_else(|| OperatorError::internal("an aggregate names a column that isn't there"))
    };
    if let Some(filter) = call.filter
        && *field(filter)?.data_type() != DataType::Boolean
    {
        return Err(OperatorError::internal("the filter of an aggregate is a boolean column"));
    }
    let extreme = matches!(call.function, AggregateFunction::Min | AggregateFunction::Max);
    let Some(argument) = call.argument else {
        let plain_count = call.function == AggregateFunction::Count && !call.distinct;
        if !plain_count {
            return Err(OperatorError::internal("only count(*) has no argument"));
        }
        let kind = if call.filter.is_none() { CallKind::Rows } else { CallKind::Additive };
        return Ok(CallLayout { kind, call: call.clone(), argument_type: DataType::Null });
    };
    let argument_field = field(argument)?;
    let argument_type = argument_field.data_type().clone();
    let mut set = || {
        let set = SetLayout { argument, filter: call.filter, data_type: argument_type.clone() };
        sets.iter().position(|s| *s == set).unwrap_or_else(|| {
            sets.push(set);
            sets.len() - 1
        })
    };
    let kind = if extreme && argument_type != call.return_type {
        return Err(OperatorError::Limit {
            state: SqlState::FeatureNotSupported,
            message: format!("an extreme of {argument_type} as {} is not supported", call.return_type),
        });
    } else if extreme && append_only {
        CallKind::Additive
    } else if extreme {
        CallKind::Extreme { set: set(), max: call.function == AggregateFunction::Max }
    } else if call.distinct {
        CallKind::Distinct { set: set() }
    } else if call.function == AggregateFunction::Count && call.filter.is_none() && !argument_field.is_nullable() {
        CallKind::Rows
    } else {
        CallKind::Additive
    };
    Ok(CallLayout { kind, call: call.clone(), argument_type })
}
