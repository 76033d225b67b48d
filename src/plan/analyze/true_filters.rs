//! Filters that let all rows through go. Those that let none through stay: a view over no rows is still over its inputs.

use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

#[derive(Debug)]
pub(crate) struct TrueFilters;

impl OptimizerRule for TrueFilters {
    fn name(&self) -> &str {
        "true_filters"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::Filter(filter)
                if matches!(filter.predicate, Expr::Literal(ScalarValue::Boolean(Some(true)), _)) =>
            {
                Transformed::yes(Arc::unwrap_or_clone(filter.input))
            }
            other => Transformed::no(other),
        })
    }
}
