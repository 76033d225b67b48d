//! MATCH_RECOGNIZE: what is accepted comes back from the tree's own text unchanged, what is wrong has a place.

use expect_test::expect;

use super::check_errors;
use crate::{MatchClause, Statement, match_clause, parse};

/// The clause of `SELECT * FROM t MATCH_RECOGNIZE …`, read from the tree and again from the tree's text.
fn clause(text: &str) -> MatchClause {
    let sql = format!("SELECT * FROM t MATCH_RECOGNIZE ({text}) AS m WHERE x > 1 ORDER BY 1");
    let read = |sql: &str| {
        let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let Statement::Query(query) = &statements[0].statement else { panic!("a query") };
        let sqlparser::ast::SetExpr::Select(select) = query.body.as_ref() else { panic!("a select") };
        let clause = match_clause(&select.from[0].relation).expect("a clause").expect("a right one");
        (query.to_string(), clause)
    };
    let (shown, clause) = read(&sql);
    let (_, again) = read(&shown);
    assert_eq!(format!("{}", clause.clone().into_factor()), format!("{}", again.into_factor()));
    clause
}

fn pattern(text: &str) -> String {
    let clause = clause(&format!("PATTERN ({text})"));
    let factor = clause.into_factor().to_string();
    let (_, from) = factor.split_once("\"pattern\" => ").expect("a pattern");
    from.split_once(", \"subsets\"").expect("what follows").0.replace("pattern_", "")
}

#[test]
fn every_form_of_a_pattern_is_read() {
    assert_eq!(pattern("A B | C"), "alternate(concat(A, B), C)");
    assert_eq!(
        pattern("A+? B*? C??"),
        "concat(repeat(A, 1, NULL, false), repeat(B, 0, NULL, false), repeat(C, 0, 1, false))"
    );
    assert_eq!(
        pattern("A{2} B{2,} C{2,3} D{,3}?"),
        "concat(repeat(A, 2, 2, true), repeat(B, 2, NULL, true), repeat(C, 2, 3, true), repeat(D, 0, 3, false))"
    );
    assert_eq!(pattern("(A|B)*|C"), "alternate(repeat(alternate(A, B), 0, NULL, true), C)");
    assert_eq!(pattern("^A {-B+-} $"), "concat(start(), A, exclude(repeat(B, 1, NULL, true)), end())");
    assert_eq!(
        pattern("() | permute(A, B+, \"c\")"),
        "alternate(empty(), permute(A, repeat(B, 1, NULL, true), \"c\"))"
    );
    assert_eq!(pattern("(A+)+ ((B))"), "concat(repeat(repeat(A, 1, NULL, true), 1, NULL, true), B)");
}

#[test]
fn every_part_of_the_clause_is_read() {
    let all = clause(
        "PARTITION BY a, b ORDER BY ts DESC NULLS LAST, seq MEASURES FINAL LAST(A.x) AS x, RUNNING count(*) n
         ALL ROWS PER MATCH OMIT EMPTY MATCHES WITH TIMED OUT MATCHES AFTER MATCH SKIP TO FIRST B
         PATTERN (A B) WITHIN INTERVAL '10' MINUTE SUBSET u = (A, B) DEFINE A AS x > 1, B AS B.x > PREV(B.x, 2)",
    );
    assert_eq!((all.partition_by.len(), all.order_by.len(), all.measures.len()), (2, 2, 2));
    assert!(all.order_by[0].descending && all.order_by[0].nulls_first == Some(false) && all.timed_out);
    assert_eq!(all.measures[0].0.to_string(), "final(LAST(A.x))");
    assert_eq!((all.subsets.len(), all.defines.len()), (1, 2));
    assert!(clause("PATTERN (A) DEFINE A AS x > 1 WITHIN 10").within.is_some());
    assert!(clause("AFTER MATCH SKIP TO NEXT ROW PATTERN (A)").defines.is_empty());
    clause("AFTER MATCH SKIP TO A PATTERN (A)");
    clause("AFTER MATCH SKIP TO LAST A PATTERN (A)");
}

#[test]
fn the_clause_stands_behind_tables_and_subqueries() {
    for from in [
        "t AS x MATCH_RECOGNIZE (PATTERN (A))",
        "(SELECT * FROM t) MATCH_RECOGNIZE (PATTERN (A)) m, u",
        "(SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A)) AS i) AS q MATCH_RECOGNIZE (PATTERN (B)) JOIN u ON m.x = u.x",
        "u JOIN t MATCH_RECOGNIZE (PATTERN (A)) AS m (a, b) ON m.a = u.a",
    ] {
        assert!(parse(&format!("SELECT * FROM {from}")).is_ok(), "{from}");
    }
    let offset = parse("SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A)) OFFSET 3").unwrap();
    let Statement::Query(query) = &offset[0].statement else { panic!("a query") };
    assert!(query.to_string().ends_with("OFFSET 3"), "{query}");
    assert_eq!(offset[0].text, "SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A)) OFFSET 3");
}

#[test]
fn errors_have_the_place_of_what_is_wrong() {
    let texts = [
        "PATTERN (A B) DEFINE ZZ AS x > 1",
        "PATTERN (A B) SUBSET u = (A, B) DEFINE u AS x > 1",
        "PATTERN (A B) SUBSET u = (A, C)",
        "PATTERN (A B) SUBSET A = (B)",
        "PATTERN (A) DEFINE A AS x > 1, a AS x > 2",
        "AFTER MATCH SKIP TO ZZ PATTERN (A B)",
        "ALL ROWS PER MATCH WITH UNMATCHED ROWS PATTERN ({- A -} B)",
        "PATTERN (A{3,2})",
        "PATTERN (A{0})",
        "PATTERN (A | )",
        "PATTERN (A B",
        "PATTERN (A) DEFINE A AS FINAL LAST(A.x) > 1",
        "MEASURES PREV(PREV(A.x)) AS x PATTERN (A)",
        "MEASURES FIRST(PREV(A.x)) AS x PATTERN (A)",
        "MEASURES FINAL PREV(A.x) AS x PATTERN (A)",
        "ONE ROW PER MATCH WITH TIMED OUT MATCHES PATTERN (A)",
        "PATTERN (A) WITHIN 1 DEFINE A AS x > 1 WITHIN 2",
        "PATTERN (A) ORDER BY ts",
    ];
    let texts: Vec<String> = texts.iter().map(|text| format!("SELECT * FROM t MATCH_RECOGNIZE ({text})")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    check_errors(
        &texts,
        expect![[r#"
        42601 @55 row pattern variable "zz" is not in PATTERN or SUBSET
        42601 @73 union variable "u" cannot be defined by DEFINE
        42601 @63 row pattern variable "c" is not in PATTERN or SUBSET
        42601 @55 row pattern variable "a" is defined more than once
        42601 @65 row pattern variable "a" is defined more than once
        42601 @54 row pattern variable "zz" is not in PATTERN or SUBSET
        42601 @85 exclusion {- -} cannot be combined with WITH UNMATCHED ROWS
        42601 @44 the upper bound of a quantifier must be at least one and not below the lower bound
        42601 @44 the upper bound of a quantifier must be at least one and not below the lower bound
        42601 @47 syntax error in row pattern at or near ")" | Parser expected a variable, a group, ^ or $.
        42601 @47 syntax error at end of input | Expected the next part of MATCH_RECOGNIZE or ).
        42601 @64 FINAL is not allowed in DEFINE
        42601 @48 PREV cannot be nested in PREV
        42601 @49 PREV cannot be nested in FIRST
        42601 @49 FINAL cannot be applied to PREV
        22023 WITH TIMED OUT MATCHES needs WITHIN | Add WITHIN INTERVAL '…' behind the pattern.
        42601 @73 WITHIN is given twice
        42601 @46 syntax error at or near "ORDER" | Expected the next part of MATCH_RECOGNIZE or )."#]],
    );
}
