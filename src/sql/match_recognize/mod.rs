//! MATCH_RECOGNIZE: from tokens to one shape in the tree, and from there to [`MatchClause`].
//!
//! sqlparser knows a part of the clause only, behind a table name only. So the clause is taken out of the token stream
//! (`lift.rs`), parsed here on sqlparser's parser (`clause.rs`, `pattern.rs`), checked (`check.rs`), and what stands in
//! its place brings it back into the tree as a function in FROM whose arguments are all expressions (`encode.rs`):
//! rewrites and checks of expressions reach it, and the text of a normalised query parses back to the same tree. The
//! planner reads that with [`match_clause`].

mod check;
mod clause;
mod decode;
mod encode;
mod lift;
mod pattern;

use sqlparser::ast::{self, Expr, Ident, TableAlias, TableFactor};
use types::{SqlError, SqlState};

pub(crate) use encode::call;
pub(crate) use lift::{Lifted, lift};

use crate::error::Failure;

/// The function in FROM that stands for the clause.
pub(crate) const MATCH_FUNCTION: &str = "row_pattern_matches";

/// `input MATCH_RECOGNIZE ( … ) alias`.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchClause {
    /// `SELECT * FROM input`.
    pub input: Box<ast::Query>,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<MatchOrder>,
    pub measures: Vec<(Expr, Ident)>,
    pub rows: MatchRows,
    /// `WITH TIMED OUT MATCHES`
    pub timed_out: bool,
    pub after_match: MatchSkip,
    pub pattern: MatchPattern,
    pub within: Option<Expr>,
    pub subsets: Vec<(Ident, Vec<Ident>)>,
    pub defines: Vec<(Ident, Expr)>,
    pub alias: Option<TableAlias>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MatchOrder {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: Option<bool>,
}

/// ROWS PER MATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchRows {
    One,
    AllShowEmpty,
    AllOmitEmpty,
    AllWithUnmatched,
}

/// AFTER MATCH SKIP.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchSkip {
    PastLastRow,
    ToNextRow,
    ToFirst(Ident),
    ToLast(Ident),
}

#[derive(Debug, Clone, PartialEq)]
pub enum MatchPattern {
    Empty,
    Start,
    End,
    Variable(Ident),
    Concat(Vec<MatchPattern>),
    Alternate(Vec<MatchPattern>),
    Repeat { body: Box<MatchPattern>, min: u32, max: Option<u32>, greedy: bool },
    Permute(Vec<MatchPattern>),
    Exclude(Box<MatchPattern>),
}

impl MatchPattern {
    /// Its variables in order of appearance, each as often as it stands there.
    pub fn variables(&self) -> Vec<&Ident> {
        match self {
            MatchPattern::Empty | MatchPattern::Start | MatchPattern::End => vec![],
            MatchPattern::Variable(name) => vec![name],
            MatchPattern::Concat(parts) | MatchPattern::Alternate(parts) | MatchPattern::Permute(parts) => {
                parts.iter().flat_map(MatchPattern::variables).collect()
            }
            MatchPattern::Repeat { body, .. } | MatchPattern::Exclude(body) => body.variables(),
        }
    }
}

/// The clause that a relation in FROM is; `None` for any other.
///
/// Errors: as the clause itself, for a call of the function by hand.
pub fn match_clause(factor: &TableFactor) -> Option<Result<MatchClause, SqlError>> {
    let clause = decode::decode(factor)?;
    let checked = clause.and_then(|clause| check::check(&clause).map(|()| clause));
    Some(checked.map_err(|failure| match failure {
        Failure::Refused { error, .. } => *error,
        Failure::Parser(error) => SqlError::new(SqlState::SyntaxError, error.to_string()),
    }))
}

/// Whether a relation in FROM is a clause.
pub fn is_match_clause(factor: &TableFactor) -> bool {
    decode::arguments(factor).is_some()
}
