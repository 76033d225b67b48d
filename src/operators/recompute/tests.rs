//! Changelogs for the functions that only recompute knows, and the oracle: whatever the batches, seals and restarts,
//! the integrated output is the recomputation of the integrated input.

use arrow::datatypes::DataType;
use expect_test::expect;
use kernels::{FrameBound, FrameSpec, Literal, RecomputeCall, RecomputeKind, RecomputeSort, RecomputeSpec, ScalarExpr};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use types::Watermarks;

use super::*;
use crate::changelog::{check, rows, schema};

fn call(function: &str, args: &[usize]) -> RecomputeCall {
    RecomputeCall {
        function: function.to_string(),
        args: args.iter().map(|column| ScalarExpr::Column(*column)).collect(),
        distinct: false,
        filter: None,
        order_by: vec![],
        ignore_nulls: false,
        frame: None,
    }
}

fn by(column: usize) -> RecomputeSort {
    RecomputeSort { expr: ScalarExpr::Column(column), descending: false, nulls_first: false }
}

fn text(value: &str) -> ScalarExpr {
    ScalarExpr::Literal(Literal::Utf8(value.to_string()))
}

fn rows_between(start: FrameBound, end: FrameBound) -> Option<FrameSpec> {
    Some(FrameSpec { units: "ROWS".to_string(), start, end })
}

fn preceding(rows: u64) -> FrameBound {
    FrameBound::Preceding(Some(Literal::UInt { value: rows, data_type: DataType::UInt64 }))
}

fn aggregate(key: &[usize], input: &str, output: &str, calls: Vec<RecomputeCall>) -> RecomputeSpec {
    RecomputeSpec {
        key: key.to_vec(),
        kind: RecomputeKind::Aggregate { calls },
        input: schema(input),
        output: schema(output),
    }
}

fn window(key: &[usize], input: &str, output: &str, calls: Vec<RecomputeCall>) -> RecomputeSpec {
    RecomputeSpec {
        key: key.to_vec(),
        kind: RecomputeKind::Window { calls },
        input: schema(input),
        output: schema(output),
    }
}

fn build(spec: RecomputeSpec) -> impl Fn() -> Box<dyn Operator> {
    move || Box::new(RecomputeOperator::new(&spec, 0, 1).unwrap())
}

#[test]
fn stddev_and_median() {
    let spec =
        aggregate(&[0], "k:int v:float", "k:int s:float m:float", vec![call("stddev", &[1]), call("median", &[1])]);
    check(
        build(spec),
        "
        k:int v:float
        + 1 2
        + 1 4
        + 2 5
        seal 1
        +2 1 4
        - 2 5
        seal 2
        - 1 2
        + 1 2
        seal 3
        - 1 2
        seal 4",
        expect![[r#"
            seal 1:
            + 1 1.4142135623730951 3.0
            + 2 null 5.0
            seal 2:
            + 1 1.0 4.0
            - 1 1.4142135623730951 3.0
            - 2 null 5.0
            seal 3:
            seal 4:
            + 1 0.0 4.0
            - 1 1.0 4.0
        "#]],
    );
}

/// string_agg(v, ',' ORDER BY v DESC), array_agg(DISTINCT v), count(v) FILTER (WHERE v > 'b').
fn lists() -> RecomputeSpec {
    let mut ordered = call("string_agg", &[1]);
    ordered.args.push(text(","));
    ordered.order_by = vec![RecomputeSort { descending: true, ..by(1) }];
    let mut distinct = call("string_agg", &[1]);
    distinct.args.push(text("+"));
    distinct.distinct = true;
    let mut filtered = call("count", &[1]);
    filtered.filter = Some(ScalarExpr::binary(">", ScalarExpr::Column(1), text("b")));
    aggregate(&[0], "k:int v:text", "k:int o:text d:text f:int", vec![ordered, distinct, filtered])
}

#[test]
fn order_distinct_and_filter_within_aggregates() {
    check(
        build(lists()),
        "
        k:int v:text
        + 1 b
        +2 1 a
        + 1 c
        + 2 null
        seal 1
        - 1 a
        checkpoint
        seal 2
        - 1 b
        seal 3
        - 2 null
        seal 4",
        expect![[r#"
            seal 1:
            + 1 c,b,a,a a+b+c 1
            + 2 null null 0
            seal 2:
            seal 3:
            + 1 c,a,a a+c 1
            - 1 c,b,a,a a+b+c 1
            seal 4:
            - 2 null null 0
        "#]],
    );
}

#[test]
fn arrays_keep_their_order() {
    let mut agg = call("array_agg", &[1]);
    agg.order_by = vec![by(2)];
    let mut spec = aggregate(&[0], "k:int v:int t:int", "k:int", vec![agg]);
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    spec.output = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("a", list, true)]));
    check(
        build(spec),
        "
        k:int v:int t:int
        + 1 30 1
        + 1 10 2
        + 1 20 3
        seal 1
        - 1 10 2
        + 1 10 0
        seal 2",
        expect![[r#"
            seal 1:
            + 1 [30, 10, 20]
            seal 2:
            + 1 [10, 30, 20]
            - 1 [30, 10, 20]
        "#]],
    );
}

/// row_number, lag(v), sum(v) over the row before and this one; ordered by t.
fn windows() -> RecomputeSpec {
    let mut number = call("row_number", &[]);
    number.order_by = vec![by(1)];
    let mut lag = call("lag", &[2]);
    lag.order_by = vec![by(1)];
    let mut sum = call("sum", &[2]);
    sum.order_by = vec![by(1)];
    sum.frame = rows_between(preceding(1), FrameBound::CurrentRow);
    let mut last = call("sum", &[2]);
    last.order_by = vec![RecomputeSort { descending: true, ..by(1) }];
    window(&[0], "k:int t:int v:int", "k:int t:int v:int n:int l:int s:int r:int", vec![number, lag, sum, last])
}

#[test]
fn window_functions_shift_when_a_row_comes_between() {
    check(
        build(windows()),
        "
        k:int t:int v:int
        + 1 10 1
        + 1 30 3
        + 2 5 9
        seal 1
        + 1 20 2
        seal 2
        checkpoint
        - 1 10 1
        seal 3",
        expect![[r#"
            seal 1:
            + 1 10 1 1 null 1 4
            + 1 30 3 2 1 4 3
            + 2 5 9 1 null 9 9
            seal 2:
            - 1 10 1 1 null 1 4
            + 1 10 1 1 null 1 6
            + 1 20 2 2 1 3 5
            - 1 30 3 2 1 4 3
            + 1 30 3 3 2 5 3
            seal 3:
            - 1 10 1 1 null 1 6
            + 1 20 2 1 null 2 5
            - 1 20 2 2 1 3 5
            + 1 30 3 2 2 5 3
            - 1 30 3 3 2 5 3
        "#]],
    );
}

#[test]
fn ties_are_broken_by_the_whole_row() {
    let mut number = call("row_number", &[]);
    number.order_by = vec![by(0)];
    let spec = window(&[], "t:int v:int", "t:int v:int n:int", vec![number]);
    let in_any_batch = |script: &str| crate::changelog::run(build(spec.clone()), script);
    let sorted = in_any_batch("t:int v:int\n +2 1 2\n + 1 1\n + 1 3\n seal 1");
    expect![[r#"
        seal 1:
        + 1 1 1
        + 1 2 2
        + 1 2 3
        + 1 3 4
    "#]]
    .assert_eq(&sorted);
    assert_eq!(in_any_batch("t:int v:int\n + 1 3\n + 1 2\n + 1 1\n + 1 2\n seal 1"), sorted);
}

#[test]
fn an_aggregate_without_group_answers_once_for_nothing() {
    let spec = aggregate(&[], "v:int", "c:int m:float", vec![call("count", &[0]), call("median", &[0])]);
    check(
        build(spec.clone()),
        "
        v:int
        seal 1
        checkpoint
        seal 2
        + 4
        seal 3
        checkpoint
        - 4
        seal 4
        checkpoint
        + 6
        seal 5",
        expect![[r#"
            seal 1:
            + 0 null
            seal 2:
            seal 3:
            - 0 null
            + 1 4.0
            seal 4:
            + 0 null
            - 1 4.0
            seal 5:
            - 0 null
            + 1 6.0
        "#]],
    );
    let owners = (0..4).filter(|worker| RecomputeOperator::new(&spec, *worker, 4).unwrap().answers_empty_input);
    assert_eq!(owners.count(), 1, "only one worker answers for the empty input");
}

#[test]
fn a_failing_key_heals() {
    // median(10 / v)
    let ten = ScalarExpr::Literal(Literal::Int { value: 10, data_type: DataType::Int64 });
    let mut median = call("median", &[]);
    median.args = vec![ScalarExpr::binary("/", ten, ScalarExpr::Column(1))];
    let spec = aggregate(&[0], "k:int v:int", "k:int m:int", vec![median]);
    check(
        build(spec),
        "
        k:int v:int
        + 1 5
        + 2 1
        seal 1
        + 1 0
        + 2 2
        seal 2
        + 1 1
        seal 3
        checkpoint
        - 1 0
        seal 4",
        expect![[r#"
            seal 1:
            + 1 2
            + 2 10
            seal 2:
            - 1 2
            - 2 10
            + 2 7
            error +1 22012 division by zero (k: 1)
            seal 3:
            seal 4:
            + 1 6
            error -1 22012 division by zero (k: 1)
        "#]],
    );
}

#[test]
fn float_keys_group_as_sql_compares_them() {
    let spec = aggregate(&[0], "k:float v:int", "k:float c:int", vec![call("count", &[1])]);
    check(
        build(spec),
        "k:float v:int\n + 0.0 1\n + -0.0 1\n + NaN 1\n + NaN 2\n + null 1\n seal 1",
        expect![[r#"
            seal 1:
            + 0.0 2
            + NaN 2
            + null 1
        "#]],
    );
}

#[test]
fn unknown_functions_are_refused() {
    let refused = |spec| RecomputeOperator::new(&spec, 0, 1).map(drop).unwrap_err();
    let error = refused(aggregate(&[], "v:int", "x:int", vec![call("nonsense", &[0])]));
    assert_eq!(error.to_string(), "aggregate function \"nonsense\" is not supported");
    let mut sliding = call("string_agg", &[0]);
    sliding.args.push(text(","));
    sliding.frame = rows_between(preceding(1), FrameBound::CurrentRow);
    let error = refused(window(&[], "v:text", "v:text x:text", vec![sliding]));
    let expect = "\"string_agg\" over a frame that does not start at the first row is not supported";
    assert_eq!(error.to_string(), expect);
}

/// Random deltas that never go negative, random batches, seals and restarts.
fn oracle(spec: RecomputeSpec, columns: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let make = || RecomputeOperator::new(&spec, 0, 1).unwrap();
    let mut operator = make();
    let mut cuts: Vec<TableCut> = vec![];
    let mut live: Vec<Vec<String>> = vec![];
    let mut integrated: Vec<DeltaBatch> = vec![];
    for epoch in 1..=30u64 {
        for _ in 0..random.random_range(0..4) {
            let mut changes = vec![];
            for _ in 0..random.random_range(1..6) {
                if !live.is_empty() && random.random_bool(0.4) {
                    changes.push((live.swap_remove(random.random_range(0..live.len())), -1));
                } else {
                    let cell = |max: u32, random: &mut StdRng| match random.random_range(0..=max) {
                        n if n == max => "null".to_string(),
                        n => n.to_string(),
                    };
                    let row: Vec<String> =
                        (0..columns).map(|c| cell(if c == 0 { 3 } else { 5 }, &mut random)).collect();
                    live.push(row.clone());
                    changes.push((row, 1));
                }
            }
            operator.on_batch(0, rows(&spec.input, &changes), &mut Output::default()).unwrap();
        }
        let mut out = Output::default();
        let record = EpochRecord::new(epoch, 0, Watermarks::default());
        while operator.on_seal(&record, &mut out).unwrap() == Progress::More {}
        assert!(out.errors.is_empty());
        integrated.extend(out.rows);
        integrated = vec![consolidate(&DeltaBatch::concat(&spec.output, &integrated)).unwrap()];
        let input = rows(&spec.input, &live.iter().map(|row| (row.clone(), 1)).collect::<Vec<_>>());
        let expected = Recomputer::compile(&spec).unwrap().run(&[input.rows().clone()]).unwrap();
        let expected = expected.into_iter().map(DeltaBatch::inserts).collect::<Vec<_>>();
        let expected = consolidate(&DeltaBatch::concat(&spec.output, &expected)).unwrap();
        assert_eq!(integrated[0].to_record_batch(), expected.to_record_batch(), "seed {seed}, epoch {epoch}");
        if random.random_bool(0.2) {
            cuts.extend(operator.checkpoint().gather().expect("gathers"));
            operator = make();
            for cut in &cuts {
                for batch in &cut.batches {
                    operator.restore(RestoredTable { table: cut.table, batch }).unwrap();
                }
            }
        }
    }
}

#[test]
fn integrated_output_is_the_recomputation_of_the_integrated_input() {
    for seed in 0..12 {
        oracle(windows(), 3, seed);
        oracle(lists(), 2, seed);
        let median = vec![call("median", &[1]), call("stddev", &[1])];
        oracle(aggregate(&[0], "k:int v:float", "k:int m:float s:float", median.clone()), 2, seed);
        oracle(aggregate(&[], "k:int v:float", "m:float s:float", median), 2, seed);
    }
}

#[test]
fn large_answers_leave_in_bounded_batches() {
    let spec = window(&[], "v:int", "v:int n:int", vec![call("row_number", &[])]);
    let mut operator = RecomputeOperator::new(&spec, 0, 1).unwrap();
    let input = rows(&spec.input, &[(vec!["7".into()], BATCH_ROWS_MAX as i64 + 10)]);
    operator.on_batch(0, input, &mut Output::default()).unwrap();
    let mut out = Output::default();
    let record = EpochRecord::new(1, 0, Watermarks::default());
    assert_eq!(operator.on_seal(&record, &mut out).unwrap(), Progress::More);
    assert_eq!(out.rows[0].num_rows(), BATCH_ROWS_MAX);
    assert_eq!(operator.on_seal(&record, &mut out).unwrap(), Progress::DONE);
    assert_eq!(out.rows[1].num_rows(), 10);
    assert!(operator.memory_bytes() > BATCH_ROWS_MAX * 8);
}

#[test]
fn memory_returns_to_where_it_was() {
    let mut operator = RecomputeOperator::new(&lists(), 0, 1).unwrap();
    let record = EpochRecord::new(1, 0, Watermarks::default());
    for diff in [1, -1] {
        let changes: Vec<_> = (0..100).map(|i| (vec![(i % 7).to_string(), format!("v{i}")], diff)).collect();
        operator.on_batch(0, rows(&operator.input.clone(), &changes), &mut Output::default()).unwrap();
        while operator.on_seal(&record, &mut Output::default()).unwrap() == Progress::More {}
        if diff == 1 {
            assert!(operator.state.memory_bytes() > 100 * 10);
        }
    }
    assert_eq!(operator.state.memory_bytes(), 0);
}
