//! The earliest moment at which a match may leave, script by script.

use arrow::datatypes::DataType;
use expect_test::{Expect, expect};
use kernels::{MatchColumn, MatchExpr, MatchOutput, MatchSource, MatchValue, ScalarExpr};
use pattern::Pattern;

use super::{INPUT, build, concat, either, is_peak, matched, repeat, spec, timestamp, var, with_columns};
use crate::changelog;
use crate::spec::MatchOnCloseSpec;

fn check(spec: &MatchOnCloseSpec, script: &str, expected: Expect) {
    changelog::check(|| build(spec), &format!("{INPUT}\n{script}"), expected);
}

fn fixed() -> MatchOnCloseSpec {
    spec(concat([var(0), var(1)]), "ab", None)
}

#[test]
fn rows_are_put_in_order_before_they_are_matched() {
    let script = "+ 1 2 b 0
        + 1 1 a 0
        seal 1 w=2
        seal 2 w=3";
    check(
        &fixed(),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 2
    "#]],
    );
}

#[test]
fn a_greedy_end_is_open_until_a_row_that_does_not_extend_it_is_known() {
    let script = "+ 1 1 a 0
        + 1 2 a 0
        seal 1 w=3
        + 1 3 x 0
        seal 2 w=3
        seal 3 w=4";
    check(
        &spec(repeat(var(0), 1, true), "a", None),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        seal 3:
        + 1 1 2
    "#]],
    );
}

#[test]
fn a_reluctant_end_is_decided_by_its_own_last_row() {
    let script = "+ 1 1 a 0
        seal 1 w=2
        + 1 2 a 0
        seal 2 w=3";
    check(
        &spec(repeat(var(0), 1, false), "a", None),
        script,
        expect![[r#"
        seal 1:
        + 1 1 1
        seal 2:
        + 1 2 2
    "#]],
    );
}

fn preferred_longer() -> MatchOnCloseSpec {
    let long = concat([var(0), var(1), var(2), var(3)]);
    spec(either([long, concat([var(0), var(1)])]), "abcd", None)
}

#[test]
fn a_match_is_held_while_a_preferred_way_is_alive() {
    let script = "+ 1 1 a 0
        + 1 2 b 0
        + 1 3 c 0
        seal 1 w=4
        + 1 4 d 0
        seal 2 w=5";
    check(
        &preferred_longer(),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 4
    "#]],
    );
    let script = "+ 1 1 a 0
        + 1 2 b 0
        + 1 3 c 0
        seal 1 w=4
        + 1 4 x 0
        seal 2 w=5";
    check(
        &preferred_longer(),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 2
    "#]],
    );
}

#[test]
fn an_earlier_start_that_is_alive_holds_back_later_ones() {
    let pattern = spec(either([concat([var(0), var(1), var(1)]), var(1)]), "xn", None);
    let both = "+ 1 1 x 0
        + 1 2 n 0
        seal 1 w=3
        + 1 3 n 0
        seal 2 w=4";
    check(
        &pattern,
        both,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 3
    "#]],
    );
    let broken = "+ 1 1 x 0
        + 1 2 n 0
        seal 1 w=3
        + 1 3 q 0
        seal 2 w=4";
    check(
        &pattern,
        broken,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 2 2
    "#]],
    );
    let alone = "+ 1 1 n 0
        seal 1 w=2";
    check(
        &pattern,
        alone,
        expect![[r#"
        seal 1:
        + 1 1 1
    "#]],
    );
}

fn followed(within_s: Option<i64>) -> MatchOnCloseSpec {
    spec(concat([var(0), repeat(var(1), 0, false), var(2)]), "a*b", within_s)
}

#[test]
fn what_ran_out_of_time_is_forgotten() {
    let spec = followed(Some(10));
    let script = "+ 1 1 a 0
        seal 1 w=12";
    check(
        &spec,
        script,
        expect![[r#"
        seal 1:
    "#]],
    );
}

#[test]
fn a_time_limit_ends_an_open_match_without_a_further_row() {
    let script = "+ 1 1 a 0
        + 1 4 a 0
        seal 1 w=11
        seal 2 w=12";
    check(
        &spec(repeat(var(0), 1, true), "a", Some(10)),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 4
    "#]],
    );
}

#[test]
fn a_condition_that_looks_ahead_waits_for_the_row() {
    let mut peak = spec(var(0), "*", None);
    matched(&mut peak).conditions = vec![Some(is_peak())];
    let script = "+ 1 1 a 1
        + 1 2 a 5
        seal 1 w=3
        + 1 3 a 2
        seal 2 w=4";
    check(
        &peak,
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 2 2
    "#]],
    );
}

#[test]
fn the_end_of_the_partition_is_known_when_the_input_ends() {
    let script = "+ 1 1 a 0
        seal 1 w=100
        seal 2 w=end";
    check(
        &spec(concat([var(0), Pattern::End]), "a", None),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 1
    "#]],
    );
}

#[test]
fn a_restart_between_any_two_steps_changes_nothing() {
    let script = "+ 1 1 a 0
        seal 1 w=1
        checkpoint
        + 1 2 b 0
        seal 2 w=3
        checkpoint
        seal 3 w=9
        checkpoint
        seal 4 w=end";
    check(
        &fixed(),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 2
        seal 3:
        seal 4:
    "#]],
    );
}

#[test]
fn rows_of_equal_time_have_one_order_however_they_come() {
    let one = "+ 1 1 a 0
        + 1 1 x 0
        + 1 2 b 0
        seal 1 w=3";
    let other = "+ 1 2 b 0
        + 1 1 x 0
        + 1 1 a 0
        seal 1 w=3";
    let run = |script: &str| changelog::run(|| build(&fixed()), &format!("{INPUT}\n{script}"));
    assert_eq!(run(one), run(other));
}

#[test]
fn rows_without_a_time_are_left_out_and_not_kept() {
    let script = "+ 1 null a 0
        + 1 1 a 0
        + 1 2 b 0
        seal 1 w=1
        checkpoint
        seal 2 w=3";
    check(
        &fixed(),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 2
    "#]],
    );
}

#[test]
fn all_rows_leave_with_their_match() {
    let mut all = fixed();
    matched(&mut all).rows = MatchOutput::AllShowEmpty;
    let script = "+ 1 1 a 0
        seal 1 w=2
        + 1 2 b 0
        seal 2 w=3";
    check(
        &all,
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 1
        + 1 1 2
    "#]],
    );
}

#[test]
fn a_row_is_in_no_match_when_no_start_at_or_before_it_is_alive() {
    let mut unmatched = spec(concat([var(0), var(0)]), "b", None);
    matched(&mut unmatched).rows = MatchOutput::AllWithUnmatched;
    matched(&mut unmatched).columns.insert(0, MatchColumn::Input(1));
    let matched = matched(&mut unmatched).clone();
    let columns = [("ts", timestamp()), ("p", DataType::Int64), ("first", timestamp()), ("last", timestamp())];
    let script = "+ 1 1 a 0
        seal 1 w=2
        + 1 2 b 0
        seal 2 w=3
        + 1 3 a 0
        seal 3 w=4";
    check(
        &with_columns(matched, &columns),
        script,
        expect![[r#"
        seal 1:
        + 1 1 null null
        seal 2:
        seal 3:
        + 2 1 null null
        + 3 1 null null
    "#]],
    );
}

#[test]
fn what_did_not_happen_in_time_leaves_when_its_time_is_over() {
    let mut absent = followed(Some(10));
    let flag = MatchValue { data_type: DataType::Boolean, source: MatchSource::TimedOut };
    let flag = MatchExpr { values: vec![flag], expr: ScalarExpr::Column(0) };
    matched(&mut absent).timed_out = true;
    matched(&mut absent).columns.push(MatchColumn::Measure(flag));
    let matched = matched(&mut absent).clone();
    let columns = [("p", DataType::Int64), ("first", timestamp()), ("last", timestamp()), ("late", DataType::Boolean)];
    let script = "+ 1 1 a 0
        seal 1 w=11
        seal 2 w=12
        + 1 20 a 0
        + 1 25 b 0
        seal 3 w=26
        checkpoint
        + 2 30 a 0
        + 3 31 a 0
        seal 4 w=41
        seal 5 w=end";
    check(
        &with_columns(matched, &columns),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        + 1 1 1 true
        seal 3:
        + 1 20 25 false
        seal 4:
        + 2 30 30 true
        seal 5:
        + 3 31 31 true
    "#]],
    );
}

#[test]
fn measures_that_look_behind_the_match_wait_for_the_row() {
    let mut after = fixed();
    let next = super::value(DataType::Int64, pattern::LabelSet::ALL, pattern::End::Last, 1, 3);
    matched(&mut after)
        .columns
        .push(MatchColumn::Measure(MatchExpr { values: vec![next], expr: ScalarExpr::Column(0) }));
    let matched = matched(&mut after).clone();
    let columns = [("p", DataType::Int64), ("first", timestamp()), ("last", timestamp()), ("next", DataType::Int64)];
    let script = "+ 1 1 a 0
        + 1 2 b 0
        seal 1 w=3
        checkpoint
        seal 2 w=4
        + 1 5 a 7
        + 1 6 b 8
        seal 3 w=7
        seal 4 w=end";
    check(
        &with_columns(matched, &columns),
        script,
        expect![[r#"
        seal 1:
        seal 2:
        seal 3:
        + 1 1 2 7
        seal 4:
        + 1 5 6 null
    "#]],
    );
}
