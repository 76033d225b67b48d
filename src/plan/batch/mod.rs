//! What ad-hoc queries need before DataFusion plans them: arithmetic of our own (`scalars.rs`), and windows: every [`WindowNode`] becomes plain DataFusion nodes with the same schema.
//!
//! TUMBLE is arithmetic on the time; HOP and CUMULATE make a list of window ends per row and unnest it; SESSION is
//! three window functions. All drop rows whose time is NULL.

mod scalars;
mod session;
mod window_ends;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, Result};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use operators::spec::WindowKind;

use crate::PlanError;
use crate::window_node::{WINDOW_COLUMNS, WINDOW_TIME_BEFORE_END_US, WindowFunction, WindowNode, window_column_type};

pub use scalars::lower_scalars_for_batch;

const ENDS: &str = "__window_ends";

/// Replaces all window nodes, also inside subqueries.
pub fn lower_windows_for_batch(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    let lowered = plan.transform_up_with_subqueries(|node| match window_of(&node) {
        Some(window) => lower(window).map(Transformed::yes),
        None => Ok(Transformed::no(node)),
    })?;
    Ok(lowered.data)
}

fn window_of(plan: &LogicalPlan) -> Option<&WindowNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<WindowNode>(),
        _ => None,
    }
}

fn lower(window: &WindowNode) -> Result<LogicalPlan> {
    let rows = LogicalPlanBuilder::from(window.input.clone()).filter(window.time.clone().is_not_null())?.build()?;
    match (&window.function, window.kind()) {
        (WindowFunction::Session { gap_us, partition_by }, _) => {
            session::lower(window, rows, *gap_us, partition_by.as_deref().unwrap_or_default())
        }
        (_, Some(WindowKind::Tumble { size_us, offset_us })) => {
            let micros = micros(window.time.clone());
            let phase = (micros.clone() - lit(offset_us)) % lit(size_us);
            // % takes the sign of the dividend; the second % brings times before 1970 into place.
            let start = micros - (phase + lit(size_us)) % lit(size_us);
            project_window(rows, window, start.clone(), start + lit(size_us))
        }
        (_, Some(kind)) => {
            let ends = window_ends::call(kind, micros(window.time.clone())).alias(ENDS);
            let mut exprs = input_columns(window);
            exprs.push(ends);
            let unnested =
                LogicalPlanBuilder::from(rows).project(exprs)?.unnest_column(Column::new_unqualified(ENDS))?.build()?;
            let end = col(Column::new_unqualified(ENDS));
            let start = match kind {
                WindowKind::Cumulate { size_us, offset_us, .. } => {
                    // The end belongs to the window before it: step back inside, then down to its start.
                    let inside = end.clone() - lit(1_i64);
                    let phase = (inside.clone() - lit(offset_us)) % lit(size_us);
                    inside - (phase + lit(size_us)) % lit(size_us)
                }
                WindowKind::Hop { size_us, .. } | WindowKind::Tumble { size_us, .. } => end.clone() - lit(size_us),
            };
            project_window(unnested, window, start, end)
        }
        (_, None) => unreachable!("only SESSION has no kind"),
    }
}

/// Input columns of the node, then the window columns from `start` and `end` in microseconds.
fn project_window(rows: LogicalPlan, window: &WindowNode, start: Expr, end: Expr) -> Result<LogicalPlan> {
    let mut exprs = input_columns(window);
    let time = end.clone() - lit(WINDOW_TIME_BEFORE_END_US);
    for (name, value) in WINDOW_COLUMNS.into_iter().zip([start, end, time]) {
        exprs.push(cast(value, window_column_type()).alias(name));
    }
    LogicalPlanBuilder::from(rows).project(exprs)?.build()
}

fn input_columns(window: &WindowNode) -> Vec<Expr> {
    window.input.schema().iter().map(|field| Expr::Column(Column::from(field))).collect()
}

/// A timestamp as microseconds since the Unix epoch.
fn micros(time: Expr) -> Expr {
    cast(time, DataType::Int64)
}
