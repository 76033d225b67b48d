//! Queries over sources that never end: which of them end nevertheless, and how they are run so that they do.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{FetchType, LogicalPlan};
use plan::relation_of;
use types::{SqlError, SqlState};

use crate::engine::Shared;

/// The smallest LIMIT of a plan that reads an endless source; `None` for other plans.
pub(super) fn endless_limit(shared: &Shared, plan: &LogicalPlan) -> Option<usize> {
    let (mut endless, mut smallest) = (false, None);
    let visited = plan.apply_with_subqueries(|node| {
        let source = relation_of(node).and_then(|relation| shared.unstored_source(relation.id));
        endless |= source.is_some_and(|source| !source.config.bounded());
        if let LogicalPlan::Limit(limit) = node
            && let Ok(FetchType::Literal(Some(rows))) = limit.get_fetch_type()
        {
            smallest = Some(smallest.map_or(rows, |smallest: usize| smallest.min(rows)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.expect("the visitor never fails");
    smallest.filter(|_| endless)
}

/// A source that never ends can be read only by a query that ends by itself: LIMIT over filters and projections.
pub(super) fn check_bounded(shared: &Shared, plan: &LogicalPlan) -> Result<(), SqlError> {
    fn endless(shared: &Shared, plan: &LogicalPlan) -> Option<String> {
        if let Some(relation) = relation_of(plan) {
            let source = shared.unstored_source(relation.id).filter(|s| !s.config.bounded());
            return source.map(|s| s.name.clone());
        }
        plan.inputs().into_iter().find_map(|input| endless(shared, input))
    }
    fn pipelined(plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::TableScan(_) => true,
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Limit(_) => plan.inputs().into_iter().all(pipelined),
            _ => false,
        }
    }
    fn ends(shared: &Shared, plan: &LogicalPlan) -> Result<(), String> {
        match plan {
            LogicalPlan::Limit(limit) if limit.fetch.is_some() && pipelined(&limit.input) => Ok(()),
            _ if relation_of(plan).is_some() => endless(shared, plan).map_or(Ok(()), Err),
            _ => plan.inputs().into_iter().try_for_each(|input| ends(shared, input)),
        }?;
        let mut inside = Ok(());
        let visited = plan.apply_subqueries(|subquery| {
            // The node that stands for a subquery has its query as the input.
            inside = std::mem::replace(&mut inside, Ok(())).and_then(|()| ends(shared, subquery));
            Ok(TreeNodeRecursion::Continue)
        });
        visited.expect("the visitor never fails");
        inside
    }
    ends(shared, plan).map_err(|name| {
        SqlError::new(
            SqlState::FeatureNotSupported,
            format!("source \"{name}\" never ends, so this query would not either"),
        )
        .with_detail("Only a LIMIT over filters and projections ends a read of an endless source.")
        .with_hint("Add LIMIT, SUBSCRIBE to the query, or create a materialized view.")
    })
}
