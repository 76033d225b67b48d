//! The clause as a whole: input, columns, variables, pattern, output.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use kernels::{MatchColumn, MatchExpr, MatchLimit, MatchOutput, MatchSpec, RecomputeSort, ScalarExpr};
use pattern::{AfterMatch, Label, LabelSet, Pattern, VARIABLES_MAX};
use sql::ast::{self, Ident, TableFactor, Visit, Visitor};
use sql::{MatchClause, MatchPattern, MatchRows, MatchSkip};
use types::SqlState;

use super::values::{Scope, row_schema};
use crate::bind::data_type::type_name;
use crate::match_node::MatchNode;
use crate::{PlanError, analyze};

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

pub(super) fn plan(clause: MatchClause, context: &mut dyn RelationPlannerContext) -> Result<MatchNode, PlanError> {
    let derived = TableFactor::Derived { lateral: false, subquery: clause.input.clone(), alias: None, sample: None };
    let input = context.plan(derived)?;
    // Conditions are bound to the types of the input, so these must be final.
    let input = analyze::analyze(input, context.context_provider().options())?;
    let partition = columns(&clause.partition_by, "PARTITION BY", &input, context)?;
    let keys: Vec<ast::Expr> = clause.order_by.iter().map(|order| order.expr.clone()).collect();
    let order = columns(&keys, "ORDER BY", &input, context)?;
    let (input, kept) = narrow(&clause, input, &partition, &order, context)?;
    let place = |column: &usize| kept.iter().position(|kept| kept == column).expect("it was kept");
    let partition: Vec<usize> = partition.iter().map(place).collect();
    let order: Vec<usize> = order.iter().map(place).collect();

    let variables = variables(&clause, context)?;
    let types = input.schema().fields().iter().map(|field| field.data_type().clone());
    let names = input.schema().fields().iter().enumerate().map(|(column, field)| (field.name().clone(), column));
    let (rows, columns) = (row_schema(types)?, names.collect());
    let time = order.first().copied();
    let mut scope = Scope { context, columns, rows, variables: variables.sets.clone(), time };
    let conditions = conditions(&clause, &variables, &mut scope)?;
    let measures = measures(&clause, &mut scope)?;
    let limit = limit(&clause, time, &input)?;
    let (columns, schema) = output(&clause, &input, &partition, &order, measures);
    let order_by = clause.order_by.iter().zip(&order).map(|(order, column)| RecomputeSort {
        expr: ScalarExpr::Column(*column),
        descending: order.descending,
        // As Postgres: NULLs are larger than everything.
        nulls_first: order.nulls_first.unwrap_or(order.descending),
    });
    let set = |name: &Ident| variables.sets[&scope.context.normalize_ident(name.clone())];
    let spec = MatchSpec {
        order_by: order_by.collect(),
        after_match: match &clause.after_match {
            MatchSkip::PastLastRow => AfterMatch::PastLastRow,
            MatchSkip::ToNextRow => AfterMatch::ToNextRow,
            MatchSkip::ToFirst(name) => AfterMatch::ToFirst(set(name)),
            MatchSkip::ToLast(name) => AfterMatch::ToLast(set(name)),
        },
        rows: match clause.rows {
            MatchRows::One => MatchOutput::OneRow,
            MatchRows::AllShowEmpty => MatchOutput::AllShowEmpty,
            MatchRows::AllOmitEmpty => MatchOutput::AllOmitEmpty,
            MatchRows::AllWithUnmatched => MatchOutput::AllWithUnmatched,
        },
        pattern: variables.pattern(&clause.pattern, scope.context),
        variables: variables.names,
        limit,
        timed_out: clause.timed_out,
        skip_faults_pass: false,
        conditions,
        columns,
    };
    let text = shown(&clause.pattern);
    MatchNode::new(input, partition, spec, text, schema).map_err(PlanError::from)
}

/// Positions in the input; only plain columns are accepted.
fn columns(
    exprs: &[ast::Expr],
    what: &str,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<usize>, PlanError> {
    let mut found = vec![];
    for expr in exprs {
        let Expr::Column(column) = context.sql_to_expr(expr.clone(), input.schema())? else {
            return Err(PlanError::unsupported(
                format!("{what} of MATCH_RECOGNIZE takes columns only"),
                "Compute the expression in a subquery that is the input.",
            ));
        };
        found.push(input.schema().index_of_column(&column)?);
    }
    Ok(found)
}

/// The input with the columns that the clause reads or shows, under their bare names; and which these are.
fn narrow(
    clause: &MatchClause,
    input: LogicalPlan,
    partition: &[usize],
    order: &[usize],
    context: &mut dyn RelationPlannerContext,
) -> Result<(LogicalPlan, Vec<usize>), PlanError> {
    let mut read = Names { context, names: BTreeSet::new() };
    for expr in clause.measures.iter().map(|(e, _)| e).chain(clause.defines.iter().map(|(_, e)| e)) {
        if let ControlFlow::Break(never) = expr.visit(&mut read) {
            match never {}
        }
    }
    let all = clause.rows != MatchRows::One;
    let needed = |column: &usize| {
        let name = input.schema().field(*column).name();
        all || partition.contains(column) || order.contains(column) || read.names.contains(name)
    };
    let width = input.schema().fields().len();
    let mut kept: Vec<usize> = (0..width).filter(needed).collect();
    // Rows without columns could not be told apart from none.
    if kept.is_empty() {
        kept.push(0);
    }
    let schema = input.schema().clone();
    let exprs = kept.iter().map(|column| {
        let column = datafusion_common::Column::from(schema.qualified_field(*column));
        let name = column.name.clone();
        Expr::Column(column).alias(name)
    });
    let exprs: Vec<Expr> = exprs.collect();
    Ok((LogicalPlanBuilder::from(input).project(exprs)?.build()?, kept))
}

/// All names that could be columns.
struct Names<'a> {
    context: &'a mut dyn RelationPlannerContext,
    names: BTreeSet<String>,
}

impl Visitor for Names<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Self::Break> {
        let name = match expr {
            ast::Expr::Identifier(name) => Some(name),
            ast::Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        self.names.extend(name.map(|name| self.context.normalize_ident(name.clone())));
        ControlFlow::Continue(())
    }
}

struct Variables {
    /// Primary variables in order of appearance: their places are their labels.
    names: Vec<String>,
    sets: BTreeMap<String, LabelSet>,
}

fn variables(clause: &MatchClause, context: &dyn RelationPlannerContext) -> Result<Variables, PlanError> {
    let fold = |name: &Ident| context.normalize_ident(name.clone());
    let mut names: Vec<String> = vec![];
    for name in clause.pattern.variables().into_iter().map(fold) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > VARIABLES_MAX {
        let message = format!("a row pattern can have at most {VARIABLES_MAX} variables");
        return Err(PlanError::invalid(SqlState::ProgramLimitExceeded, message));
    }
    let label = |name: &String| names.iter().position(|known| known == name).map(|index| Label(index as u8));
    let mut sets: BTreeMap<String, LabelSet> =
        names.iter().map(|name| (name.clone(), LabelSet::of(label(name)))).collect();
    for (name, members) in &clause.subsets {
        sets.insert(fold(name), LabelSet::of(members.iter().map(fold).filter_map(|member| label(&member))));
    }
    Ok(Variables { names, sets })
}

impl Variables {
    fn pattern(&self, tree: &MatchPattern, context: &dyn RelationPlannerContext) -> Pattern {
        let all = |parts: &[MatchPattern]| parts.iter().map(|part| self.pattern(part, context)).collect();
        match tree {
            MatchPattern::Empty => Pattern::Empty,
            MatchPattern::Start => Pattern::Start,
            MatchPattern::End => Pattern::End,
            MatchPattern::Variable(name) => {
                let set = self.sets[&context.normalize_ident(name.clone())];
                Pattern::Variable(set.single().expect("variables of the pattern are primary"))
            }
            MatchPattern::Concat(parts) => Pattern::Concat(all(parts)),
            MatchPattern::Alternate(parts) => Pattern::Alternate(all(parts)),
            MatchPattern::Permute(parts) => Pattern::Permute(all(parts)),
            MatchPattern::Exclude(body) => Pattern::Exclude(Box::new(self.pattern(body, context))),
            MatchPattern::Repeat { body, min, max, greedy } => {
                let body = Box::new(self.pattern(body, context));
                Pattern::Repeat { body, min: *min, max: *max, greedy: *greedy }
            }
        }
    }
}

/// By label.
fn conditions(
    clause: &MatchClause,
    variables: &Variables,
    scope: &mut Scope<'_>,
) -> Result<Vec<Option<MatchExpr>>, PlanError> {
    let mut conditions = vec![None; variables.names.len()];
    for (name, condition) in &clause.defines {
        let name = scope.context.normalize_ident(name.clone());
        let (expr, data_type) = scope.expression(condition)?;
        if !matches!(data_type, DataType::Boolean | DataType::Null) {
            let message = format!("argument of DEFINE must be type boolean, not type {}", type_name(&data_type));
            return Err(PlanError::TypeMismatch { message, hint: None });
        }
        let label = variables.names.iter().position(|known| *known == name).expect("checked when it was parsed");
        conditions[label] = Some(expr);
    }
    Ok(conditions)
}

fn measures(clause: &MatchClause, scope: &mut Scope<'_>) -> Result<Vec<(MatchExpr, Field)>, PlanError> {
    let mut measures = vec![];
    for (expr, name) in &clause.measures {
        let name = scope.context.normalize_ident(name.clone());
        let (expr, data_type) = scope.expression(expr)?;
        measures.push((expr, Field::new(name, data_type, true)));
    }
    Ok(measures)
}

fn limit(clause: &MatchClause, time: Option<usize>, input: &LogicalPlan) -> Result<Option<MatchLimit>, PlanError> {
    let Some(within) = &clause.within else { return Ok(None) };
    let Some(column) = time else {
        return Err(PlanError::invalid(SqlState::SyntaxError, "WITHIN needs ORDER BY"));
    };
    let data_type = input.schema().field(column).data_type().clone();
    let distance = match data_type {
        DataType::Timestamp(..) => sql::interval_us(within).map_err(PlanError::Sql)?,
        DataType::Date32 => sql::interval_us(within).map_err(PlanError::Sql)?.div_euclid(DAY_US),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let number = within.to_string().parse::<i64>().ok();
            number.ok_or_else(|| PlanError::TypeMismatch {
                message: format!("WITHIN over a column of type {} takes a whole number", type_name(&data_type)),
                hint: None,
            })?
        }
        other => {
            return Err(PlanError::TypeMismatch {
                message: format!("WITHIN does not work over a column of type {}", type_name(&other)),
                hint: Some("The first ORDER BY column must be a timestamp, a date or an integer.".into()),
            });
        }
    };
    if distance < 0 {
        return Err(PlanError::invalid(SqlState::InvalidParameterValue, "WITHIN must not be negative"));
    }
    Ok(Some(MatchLimit { column, distance }))
}

/// ONE ROW: partition, measures. ALL ROWS: partition, order, measures, what is left of the input.
fn output(
    clause: &MatchClause,
    input: &LogicalPlan,
    partition: &[usize],
    order: &[usize],
    measures: Vec<(MatchExpr, Field)>,
) -> (Vec<MatchColumn>, Schema) {
    let own = |column: usize| {
        let field = input.schema().field(column).as_ref().clone().with_nullable(true);
        (MatchColumn::Input(column), Arc::new(field))
    };
    let mut shown: Vec<usize> = vec![];
    let all = clause.rows != MatchRows::One;
    for column in partition.iter().chain(order.iter().filter(|_| all)) {
        if !shown.contains(column) {
            shown.push(*column);
        }
    }
    let rest = (0..input.schema().fields().len()).filter(|column| all && !shown.contains(column));
    let rest: Vec<usize> = rest.collect();
    let measures = measures.into_iter().map(|(expr, field)| (MatchColumn::Measure(expr), Arc::new(field)));
    let columns = shown.into_iter().map(own).chain(measures).chain(rest.into_iter().map(own));
    let (columns, fields): (Vec<_>, Vec<_>) = columns.unzip();
    (columns, Schema::new(fields))
}

/// The pattern as text.
fn shown(tree: &MatchPattern) -> String {
    let all = |parts: &[MatchPattern], between: &str| parts.iter().map(shown).collect::<Vec<_>>().join(between);
    match tree {
        MatchPattern::Empty => "()".into(),
        MatchPattern::Start => "^".into(),
        MatchPattern::End => "$".into(),
        MatchPattern::Variable(name) => name.to_string(),
        MatchPattern::Concat(parts) => all(parts, " "),
        MatchPattern::Alternate(parts) => format!("({})", all(parts, " | ")),
        MatchPattern::Permute(parts) => format!("PERMUTE({})", all(parts, ", ")),
        MatchPattern::Exclude(body) => format!("{{- {} -}}", shown(body)),
        MatchPattern::Repeat { body, min, max, greedy } => {
            let quantifier = match (min, max) {
                (0, None) => "*".into(),
                (1, None) => "+".into(),
                (0, Some(1)) => "?".into(),
                (min, None) => format!("{{{min},}}"),
                (min, Some(max)) if min == max => format!("{{{min}}}"),
                (min, Some(max)) => format!("{{{min},{max}}}"),
            };
            let body = match body.as_ref() {
                MatchPattern::Concat(_) | MatchPattern::Repeat { .. } => format!("({})", shown(body)),
                other => shown(other),
            };
            format!("{body}{quantifier}{}", if *greedy { "" } else { "?" })
        }
    }
}
