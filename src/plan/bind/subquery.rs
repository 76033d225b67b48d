//! Subqueries that depend on the row around them and that no join can replace: `ARRAY(SELECT …)`, scalar subqueries
//! without an aggregate, functions in FROM that take columns of relations to their left.
//!
//! Each becomes a call of [`RowSubquery`] on the columns it needs: for every row the reader runs the plan with these
//! values put in. Slow per row and fully general, so it is used for what DataFusion can't decorrelate; catalog queries
//! are full of it and their relations are small. Materialized views refuse it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result, internal_err};
use datafusion_expr::expr::{Placeholder, ScalarFunction};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Subquery, Volatility,
};

use super::catalog_syntax::ARRAY_SUBQUERY;
use crate::{PlanError, analyze};

/// What a subquery gives for one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowSubqueryKind {
    /// The only value of the only row, NULL without rows; more rows are an error.
    Scalar,
    /// All values as a list.
    Array,
    /// All rows as a list of structs.
    Rows,
}

/// A subquery as a function of the values that [`parameters`](Self::parameters) name. It can't be invoked itself:
/// readers put a function in its place that runs the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSubquery {
    pub kind: RowSubqueryKind,
    /// Analysed; arguments are placeholders.
    pub plan: Arc<LogicalPlan>,
    /// Placeholder ids in the order of the arguments.
    pub parameters: Vec<String>,
    name: String,
    signature: Signature,
}

impl Hash for RowSubquery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plan.hash(state);
        self.parameters.hash(state);
    }
}

impl RowSubquery {
    /// The subquery that a call makes, if it is one.
    pub fn of(expr: &Expr) -> Option<&RowSubquery> {
        match expr {
            Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<RowSubquery>(),
            _ => None,
        }
    }

    fn try_new(kind: RowSubqueryKind, plan: LogicalPlan, parameters: Vec<String>) -> Self {
        let name = match kind {
            RowSubqueryKind::Scalar => plan.schema().field(0).name().clone(),
            RowSubqueryKind::Array => "array".into(),
            RowSubqueryKind::Rows => "rows".into(),
        };
        let signature = Signature::variadic_any(Volatility::Stable);
        let signature = match parameters.is_empty() {
            true => Signature::nullary(Volatility::Stable),
            false => signature,
        };
        RowSubquery { kind, plan: Arc::new(plan), parameters, name, signature }
    }

    /// The type of the result; marks of Postgres types are kept.
    pub fn field(&self) -> Field {
        let schema = self.plan.schema();
        let first = schema.field(0);
        let list = |item: DataType| DataType::List(Arc::new(Field::new_list_field(item, true)));
        match self.kind {
            RowSubqueryKind::Scalar => first.as_ref().clone().with_nullable(true),
            RowSubqueryKind::Array => Field::new(&self.name, list(first.data_type().clone()), false),
            RowSubqueryKind::Rows => {
                let fields = schema.fields().iter().enumerate();
                let fields = fields.map(|(at, field)| row_field(at, field)).collect();
                Field::new(&self.name, list(DataType::Struct(fields)), false)
            }
        }
    }
}

/// Field `at` of the struct that stands for a row: by position, as names may repeat.
pub(crate) fn row_field(at: usize, field: &Field) -> Field {
    Field::new(format!("c{at}"), field.data_type().clone(), true)
}

impl ScalarUDFImpl for RowSubquery {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        self.plan.hash(&mut hasher);
        let args = args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(",");
        Ok(format!("subquery {:x}({args})", hasher.finish()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.field().data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.field()))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("a subquery was invoked before a reader took it over")
    }
}

/// What `ARRAY(SELECT …)` is bound as: a function of a scalar subquery, until [`replace`] sees it.
pub(crate) fn array_marker() -> ScalarUDF {
    ScalarUDF::from(ArrayMarker { signature: Signature::any(1, Volatility::Stable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayMarker {
    signature: Signature,
}

impl ScalarUDFImpl for ArrayMarker {
    fn name(&self) -> &str {
        ARRAY_SUBQUERY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(args[0].clone(), true))))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("ARRAY(SELECT) was not replaced")
    }
}

/// Replaces the subqueries in one expression of a node whose inputs have `schema`.
pub(crate) fn replace(expr: Expr, schema: &DFSchema, options: &ConfigOptions) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match &expr {
        Expr::ScalarSubquery(subquery) if is_correlated(subquery) && !is_joinable(&subquery.subquery) => {
            call(RowSubqueryKind::Scalar, &subquery.subquery, schema, options).map(Transformed::yes)
        }
        Expr::ScalarFunction(marker) if marker.func.name() == ARRAY_SUBQUERY => match &marker.args[..] {
            [Expr::ScalarSubquery(subquery)] => {
                call(RowSubqueryKind::Array, &subquery.subquery, schema, options).map(Transformed::yes)
            }
            [Expr::ScalarFunction(scalar)] => match scalar.func.inner().downcast_ref::<RowSubquery>() {
                Some(found) => {
                    let plan = found.plan.as_ref().clone();
                    let array = RowSubquery::try_new(RowSubqueryKind::Array, plan, found.parameters.clone());
                    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
                        Arc::new(ScalarUDF::from(array)),
                        scalar.args.clone(),
                    ))))
                }
                None => internal_err!("ARRAY of something that is not a subquery"),
            },
            _ => internal_err!("ARRAY of something that is not a subquery"),
        },
        _ => Ok(Transformed::no(expr)),
    })
}

fn is_correlated(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty()
}

/// Whether the optimizer can make a join of this correlated scalar subquery: one aggregate without GROUP BY, tied to
/// the outer row by equalities alone.
fn is_joinable(plan: &LogicalPlan) -> bool {
    let mut top = plan;
    while let LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) = top {
        if top.expressions().iter().any(Expr::contains_outer) {
            return false;
        }
        top = top.inputs()[0];
    }
    let LogicalPlan::Aggregate(aggregate) = top else { return false };
    aggregate.group_expr.is_empty() && only_equalities(top)
}

fn only_equalities(plan: &LogicalPlan) -> bool {
    let mut fits = true;
    let visited = plan.apply(|node| {
        let exprs = node.expressions();
        let outer = exprs.iter().filter(|e| e.contains_outer()).collect::<Vec<_>>();
        let joins = match node {
            LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate).into_iter().all(|part| {
                !part.contains_outer()
                    || matches!(part, Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
                        if left.contains_outer() != right.contains_outer())
            }),
            LogicalPlan::Limit(_) => false,
            _ => outer.is_empty(),
        };
        fits &= joins;
        Ok(if fits { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    visited.expect("the visitor never fails");
    fits
}

/// A call of the subquery on what it needs of the row: columns of `schema`, columns further out, parameters.
pub(crate) fn call(
    kind: RowSubqueryKind,
    plan: &LogicalPlan,
    schema: &DFSchema,
    options: &ConfigOptions,
) -> Result<Expr> {
    let mut arguments = Arguments::default();
    let plan = arguments.take_out(plan.clone())?;
    let plan =
        analyze::analyze(plan, options).map_err(|e| datafusion_common::DataFusionError::External(Box::new(e)))?;
    let (parameters, values): (Vec<String>, Vec<Expr>) = arguments.found.into_values().unzip();
    let values = values.into_iter().map(|value| match value {
        Expr::OuterReferenceColumn(_, column) if schema.has_column(&column) => Expr::Column(column),
        value => value,
    });
    let function = RowSubquery::try_new(kind, plan, parameters);
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), values.collect())))
}

/// What a subquery takes from outside, by its text: (placeholder that stands for it, expression outside).
#[derive(Default)]
struct Arguments {
    found: BTreeMap<String, (String, Expr)>,
}

impl Arguments {
    /// Puts placeholders in the place of outer columns and parameters.
    fn take_out(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.take_out_of(plan, &[])
    }

    /// `between`: schemas of the queries between this plan and the outermost one; their columns stay.
    fn take_out_of(&mut self, plan: LogicalPlan, between: &[Arc<DFSchema>]) -> Result<LogicalPlan> {
        let replaced = plan.transform_up(|node| {
            let inputs = Arc::new(datafusion_expr::utils::merge_schema(&node.inputs()));
            let names = datafusion_expr::expr_rewriter::NamePreserver::new(&node);
            let node = match node {
                LogicalPlan::Subquery(lateral) => {
                    let subquery = self.subquery(lateral, &inputs, between)?;
                    // What depends on nothing but placeholders is no longer lateral.
                    return Ok(Transformed::yes(match subquery.outer_ref_columns.is_empty() {
                        true => Arc::unwrap_or_clone(subquery.subquery),
                        false => LogicalPlan::Subquery(subquery),
                    }));
                }
                node => node,
            };
            let changed = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| self.expr(expr, &inputs, between))?;
                expr.map_data(|expr| Ok(name.restore(expr)))
            })?;
            changed.map_data(|node| node.recompute_schema())
        })?;
        Ok(replaced.data)
    }

    fn expr(&mut self, expr: Expr, inputs: &Arc<DFSchema>, between: &[Arc<DFSchema>]) -> Result<Transformed<Expr>> {
        let outside = |column: &Column| !between.iter().any(|schema| schema.has_column(column));
        Ok(match expr {
            Expr::OuterReferenceColumn(field, column) if outside(&column) => {
                let outer = Expr::OuterReferenceColumn(field.clone(), column);
                Transformed::yes(self.placeholder(outer, field))
            }
            Expr::Placeholder(Placeholder { id, field }) if !id.starts_with("$outer") => {
                let text = || Arc::new(Field::new("", DataType::Utf8, true));
                let field = field.unwrap_or_else(text);
                let outer = Expr::Placeholder(Placeholder::new_with_field(id, Some(field.clone())));
                Transformed::yes(self.placeholder(outer, field))
            }
            Expr::ScalarSubquery(subquery) => {
                Transformed::yes(Expr::ScalarSubquery(self.subquery(subquery, inputs, between)?))
            }
            Expr::Exists(mut exists) => {
                exists.subquery = self.subquery(exists.subquery, inputs, between)?;
                Transformed::yes(Expr::Exists(exists))
            }
            Expr::InSubquery(mut within) => {
                within.subquery = self.subquery(within.subquery, inputs, between)?;
                Transformed::yes(Expr::InSubquery(within))
            }
            other => Transformed::no(other),
        })
    }

    fn subquery(&mut self, inner: Subquery, inputs: &Arc<DFSchema>, between: &[Arc<DFSchema>]) -> Result<Subquery> {
        let between: Vec<Arc<DFSchema>> = between.iter().cloned().chain([inputs.clone()]).collect();
        let plan = self.take_out_of(inner.subquery.as_ref().clone(), &between)?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: inner.spans })
    }

    fn placeholder(&mut self, outer: Expr, field: FieldRef) -> Expr {
        let next = format!("$outer{}", self.found.len());
        let (id, _) = self.found.entry(outer.to_string()).or_insert((next, outer));
        Expr::Placeholder(Placeholder::new_with_field(id.clone(), Some(field)))
    }
}

/// A materialized view maintains joins, not queries per row.
pub(crate) fn refuse_in_view(plan: &LogicalPlan) -> Result<(), PlanError> {
    let found = plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(RowSubquery::of(expr).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    })?;
    match found {
        true => Err(PlanError::unsupported(
            "this subquery cannot be maintained: it runs for every row of the query around it",
            "Write it as a join, or give the subquery an aggregate.",
        )),
        false => Ok(()),
    }
}
