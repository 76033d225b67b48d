//! Plans window table functions in FROM. `sql` has recognised the spelling; here the input is bound, the time column
//! resolved and the intervals checked, and a [`WindowNode`] made.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, ExprSchemable, Extension, LogicalPlan};
use sql::ast::TableFactor;
use sql::{WindowCall, WindowCallKind};
use types::SqlState;
use types::limits::WINDOWS_PER_ROW_MAX;

use super::data_type::type_name;
use crate::PlanError;
use crate::window_node::{WINDOW_COLUMNS, WindowFunction, WindowNode};

#[derive(Debug)]
pub(crate) struct WindowRelations;

impl RelationPlanner for WindowRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let call = match sql::window_call(&relation) {
            None => return Ok(RelationPlanning::Original(Box::new(relation))),
            Some(call) => call.map_err(|error| external(PlanError::Sql(error)))?,
        };
        let alias = call.alias.clone();
        let plan = plan_call(call, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn plan_call(call: WindowCall, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let derived = TableFactor::Derived { lateral: false, subquery: call.input.clone(), alias: None, sample: None };
    let input = context.plan(derived)?;
    if let Some(taken) = WINDOW_COLUMNS.iter().find(|name| input.schema().has_column_with_unqualified_name(name)) {
        let error = PlanError::invalid(
            SqlState::DuplicateColumn,
            format!("column \"{taken}\" of the window function's input is already there"),
        );
        return Err(external(error));
    }
    let time = context.sql_to_expr(call.time_column.clone(), input.schema())?;
    check_time(&time, &input).map_err(external)?;
    let mut partition_by = vec![];
    for expr in &call.partition_by {
        let bound = context.sql_to_expr(expr.clone(), input.schema())?;
        if !matches!(bound, Expr::Column(_)) {
            return Err(external(PlanError::unsupported(
                "PARTITION BY of SESSION takes columns only",
                "Compute the expression in a subquery and partition by its column.",
            )));
        }
        partition_by.push(bound);
    }
    let function = function(&call, partition_by).map_err(external)?;
    let node = WindowNode::try_new(function, Arc::new(input), time)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

fn check_time(time: &Expr, input: &LogicalPlan) -> Result<(), PlanError> {
    let Expr::Column(column) = time else {
        return Err(PlanError::unsupported(
            "the time of a window must be a column",
            "Compute the time in a subquery and name its column.",
        ));
    };
    match time.get_type(input.schema())? {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(()),
        other => Err(PlanError::TypeMismatch {
            message: format!("time column \"{}\" of a window is of type {}", column.name, type_name(&other)),
            hint: Some("Windows need a column of type timestamp.".into()),
        }),
    }
}

fn function(call: &WindowCall, partition_by: Vec<Expr>) -> Result<WindowFunction, PlanError> {
    let name = match call.kind {
        WindowCallKind::Tumble => "TUMBLE",
        WindowCallKind::Hop => "HOP",
        WindowCallKind::Cumulate => "CUMULATE",
        WindowCallKind::Session => "SESSION",
    };
    let intervals = call
        .intervals
        .iter()
        .map(|expr| sql::interval_us(expr).map_err(PlanError::Sql))
        .collect::<Result<Vec<i64>, _>>()?;
    if !partition_by.is_empty() && call.kind != WindowCallKind::Session {
        return Err(PlanError::unsupported(
            format!("{name} with PARTITION BY is not supported"),
            "Group by the column instead.",
        ));
    }
    let (positive, usage): (usize, &str) = match call.kind {
        WindowCallKind::Tumble => (1, "TUMBLE(table, time, size [, offset])"),
        WindowCallKind::Hop => (2, "HOP(table, time, slide, size [, offset])"),
        WindowCallKind::Cumulate => (2, "CUMULATE(table, time, step, size [, offset])"),
        WindowCallKind::Session => (1, "SESSION(table [PARTITION BY key], time, gap)"),
    };
    let most = if call.kind == WindowCallKind::Session { positive } else { positive + 1 };
    if intervals.len() < positive || intervals.len() > most {
        return Err(PlanError::Invalid {
            state: SqlState::UndefinedFunction,
            message: format!("{name} does not take {} intervals", intervals.len()),
            hint: Some(format!("Write {usage}.")),
        });
    }
    if intervals[..positive].iter().any(|interval| *interval <= 0) {
        return Err(invalid(format!("intervals of {name} must be greater than zero")));
    }
    let offset_us = intervals.get(positive).copied().unwrap_or(0);
    Ok(match call.kind {
        WindowCallKind::Tumble => WindowFunction::Tumble { size_us: intervals[0], offset_us },
        WindowCallKind::Hop => {
            let (slide_us, size_us) = (intervals[0], intervals[1]);
            check_count(name, size_us.div_euclid(slide_us) + i64::from(size_us % slide_us != 0))?;
            WindowFunction::Hop { slide_us, size_us, offset_us }
        }
        WindowCallKind::Cumulate => {
            let (step_us, size_us) = (intervals[0], intervals[1]);
            if size_us % step_us != 0 {
                return Err(invalid("the size of CUMULATE must be a multiple of its step".into()));
            }
            check_count(name, size_us / step_us)?;
            WindowFunction::Cumulate { step_us, size_us, offset_us }
        }
        WindowCallKind::Session => WindowFunction::Session {
            gap_us: intervals[0],
            partition_by: (!partition_by.is_empty()).then_some(partition_by),
        },
    })
}

fn check_count(name: &str, windows: i64) -> Result<(), PlanError> {
    match windows > WINDOWS_PER_ROW_MAX {
        true => Err(PlanError::invalid(
            SqlState::ProgramLimitExceeded,
            format!("{name} would put one row into {windows} windows (at most {WINDOWS_PER_ROW_MAX})"),
        )),
        false => Ok(()),
    }
}

fn invalid(message: String) -> PlanError {
    PlanError::invalid(SqlState::InvalidParameterValue, message)
}

fn external(error: PlanError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
