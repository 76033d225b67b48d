//! Plans MATCH_RECOGNIZE in FROM. `sql` has parsed it and checked how its variables and navigations hang together; here
//! names and types are resolved and a [`MatchNode`] made.
//!
//! Conditions and measures are expressions over values taken from the match: `values.rs` takes navigation, aggregates
//! and columns out of them, `typed.rs` gives what is left its types, `clause.rs` puts the parts together.

mod clause;
mod typed;
mod values;

use datafusion_common::{DataFusionError, Result};
use datafusion_expr::Extension;
use datafusion_expr::LogicalPlan;
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use sql::ast::TableFactor;
use std::sync::Arc;

use crate::PlanError;

#[derive(Debug)]
pub(crate) struct MatchRelations;

impl RelationPlanner for MatchRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let clause = match sql::match_clause(&relation) {
            None => return Ok(RelationPlanning::Original(Box::new(relation))),
            Some(clause) => clause.map_err(|error| external(PlanError::Sql(error)))?,
        };
        let alias = clause.alias.clone();
        let node = clause::plan(clause, context).map_err(external)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn external(error: PlanError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
