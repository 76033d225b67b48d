//! Functions in FROM: `unnest`, `generate_series`, functions of one value, WITH ORDINALITY, and Postgres' rule that
//! a lone column is named as the relation is. `prepare.rs` makes them lateral, so that their arguments see the
//! relations on their left.

use datafusion_common::{Column, DFSchema, DataFusionError, NullHandling, Result, ScalarValue, UnnestOptions};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use sql::ast::{self, TableFactor};
use types::SqlState;

use arrow::datatypes::DataType;

use super::catalog_syntax::{call, last_name, plain_arguments};
use crate::PlanError;

const ORDINALITY: &str = "ordinality";

#[derive(Debug)]
pub(crate) struct FunctionRelations;

/// One function call in FROM, however it was spelled.
struct Call {
    name: String,
    arguments: Vec<ast::Expr>,
    ordinality: bool,
    alias: Option<ast::TableAlias>,
}

impl RelationPlanner for FunctionRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(call) = function_call(&relation) else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let plan = match call.name.as_str() {
            "unnest" => Some(unnest(&call, call.arguments.clone(), context)?),
            "generate_series" => match constant_series(&call, context)? {
                Some(series) => Some(series),
                None => Some(unnest(&call, vec![call_of(&call)], context)?),
            },
            "generate_subscripts" => Some(unnest(&call, vec![call_of(&call)], context)?),
            "pg_options_to_table" => Some(options(&call, context)?),
            name if context.context_provider().get_function_meta(name).is_some() => Some(single(&call, context)?),
            _ => None,
        };
        Ok(match plan {
            Some(plan) => {
                let alias = call.alias.map(|alias| ast::TableAlias { columns: vec![], ..alias });
                RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias)))
            }
            None => RelationPlanning::Original(Box::new(relation)),
        })
    }
}

fn function_call(relation: &TableFactor) -> Option<Call> {
    match relation {
        TableFactor::Function { name, args, with_ordinality, alias, .. } => {
            let arguments = plain_arguments(args)?;
            let name = last_name(name);
            Some(Call { name, arguments, ordinality: *with_ordinality, alias: alias.clone() })
        }
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => Some(Call {
            name: "unnest".into(),
            arguments: array_exprs.clone(),
            ordinality: *with_ordinality,
            alias: alias.clone(),
        }),
        _ => None,
    }
}

fn call_of(found: &Call) -> ast::Expr {
    call(&found.name, found.arguments.clone())
}

fn is_constant(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(_) | ast::Expr::TypedString { .. } | ast::Expr::Interval(_) => true,
        ast::Expr::UnaryOp { expr, .. } | ast::Expr::Nested(expr) | ast::Expr::Cast { expr, .. } => is_constant(expr),
        _ => false,
    }
}

/// Names of the `count` columns: those given in the alias, else the alias itself if there is one column.
fn column_names(call: &Call, defaults: Vec<String>) -> Vec<String> {
    let given = call.alias.iter().flat_map(|alias| &alias.columns).map(|column| fold(&column.name));
    let given: Vec<String> = given.collect();
    let lone = match &call.alias {
        Some(alias) if defaults.len() == 1 => Some(fold(&alias.name)),
        _ => None,
    };
    let name = |(at, default): (usize, String)| given.get(at).cloned().or_else(|| lone.clone()).unwrap_or(default);
    defaults.into_iter().enumerate().map(name).collect()
}

fn fold(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// A series of integers with known bounds streams: it may be long. `None` for every other series.
fn constant_series(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<Option<LogicalPlan>> {
    if call.ordinality || !(2..=3).contains(&call.arguments.len()) || !call.arguments.iter().all(is_constant) {
        return Ok(None);
    }
    let bound = call.arguments.iter().map(|expr| context.sql_to_expr(expr.clone(), &DFSchema::empty()));
    let bound = bound.collect::<Result<Vec<_>>>()?;
    let integer = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    };
    let Some(values) = bound.iter().map(integer).collect::<Option<Vec<i64>>>() else { return Ok(None) };
    if values.get(2) == Some(&0) {
        let error = PlanError::invalid(SqlState::InvalidParameterValue, "step size cannot equal zero");
        return Err(DataFusionError::External(Box::new(error)));
    }
    let source = context.context_provider().get_table_function_source(&call.name, bound)?;
    let scan = LogicalPlanBuilder::scan(call.name.as_str(), source, None)?.build()?;
    let column = Expr::Column(Column::from(scan.schema().qualified_field(0)));
    let int4 = values.iter().all(|value| i32::try_from(*value).is_ok());
    let column = if int4 { cast(column, DataType::Int32) } else { column };
    let names = column_names(call, vec![call.name.clone()]);
    Ok(Some(LogicalPlanBuilder::from(scan).project([column.alias(&names[0])])?.build()?))
}

/// One column per list, side by side, NULLs after the end of the shorter ones.
fn unnest(call_: &Call, lists: Vec<ast::Expr>, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let mut defaults: Vec<String> = lists.iter().map(|_| call_.name.clone()).collect();
    let mut lists = lists;
    if call_.ordinality {
        defaults.push(ORDINALITY.into());
        // Counts along the first list.
        lists.push(call("generate_subscripts", vec![lists[0].clone(), number("1")]));
    }
    let internal = |at: usize| format!("__set{at}");
    let mut exprs = vec![];
    for (at, list) in lists.into_iter().enumerate() {
        let bound = context.sql_to_expr(list, &DFSchema::empty())?;
        exprs.push(bound.alias(internal(at)));
    }
    let columns: Vec<Column> = (0..exprs.len()).map(|at| Column::new_unqualified(internal(at))).collect();
    let options = UnnestOptions { null_handling: NullHandling::Drop, ..UnnestOptions::default() };
    let last = columns.len() - 1;
    let names = column_names(call_, defaults);
    let named = columns.iter().zip(names).enumerate().map(|(at, (column, name))| {
        let value = Expr::Column(column.clone());
        let value = if call_.ordinality && at == last { cast(value, DataType::Int64) } else { value };
        value.alias(name)
    });
    let named: Vec<Expr> = named.collect();
    LogicalPlanBuilder::empty(true)
        .project(exprs)?
        .unnest_columns_with_options(columns, options)?
        .project(named)?
        .build()
}

/// `key=value` texts as two columns.
fn options(call_: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let [list] = &call_.arguments[..] else { return Err(one_argument(call_)) };
    let bound = context.sql_to_expr(list.clone(), &DFSchema::empty())?.alias("__set0");
    let drop_nulls = UnnestOptions { null_handling: NullHandling::Drop, ..UnnestOptions::default() };
    let column = Column::new_unqualified("__set0");
    let rows = LogicalPlanBuilder::empty(true)
        .project([bound])?
        .unnest_columns_with_options(vec![column], drop_nulls)?
        .build()?;
    let option = || ast::Expr::Identifier(ast::Ident::with_quote('"', "__set0"));
    let text = |text: &str| ast::Expr::Value(ast::Value::SingleQuotedString(text.into()).into());
    let name = call("split_part", vec![option(), text("="), number("1")]);
    let start = ast::Expr::BinaryOp {
        left: Box::new(call("strpos", vec![option(), text("=")])),
        op: ast::BinaryOperator::Plus,
        right: Box::new(number("1")),
    };
    let value = call("substr", vec![option(), start]);
    let names = column_names(call_, vec!["option_name".into(), "option_value".into()]);
    let name = context.sql_to_expr(name, rows.schema())?.alias(&names[0]);
    let value = context.sql_to_expr(value, rows.schema())?.alias(&names[1]);
    LogicalPlanBuilder::from(rows).project([name, value])?.build()
}

/// A function of one value is a relation of one row.
fn single(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let bound = context.sql_to_expr(call_of(call), &DFSchema::empty())?;
    let names = column_names(call, vec![call.name.clone()]);
    LogicalPlanBuilder::empty(true).project([bound.alias(&names[0])])?.build()
}

fn number(text: &str) -> ast::Expr {
    ast::Expr::Value(ast::Value::Number(text.into(), false).into())
}

fn one_argument(call: &Call) -> DataFusionError {
    let name = format!("{}(…)", call.name);
    DataFusionError::External(Box::new(PlanError::UndefinedFunction { name, hint: Some("It takes one array.".into()) }))
}
