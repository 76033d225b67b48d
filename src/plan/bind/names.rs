//! Names of result columns. The binder's own names (`count(*)`, `bid.price + Int64(1)`) stay inside the plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use catalog::ColumnEntry;
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, LogicalPlan};
use sql::ast;
use types::SqlState;

use super::prepare::REPEATED;
use crate::PlanError;

/// The output of a bound query as the client sees it; names may repeat.
pub(crate) fn output_schema(plan: &LogicalPlan) -> SchemaRef {
    let mut names = names_of(plan);
    // The binder numbers columns of a subquery that share a name: `k`, `k:1`.
    for position in 1..names.len() {
        if let Some((base, number)) = names[position].rsplit_once(':')
            && number.parse::<u32>().is_ok()
            && names[..position].iter().any(|earlier| earlier == base)
        {
            names[position] = base.to_string();
        }
    }
    let fields = plan.schema().fields().iter().zip(names);
    // Marks of Postgres types stay.
    let named = fields.map(|(f, name)| Field::new(name, f.data_type().clone(), true).with_metadata(f.metadata().clone()));
    Arc::new(Schema::new(named.collect::<Vec<_>>()))
}

/// `schema` with the types of `analysed`, which has the same columns after coercion.
pub(crate) fn with_types_of(schema: &SchemaRef, analysed: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter().zip(analysed.fields());
    let fields = fields.map(|(name, typed)| {
        Field::new(name.name(), typed.data_type().clone(), true).with_metadata(name.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Columns of a new view: `given` names first, then the query's own.
pub(crate) fn view_columns(schema: &SchemaRef, given: &[ast::Ident]) -> Result<Vec<ColumnEntry>, PlanError> {
    if given.len() > schema.fields().len() {
        return Err(PlanError::invalid(SqlState::InvalidTableDefinition, "too many column names were specified"));
    }
    let mut taken = BTreeSet::new();
    let mut columns = vec![];
    for (position, field) in schema.fields().iter().enumerate() {
        let name = match given.get(position) {
            Some(ident) if ident.quote_style.is_some() => ident.value.clone(),
            Some(ident) => ident.value.to_lowercase(),
            None => field.name().clone(),
        };
        if !taken.insert(name.clone()) {
            return Err(PlanError::DuplicateColumn { name });
        }
        columns.push(ColumnEntry {
            name,
            data_type: field.data_type().clone(),
            not_null: false,
            default: None,
            generated: None,
            comment: None,
        });
    }
    Ok(columns)
}

fn names_of(plan: &LogicalPlan) -> Vec<String> {
    match plan {
        LogicalPlan::Projection(p) => p.expr.iter().map(|expr| name_of(expr, &p.input)).collect(),
        LogicalPlan::Sort(s) => names_of(&s.input),
        LogicalPlan::Limit(l) => names_of(&l.input),
        LogicalPlan::Distinct(d) => match d {
            datafusion_expr::Distinct::All(input) => names_of(input),
            datafusion_expr::Distinct::On(on) => on.select_expr.iter().map(|e| name_of(e, &on.input)).collect(),
        },
        LogicalPlan::Union(u) => u.inputs.first().map(|input| names_of(input)).unwrap_or_default(),
        other => other.schema().fields().iter().map(|field| own_name(field.name())).collect(),
    }
}

fn name_of(expr: &Expr, input: &LogicalPlan) -> String {
    const UNNAMED: &str = "?column?";
    match expr {
        // The binder's own name for it.
        Expr::Alias(alias) if alias.name == "count(*)" => "count".into(),
        Expr::Alias(alias) => own_name(&alias.name),
        Expr::Column(column) => match computed_by(column, input) {
            Some(computed) => name_of(computed, input),
            None => own_name(&column.name),
        },
        Expr::AggregateFunction(call) => call.func.name().to_string(),
        Expr::WindowFunction(call) => call.fun.name().to_string(),
        Expr::ScalarFunction(call) => call.func.name().to_string(),
        Expr::Cast(cast) => name_of(&cast.expr, input),
        Expr::Case(_) => "case".into(),
        Expr::Exists(_) => "exists".into(),
        Expr::ScalarSubquery(subquery) => {
            names_of(&subquery.subquery).into_iter().next().unwrap_or_else(|| UNNAMED.into())
        }
        _ => UNNAMED.into(),
    }
}

/// Without the number that made it distinct.
fn own_name(name: &str) -> String {
    name.split(REPEATED).next().unwrap_or(name).to_string()
}

/// The aggregate, group or window expression below that `column` stands for, if it is one.
fn computed_by<'a>(column: &datafusion_common::Column, input: &'a LogicalPlan) -> Option<&'a Expr> {
    match input {
        LogicalPlan::Aggregate(a) => {
            let index = input.schema().maybe_index_of_column(column)?;
            let calls = a.schema.fields().len() - a.aggr_expr.len();
            match index.checked_sub(calls) {
                Some(call) => a.aggr_expr.get(call),
                // Grouping sets bring columns that are no expression of the node.
                None if a.group_expr.len() != calls => None,
                None => a.group_expr.get(index).filter(|expr| !matches!(expr, Expr::Column(_))),
            }
        }
        LogicalPlan::Window(w) => {
            let passed = w.input.schema().fields().len();
            let index = input.schema().maybe_index_of_column(column)?;
            match index.checked_sub(passed) {
                Some(position) => w.window_expr.get(position),
                None => computed_by(column, &w.input),
            }
        }
        LogicalPlan::Filter(f) => computed_by(column, &f.input),
        _ => None,
    }
}
