//! What is refused, with which SQLSTATE and where.

use expect_test::expect;

use super::*;

#[test]
fn syntax_errors_have_positions() {
    check_errors(
        &[
            "selec 1",
            "SELECT 1;\nSELECT a FROM",
            "SELECT (1",
            "SELECT 'ü', 1 +",
            "SELECT 'open",
            "CREATE SOURCE s (a int WITH (x = 1)",
            "SELECT 1 2",
            "CREATE TABLE t (a int, , b int)",
            "INSERT t VALUES",
            "123",
        ],
        expect![[r#"
            42601 @1 syntax error at or near "selec" | Expected a statement.
            42601 @24 syntax error at end of input | Expected identifier.
            42601 @10 syntax error at end of input | Expected ).
            42601 @16 syntax error at end of input | Expected an expression.
            42601 @8 unterminated string literal
            42601 @24 syntax error at or near "WITH" | Expected ).
            42601 @10 syntax error at or near "2" | Expected the end of the statement.
            42601 @24 syntax error at or near "," | Expected a column definition.
            42601 @16 syntax error at end of input | Expected (.
            42601 @1 syntax error at or near "123" | Expected a statement."#]],
    );
}

#[test]
fn errors_in_subqueries_are_placed_inside() {
    check_errors(
        &[
            "SELECT * FROM (SELECT a b c FROM t) AS x",
            "SELECT * FROM (SELECT 1) a JOIN (SELECT * FROM (SELECT 1 +) c) b ON true",
            "SELECT * FROM (SELECT 1) AS a WHERE a. > 1",
            "SELECT 1 FROM t WHERE a IN (SELECT 1 FROM u WHERE)",
            "SELECT 1; SELECT * FROM (SELECT 2",
        ],
        expect![[r#"
            42601 @27 syntax error at or near "c" | Expected ).
            42601 @59 syntax error at or near ")" | Expected an expression.
            42601 @40 syntax error at or near ">" | Expected identifier.
            42601 @50 syntax error at or near ")" | Expected an expression.
            42601 @34 syntax error at end of input | Expected )."#]],
    );
}

#[test]
fn known_but_absent_statements_are_refused_with_a_hint() {
    check_errors(
        &[
            "ALTER TABLE t ADD COLUMN x int",
            "CREATE INDEX ON t (a)",
            "CREATE SINK s FROM t",
            "GRANT ALL ON t TO x",
            "COPY t FROM STDIN",
            "COPY t TO '/tmp/x'",
            "DROP FUNCTION f",
            "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1",
            "CREATE TEMP TABLE t (a int)",
            "LISTEN x",
            "SELECT 1 INTO t",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "UPDATE t SET a = 1 FROM u",
            "DELETE FROM t USING u",
            "FETCH PRIOR FROM c",
            "DECLARE c SCROLL CURSOR FOR SELECT 1",
            "CREATE VIEW v AS SELECT 1 EMIT ON WINDOW CLOSE",
            "CREATE TABLE t (a int REFERENCES u)",
            "CREATE TABLE t (a int, CHECK (a > 1))",
            "COMMIT PREPARED 'x'",
        ],
        expect![[r#"
            0A000 @1 ALTER is not supported | DROP the object and CREATE it again.
            0A000 @1 CREATE INDEX is not supported | Views are indexed by their inferred key; filter by it, or make a view with the key you need.
            0A000 @1 CREATE SINK is not supported | Read changes with SUBSCRIBE, or COPY (SUBSCRIBE …) TO STDOUT.
            0A000 @1 GRANT is not supported | Roles do not exist yet; the server listens on loopback only.
            0A000 @8 COPY FROM is not supported | Use INSERT with many rows, or CREATE SOURCE with connector = 'file'.
            0A000 @11 COPY TO a file or program is not supported | Use COPY … TO STDOUT and redirect it in the client.
            0A000 @6 DROP FUNCTION is not supported | Write the expression in a view.
            0A000 @1 OR REPLACE is only supported for views | DROP the object first; a materialized view is rebuilt from its sources.
            0A000 @1 temporary tables and sources are not supported | Create an ordinary one and DROP it when done; CREATE TEMPORARY VIEW exists.
            0A000 @1 LISTEN is not supported | Use SUBSCRIBE to be told of changes.
            0A000 @1 SELECT INTO is not supported | Create the table, then INSERT INTO … SELECT.
            0A000 @1 WITH before a data-modifying statement is not supported | Put the WITH clause into the SELECT of INSERT … SELECT.
            0A000 @1 UPDATE … FROM is not supported | Use a subquery in SET and WHERE: SET a = (SELECT … ).
            0A000 @1 DELETE … USING is not supported | Use a subquery: WHERE key IN (SELECT …).
            0A000 @7 FETCH PRIOR is not supported | Cursors go forward only.
            0A000 @11 SCROLL cursors are not supported | Declare the cursor without it: cursors go forward, in the format the client asks for.
            0A000 @27 EMIT ON WINDOW CLOSE needs a materialized view | Use CREATE MATERIALIZED VIEW.
            0A000 @23 column option REFERENCES is not supported | Columns may have NOT NULL, DEFAULT, PRIMARY KEY and GENERATED ALWAYS AS (…) STORED.
            0A000 @24 CHECK constraints are not supported | PRIMARY KEY and NOT NULL are enforced; check other rules in a view.
            0A000 @1 two-phase commit is not supported | Use an ordinary transaction."#]],
    );
}

#[test]
fn contradictions_are_refused() {
    check_errors(
        &[
            "CREATE TABLE t (a int, A int)",
            "CREATE TABLE t (a int PRIMARY KEY, b int PRIMARY KEY)",
            "CREATE TABLE t (a int PRIMARY KEY, PRIMARY KEY (a))",
            "CREATE TABLE t (a int, PRIMARY KEY (b))",
            "CREATE SOURCE s (a int, WATERMARK FOR b AS b - INTERVAL '1 s') WITH (connector = 'file')",
            "SUBSCRIBE v WITH (SPEED = 1)",
            "EXPLAIN BEGIN",
            "EXPLAIN (FORMAT YAML) SELECT 1",
            "PREPARE p AS BEGIN",
            "COMMENT ON COLUMN a IS 'x'",
            "FETCH 1 FROM c WITH (patience = 1)",
        ],
        expect![[r#"
            42701 @24 column "a" specified more than once
            42P16 @36 multiple primary keys are not allowed
            42P16 @17 multiple primary keys are not allowed
            42703 @37 column "b" named in key or watermark does not exist
            42703 @39 column "b" named in key or watermark does not exist
            22023 @19 unrecognized SUBSCRIBE option "speed"
            42601 @9 this statement has no plan to explain
            0A000 @10 EXPLAIN format "YAML" is not supported | The formats are TEXT, JSON and DOT.
            42601 @14 this statement cannot be prepared
            42601 @12 column name must be qualified
            22023 @22 unrecognized FETCH option "patience""#]],
    );
}

#[test]
fn limit_of_length() {
    let long = format!("SELECT '{}'", "x".repeat(types::limits::SQL_BYTES_MAX));
    assert!(rendered_error(&long).starts_with("54000"));
}

#[test]
fn limit_of_parentheses() {
    assert!(rendered_error(&format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500))).starts_with("54001"));
}

#[test]
fn limit_of_operators() {
    assert!(rendered_error(&format!("SELECT 1{}", " + 1".repeat(50_000))).starts_with("54001"));
    assert!(parse(&format!("SELECT 1{}", " + 1".repeat(250))).is_ok());
}

#[test]
fn nested_calls_do_not_cost_exponential_time() {
    let calls = format!("SELECT {}1{}", "abs(".repeat(40), ")".repeat(40));
    assert!(parse(&calls).is_ok() || rendered_error(&calls).starts_with("54001"));
}
