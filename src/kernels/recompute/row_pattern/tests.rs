//! Aggregates in conditions: kept from candidate to candidate they say what they say when computed anew, at a bounded
//! cost per row.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use pattern::{AfterMatch, Label, LabelSet, Pattern};

use super::super::{RecomputeCall, RecomputeKind, RecomputeSort, RecomputeSpec, Recomputer};
use super::{MatchColumn, MatchExpr, MatchOutput, MatchSource, MatchSpec, MatchValue};
use crate::{Literal, ScalarExpr};

fn call(function: &str, ordered: bool) -> RecomputeCall {
    let x = || ScalarExpr::Column(0);
    let order = RecomputeSort { expr: x(), descending: false, nulls_first: false };
    RecomputeCall {
        function: function.into(),
        args: vec![x()],
        distinct: false,
        filter: None,
        // Nothing is kept of an aggregate with an order.
        order_by: if ordered { vec![order] } else { vec![] },
        ignore_nulls: false,
        frame: None,
    }
}

fn aggregate(set: LabelSet, call: RecomputeCall, data_type: DataType) -> MatchValue {
    MatchValue { data_type, source: MatchSource::Aggregate { set, complete: false, call } }
}

/// `function(v.x) % 3 < limit`
fn condition(function: &str, label: u8, limit: i64, ordered: bool) -> MatchExpr {
    let int = |value| ScalarExpr::Literal(Literal::Int { value, data_type: DataType::Int64 });
    let set = if label == 0 { LabelSet::ALL } else { LabelSet::of([Label(label)]) };
    let values = vec![aggregate(set, call(function, ordered), DataType::Int64)];
    let remainder = ScalarExpr::binary("%", ScalarExpr::Column(0), int(3));
    MatchExpr { values, expr: ScalarExpr::binary("<", remainder, int(limit)) }
}

/// The running count of every row of every match of `(a | b)*` or `a*`.
fn counts(xs: Vec<i64>, conditions: Vec<Option<MatchExpr>>) -> Vec<i64> {
    let input = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    let variables = (0..conditions.len() as u8).map(|label| Pattern::Variable(Label(label))).collect();
    let body = Box::new(Pattern::Alternate(variables));
    let count = aggregate(LabelSet::ALL, call("count", false), DataType::Int64);
    let measure = MatchExpr { values: vec![count], expr: ScalarExpr::Column(0) };
    let spec = MatchSpec {
        order_by: vec![],
        variables: vec!["a".into(), "b".into()],
        pattern: Pattern::Repeat { body, min: 1, max: None, greedy: true },
        after_match: AfterMatch::PastLastRow,
        rows: MatchOutput::AllShowEmpty,
        limit: None,
        timed_out: false,
        skip_faults_pass: false,
        conditions,
        columns: vec![MatchColumn::Measure(measure)],
    };
    let output = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let kind = RecomputeKind::Match(Box::new(spec));
    let spec = RecomputeSpec { key: vec![], kind, input: input.clone(), output };
    let rows = RecordBatch::try_new(input, vec![Arc::new(Int64Array::from(xs)) as ArrayRef]).unwrap();
    let found = Recomputer::compile(&spec).unwrap().run(&[rows]).unwrap();
    found.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[test]
fn what_is_kept_of_an_aggregate_is_what_it_is_anew() {
    let xs: Vec<i64> = (0..120).map(|n| (n * 7919) % 31).collect();
    for function in ["sum", "count", "min", "max"] {
        for limit in 1..3 {
            let conditions =
                |ordered| vec![Some(condition(function, 0, limit, ordered)), Some(condition(function, 1, 2, ordered))];
            let (kept, anew) = (counts(xs.clone(), conditions(false)), counts(xs.clone(), conditions(true)));
            assert_eq!(kept, anew, "{function} {limit}");
            assert!(!kept.is_empty());
        }
    }
}

#[test]
fn a_long_match_costs_one_step_per_row() {
    // Quadratic work would be two hundred million rows.
    let found = counts(vec![3; 20_000], vec![Some(condition("sum", 0, 1, false))]);
    assert_eq!((found.len(), found.last()), (20_000, Some(&20_000)));
}
