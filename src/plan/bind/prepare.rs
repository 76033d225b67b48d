//! Small rewrites of the AST before binding: spellings that DataFusion's binder doesn't take, and Postgres' names for
//! unnamed result columns, so that an outer query can refer to them (`SELECT max FROM (SELECT max(x) FROM t) q`).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sql::ast::{self, Expr, VisitMut, VisitorMut};

use super::using_columns::{ColumnsOf, merge_using};
use super::wire_type::catalog_type_name;
use super::{catalog_syntax, flink_syntax};
use crate::PlanError;

/// Between a name and a number: an internal name for a result column whose own name is taken.
pub(super) const REPEATED: char = '\u{1}';

/// `distinct_names`: columns that repeat a name get an internal one, see [`REPEATED`].
/// `columns_of`: those of catalog relations.
pub(crate) fn prepare_query(
    query: &mut ast::Query,
    distinct_names: bool,
    columns_of: &ColumnsOf,
) -> Result<(), PlanError> {
    finish(query.visit(&mut Prepare { distinct_names, columns_of, with: BTreeSet::new() }))
}

pub(crate) fn prepare_expr(expr: &mut Expr) -> Result<(), PlanError> {
    finish(expr.visit(&mut Prepare { distinct_names: false, columns_of: &|_| None, with: BTreeSet::new() }))
}

fn finish(flow: ControlFlow<PlanError>) -> Result<(), PlanError> {
    match flow {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Prepare<'a> {
    distinct_names: bool,
    columns_of: &'a ColumnsOf<'a>,
    /// Names of WITH, which hide those of the catalog.
    with: BTreeSet<String>,
}

impl VisitorMut for Prepare<'_> {
    type Break = PlanError;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<PlanError> {
        if !query.locks.is_empty() {
            query.locks.clear();
        }
        self.with.extend(query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| fold(&cte.alias.name)));
        let columns_of = |name: &ast::ObjectName| match self.with.contains(&catalog_syntax::last_name(name)) {
            true => None,
            false => (self.columns_of)(name),
        };
        match merge_using(query, &columns_of).and_then(|()| fetch_as_limit(query)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<PlanError> {
        if let Some(error) = unsupported_modifier(factor) {
            return ControlFlow::Break(error);
        }
        catalog_syntax::make_lateral(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<PlanError> {
        name_items(&mut select.projection);
        if self.distinct_names {
            number_repeated(&mut select.projection);
        }
        catalog_syntax::unnest_sets(select);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<PlanError> {
        if let Some((left, right)) = modulo_arguments(expr) {
            let operation = Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(left))),
                op: ast::BinaryOperator::Modulo,
                right: Box::new(Expr::Nested(Box::new(right))),
            };
            *expr = Expr::Nested(Box::new(operation));
        }
        let rewritten = beyond_decimals(expr).or_else(|| interval_with_clock(expr));
        if let Some(rewritten) = rewritten.or_else(|| flink_syntax::rewrite(expr)) {
            *expr = rewritten;
        }
        // As Postgres' grammar has it.
        if let Expr::AtTimeZone { timestamp, time_zone } = expr {
            *expr = catalog_syntax::call("timezone", vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()]);
        }
        match catalog_syntax::rewrite(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// `1e300` has no place in a decimal of 38 digits: it is a double.
fn beyond_decimals(expr: &Expr) -> Option<Expr> {
    const EXPONENT_MAX: u32 = 37;
    let Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. }) = expr else { return None };
    let (_, exponent) = digits.split_once(['e', 'E'])?;
    let large = exponent.parse::<i32>().map_or(true, |exponent| exponent.unsigned_abs() > EXPONENT_MAX);
    large.then(|| cast_text(digits.to_string(), ast::DataType::DoublePrecision))
}

/// The binder reads units only, the kernels also `1 day 04:05:06`.
fn interval_with_clock(expr: &Expr) -> Option<Expr> {
    let Expr::Interval(ast::Interval { value, leading_field: None, .. }) = expr else { return None };
    let Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) = value.as_ref() else {
        return None;
    };
    let interval = ast::DataType::Interval { fields: None, precision: None };
    text.contains(':').then(|| cast_text(text.clone(), interval))
}

fn cast_text(text: String, data_type: ast::DataType) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(Expr::Value(ast::Value::SingleQuotedString(text).into())),
        data_type,
        array: false,
        format: None,
    }
}

/// What the binder would overlook in FROM, with another answer as the result.
fn unsupported_modifier(factor: &ast::TableFactor) -> Option<PlanError> {
    let (version, sample, ordinality) = match factor {
        ast::TableFactor::Table { version, sample, with_ordinality, .. } => {
            (version.is_some(), sample.is_some(), *with_ordinality)
        }
        ast::TableFactor::Derived { sample, .. } => (false, sample.is_some(), false),
        _ => return None,
    };
    if version {
        return Some(PlanError::unsupported(
            "FOR SYSTEM_TIME AS OF is not supported",
            "Join with a view that keeps the version you want, for example by ROW_NUMBER() … = 1.",
        ));
    }
    if sample {
        return Some(PlanError::unsupported("TABLESAMPLE is not supported", "Filter by a hash of a column instead."));
    }
    if ordinality {
        return Some(PlanError::unsupported("WITH ORDINALITY is not supported", "Use ROW_NUMBER() OVER ()."));
    }
    None
}

/// `FETCH FIRST n ROWS ONLY` is LIMIT n.
fn fetch_as_limit(query: &mut ast::Query) -> Result<(), PlanError> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        return Err(PlanError::unsupported(
            "FETCH with WITH TIES or PERCENT is not supported",
            "Use FETCH FIRST n ROWS ONLY or LIMIT n.",
        ));
    }
    let one = || Expr::Value(ast::Value::Number("1".into(), false).into());
    let limit_expr = fetch.quantity.unwrap_or_else(one);
    match &mut query.limit_clause {
        None => {
            query.limit_clause =
                Some(ast::LimitClause::LimitOffset { limit: Some(limit_expr), offset: None, limit_by: vec![] });
        }
        Some(ast::LimitClause::LimitOffset { limit, .. }) => *limit = Some(limit_expr),
        Some(ast::LimitClause::OffsetCommaLimit { limit, .. }) => *limit = limit_expr,
    }
    Ok(())
}

/// `mod(a, b)` is `a % b`.
fn modulo_arguments(expr: &Expr) -> Option<(Expr, Expr)> {
    let Expr::Function(call) = expr else { return None };
    if !call.name.to_string().eq_ignore_ascii_case("mod") || call.over.is_some() {
        return None;
    }
    let ast::FunctionArguments::List(list) = &call.args else { return None };
    let [left, right] = <[Expr; 2]>::try_from(catalog_syntax::plain_arguments(&list.args)?).ok()?;
    Some((left, right))
}

/// Gives function calls and the like Postgres' default name as an alias, where that name is unique in the list.
fn name_items(items: &mut [ast::SelectItem]) {
    let mut taken = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for item in items.iter() {
        let name = match item {
            ast::SelectItem::UnnamedExpr(expr) => default_name(expr).or_else(|| column_name(expr)),
            ast::SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
            _ => None,
        };
        if let Some(name) = name
            && !taken.insert(name.clone())
        {
            repeated.insert(name);
        }
    }
    // A wildcard may bring any name: leave the binder's own, which never clash.
    if items.iter().any(|i| matches!(i, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..))) {
        return;
    }
    for item in items.iter_mut() {
        let ast::SelectItem::UnnamedExpr(expr) = item else { continue };
        if let Some(name) = default_name(expr)
            && !repeated.contains(&name)
        {
            *item = ast::SelectItem::ExprWithAlias { expr: expr.clone(), alias: ast::Ident::with_quote('"', name) };
        }
    }
}

/// Unnamed items that repeat a name, and all beside a wildcard, which may bring the same one.
fn number_repeated(items: &mut [ast::SelectItem]) {
    let wildcard =
        items.iter().any(|i| matches!(i, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..)));
    let mut taken = BTreeSet::new();
    for (number, item) in items.iter_mut().enumerate() {
        let (expr, name) = match item {
            ast::SelectItem::UnnamedExpr(expr) => {
                let name = default_name(expr).or_else(|| column_name(expr)).unwrap_or_else(|| "?column?".into());
                (expr.clone(), name)
            }
            ast::SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), fold(alias)),
            _ => continue,
        };
        if !taken.insert(name.clone()) || wildcard {
            let alias = ast::Ident::with_quote('"', format!("{name}{REPEATED}{number}"));
            *item = ast::SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

fn fold(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(fold(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        _ => None,
    }
}

/// Postgres' FigureColname for expressions that aren't plain columns; `None` where it says `?column?`.
fn default_name(expr: &Expr) -> Option<String> {
    match expr {
        // mod is an operator to the binder but keeps its name for the client.
        Expr::Function(call) => call.name.0.last().and_then(|part| part.as_ident()).map(fold),
        Expr::Cast { expr, data_type, .. } => default_name(expr)
            .or_else(|| column_name(expr))
            .or_else(|| catalog_type_name(data_type))
            .or_else(|| crate::data_type(data_type).ok().map(|t| short_type_name(&t))),
        Expr::Case { else_result, .. } => {
            Some(else_result.as_deref().and_then(column_name).unwrap_or_else(|| "case".into()))
        }
        Expr::TypedString(typed) => catalog_type_name(&typed.data_type)
            .or_else(|| crate::data_type(&typed.data_type).ok().map(|t| short_type_name(&t))),
        Expr::Interval(_) => Some("interval".into()),
        Expr::Array(_) => Some("array".into()),
        Expr::Extract { .. } => Some("extract".into()),
        Expr::Substring { .. } => Some("substring".into()),
        Expr::Position { .. } => Some("position".into()),
        Expr::Trim { .. } => Some("btrim".into()),
        Expr::Ceil { .. } => Some("ceil".into()),
        Expr::Floor { .. } => Some("floor".into()),
        Expr::Exists { .. } => Some("exists".into()),
        Expr::Nested(inner) => default_name(inner),
        _ => None,
    }
}

/// `pg_type.typname`, which names a column that is only a cast of a constant.
fn short_type_name(data_type: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType as T;
    match data_type {
        T::Boolean => "bool",
        T::Int16 => "int2",
        T::Int32 => "int4",
        T::Int64 => "int8",
        T::Float32 => "float4",
        T::Float64 => "float8",
        T::Date32 => "date",
        T::Timestamp(_, None) => "timestamp",
        T::Timestamp(_, Some(_)) => "timestamptz",
        T::Interval(_) => "interval",
        T::Time64(_) => "time",
        T::Binary => "bytea",
        T::Utf8 => "text",
        T::Decimal128(..) | T::Decimal256(..) => "numeric",
        _ => "?column?",
    }
    .into()
}
