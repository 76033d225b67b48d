//! Names of result columns. The binder's own names (`count(*)`, `bid.price + Int64(1)`) stay inside the plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use catalog::ColumnEntry;
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, LogicalPlan};
use sql::ast;
use types::SqlState;

use crate::PlanError;

/// The output of a bound query as the client sees it; names may repeat.
pub(crate) fn output_schema(plan: &LogicalPlan) -> SchemaRef {
    let names = names_of(plan);
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
        other => other.schema().fields().iter().map(|field| field.name().clone()).collect(),
    }
}

fn name_of(expr: &Expr, input: &LogicalPlan) -> String {
    const UNNAMED: &str = "?column?";
    match expr {
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Column(column) => match computed_by(column, input) {
            Some(computed) => name_of(computed, input),
            None => column.name.clone(),
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

/// The aggregate, group or window expression below that `column` stands for, if it is one.
fn computed_by<'a>(column: &datafusion_common::Column, input: &'a LogicalPlan) -> Option<&'a Expr> {
    let computed: Vec<&Expr> = match input {
        LogicalPlan::Aggregate(a) => a.group_expr.iter().chain(&a.aggr_expr).collect(),
        LogicalPlan::Window(w) => {
            let passed = w.input.schema().fields().len();
            let index = input.schema().maybe_index_of_column(column)?;
            return match index.checked_sub(passed) {
                Some(position) => w.window_expr.get(position),
                None => computed_by(column, &w.input),
            };
        }
        LogicalPlan::Filter(f) => return computed_by(column, &f.input),
        _ => return None,
    };
    let index = input.schema().maybe_index_of_column(column)?;
    computed.get(index).copied().filter(|expr| !matches!(expr, Expr::Column(_)))
}
