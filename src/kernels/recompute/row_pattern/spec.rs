//! What to look for and what to say about it, in the form that is persisted with the plan.

use arrow::datatypes::DataType;
use pattern::{AfterMatch, End, LabelSet, Pattern};
use serde::{Deserialize, Serialize};

use super::super::{RecomputeCall, RecomputeSort};
use crate::ScalarExpr;

/// MATCH_RECOGNIZE over the rows of one key. Labels are indices into `variables`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchSpec {
    pub order_by: Vec<RecomputeSort>,
    /// Names of the primary variables, as CLASSIFIER gives them.
    pub variables: Vec<String>,
    pub pattern: Pattern,
    pub after_match: AfterMatch,
    pub rows: MatchOutput,
    pub limit: Option<MatchLimit>,
    /// Matches whose time ran out are rows, too.
    pub timed_out: bool,
    /// A match after which the search cannot go on as asked is no error.
    pub skip_faults_pass: bool,
    /// By variable; `None` holds everywhere.
    pub conditions: Vec<Option<MatchExpr>>,
    pub columns: Vec<MatchColumn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatchOutput {
    OneRow,
    AllShowEmpty,
    AllOmitEmpty,
    AllWithUnmatched,
}

/// WITHIN: the first and the last row of a match differ by at most `distance` in `column`, in the column's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchLimit {
    pub column: usize,
    pub distance: i64,
}

/// A column of the output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MatchColumn {
    Input(usize),
    Measure(MatchExpr),
}

/// An expression whose columns are `values`, by position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchExpr {
    pub values: Vec<MatchValue>,
    pub expr: ScalarExpr,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchValue {
    pub data_type: DataType,
    pub source: MatchSource,
}

/// Expressions here are over `match_row_schema`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MatchSource {
    /// `expr` at one row: the `offset`-th from an end among those of `set`, and from there `shift` rows on in the
    /// partition. NULL where there is no such row. `complete` counts in the whole match (FINAL), else up to the current row.
    Row {
        set: LabelSet,
        end: End,
        offset: usize,
        shift: i64,
        complete: bool,
        expr: ScalarExpr,
    },
    /// Over the rows of `set`.
    Aggregate {
        set: LabelSet,
        complete: bool,
        call: RecomputeCall,
    },
    MatchNumber,
    TimedOut,
}
