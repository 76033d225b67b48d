//! What to recompute, in the form that is persisted with the plan.

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::MatchSpec;
use crate::{Literal, ScalarExpr};

/// What to recompute per key. Input and output schemas include the key columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecomputeSpec {
    /// Input columns that form the key; empty: one key for everything (EXPLAIN gives a NOTICE).
    pub key: Vec<usize>,
    pub kind: RecomputeKind,
    pub input: SchemaRef,
    /// Aggregate: key columns, then one column per call. Window: input columns, then one column per call.
    pub output: SchemaRef,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RecomputeKind {
    Aggregate {
        calls: Vec<RecomputeCall>,
    },
    /// Window functions with one PARTITION BY (= key), one ORDER BY each.
    Window {
        calls: Vec<RecomputeCall>,
    },
    /// MATCH_RECOGNIZE; PARTITION BY is the key. The output has the columns that it names.
    Match(Box<MatchSpec>),
}

/// A DataFusion aggregate or window function by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecomputeCall {
    pub function: String,
    pub args: Vec<ScalarExpr>,
    pub distinct: bool,
    pub filter: Option<ScalarExpr>,
    pub order_by: Vec<RecomputeSort>,
    pub ignore_nulls: bool,
    /// Window calls only: frame as DataFusion prints it (`ROWS BETWEEN 2 PRECEDING AND CURRENT ROW`), persisted
    /// structurally by `FrameSpec`.
    pub frame: Option<FrameSpec>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecomputeSort {
    pub expr: ScalarExpr,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameSpec {
    /// ROWS, RANGE or GROUPS.
    pub units: String,
    pub start: FrameBound,
    pub end: FrameBound,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FrameBound {
    /// `None`: unbounded.
    Preceding(Option<Literal>),
    CurrentRow,
    Following(Option<Literal>),
}
