//! Aggregate and window calls of a logical plan into their persisted form.

use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{AggregateFunction, NullTreatment, Sort, WindowFunction};
use datafusion_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};

use super::{FrameBound, FrameSpec, RecomputeCall, RecomputeSort};
use crate::expr::from_logical;
use crate::{KernelError, ScalarExpr, scalar_value_to_literal};

impl RecomputeCall {
    /// An aggregate call over columns of `schema`; an alias is stripped.
    ///
    /// Errors: `Unsupported` for anything that is not an aggregate call or has an argument without persisted form.
    pub fn from_aggregate(expr: &Expr, schema: &DFSchema) -> Result<RecomputeCall, KernelError> {
        match expr {
            Expr::Alias(alias) => RecomputeCall::from_aggregate(&alias.expr, schema),
            Expr::AggregateFunction(AggregateFunction { func, params }) => Ok(RecomputeCall {
                function: func.name().to_string(),
                args: exprs(&params.args, schema)?,
                distinct: params.distinct,
                filter: params.filter.as_deref().map(|filter| from_logical(filter, schema)).transpose()?,
                order_by: sorts(&params.order_by, schema)?,
                ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
                frame: None,
            }),
            other => Err(KernelError::unsupported(format!("{other} as an aggregate"))),
        }
    }

    /// A window call over columns of `schema`; an alias is stripped. Its PARTITION BY is not part of the call: the
    /// caller makes it the key of the whole recompute.
    ///
    /// Errors: as [`from_aggregate`](Self::from_aggregate).
    pub fn from_window(expr: &Expr, schema: &DFSchema) -> Result<RecomputeCall, KernelError> {
        let call: &WindowFunction = match expr {
            Expr::Alias(alias) => return RecomputeCall::from_window(&alias.expr, schema),
            Expr::WindowFunction(call) => call,
            other => return Err(KernelError::unsupported(format!("{other} as a window function"))),
        };
        let function = match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.name(),
            WindowFunctionDefinition::WindowUDF(function) => function.name(),
        };
        let params = &call.params;
        Ok(RecomputeCall {
            function: function.to_string(),
            args: exprs(&params.args, schema)?,
            distinct: params.distinct,
            filter: params.filter.as_deref().map(|filter| from_logical(filter, schema)).transpose()?,
            order_by: sorts(&params.order_by, schema)?,
            ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            frame: Some(FrameSpec::from_logical(&params.window_frame)),
        })
    }
}

fn exprs(exprs: &[Expr], schema: &DFSchema) -> Result<Vec<ScalarExpr>, KernelError> {
    exprs.iter().map(|expr| from_logical(expr, schema)).collect()
}

fn sorts(sorts: &[Sort], schema: &DFSchema) -> Result<Vec<RecomputeSort>, KernelError> {
    let convert = |sort: &Sort| {
        let expr = from_logical(&sort.expr, schema)?;
        Ok(RecomputeSort { expr, descending: !sort.asc, nulls_first: sort.nulls_first })
    };
    sorts.iter().map(convert).collect()
}

impl FrameSpec {
    fn from_logical(frame: &WindowFrame) -> FrameSpec {
        let units = match frame.units {
            WindowFrameUnits::Rows => "ROWS",
            WindowFrameUnits::Range => "RANGE",
            WindowFrameUnits::Groups => "GROUPS",
        };
        let distance = |value: &ScalarValue| (!value.is_null()).then(|| scalar_value_to_literal(value));
        let bound = |bound: &WindowFrameBound| match bound {
            WindowFrameBound::Preceding(value) => FrameBound::Preceding(distance(value)),
            WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
            WindowFrameBound::Following(value) => FrameBound::Following(distance(value)),
        };
        FrameSpec { units: units.to_string(), start: bound(&frame.start_bound), end: bound(&frame.end_bound) }
    }

    pub(super) fn to_frame(&self) -> Result<WindowFrame, KernelError> {
        let units = match self.units.as_str() {
            "ROWS" => WindowFrameUnits::Rows,
            "RANGE" => WindowFrameUnits::Range,
            "GROUPS" => WindowFrameUnits::Groups,
            other => return Err(KernelError::internal(format!("frame unit {other} does not exist"))),
        };
        let distance = |literal: &Option<crate::Literal>| match literal {
            Some(literal) => literal.to_scalar_value(),
            None => Ok(ScalarValue::UInt64(None)),
        };
        let bound = |bound: &FrameBound| {
            Ok(match bound {
                FrameBound::Preceding(value) => WindowFrameBound::Preceding(distance(value)?),
                FrameBound::CurrentRow => WindowFrameBound::CurrentRow,
                FrameBound::Following(value) => WindowFrameBound::Following(distance(value)?),
            })
        };
        Ok(WindowFrame::new_bounds(units, bound(&self.start)?, bound(&self.end)?))
    }
}
