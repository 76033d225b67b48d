//! SESSION by window functions: a row starts a session if the row before it (in time, per key) lies more than one gap
//! back; the running count of such rows numbers the sessions; their first and last times bound them.
//! Frames are RANGE, so rows of equal time see the same count whatever their order.

use datafusion_common::{Column, Result};
use datafusion_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFrame, col, lit, when};
use datafusion_functions_aggregate::expr_fn::{max, min, sum};
use datafusion_functions_window::expr_fn::lag;

use super::{input_columns, micros, project_window};
use crate::window_node::WindowNode;

const PREVIOUS: &str = "__previous";
const STARTS: &str = "__starts";
const SESSION: &str = "__session";
const FIRST: &str = "__first";
const LAST: &str = "__last";
const MICROS: &str = "__micros";

pub(super) fn lower(window: &WindowNode, rows: LogicalPlan, gap_us: i64, keys: &[Expr]) -> Result<LogicalPlan> {
    let internal = |name: &str| col(Column::new_unqualified(name));
    let order = || vec![internal(MICROS).sort(true, false)];
    let with = |extra: Vec<Expr>| input_columns(window).into_iter().chain(extra).collect::<Vec<_>>();

    let timed = LogicalPlanBuilder::from(rows).project(with(vec![micros(window.time.clone()).alias(MICROS)]))?;
    let previous =
        lag(internal(MICROS), Some(1), None).partition_by(keys.to_vec()).order_by(order()).build()?.alias(PREVIOUS);
    let starts =
        when(internal(PREVIOUS).is_null().or((internal(MICROS) - internal(PREVIOUS)).gt(lit(gap_us))), lit(1_i64))
            .otherwise(lit(0_i64))?;
    let marked = timed.window(vec![previous])?.project(with(vec![internal(MICROS), starts.alias(STARTS)]))?;

    let number = as_window(sum(internal(STARTS)), keys.to_vec(), order())?.alias(SESSION);
    let numbered = marked.window(vec![number])?.project(with(vec![internal(MICROS), internal(SESSION)]))?;

    let session_keys: Vec<Expr> = keys.iter().cloned().chain([internal(SESSION)]).collect();
    let first = as_window(min(internal(MICROS)), session_keys.clone(), vec![])?.alias(FIRST);
    let last = as_window(max(internal(MICROS)), session_keys, vec![])?.alias(LAST);
    let bounded = numbered.window(vec![first, last])?.build()?;
    project_window(bounded, window, internal(FIRST), internal(LAST) + lit(gap_us))
}

/// An aggregate call as a window function with the default frame.
fn as_window(call: Expr, keys: Vec<Expr>, order: Vec<datafusion_expr::SortExpr>) -> Result<Expr> {
    use datafusion_expr::WindowFunctionDefinition;
    use datafusion_expr::expr::WindowFunction;
    let Expr::AggregateFunction(call) = call else { unreachable!("built by an aggregate's constructor") };
    let window = WindowFunction::new(WindowFunctionDefinition::AggregateUDF(call.func), call.params.args);
    // Without an order the frame is the whole partition.
    let frame = WindowFrame::new((!order.is_empty()).then_some(false));
    Expr::WindowFunction(Box::new(window)).partition_by(keys).order_by(order).window_frame(frame).build()
}
