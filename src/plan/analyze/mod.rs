//! Our rules over DataFusion's logical plan, and which of its own run.
//!
//! [`analyze`] gives a plan its types and is applied to everything. [`optimize_for_stream`] is for views only: it
//! decorrelates, pushes filters and projections down and nothing that reads statistics, emptiness or the clock.

mod constants;
mod distinct_on;
mod expressions;
mod own_functions;
mod postgres_types;
mod session_partition;
mod set_operations;
mod subqueries;
mod true_filters;

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion_optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion_optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion_optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion_optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion_optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion_optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::optimize_unions::OptimizeUnions;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion_optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerContext, OptimizerRule};

use crate::PlanError;

pub(crate) use expressions::rewrite_expressions;

/// Resolves grouping functions, set operations of copies, subqueries in conditions, our own functions, Postgres' types, the keys of sessions, coerces types and folds
/// constants.
pub(crate) fn analyze(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan, PlanError> {
    let rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(set_operations::SetOperationsOfCopies),
        Arc::new(subqueries::SubqueriesInConditions),
        Arc::new(own_functions::OwnFunctions),
        Arc::new(postgres_types::PostgresTypes),
        Arc::new(session_partition::SessionPartition),
        Arc::new(distinct_on::DistinctOnAsRowNumber),
        Arc::new(TypeCoercion::new()),
    ];
    let analysed = Analyzer::with_rules(rules).execute_and_check(plan, options, |_, _| {})?;
    let zone = options.execution.time_zone.as_deref().unwrap_or(kernels::functions::UTC);
    Ok(constants::fold(analysed, zone)?)
}

/// The shape that `stream/` converts: no subqueries, filters and projections as low as they go.
pub(crate) fn optimize_for_stream(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    // Left out on purpose: rules on emptiness and limits, single-distinct rewriting (our aggregates know DISTINCT),
    // FilterNullJoinKeys (our joins skip NULL keys themselves).
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(true_filters::TrueFilters),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let mut options = ConfigOptions::default();
    options.optimizer.skip_failed_rules = false;
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // Without a start time now() stays a call instead of becoming a constant.
    let context = OptimizerContext::new_with_config_options(Arc::new(options)).without_query_execution_start_time();
    Ok(Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?)
}
