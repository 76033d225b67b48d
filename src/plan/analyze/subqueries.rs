//! Subqueries in conditions as SQL means them, before the library turns them into joins:
//!
//! * An aggregate without GROUP BY has one row always: EXISTS over it is true, IN is a comparison with its value.
//! * `x NOT IN (S)` in WHERE is true where no row of S equals x, none is NULL, and x is not NULL unless S is empty: three
//!   NOT EXISTS, each of which is a join that can be maintained.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, ExprSchema, Result};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Subquery, lit};
use datafusion_optimizer::AnalyzerRule;

use super::rewrite_expressions;

/// The only column of a subquery that has a row exactly if another has any.
const ANY: &str = "__any";

#[derive(Debug)]
pub(crate) struct SubqueriesInConditions;

impl AnalyzerRule for SubqueriesInConditions {
    fn name(&self) -> &str {
        "subqueries_in_conditions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = rewrite_expressions(plan, |_| Ok(()), |expr, ()| expr.transform_up(over_one_row))?;
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Filter(filter) => not_in(filter),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(plan.data)
    }
}

fn over_one_row(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Exists(exists) if has_one_row(&exists.subquery.subquery) => Transformed::yes(lit(!exists.negated)),
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if has_one_row(&subquery.subquery) => {
            let (expr, value) = (*expr, Expr::ScalarSubquery(subquery));
            Transformed::yes(if negated { expr.not_eq(value) } else { expr.eq(value) })
        }
        other => Transformed::no(other),
    })
}

/// Whether it is an aggregate without GROUP BY under nothing that leaves rows out.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch.is_none_or(|rows| rows > 0) && has_one_row(&sort.input),
        _ => false,
    }
}

fn not_in(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let schema = filter.input.schema().clone();
    let mut changed = false;
    let mut conditions = vec![];
    for condition in split_conjunction_owned(filter.predicate) {
        match negated_in(condition) {
            Ok(found) => {
                changed = true;
                conditions.extend(nowhere(found, &schema)?);
            }
            Err(other) => conditions.push(other),
        }
    }
    let predicate = conjunction(conditions).expect("a filter has a condition");
    let node = LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?);
    Ok(if changed { Transformed::yes(node) } else { Transformed::no(node) })
}

/// `x NOT IN (S)` however it is written. Errors: the condition, if it is something else.
fn negated_in(condition: Expr) -> Result<InSubquery, Expr> {
    match condition {
        Expr::InSubquery(found) if found.negated => Ok(found),
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(found) if !found.negated => Ok(found),
            other => Err(Expr::Not(Box::new(other))),
        },
        other => Err(other),
    }
}

/// Conditions that hold where `x NOT IN (S)` is true.
fn nowhere(found: InSubquery, schema: &DFSchema) -> Result<Vec<Expr>> {
    let InSubquery { expr, subquery, .. } = found;
    let plan = subquery.subquery.as_ref().clone();
    let (outer, references) = as_outer(*expr.clone(), schema)?;
    let (qualifier, field) = plan.schema().qualified_field(0);
    let (element, nullable) = (Expr::Column(Column::from((qualifier, field))), field.is_nullable());
    let none = |plan: LogicalPlan, references: &[Expr]| {
        let mut outer_ref_columns = subquery.outer_ref_columns.clone();
        outer_ref_columns.extend(references.iter().filter(|r| !subquery.outer_ref_columns.contains(r)).cloned());
        let spans = subquery.spans.clone();
        Expr::Exists(Exists {
            subquery: Subquery { subquery: Arc::new(plan), outer_ref_columns, spans },
            negated: true,
        })
    };
    let filtered = |condition: Expr| LogicalPlanBuilder::from(plan.clone()).filter(condition)?.build();
    let mut conditions = vec![none(filtered(element.clone().eq(outer.clone()))?, &references)];
    if nullable {
        conditions.push(none(filtered(element.is_null())?, &[]));
    }
    if expr.nullable(schema)? {
        let rows = match subquery.outer_ref_columns.is_empty() {
            // One row at most, and an equality: otherwise each row without x meets each row of S.
            true => LogicalPlanBuilder::from(plan.clone())
                .project([lit(true).alias(ANY)])?
                .distinct()?
                .filter(Expr::Column(Column::from_name(ANY)).eq(outer.is_null()))?
                .build()?,
            false => filtered(outer.is_null())?,
        };
        conditions.push(none(rows, &references));
    }
    Ok(conditions)
}

/// The expression as a subquery sees it, and what it refers to.
fn as_outer(expr: Expr, schema: &DFSchema) -> Result<(Expr, Vec<Expr>)> {
    let mut references = vec![];
    let outer = expr.transform_up(|expr| {
        let Expr::Column(column) = expr else { return Ok(Transformed::no(expr)) };
        let field = schema.field_from_column(&column)?.clone();
        let reference = Expr::OuterReferenceColumn(field, column);
        if !references.contains(&reference) {
            references.push(reference.clone());
        }
        Ok(Transformed::yes(reference))
    })?;
    Ok((outer.data, references))
}
