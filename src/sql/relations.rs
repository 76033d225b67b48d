//! Renaming the relations that a query names, for showing a view's text to a session with another search path.
//!
//! A name is a relation's unless a WITH query in scope has it: an item of WITH is visible to the items behind it and to
//! the query itself, with RECURSIVE also to its own and those before it.

use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Query, VisitMut, VisitorMut};

use crate::tokens::folded;

/// Replaces each relation's name by what `rename` makes of it; `None` leaves it.
pub fn rename_relations(query: &mut Query, rename: impl FnMut(&ObjectName) -> Option<ObjectName>) {
    let mut renamer = Renamer { rename, scopes: vec![] };
    let ControlFlow::Continue(()) = query.visit(&mut renamer);
}

struct Renamer<F> {
    rename: F,
    /// Of the queries around, outermost first.
    scopes: Vec<Scope>,
}

/// The WITH of one query.
struct Scope {
    /// Names of its items, in order.
    items: Vec<String>,
    /// How many of them are visible.
    visible: usize,
    recursive: bool,
    /// How many of them have been entered; they come before the query's body.
    started: usize,
    /// This query is an item of the one around it.
    is_item: bool,
}

impl<F: FnMut(&ObjectName) -> Option<ObjectName>> VisitorMut for Renamer<F> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let is_item = match self.scopes.last_mut() {
            Some(outer) if outer.started < outer.items.len() => {
                outer.started += 1;
                true
            }
            _ => false,
        };
        let items: Vec<String> =
            query.with.iter().flat_map(|with| &with.cte_tables).map(|item| folded(&item.alias.name)).collect();
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        let visible = if recursive { items.len() } else { 0 };
        self.scopes.push(Scope { items, visible, recursive, started: 0, is_item });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        let inner = self.scopes.pop().expect("each query was entered");
        if let Some(outer) = self.scopes.last_mut().filter(|outer| inner.is_item && !outer.recursive) {
            outer.visible += 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Self::Break> {
        let item = match relation.0.as_slice() {
            [part] => part.as_ident().map(folded),
            _ => None,
        };
        let is_item =
            item.is_some_and(|name| self.scopes.iter().any(|scope| scope.items[..scope.visible].contains(&name)));
        if !is_item && let Some(renamed) = (self.rename)(relation) {
            *relation = renamed;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::ast::Ident;

    use super::*;
    use crate::Statement;

    fn check(text: &str, expected: &str) {
        let Some(Statement::Query(mut query)) = crate::parse(text).unwrap().pop().map(|parsed| parsed.statement) else {
            panic!("not a query: {text}");
        };
        rename_relations(&mut query, |name| {
            let unqualified = name.0.len() == 1;
            unqualified.then(|| ObjectName::from(vec![Ident::new("s"), Ident::new(name.to_string())]))
        });
        assert_eq!(query.to_string(), expected);
    }

    #[test]
    fn relations_are_renamed_wherever_they_stand() {
        check("SELECT t.a FROM t JOIN other.u AS u ON true", "SELECT t.a FROM s.t JOIN other.u AS u ON true");
        check(
            "SELECT (SELECT 1 FROM t) FROM (SELECT * FROM u) AS x",
            "SELECT (SELECT 1 FROM s.t) FROM (SELECT * FROM s.u) AS x",
        );
        check("SELECT a FROM t WHERE a IN (SELECT a FROM u)", "SELECT a FROM s.t WHERE a IN (SELECT a FROM s.u)");
    }

    #[test]
    fn items_of_with_are_no_relations() {
        check("WITH t AS (SELECT * FROM t) SELECT * FROM t, u", "WITH t AS (SELECT * FROM s.t) SELECT * FROM t, s.u");
        check(
            "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT (SELECT 1 FROM b)",
            "WITH a AS (SELECT * FROM s.b), b AS (SELECT * FROM a) SELECT (SELECT 1 FROM b)",
        );
        check(
            "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) AS x, a",
            "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) AS x, s.a",
        );
    }
}
