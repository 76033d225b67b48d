//! JOIN … USING and NATURAL JOIN as joins ON equality, with the merged column put where the query names it alone: the
//! left one of inner and left joins, the right one of right joins, whichever is there of full joins. The binder of the
//! library takes the left one always.
//!
//! Works on the AST, one SELECT at a time: identifiers inside its subqueries belong to them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sql::ast::{self, Expr, Ident, JoinConstraint, JoinOperator, VisitMut, VisitorMut};

use super::catalog_syntax::{call, last_name};
use crate::PlanError;

/// The columns of a catalog relation; `None` if there is none of this name.
pub(super) type ColumnsOf<'a> = dyn Fn(&ast::ObjectName) -> Option<Vec<String>> + 'a;

/// Rewrites the FROM of the query's SELECTs (those of a set operation as well) and every place that names a merged column.
pub(super) fn merge_using(query: &mut ast::Query, columns_of: &ColumnsOf) -> Result<(), PlanError> {
    match query.body.as_mut() {
        ast::SetExpr::Select(select) => merge_select(select, query.order_by.as_mut(), columns_of),
        body => merge_set(body, columns_of),
    }
}

fn merge_set(body: &mut ast::SetExpr, columns_of: &ColumnsOf) -> Result<(), PlanError> {
    match body {
        ast::SetExpr::Select(select) => merge_select(select, None, columns_of),
        ast::SetExpr::SetOperation { left, right, .. } => {
            merge_set(left, columns_of)?;
            merge_set(right, columns_of)
        }
        // A nested query is visited by itself; the others have no FROM.
        _ => Ok(()),
    }
}

fn merge_select(
    select: &mut ast::Select,
    order_by: Option<&mut ast::OrderBy>,
    columns_of: &ColumnsOf,
) -> Result<(), PlanError> {
    let joins = select.from.iter().flat_map(|item| &item.joins);
    let using = |join: &ast::Join| {
        matches!(constraint(&join.join_operator), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
    };
    if !joins.into_iter().any(using) {
        return Ok(());
    }
    let mut scope = Scope::default();
    for item in &mut select.from {
        if !scope.add_joins(item, columns_of)? {
            return Ok(());
        }
    }
    let Some(projection) = scope.projection(&select.projection) else { return Ok(()) };
    let output: BTreeSet<String> = projection.iter().filter_map(item_name).collect();
    select.projection = projection;
    let mut replace = Replace { scope: &scope, depth: 0 };
    // The visitor never breaks.
    let _ = select.projection.visit(&mut replace);
    let _ = select.selection.visit(&mut replace);
    let _ = select.group_by.visit(&mut replace);
    let _ = select.having.visit(&mut replace);
    let _ = select.named_window.visit(&mut replace);
    if let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(exprs), .. }) = order_by {
        for order in exprs {
            // A name alone is that of an output column, if there is one.
            let output = matches!(&order.expr, Expr::Identifier(name) if output.contains(&fold(name)));
            if !output {
                let _ = order.expr.visit(&mut replace);
            }
        }
    }
    Ok(())
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c) => Some(c),
        _ => None,
    }
}

fn set_constraint(operator: &mut JoinOperator, on: JoinConstraint) {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c) => *c = on,
        _ => {}
    }
}

/// A relation of FROM by the name that qualifies its columns.
struct Relation {
    qualifier: Ident,
    /// `None`: not known without binding it.
    columns: Option<Vec<String>>,
    /// Those that a merged column stands for.
    merged: BTreeSet<String>,
}

impl Relation {
    fn of(factor: &ast::TableFactor, columns_of: &ColumnsOf) -> Option<Relation> {
        let (alias, name, columns) = match factor {
            ast::TableFactor::Table { name, alias, args: None, .. } => {
                let qualifier = name.0.last().and_then(|part| part.as_ident()).cloned();
                (alias, qualifier, columns_of(name))
            }
            ast::TableFactor::Derived { subquery, alias, .. } => (alias, None, derived_columns(subquery)),
            ast::TableFactor::Table { alias, .. }
            | ast::TableFactor::Function { alias, .. }
            | ast::TableFactor::UNNEST { alias, .. } => (alias, None, None),
            _ => return None,
        };
        let columns = match alias {
            Some(alias) if !alias.columns.is_empty() => {
                let renamed: Vec<String> = alias.columns.iter().map(|column| fold(&column.name)).collect();
                // Columns beyond those that are named keep their names.
                columns.map(|columns| renamed.iter().cloned().chain(columns.into_iter().skip(renamed.len())).collect())
            }
            _ => columns,
        };
        let qualifier = alias.as_ref().map(|alias| alias.name.clone()).or(name)?;
        Some(Relation { qualifier, columns, merged: BTreeSet::new() })
    }

    fn has(&self, column: &str) -> bool {
        self.columns.as_ref().is_some_and(|columns| columns.iter().any(|c| c == column))
    }

    fn column(&self, name: &str) -> Expr {
        Expr::CompoundIdentifier(vec![self.qualifier.clone(), quoted(name)])
    }
}

/// The names of a subquery's columns, where its text tells.
fn derived_columns(query: &ast::Query) -> Option<Vec<String>> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    select.projection.iter().map(item_name).collect()
}

fn item_name(item: &ast::SelectItem) -> Option<String> {
    match item {
        ast::SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        ast::SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(fold(name)),
        ast::SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(fold),
        _ => None,
    }
}

fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// The relations of a FROM and the merged columns over them, in the order of `*`.
#[derive(Default)]
struct Scope {
    relations: Vec<Relation>,
    merged: Vec<(String, Expr)>,
}

impl Scope {
    /// False if the item has a form that is left to the binder.
    fn add_joins(&mut self, item: &mut ast::TableWithJoins, columns_of: &ColumnsOf) -> Result<bool, PlanError> {
        let Some(first) = Relation::of(&item.relation, columns_of) else { return self.refuse_outer(item) };
        // Columns of items before this one are no partners of its joins.
        let mut own = Scope { relations: vec![first], merged: vec![] };
        for number in 0..item.joins.len() {
            let join = &item.joins[number];
            let Some(right) = Relation::of(&join.relation, columns_of) else { return self.refuse_outer(item) };
            let names = match constraint(&join.join_operator) {
                Some(JoinConstraint::Using(names)) => Some(names.iter().map(last_name).collect()),
                Some(JoinConstraint::Natural) => match own.common(&right) {
                    Some(names) => Some(names),
                    None => return self.refuse_outer(item),
                },
                _ => None,
            };
            let join = &mut item.joins[number];
            match names {
                None => {
                    let mut replace = Replace { scope: &own, depth: 0 };
                    let _ = join.join_operator.visit(&mut replace);
                    own.relations.push(right);
                }
                Some(names) => match own.merge(&names, right, &join.join_operator) {
                    Some(on) => set_constraint(&mut join.join_operator, JoinConstraint::On(on)),
                    None => return self.refuse_outer(item),
                },
            }
        }
        self.relations.extend(own.relations);
        self.merged.extend(own.merged);
        Ok(true)
    }

    /// The binder's choice of a column is that of Postgres for inner and left joins only.
    fn refuse_outer(&self, item: &ast::TableWithJoins) -> Result<bool, PlanError> {
        let outer = item.joins.iter().any(|join| match &join.join_operator {
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) | JoinOperator::FullOuter(c) => {
                matches!(c, JoinConstraint::Using(_) | JoinConstraint::Natural)
            }
            _ => false,
        });
        match outer {
            true => Err(PlanError::unsupported(
                "USING and NATURAL of a right or full join are not supported over these relations",
                "Join ON the columns, qualified by their tables, and merge them with coalesce.",
            )),
            false => Ok(false),
        }
    }

    /// Columns in common with `right`, in the order of the left.
    fn common(&self, right: &Relation) -> Option<Vec<String>> {
        let theirs = right.columns.as_ref()?;
        let mut ours: Vec<String> = self.merged.iter().map(|(name, _)| name.clone()).collect();
        for relation in &self.relations {
            let columns = relation.columns.as_ref()?.iter();
            ours.extend(columns.filter(|column| !relation.merged.contains(*column)).cloned());
        }
        Some(ours.into_iter().filter(|name| theirs.contains(name)).collect())
    }

    /// The relation on the left that has the column; of those that aren't known the only one.
    fn owner(&mut self, name: &str) -> Option<&mut Relation> {
        let known = self.relations.iter().filter(|relation| relation.has(name)).count();
        let unknown = self.relations.iter().filter(|relation| relation.columns.is_none()).count();
        match (known, unknown) {
            (1, _) => self.relations.iter_mut().find(|relation| relation.has(name)),
            (0, 1) => self.relations.iter_mut().find(|relation| relation.columns.is_none()),
            _ => None,
        }
    }

    /// Joins `right` on `names`; the condition.
    fn merge(&mut self, names: &[String], mut right: Relation, operator: &JoinOperator) -> Option<Expr> {
        let mut condition: Option<Expr> = None;
        let mut merged = vec![];
        for name in names {
            let left = match self.merged.iter().find(|(other, _)| other == name) {
                Some((_, expr)) => expr.clone(),
                None => {
                    let owner = self.owner(name)?;
                    owner.merged.insert(name.clone());
                    owner.column(name)
                }
            };
            right.merged.insert(name.clone());
            let theirs = right.column(name);
            let equal = binary(left.clone(), ast::BinaryOperator::Eq, theirs.clone());
            condition = Some(match condition {
                Some(condition) => binary(condition, ast::BinaryOperator::And, equal),
                None => equal,
            });
            let value = match operator {
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => theirs,
                JoinOperator::FullOuter(_) => call("coalesce", vec![left, theirs]),
                _ => left,
            };
            merged.push((name.clone(), value));
        }
        let before = std::mem::take(&mut self.merged).into_iter().filter(|(name, _)| !names.contains(name));
        merged.extend(before);
        self.merged = merged;
        self.relations.push(right);
        Some(condition.unwrap_or_else(|| Expr::Value(ast::Value::Boolean(true).into())))
    }

    /// The list with `*` written out and merged columns named. `None`: a form of `*` that is left to the binder.
    fn projection(&self, items: &[ast::SelectItem]) -> Option<Vec<ast::SelectItem>> {
        let named =
            |name: &str, expr: &Expr| ast::SelectItem::ExprWithAlias { expr: expr.clone(), alias: quoted(name) };
        let mut list = vec![];
        for item in items {
            match item {
                ast::SelectItem::Wildcard(options) if *options == ast::WildcardAdditionalOptions::default() => {
                    list.extend(self.merged.iter().map(|(name, expr)| named(name, expr)));
                    list.extend(self.relations.iter().flat_map(Relation::others));
                }
                ast::SelectItem::Wildcard(_) => return None,
                ast::SelectItem::UnnamedExpr(Expr::Identifier(ident)) => match self.value(ident) {
                    Some(expr) => list.push(named(&fold(ident), expr)),
                    None => list.push(item.clone()),
                },
                other => list.push(other.clone()),
            }
        }
        Some(list)
    }

    fn value(&self, ident: &Ident) -> Option<&Expr> {
        let name = fold(ident);
        self.merged.iter().find(|(merged, _)| *merged == name).map(|(_, expr)| expr)
    }
}

impl Relation {
    /// What `*` shows of it besides merged columns.
    fn others(&self) -> Vec<ast::SelectItem> {
        if let Some(columns) = &self.columns {
            let others = columns.iter().filter(|column| !self.merged.contains(*column));
            return others.map(|column| ast::SelectItem::UnnamedExpr(self.column(column))).collect();
        }
        let mut merged = self.merged.iter().map(|name| quoted(name));
        let except = merged
            .next()
            .map(|first_element| ast::ExceptSelectItem { first_element, additional_elements: merged.collect() });
        let options = ast::WildcardAdditionalOptions { opt_except: except, ..Default::default() };
        let name = ast::ObjectName::from(vec![self.qualifier.clone()]);
        vec![ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options)]
    }
}

fn binary(left: Expr, op: ast::BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// Puts the merged columns where they are named alone, not inside subqueries.
struct Replace<'a> {
    scope: &'a Scope,
    depth: usize,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Identifier(ident) = expr
            && let Some(value) = self.scope.value(ident)
        {
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    }
}
