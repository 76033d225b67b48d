//! What can be wrong with a clause whose names and types are not known yet: variables, unions, skip targets, and how
//! navigation nests. Errors have places here; whoever plans the clause has lost the text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, Spanned, Visit, Visitor};
use types::{SqlError, SqlState};

use super::decode::parts;
use super::pattern::place_of;
use super::{MatchClause, MatchPattern, MatchRows, MatchSkip};
use crate::error::Failure;
use crate::tokens::{Parsed, folded};

/// Functions that go to a row of the match, and those that go on from there.
const LOGICAL: [&str; 2] = ["first", "last"];
const PHYSICAL: [&str; 2] = ["prev", "next"];

pub(super) fn check(clause: &MatchClause) -> Parsed<()> {
    let primary: BTreeSet<String> = clause.pattern.variables().into_iter().map(folded).collect();
    let mut unions = BTreeSet::new();
    for (name, members) in &clause.subsets {
        if primary.contains(&folded(name)) || !unions.insert(folded(name)) {
            return Err(invalid(name, format!("row pattern variable \"{}\" is defined more than once", folded(name))));
        }
        if let Some(unknown) = members.iter().find(|member| !primary.contains(&folded(member))) {
            return Err(unknown_variable(unknown));
        }
    }
    let mut defined = BTreeSet::new();
    for (name, condition) in &clause.defines {
        if unions.contains(&folded(name)) {
            let message = format!("union variable \"{}\" cannot be defined by DEFINE", folded(name));
            return Err(invalid(name, message));
        }
        if !primary.contains(&folded(name)) {
            return Err(unknown_variable(name));
        }
        if !defined.insert(folded(name)) {
            return Err(invalid(name, format!("row pattern variable \"{}\" is defined more than once", folded(name))));
        }
        check_expression(condition, true)?;
    }
    clause.measures.iter().try_for_each(|(measure, _)| check_expression(measure, false))?;
    if let MatchSkip::ToFirst(target) | MatchSkip::ToLast(target) = &clause.after_match
        && !primary.contains(&folded(target))
        && !unions.contains(&folded(target))
    {
        return Err(unknown_variable(target));
    }
    if clause.rows == MatchRows::AllWithUnmatched
        && let Some(place) = excluded(&clause.pattern)
    {
        return Err(invalid(place, "exclusion {- -} cannot be combined with WITH UNMATCHED ROWS".into()));
    }
    if clause.timed_out && clause.within.is_none() {
        let error = SqlError::new(SqlState::InvalidParameterValue, "WITH TIMED OUT MATCHES needs WITHIN");
        return Err(error.with_hint("Add WITHIN INTERVAL '…' behind the pattern.").into());
    }
    Ok(())
}

/// Some variable inside an exclusion.
fn excluded(pattern: &MatchPattern) -> Option<&Ident> {
    match pattern {
        MatchPattern::Empty | MatchPattern::Start | MatchPattern::End | MatchPattern::Variable(_) => None,
        MatchPattern::Concat(parts) | MatchPattern::Alternate(parts) | MatchPattern::Permute(parts) => {
            parts.iter().find_map(excluded)
        }
        MatchPattern::Repeat { body, .. } => excluded(body),
        MatchPattern::Exclude(body) => body.variables().into_iter().next(),
    }
}

fn unknown_variable(name: &Ident) -> Failure {
    invalid(name, format!("row pattern variable \"{}\" is not in PATTERN or SUBSET", folded(name)))
}

fn invalid(name: &Ident, message: String) -> Failure {
    Failure::invalid(place_of(name), SqlState::SyntaxError, message)
}

fn check_expression(expr: &Expr, define: bool) -> Parsed<()> {
    match expr.visit(&mut Nesting { define, around: vec![] }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(failure) => Err(*failure),
    }
}

/// The navigation and RUNNING or FINAL around the expression that is visited.
struct Nesting {
    define: bool,
    around: Vec<&'static str>,
}

fn kind(expr: &Expr) -> Option<&'static str> {
    let (name, _) = parts(expr)?;
    let known = LOGICAL.iter().chain(&PHYSICAL).chain(&["running", "final"]);
    known.copied().find(|known| name.eq_ignore_ascii_case(known))
}

impl Visitor for Nesting {
    type Break = Box<Failure>;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let Some(inner) = kind(expr) else { return ControlFlow::Continue(()) };
        if let Some(message) = self.refused(inner) {
            let failure = Failure::invalid(expr.span().start, SqlState::SyntaxError, message);
            return ControlFlow::Break(Box::new(failure));
        }
        self.around.push(inner);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if kind(expr).is_some() {
            self.around.pop();
        }
        ControlFlow::Continue(())
    }
}

impl Nesting {
    fn refused(&self, inner: &'static str) -> Option<String> {
        let upper = inner.to_uppercase();
        if inner == "final" && self.define {
            return Some("FINAL is not allowed in DEFINE".into());
        }
        let outer = *self.around.last()?;
        let name = outer.to_uppercase();
        if PHYSICAL.contains(&inner) && (outer == "running" || outer == "final") {
            return Some(format!("{name} cannot be applied to {upper}"));
        }
        if PHYSICAL.contains(&inner) {
            return Some(format!("{upper} cannot be nested in {name}"));
        }
        if LOGICAL.contains(&inner) && LOGICAL.contains(&outer) {
            return Some(format!("{upper} cannot be nested in {name}"));
        }
        None
    }
}
