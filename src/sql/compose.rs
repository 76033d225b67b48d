//! Small queries composed as AST: what the engine needs when a statement implies a SELECT (SUBSCRIBE to a relation,
//! the rows an UPDATE or DELETE finds, COPY of a relation).

use sqlparser::ast::{self, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias, TableFactor};

use crate::Statement;

/// `SELECT * FROM name [alias]`.
pub fn select_from(name: &ObjectName, alias: Option<&Ident>) -> Query {
    let mut query = template();
    let TableFactor::Table { name: table, alias: table_alias, .. } = &mut from_of(&mut query).relation else {
        unreachable!("the template reads a table")
    };
    *table = name.clone();
    *table_alias = alias.map(|alias| TableAlias { explicit: true, name: alias.clone(), columns: vec![], at: None });
    query
}

/// `SELECT columns FROM name`; all columns if none are given.
pub fn select_columns_from(name: &ObjectName, columns: &[Ident]) -> Query {
    let mut query = select_from(name, None);
    if !columns.is_empty() {
        let SetExpr::Select(select) = query.body.as_mut() else { unreachable!("the template is a select") };
        let item = |column: &Ident| SelectItem::UnnamedExpr(ast::Expr::Identifier(column.clone()));
        select.projection = columns.iter().map(item).collect();
    }
    query
}

/// A query with every field at its default: parsed, because the AST has no constructors.
fn template() -> Query {
    let statement = crate::parse("SELECT * FROM t").expect("the template parses").remove(0).statement;
    let Statement::Query(query) = statement else { unreachable!("the template is a query") };
    *query
}

fn from_of(query: &mut Query) -> &mut ast::TableWithJoins {
    let SetExpr::Select(select) = query.body.as_mut() else { unreachable!("the template is a select") };
    &mut select.from[0]
}
