//! Functions in FROM that take columns of relations to their left (`FROM pg_index i, unnest(i.indkey) k`): the rows
//! of the function become a list per row on the left, which is then unnested.

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, NullHandling, Result, UnnestOptions};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion_functions::core::expr_fn::get_field;

use super::subquery::{self, RowSubqueryKind, row_field};

const ROWS: &str = "__lateral";

/// Rewrites `node` if it is such a join.
pub(crate) fn rewrite(node: LogicalPlan, options: &ConfigOptions) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
    let Some(subquery) = lateral_function(&join.right) else { return Ok(Transformed::no(node)) };
    match join.join_type {
        JoinType::Inner => inner(join, subquery, options).map(Transformed::yes),
        JoinType::Left if join.filter.is_none() && join.on.is_empty() => {
            inner(join, subquery, options).map(Transformed::yes)
        }
        _ => Ok(Transformed::no(node)),
    }
}

/// The subquery on the right of a join if it unnests something; others are DataFusion's to decorrelate.
fn lateral_function(right: &LogicalPlan) -> Option<&Subquery> {
    let subquery = match right {
        LogicalPlan::Subquery(subquery) => subquery,
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => subquery,
            _ => return None,
        },
        _ => return None,
    };
    let unnests = subquery.subquery.exists(|node| Ok(matches!(node, LogicalPlan::Unnest(_))));
    unnests.expect("the visitor never fails").then_some(subquery)
}

fn inner(join: &Join, subquery: &Subquery, options: &ConfigOptions) -> Result<LogicalPlan> {
    let left_schema = join.left.schema().clone();
    let left: Vec<Expr> = left_schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
    let rows = subquery::call(RowSubqueryKind::Rows, &subquery.subquery, &left_schema, options)?;
    let with_rows = left.iter().cloned().chain([rows.alias(ROWS)]);
    let null_handling = match join.join_type {
        JoinType::Left => NullHandling::PreserveAndExpandEmpty,
        _ => NullHandling::Drop,
    };
    let unnest = UnnestOptions { null_handling, ..UnnestOptions::default() };
    let unnested = LogicalPlanBuilder::from(join.left.clone())
        .project(with_rows)?
        .unnest_column_with_options(Column::new_unqualified(ROWS), unnest)?;
    let row = Expr::Column(Column::new_unqualified(ROWS));
    let right = join.right.schema().iter().enumerate().map(|(at, (qualifier, field))| {
        let value = get_field(row.clone(), row_field(at, field).name().clone());
        value.alias_qualified(qualifier.cloned(), field.name())
    });
    let joined = unnested.project(left.iter().cloned().chain(right))?;
    let pairs = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    match conjunction(pairs.chain(join.filter.clone()).collect::<Vec<_>>()) {
        Some(condition) => joined.filter(condition)?.build(),
        None => joined.build(),
    }
}

