//! Preferment by example: what the standard's explanations say about each construct.

use super::{Letters, found, repeat, var};
use crate::{AfterMatch, Dependence, Label, LabelSet, Pattern};

fn check(pattern: &Pattern, rows: &str, letters: &str, expected: &[&str]) {
    check_skip(pattern, AfterMatch::PastLastRow, rows, letters, expected);
}

fn check_skip(pattern: &Pattern, after: AfterMatch, rows: &str, letters: &str, expected: &[&str]) {
    let dependences = vec![Dependence::default(); letters.len()];
    assert_eq!(found(pattern, after, &dependences, &mut Letters::new(rows, letters)), expected);
}

#[test]
fn the_left_branch_is_preferred_even_if_the_right_is_longer() {
    let long = Pattern::Concat(vec![var(0), var(0), var(1)]);
    check(&Pattern::Alternate(vec![var(0), long.clone()]), "aab", "ab", &["0-a", "1-a"]);
    check(&Pattern::Alternate(vec![long, var(0)]), "aab", "ab", &["0-aab"]);
}

#[test]
fn an_earlier_quantifier_weighs_more_than_a_later_one() {
    let pattern = |greedy| Pattern::Concat(vec![repeat(var(0), 1, Some(3), greedy), repeat(var(1), 1, Some(3), true)]);
    check(&pattern(true), "xxxx", "**", &["0-aaab"]);
    check(&pattern(false), "xxxx", "**", &["0-abbb"]);
}

#[test]
fn quantifiers_have_bounds() {
    check(&repeat(var(0), 2, Some(3), true), "aaaaab", "a", &["0-aaa", "3-aa"]);
    check(&repeat(var(0), 0, Some(2), true), "aaaaab", "a", &["0-aa", "2-aa", "4-a", "5-"]);
    check(&repeat(var(0), 1, None, false), "aaa", "a", &["0-a", "1-a", "2-a"]);
    check(&repeat(var(0), 2, None, false), "aaaaab", "a", &["0-aa", "2-aa"]);
}

#[test]
fn an_empty_iteration_is_taken_and_ends_the_loop() {
    let reluctant = repeat(var(0), 0, Some(1), false);
    check(&repeat(reluctant.clone(), 0, None, true), "aab", "a", &["0-", "1-", "2-"]);
    let either = Pattern::Alternate(vec![reluctant, var(1)]);
    let pattern = Pattern::Concat(vec![repeat(either, 0, Some(2), true), var(2)]);
    check(&pattern, "bca", "abc", &["0-bc"]);
    check(&repeat(repeat(var(0), 0, Some(1), true), 0, None, true), "bbx", "b", &["0-aa", "2-"]);
}

#[test]
fn an_empty_match_leads_to_the_next_row_whatever_is_asked() {
    let pattern = repeat(Pattern::Concat(vec![var(1), var(0)]), 0, Some(1), true);
    let after = AfterMatch::ToLast(LabelSet::of([Label(0)]));
    check_skip(&pattern, after, "bab", "ab", &["0-ba", "1-", "2-"]);
    check(&Pattern::Alternate(vec![Pattern::Empty, var(0)]), "ab", "a", &["0-", "1-"]);
}

#[test]
fn permute_prefers_the_order_in_which_members_are_listed() {
    check(&Pattern::Permute(vec![var(1), var(0)]), "xx", "**", &["0-ba"]);
    check(&Pattern::Permute(vec![repeat(var(0), 1, None, true), var(1), var(2)]), "caab", "abc", &["0-caab"]);
    check(&Pattern::Permute(vec![var(0), var(1), var(2), var(3)]), "dbca", "abcd", &["0-dbca"]);
}

#[test]
fn anchors_hold_at_the_ends_of_the_partition() {
    let pattern = Pattern::Alternate(vec![
        Pattern::Concat(vec![Pattern::Start, var(0)]),
        Pattern::Concat(vec![var(0), Pattern::End]),
    ]);
    check(&pattern, "aba", "a", &["0-a", "2-a"]);
    check(&Pattern::Concat(vec![var(0), Pattern::Start]), "aa", "a", &[]);
}

#[test]
fn the_search_goes_on_where_skip_says() {
    let pair = Pattern::Concat(vec![var(0), var(1)]);
    let first_b = AfterMatch::ToFirst(LabelSet::of([Label(1)]));
    check_skip(&pair, first_b, "xxx", "**", &["0-ab", "1-ab"]);
    check_skip(&pair, AfterMatch::ToNextRow, "xxx", "**", &["0-ab", "1-ab"]);
    check_skip(&pair, AfterMatch::PastLastRow, "xxx", "**", &["0-ab"]);
}
