//! One line per statement form.

use expect_test::expect;

use super::*;

#[test]
fn texts_are_slices() {
    let parsed = parse("-- head\n SELECT 1 ; ;; /* x */ INSERT INTO t\nVALUES ('ü;') -- tail\n;").unwrap();
    let texts: Vec<&str> = parsed.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["SELECT 1", "INSERT INTO t\nVALUES ('ü;')"]);
    for empty in ["", " ; ;", "-- ping", "/* a */"] {
        assert!(parse(empty).unwrap().is_empty());
    }
}

#[test]
fn create_source() {
    check(
        "CREATE SOURCE IF NOT EXISTS s (a BIGINT PRIMARY KEY, \"dateTime\" TIMESTAMP NOT NULL, up text AS upper(x),
           WATERMARK FOR \"dateTime\" AS \"dateTime\" - INTERVAL '4 seconds')
           WITH (connector = 'file', path = 'a.csv') FORMAT PLAIN ENCODE CSV (header = 'true', delimiter = ';');
         CREATE SOURCE public.f (a int, ts timestamp(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (a) NOT ENFORCED)
           WITH ('connector' = 'filesystem', 'Path' = 'x', 'format' = 'csv');
         CREATE SOURCE n WITH (connector = nexmark, nexmark.table.type = 'Bid', nexmark.event.num = 100, x.y = -5,
           fields.v1.kind = sequence, fields.v1.\"End\" = '10', flag = true);
         CREATE SOURCE p (a int, b AS a + 1) WITH (connector='datagen') FORMAT UPSERT ENCODE JSON",
        expect![[r#"
            CreateSource s if-not-exists [a BIGINT key, "dateTime" TIMESTAMP not-null, up TEXT generated upper(x)] watermark "dateTime" as "dateTime" - INTERVAL '4 seconds' with [("connector", "file"), ("path", "a.csv")] PLAIN/CSV [("header", "true"), ("delimiter", ";")]
            CreateSource public.f [a INT key, ts TIMESTAMP(3)] watermark ts as ts - INTERVAL '5' SECOND with [("connector", "filesystem"), ("path", "x"), ("format", "csv")]
            CreateSource n [] with [("connector", "nexmark"), ("nexmark.table.type", "Bid"), ("nexmark.event.num", "100"), ("x.y", "-5"), ("fields.v1.kind", "sequence"), ("fields.v1.end", "10"), ("flag", "true")]
            CreateSource p [a INT, b  generated a + 1] with [("connector", "datagen")] UPSERT/JSON []"#]],
    );
}

#[test]
fn create_table() {
    check(
        "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', ts timestamptz, v numeric(10,2), tags text[], j jsonb);
         CREATE TABLE IF NOT EXISTS t (a int, b int GENERATED ALWAYS AS (a + 1) STORED, CONSTRAINT pk PRIMARY KEY (a, b));
         CREATE TABLE e (ts timestamp, WATERMARK FOR ts AS ts) APPEND ONLY;
         CREATE TABLE c (a int) APPEND ONLY WITH (connector = 'file', path = 'x') FORMAT PLAIN ENCODE JSON;
         CREATE TABLE q AS SELECT 1 AS a WITH DATA;
         CREATE TABLE d (a int DEFAULT 5 NOT NULL, b text COLLATE \"C\" NULL, c timestamp DEFAULT now())",
        expect![[r#"
            CreateTable t [id INT key, name TEXT not-null default 'x', ts TIMESTAMPTZ, v NUMERIC(10,2), tags TEXT[], j JSONB] key [] with []
            CreateTable t if-not-exists [a INT, b INT generated a + 1] key [a, b] with []
            CreateTable e append-only [ts TIMESTAMP] key [] watermark ts as ts with []
            CreateTable c append-only [a INT] key [] with [("connector", "file"), ("path", "x")] PLAIN/JSON []
            CreateTable q [] key [] with [] as SELECT 1 AS a
            CreateTable d [a INT not-null default 5, b TEXT, c TIMESTAMP default now()] key [] with []"#]],
    );
}

#[test]
fn create_views() {
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT a, count(*) FROM t GROUP BY a;
         CREATE MATERIALIZED VIEW IF NOT EXISTS s.v (x, y) WITH (on_error = 'null') AS SELECT 1, 2 FROM t EMIT ON WINDOW CLOSE;
         CREATE MATERIALIZED VIEW v AS SELECT a emit FROM t emit EMIT ON WINDOW CLOSE;
         CREATE MATERIALIZED VIEW v AS SELECT 1 EMIT ON WINDOW CLOSE;
         CREATE MATERIALIZED VIEW v WITH (retain_history = '1 hour') AS TABLE t;
         CREATE OR REPLACE VIEW v (a) AS SELECT 1;
         CREATE TEMPORARY VIEW v AS WITH x AS (SELECT 1) SELECT * FROM x;
         CREATE SCHEMA IF NOT EXISTS s",
        expect![[r#"
            CreateMaterializedView v () with [] as SELECT a, count(*) FROM t GROUP BY a
            CreateMaterializedView s.v if-not-exists emit-on-window-close (x, y) with [("on_error", "null")] as SELECT 1, 2 FROM t
            CreateMaterializedView v emit-on-window-close () with [] as SELECT a AS emit FROM t emit
            CreateMaterializedView v emit-on-window-close () with [] as SELECT 1
            CreateMaterializedView v () with [("retain_history", "1 hour")] as SELECT * FROM t
            CreateView v or-replace (a) as SELECT 1
            CreateView v temporary () as WITH x AS (SELECT 1) SELECT * FROM x
            CreateSchema s if-not-exists"#]],
    );
}

#[test]
fn drop_and_comment() {
    check(
        "DROP TABLE a, s.b CASCADE; DROP MATERIALIZED VIEW IF EXISTS v; DROP SOURCE s RESTRICT; DROP VIEW v; DROP SCHEMA s;
         COMMENT ON TABLE t IS 'hello'; COMMENT ON COLUMN s.t.c IS NULL; COMMENT ON MATERIALIZED VIEW v IS ''",
        expect![[r#"
            Drop Table a, s.b cascade
            Drop MaterializedView v if-exists
            Drop Source s
            Drop View v
            Drop Schema s
            Comment Table t Some("hello")
            Comment Table s.t.c None
            Comment MaterializedView v Some("")"#]],
    );
}

#[test]
fn changes() {
    check(
        "INSERT INTO t VALUES (1, 'a'), (2, DEFAULT) RETURNING *;
         INSERT INTO s.t (a, \"B\") SELECT 1, 2 ON CONFLICT DO NOTHING;
         INSERT INTO t DEFAULT VALUES;
         INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = 2 RETURNING a AS x;
         UPDATE t SET a = a + 1, (b, c) = (1, 2) WHERE id = 5 RETURNING id;
         UPDATE t AS u SET a = 1;
         DELETE FROM t; DELETE FROM s.t x WHERE x.a IN (SELECT 1) RETURNING *",
        expect![[r#"
            Insert t () VALUES (1, 'a'), (2, DEFAULT) on-conflict None returning [*]
            Insert s.t (a, "B") SELECT 1, 2 on-conflict Some(OnConflict { target: None, action: Nothing }) returning []
            Insert t () on-conflict None returning []
            Insert t (a) VALUES ($1) on-conflict Some(OnConflict { target: Some(Columns([Ident { value: "a", quote_style: None, span: Span(Location(4,53)..Location(4,54)) }])), action: Update { assignments: [(Ident { value: "a", quote_style: None, span: Span(Location(4,70)..Location(4,71)) }, Value(ValueWithSpan { value: Number("2", false), span: Span(Location(4,74)..Location(4,75)) }))], selection: None } }) returning [a AS x]
            Update t set a = a + 1, b = 1, c = 2 where id = 5 returning [id]
            Update t u set a = 1 returning []
            Delete t returning []
            Delete s.t x where x.a IN (SELECT 1) returning [*]"#]],
    );
}

#[test]
fn queries() {
    check(
        "VALUES (1), (2); TABLE t; WITH x AS (SELECT 1) SELECT * FROM x; (SELECT 1) UNION SELECT 2;
         SELECT pg_cancel_backend(5); SELECT $1::int, a->>'k', x @> y, 'a' ~ 'b' FROM t FOR SYSTEM_TIME AS OF u.ts AS v;
         SELECT DISTINCT ON (a) a FROM t ORDER BY a LIMIT 5 OFFSET 1",
        expect![[r#"
            Query VALUES (1), (2)
            Query SELECT * FROM t
            Query WITH x AS (SELECT 1) SELECT * FROM x
            Query (SELECT 1) UNION SELECT 2
            Query SELECT pg_cancel_backend(5)
            Query SELECT $1::INT, a ->> 'k', x @> y, 'a' ~ 'b' FROM t AS v FOR SYSTEM_TIME AS OF u.ts
            Query SELECT DISTINCT ON (a) a FROM t ORDER BY a LIMIT 5 OFFSET 1"#]],
    );
}

#[test]
fn subscribe_and_copy() {
    check(
        "SUBSCRIBE v; SUBSCRIBE TO s.v WITH (SNAPSHOT = false, PROGRESS); SUBSCRIBE (SELECT * FROM t) WITH (PROGRESS = true);
         SUBSCRIBE v WITH (SNAPSHOT = false) AS OF 1000000007;
         COPY (SELECT 1) TO STDOUT; COPY (SUBSCRIBE v WITH (SNAPSHOT)) TO STDOUT WITH (FORMAT text); COPY t (a, b) TO STDOUT CSV HEADER;
         COPY t TO STDOUT (FORMAT csv, HEADER, DELIMITER ';')",
        expect![[r#"
            Subscribe v snapshot=true progress=false
            Subscribe s.v snapshot=false progress=true
            Subscribe ((SELECT * FROM t)) snapshot=true progress=true
            Subscribe v snapshot=false progress=false as of 1000000007
            CopyTo SELECT 1 []
            CopyTo Subscribe v snapshot=true progress=false [("format", Some("text"))]
            CopyTo t (a, b) [("format", Some("csv")), ("header", None)]
            CopyTo t () [("format", Some("csv")), ("header", None), ("delimiter", Some(";"))]"#]],
    );
}

#[test]
fn explain_and_show() {
    check(
        "EXPLAIN SELECT 1; EXPLAIN ANALYZE VERBOSE SELECT 1; EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) SUBSCRIBE v;
         EXPLAIN (FORMAT DOT) CREATE MATERIALIZED VIEW v AS SELECT 1; EXPLAIN (SELECT 1);
         SHOW SOURCES; SHOW MATERIALIZED VIEWS; SHOW TABLES; SHOW VIEWS; SHOW SCHEMAS; SHOW DATABASES; SHOW JOBS; SHOW WATERMARKS;
         SHOW COLUMNS FROM t; SHOW CREATE MATERIALIZED VIEW s.v; SHOW ALL; SHOW search_path; SHOW TIME ZONE;
         SHOW transaction isolation level; SHOW Hw.Thing; DESCRIBE t; DESC MATERIALIZED VIEW v",
        expect![[r#"
            Explain Text: Query SELECT 1
            Explain Text verbose analyze: Query SELECT 1
            Explain Json verbose: Subscribe v snapshot=true progress=false
            Explain Dot: CreateMaterializedView v () with [] as SELECT 1
            Explain Text: Query (SELECT 1)
            Show(Sources)
            Show(MaterializedViews)
            Show(Tables)
            Show(Views)
            Show(Schemas)
            Show(Databases)
            Show(Jobs)
            Show(Watermarks)
            Show Columns t
            Show Create s.v
            Show(Parameter(None))
            Show(Parameter(Some("search_path")))
            Show(Parameter(Some("timezone")))
            Show(Parameter(Some("transaction_isolation")))
            Show(Parameter(Some("hw.thing")))
            Describe t
            Describe v"#]],
    );
}

#[test]
fn session_settings() {
    check(
        "SET a = 'x'; SET a TO b, \"C\", 5; SET LOCAL work_mem TO '4MB'; SET SESSION x = -1; SET a TO DEFAULT; SET TIME ZONE 'UTC';
         SET TIME ZONE LOCAL; SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE; SET NAMES 'utf8'; SET extra_float_digits = 3;
         SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
         SET TRANSACTION READ ONLY; SET DateStyle = ISO, MDY; RESET ALL; RESET timezone; RESET TIME ZONE;
         FLUSH; WAIT; CANCEL JOBS 1, 2; DISCARD ALL; UNLISTEN *",
        expect![[r#"
            Set { local: false, name: "a", value: Some("x") }
            Set { local: false, name: "a", value: Some("b, C, 5") }
            Set { local: true, name: "work_mem", value: Some("4MB") }
            Set { local: false, name: "x", value: Some("-1") }
            Reset { name: Some("a") }
            Set { local: false, name: "timezone", value: Some("UTC") }
            Set { local: false, name: "timezone", value: Some("local") }
            Set { local: false, name: "timezone", value: Some("-08:00") }
            Set { local: false, name: "client_encoding", value: Some("utf8") }
            Set { local: false, name: "extra_float_digits", value: Some("3") }
            SetTransaction { session: true, modes: TransactionModes { isolation: Some("read committed"), read_only: Some(true), deferrable: None } }
            SetTransaction { session: false, modes: TransactionModes { isolation: None, read_only: Some(true), deferrable: None } }
            Set { local: false, name: "datestyle", value: Some("iso, mdy") }
            Reset { name: None }
            Reset { name: Some("timezone") }
            Reset { name: Some("timezone") }
            Flush
            Wait
            CancelJobs { ids: [1, 2] }
            DiscardAll
            Unlisten"#]],
    );
}

#[test]
fn transactions() {
    check(
        "BEGIN; BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; START TRANSACTION READ WRITE; COMMIT; END WORK;
         ROLLBACK; ABORT; SAVEPOINT a; RELEASE a; RELEASE SAVEPOINT a; ROLLBACK TO a; ROLLBACK TRANSACTION TO SAVEPOINT a;
         COMMIT AND NO CHAIN",
        expect![[r#"
            Begin { modes: TransactionModes { isolation: None, read_only: None, deferrable: None }, start: false }
            Begin { modes: TransactionModes { isolation: Some("serializable"), read_only: Some(true), deferrable: Some(true) }, start: false }
            Begin { modes: TransactionModes { isolation: None, read_only: Some(false), deferrable: None }, start: true }
            Commit
            Commit
            Rollback
            Rollback
            Savepoint { action: Define, name: "a" }
            Savepoint { action: Release, name: "a" }
            Savepoint { action: Release, name: "a" }
            Savepoint { action: RollBackTo, name: "a" }
            Savepoint { action: RollBackTo, name: "a" }
            Commit"#]],
    );
}

#[test]
fn prepared_statements_and_cursors() {
    check(
        "PREPARE p AS SELECT $1::int + 1; PREPARE \"P\" (int, text) AS SELECT $1, $2, $3; EXECUTE p(4, 'x'); EXECUTE P;
         DEALLOCATE p; DEALLOCATE PREPARE ALL;
         DECLARE c CURSOR FOR SELECT 1; DECLARE \"C\" NO SCROLL CURSOR WITH HOLD FOR SUBSCRIBE v;
         FETCH c; FETCH 2 FROM c; FETCH ALL c; FETCH FORWARD 5 IN c; FETCH FORWARD ALL FROM c; FETCH NEXT FROM c;
         FETCH 100 FROM c WITH (timeout = '1s'); FETCH ALL FROM c WITH (TIMEOUT '250 ms'); FETCH 1 FROM c WITH (timeout 2);
         CLOSE c; CLOSE ALL",
        expect![[r#"
            Prepare p: Query SELECT $1::INT + 1
            Prepare P: Query SELECT $1::INT, $2::TEXT, $3
            Execute p (4, 'x')
            Execute p ()
            Deallocate { name: Some("p") }
            Deallocate { name: None }
            Declare c: Query SELECT 1
            Declare C hold: Subscribe v snapshot=true progress=false
            Fetch { name: "c", count: Count(1), timeout_ms: None }
            Fetch { name: "c", count: Count(2), timeout_ms: None }
            Fetch { name: "c", count: All, timeout_ms: None }
            Fetch { name: "c", count: Count(5), timeout_ms: None }
            Fetch { name: "c", count: All, timeout_ms: None }
            Fetch { name: "c", count: Count(1), timeout_ms: None }
            Fetch { name: "c", count: Count(100), timeout_ms: Some(1000) }
            Fetch { name: "c", count: All, timeout_ms: Some(250) }
            Fetch { name: "c", count: Count(1), timeout_ms: Some(2000) }
            Close { name: Some("c") }
            Close { name: None }"#]],
    );
}
