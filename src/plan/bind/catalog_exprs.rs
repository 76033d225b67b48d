//! What Postgres' types do that Arrow's don't: names for OIDs (`'t'::regclass`, `oid::regtype::text`) and arrays written
//! as text (`roles = '{0}'`, `x = ANY('{a,b}')`, `$1::oid[]`). Runs on bound expressions before types are coerced.
//!
//! The conversions themselves are functions of the environment: `regclassin`, `regclassout`, …, `array_in`, `vectorout`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::expr::{Cast, Placeholder, ScalarFunction};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF};

use super::wire_type::{is_vector, named_object, wire_type, with_wire_type};
use crate::{Environment, PlanError};

/// Functions whose arguments are shown as text.
const SHOWING: [&str; 5] = ["format", "concat", "concat_ws", "quote_ident", "quote_literal"];

/// Rewrites expressions with the environment's conversion functions.
pub(crate) struct CatalogExprs<'a> {
    pub environment: &'a dyn Environment,
}

impl CatalogExprs<'_> {
    /// Rewrites one expression over `schema`.
    pub fn rewrite(&self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        expr.transform_up(|expr| match expr {
            Expr::Cast(cast) => self.cast(cast, schema),
            Expr::BinaryExpr(binary) => self.binary(binary, schema),
            Expr::ScalarFunction(call) => self.function(call, schema),
            other => Ok(Transformed::no(other)),
        })
    }

    /// The plan with columns of names and vectors as clients get them; the column names stay.
    pub fn show_output(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let shown = |field: &Field| named_object(field).is_some() || is_vector(field);
        if !plan.schema().fields().iter().any(|field| shown(field)) {
            return Ok(plan);
        }
        let mut exprs = vec![];
        for (qualifier, field) in plan.schema().iter() {
            let column = Expr::Column((qualifier, field).into());
            let expr = match named_object(field) {
                Some(name) => self.call(&format!("{name}out"), vec![column])?,
                None if is_vector(field) => self.call("vectorout", vec![column])?,
                None => {
                    exprs.push(column);
                    continue;
                }
            };
            exprs.push(expr.alias_qualified(qualifier.cloned(), field.name()));
        }
        LogicalPlanBuilder::from(plan).project(exprs)?.build()
    }

    fn cast(&self, cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let Cast { expr, field } = cast;
        let unchanged = |expr| Ok(Transformed::no(Expr::Cast(Cast::new_from_field(expr, field.clone()))));
        if let (Some(name), Expr::Placeholder(placeholder)) = (named_object(&field), expr.as_ref()) {
            let text = Placeholder::new_with_field(placeholder.id.clone(), Some(text_field()));
            return self.call(&format!("{name}in"), vec![Expr::Placeholder(text)]).map(Transformed::yes);
        }
        let Ok((_, source)) = expr.to_field(schema) else { return unchanged(expr) };
        if let Some(name) = named_object(&field) {
            return match source.data_type() {
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                    self.call(&format!("{name}in"), vec![*expr]).map(Transformed::yes)
                }
                _ => unchanged(expr),
            };
        }
        match (source.data_type(), field.data_type()) {
            (_, DataType::Utf8) if named_object(&source).is_some() => {
                let name = named_object(&source).expect("just seen");
                let shown = self.call(&format!("{name}out"), vec![*expr])?;
                Ok(Transformed::yes(Expr::Cast(Cast::new_from_field(Box::new(shown), marked_text(&field)))))
            }
            (DataType::Utf8, DataType::List(item)) => self.list_of(*expr, item).map(Transformed::yes),
            _ => unchanged(expr),
        }
    }

    fn binary(&self, binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let BinaryExpr { left, op, right } = binary;
        let (left_field, right_field) = (field_of(&left, schema), field_of(&right, schema));
        let (left, right) = (*left, *right);
        let (left, right, changed) = if op == Operator::StringConcat {
            let (left, left_shown) = self.shown(left, &left_field)?;
            let (right, right_shown) = self.shown(right, &right_field)?;
            (left, right, left_shown || right_shown)
        } else if compares(op) {
            let (left, left_read) = self.read_as(left, &right_field)?;
            let (right, right_read) = self.read_as(right, &left_field)?;
            (left, right, left_read || right_read)
        } else {
            (left, right, false)
        };
        let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }

    fn function(&self, call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let ScalarFunction { func, mut args } = call;
        let mut changed = false;
        match func.name() {
            "array_has" => {
                if let [haystack, needle] = &args[..]
                    && text_literal(haystack).is_some()
                    && let Some(needle) = field_of(needle, schema)
                {
                    let item = Field::new_list_field(needle.data_type().clone(), true);
                    args[0] = self.list_of(args[0].clone(), &item)?;
                    changed = true;
                }
            }
            "array_position" | "cardinality" | "array_min" | "array_max"
                if args.first().is_some_and(|array| text_literal(array).is_some()) =>
            {
                let item = Field::new_list_field(DataType::Utf8, true);
                args[0] = self.list_of(args[0].clone(), &item)?;
                changed = true;
            }
            name if SHOWING.contains(&name) => {
                for arg in &mut args {
                    let field = field_of(arg, schema);
                    let (shown, was) = self.shown(arg.clone(), &field)?;
                    *arg = shown;
                    changed |= was;
                }
            }
            _ => {}
        }
        let expr = Expr::ScalarFunction(ScalarFunction::new_udf(func, args));
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }

    /// A literal text beside a value that text has to be read for: an array, or a name for an OID.
    fn read_as(&self, expr: Expr, other: &Option<FieldRef>) -> Result<(Expr, bool)> {
        let (Some(_), Some(other)) = (text_literal(&expr), other) else { return Ok((expr, false)) };
        match (named_object(other), other.data_type()) {
            (Some(name), _) => Ok((self.call(&format!("{name}in"), vec![expr])?, true)),
            (None, DataType::List(item)) => Ok((self.list_of(expr, item)?, true)),
            _ => Ok((expr, false)),
        }
    }

    fn shown(&self, expr: Expr, field: &Option<FieldRef>) -> Result<(Expr, bool)> {
        match field.as_deref().and_then(named_object) {
            Some(name) => Ok((self.call(&format!("{name}out"), vec![expr])?, true)),
            None => Ok((expr, false)),
        }
    }

    /// Text in array syntax as a list of `item`.
    fn list_of(&self, expr: Expr, item: &Field) -> Result<Expr> {
        let list = self.call("array_in", vec![expr])?;
        Ok(match item.data_type() {
            DataType::Utf8 => list,
            other => {
                let item = Arc::new(Field::new_list_field(other.clone(), true));
                datafusion_expr::cast(list, DataType::List(item))
            }
        })
    }

    fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let function: Arc<ScalarUDF> = self.environment.scalar_function(name).ok_or_else(|| {
            let error = PlanError::UndefinedFunction { name: name.into(), hint: None };
            DataFusionError::External(Box::new(error))
        })?;
        Ok(function.call(args))
    }
}

/// Types parameters that DataFusion leaves open: in `x = ANY($1)` a list of the type of `x`, as an argument of a session
/// function what that takes.
pub(crate) fn type_parameters(plan: LogicalPlan, environment: &dyn Environment) -> Result<LogicalPlan> {
    let mut known: BTreeMap<String, FieldRef> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        let schema = datafusion_expr::utils::merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr {
                    known.extend(parameters_of(call, &schema, environment));
                }
                Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
            })
        })
    })?;
    if known.is_empty() {
        return Ok(plan);
    }
    let typed = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::Placeholder(Placeholder { id, field: None }) if known.contains_key(&id) => {
                    let field = known[&id].clone();
                    Ok(Transformed::yes(Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok(typed.data)
}

/// What a call tells of the untyped parameters among its arguments.
fn parameters_of(call: &ScalarFunction, schema: &DFSchema, environment: &dyn Environment) -> Vec<(String, FieldRef)> {
    let untyped = |expr: &Expr| match expr {
        Expr::Placeholder(parameter) if parameter.field.is_none() => Some(parameter.id.clone()),
        _ => None,
    };
    let field = |data_type: DataType| Arc::new(Field::new("", data_type, true));
    if call.func.name() == "array_has" {
        let [list, needle] = &call.args[..] else { return vec![] };
        let (Some(id), Some(needle)) = (untyped(list), field_of(needle, schema)) else { return vec![] };
        let item = Arc::new(Field::new_list_field(needle.data_type().clone(), true));
        return vec![(id, field(DataType::List(item)))];
    }
    if !call.args.iter().any(|arg| untyped(arg).is_some()) {
        return vec![];
    }
    let types = environment.argument_types(call.func.name(), call.args.len()).unwrap_or_default();
    call.args.iter().zip(types).filter_map(|(arg, data_type)| Some((untyped(arg)?, field(data_type)))).collect()
}

fn field_of(expr: &Expr, schema: &DFSchema) -> Option<FieldRef> {
    expr.to_field(schema).ok().map(|(_, field)| field)
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn text_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

fn text_field() -> FieldRef {
    Arc::new(Field::new("", DataType::Utf8, true))
}

/// The target of a cast to text, with its mark if it has one.
fn marked_text(field: &Field) -> FieldRef {
    let text = Field::new("", DataType::Utf8, true);
    Arc::new(match wire_type(field) {
        Some(oid) => with_wire_type(text, oid),
        None => text,
    })
}
