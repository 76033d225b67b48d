//! `SESSION(t, ts, gap) … GROUP BY k, window_start, window_end`: without PARTITION BY the other grouped columns are
//! the key of the sessions. Decided before optimisation, because it fixes what the sessions are. `sql` does the same for
//! a SESSION that is the whole FROM; here it also works through subqueries. Anywhere else there is one key: all rows.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, DataFusionError, Result};
use datafusion_expr::{Aggregate, Expr, Extension, LogicalPlan};
use datafusion_optimizer::AnalyzerRule;

use crate::PlanError;
use crate::window_node::{WINDOW_COLUMNS, WindowFunction, WindowNode};

#[derive(Debug)]
pub(crate) struct SessionPartition;

impl AnalyzerRule for SessionPartition {
    fn name(&self) -> &str {
        "session_partition"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) => partition_below(aggregate),
            other => Ok(Transformed::no(other)),
        })?;
        plan.data
            .transform_up_with_subqueries(|node| match open_session(&node) {
                Some(open) => with_partition(open, vec![]).map(Transformed::yes),
                None => Ok(Transformed::no(node)),
            })
            .map(|closed| closed.data)
    }
}

fn partition_below(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    if !has_open_session(&aggregate.input) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let mut columns = vec![];
    for expr in &aggregate.group_expr {
        let Expr::Column(column) = expr.clone().unalias() else { return Err(unclear()) };
        columns.push(column);
    }
    let input = set_partition(&aggregate.input, columns)?;
    let aggregate = Aggregate::try_new(Arc::new(input), aggregate.group_expr, aggregate.aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

fn open_session(plan: &LogicalPlan) -> Option<&WindowNode> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    let node = extension.node.as_any().downcast_ref::<WindowNode>()?;
    matches!(node.function, WindowFunction::Session { partition_by: None, .. }).then_some(node)
}

fn has_open_session(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => has_open_session(&p.input),
        LogicalPlan::Filter(f) => has_open_session(&f.input),
        LogicalPlan::SubqueryAlias(a) => has_open_session(&a.input),
        other => open_session(other).is_some(),
    }
}

/// `columns` are columns of `plan`; followed down to the session.
fn set_partition(plan: &LogicalPlan, columns: Vec<Column>) -> Result<LogicalPlan> {
    let positions = || columns.iter().map(|c| plan.schema().index_of_column(c)).collect::<Result<Vec<_>>>();
    let (input, below) = match plan {
        LogicalPlan::Filter(f) => (&f.input, columns),
        LogicalPlan::SubqueryAlias(a) => {
            let column_at = |index: usize| Column::from(a.input.schema().qualified_field(index));
            (&a.input, positions()?.into_iter().map(column_at).collect())
        }
        LogicalPlan::Projection(p) => {
            let mut below = vec![];
            for index in positions()? {
                let Expr::Column(column) = p.expr[index].clone().unalias() else { return Err(unclear()) };
                below.push(column);
            }
            (&p.input, below)
        }
        other => {
            let node = open_session(other).expect("the caller has followed the same path");
            let keys = columns.into_iter().filter(|c| !WINDOW_COLUMNS.contains(&c.name.as_str()));
            return with_partition(node, keys.map(Expr::Column).collect());
        }
    };
    plan.with_new_exprs(plan.expressions(), vec![set_partition(input, below)?])
}

fn with_partition(open: &WindowNode, keys: Vec<Expr>) -> Result<LogicalPlan> {
    let WindowFunction::Session { gap_us, .. } = open.function else { unreachable!("only sessions are open") };
    let function = WindowFunction::Session { gap_us, partition_by: Some(keys) };
    let node = WindowNode::try_new(function, open.input.clone(), open.time.clone())?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

fn unclear() -> DataFusionError {
    DataFusionError::External(Box::new(PlanError::unsupported(
        "the key of the sessions is not known",
        "Write SESSION(TABLE t PARTITION BY key, …), or group by key, window_start and window_end.",
    )))
}
