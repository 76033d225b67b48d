//! Group expressions and the aggregate calls that have an accumulator of ours.

use arrow::datatypes::DataType;
use datafusion_common::DFSchema;
use datafusion_expr::expr::AggregateFunction as LogicalCall;
use datafusion_expr::{Expr, ExprSchemable};
use kernels::{ScalarExpr, from_logical};
use operators::spec::AggregateFunction;

use super::super::name_of;
use crate::PlanError;

/// A group expression over the aggregate's input.
pub(super) struct Group {
    pub expr: ScalarExpr,
    pub name: String,
    pub data_type: DataType,
}

impl Group {
    pub fn of(expr: &Expr, schema: &DFSchema) -> Result<Group, PlanError> {
        let scalar = from_logical(expr, schema)?;
        let name = name_of(expr, &scalar, schema);
        Ok(Group { expr: scalar, name, data_type: expr.get_type(schema)? })
    }
}

/// An aggregate call that has an accumulator of ours.
pub(super) struct Call {
    pub function: AggregateFunction,
    /// `None`: COUNT(*).
    pub argument: Option<(ScalarExpr, String, DataType)>,
    pub distinct: bool,
    pub filter: Option<(ScalarExpr, String)>,
    pub return_type: DataType,
}

impl Call {
    /// `None`: only recompute can do it.
    pub fn of(expr: &Expr, schema: &DFSchema) -> Result<Option<Call>, PlanError> {
        let return_type = expr.get_type(schema)?;
        let Expr::AggregateFunction(LogicalCall { func, params }) = expr.clone().unalias() else {
            return Err(PlanError::internal("aggregates are aggregate calls"));
        };
        let function = match func.name() {
            "count" => AggregateFunction::Count,
            "sum" => AggregateFunction::Sum,
            "avg" => AggregateFunction::Avg,
            "min" => AggregateFunction::Min,
            "max" => AggregateFunction::Max,
            _ => return Ok(None),
        };
        // ORDER BY inside the call means nothing to any of these.
        let argument = match params.args.as_slice() {
            [Expr::Literal(value, _)] if function == AggregateFunction::Count && !value.is_null() => None,
            [argument] => Some(argument_of(function, argument, schema)?),
            _ => return Ok(None),
        };
        let distinct = params.distinct && !matches!(function, AggregateFunction::Min | AggregateFunction::Max);
        if argument.is_none() && distinct {
            return Ok(None);
        }
        if let Some((_, _, data_type)) = &argument
            && !has_accumulator(function, data_type, &return_type)
        {
            return Ok(None);
        }
        let filter = params
            .filter
            .as_deref()
            .map(|filter| {
                let scalar = from_logical(filter, schema)?;
                let name = name_of(filter, &scalar, schema);
                Ok::<_, PlanError>((scalar, name))
            })
            .transpose()?;
        Ok(Some(Call { function, argument, distinct, filter, return_type }))
    }

    pub fn name(&self) -> String {
        let name = match self.function {
            AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Avg => "avg",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
        };
        let argument = self.argument.as_ref().map(|(_, name, _)| name.as_str()).unwrap_or("*");
        let distinct = if self.distinct { "distinct " } else { "" };
        let filter = self.filter.as_ref().map(|(_, name)| format!(" filter ({name})")).unwrap_or_default();
        format!("{name}({distinct}{argument}){filter}")
    }
}

/// AVG of integers: coercion casts the argument to double; sums of the integers themselves are exact.
fn argument_of(
    function: AggregateFunction,
    argument: &Expr,
    schema: &DFSchema,
) -> Result<(ScalarExpr, String, DataType), PlanError> {
    let argument = match argument {
        Expr::Cast(cast)
            if function == AggregateFunction::Avg
                && cast.field.data_type() == &DataType::Float64
                && is_integer(&cast.expr.get_type(schema)?) =>
        {
            &cast.expr
        }
        other => other,
    };
    let scalar = from_logical(argument, schema)?;
    let name = name_of(argument, &scalar, schema);
    Ok((scalar, name, argument.get_type(schema)?))
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// Argument types our accumulators take; the rest goes through recompute.
fn has_accumulator(function: AggregateFunction, argument: &DataType, result: &DataType) -> bool {
    match function {
        AggregateFunction::Count => true,
        AggregateFunction::Min | AggregateFunction::Max => argument == result && !argument.is_nested(),
        AggregateFunction::Sum | AggregateFunction::Avg => match argument {
            DataType::Float32 | DataType::Float64 => result == &DataType::Float64,
            DataType::Decimal128(..) => matches!(result, DataType::Decimal128(..)),
            integer if is_integer(integer) => matches!(result, DataType::Int64 | DataType::Float64),
            _ => false,
        },
    }
}
