//! When matches leave: scripts of rows and watermarks. A row at the watermark may still come; rows before it are known.

mod growth;
mod property;
mod scripts;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use kernels::{
    Literal, MatchColumn, MatchExpr, MatchLimit, MatchOutput, MatchSource, MatchSpec, MatchValue, RecomputeKind,
    RecomputeSort, RecomputeSpec, ScalarExpr,
};
use pattern::{AfterMatch, End, Label, LabelSet, Pattern};
use types::EventTimeBound;

use super::MatchOnCloseOperator;
use crate::Operator;
use crate::changelog::{SOURCE, schema};
use crate::spec::MatchOnCloseSpec;

const INPUT: &str = "p:int ts:ts k:text x:int";

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub(super) fn var(label: u8) -> Pattern {
    Pattern::Variable(Label(label))
}

pub(super) fn concat(parts: impl IntoIterator<Item = Pattern>) -> Pattern {
    Pattern::Concat(parts.into_iter().collect())
}

pub(super) fn either(parts: impl IntoIterator<Item = Pattern>) -> Pattern {
    Pattern::Alternate(parts.into_iter().collect())
}

pub(super) fn repeat(body: Pattern, min: u32, greedy: bool) -> Pattern {
    Pattern::Repeat { body: Box::new(body), min, max: None, greedy }
}

fn value(data_type: DataType, set: LabelSet, end: End, shift: i64, column: usize) -> MatchValue {
    let expr = ScalarExpr::Column(column);
    MatchValue { data_type, source: MatchSource::Row { set, end, offset: 0, shift, complete: false, expr } }
}

fn time_measure(end: End) -> MatchColumn {
    let values = vec![value(timestamp(), LabelSet::ALL, end, 0, 1)];
    MatchColumn::Measure(MatchExpr { values, expr: ScalarExpr::Column(0) })
}

/// `k = letter` in the row that is tried.
fn is_letter(label: u8, letter: char) -> MatchExpr {
    let values = vec![value(DataType::Utf8, LabelSet::of([Label(label)]), End::Last, 0, 2)];
    let literal = ScalarExpr::Literal(Literal::Utf8(letter.to_string()));
    MatchExpr { values, expr: ScalarExpr::binary("=", ScalarExpr::Column(0), literal) }
}

/// `x > PREV(x) AND x > NEXT(x)`
pub(super) fn is_peak() -> MatchExpr {
    let at = |shift| value(DataType::Int64, LabelSet::ALL, End::Last, shift, 3);
    let larger = |column| ScalarExpr::binary(">", ScalarExpr::Column(0), ScalarExpr::Column(column));
    MatchExpr { values: vec![at(0), at(-1), at(1)], expr: ScalarExpr::binary("AND", larger(1), larger(2)) }
}

/// PARTITION BY p ORDER BY ts, first and last time; `letters` by variable, `*` holds everywhere.
pub(super) fn spec(pattern: Pattern, letters: &str, within_s: Option<i64>) -> MatchOnCloseSpec {
    let condition = |(label, letter): (usize, char)| (letter != '*').then(|| is_letter(label as u8, letter));
    let matched = MatchSpec {
        order_by: vec![RecomputeSort { expr: ScalarExpr::Column(1), descending: false, nulls_first: false }],
        variables: ('a'..='z').take(letters.len()).map(String::from).collect(),
        pattern,
        after_match: AfterMatch::PastLastRow,
        rows: MatchOutput::OneRow,
        limit: within_s.map(|seconds| MatchLimit { column: 1, distance: seconds * 1_000_000 }),
        timed_out: false,
        skip_faults_pass: false,
        conditions: letters.chars().enumerate().map(condition).collect(),
        columns: vec![MatchColumn::Input(0), time_measure(End::First), time_measure(End::Last)],
    };
    with_columns(matched, &[("p", DataType::Int64), ("first", timestamp()), ("last", timestamp())])
}

pub(super) fn with_columns(matched: MatchSpec, output: &[(&str, DataType)]) -> MatchOnCloseSpec {
    let fields: Vec<Field> = output.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
    let input: SchemaRef = schema(INPUT);
    let output = Arc::new(Schema::new(fields));
    let pattern = RecomputeSpec { key: vec![0], kind: RecomputeKind::Match(Box::new(matched)), input, output };
    MatchOnCloseSpec { pattern, time_column: 1, bound: EventTimeBound::of_source(SOURCE) }
}

pub(super) fn matched(spec: &mut MatchOnCloseSpec) -> &mut MatchSpec {
    match &mut spec.pattern.kind {
        RecomputeKind::Match(matched) => matched,
        RecomputeKind::Aggregate { .. } | RecomputeKind::Window { .. } => panic!("a pattern"),
    }
}

pub(super) fn build(spec: &MatchOnCloseSpec) -> Box<dyn Operator> {
    Box::new(MatchOnCloseOperator::new(spec).expect("it can be built"))
}
