//! What is refused, in whose words.

use expect_test::expect;

use super::{check_query, check_view};

#[test]
fn names() {
    check_query(
        r#"SELECT nope FROM bid"#,
        expect![[r#"
        ERROR 42703: column "nope" does not exist
    "#]],
    );
    check_query(
        r#"SELECT b.nope FROM bid b"#,
        expect![[r#"
        ERROR 42703: column b.nope does not exist
    "#]],
    );
    check_query(
        r#"SELECT c.price FROM bid b"#,
        expect![[r#"
        ERROR 42P01: missing FROM-clause entry for table "c"
    "#]],
    );
    check_query(
        r#"SELECT datetime FROM bid"#,
        expect![[r#"
        ERROR 42703: column "datetime" does not exist
        HINT: Perhaps you meant to reference the column "dateTime".
    "#]],
    );
    check_query(
        r#"SELECT 1 FROM nope"#,
        expect![[r#"
        ERROR 42P01: relation "nope" does not exist
    "#]],
    );
    check_query(
        r#"SELECT 1 FROM s.nope"#,
        expect![[r#"
        ERROR 42P01: relation "s.nope" does not exist
    "#]],
    );
    check_query(
        r#"SELECT 1 FROM other.public.bid"#,
        expect![[r#"
        ERROR 0A000: cross-database references are not implemented: "other.public.bid"
        HINT: The only database is "highwater".
    "#]],
    );
    check_query(
        r#"SELECT nope(1) FROM bid"#,
        expect![[r#"
        ERROR 42883: function nope does not exist
        HINT: Perhaps you meant "now"; no function of the given name exists.
    "#]],
    );
    check_query(
        r#"SELECT cuont(price) FROM bid"#,
        expect![[r#"
        ERROR 42883: function cuont does not exist
        HINT: Perhaps you meant "cot"; no function of the given name exists.
    "#]],
    );
    check_query(
        r#"SELECT id FROM person, auction"#,
        expect![[r#"
        ERROR 42702: column reference "id" is ambiguous
    "#]],
    );
    check_query(
        r#"SELECT * FROM nope(1)"#,
        expect![[r#"
        ERROR 42883: function nope does not exist
        HINT: No table function of this name takes these arguments.
    "#]],
    );
    check_query(
        r#"SELECT price::nope FROM bid"#,
        expect![[r#"
        ERROR 42704: type "nope" does not exist
        DETAIL: Known types: boolean, smallint, integer, bigint, real, double precision, numeric, text, varchar, char, bytea, date, time, timestamp, timestamptz, interval, uuid, json, jsonb, and arrays of them.
        HINT: Correct the name, or use text.
    "#]],
    );
}

#[test]
fn grouping() {
    check_query(
        r#"SELECT price, count(*) FROM bid GROUP BY channel"#,
        expect![[r#"
        ERROR 42803: column "bid.price" must appear in the GROUP BY clause or be used in an aggregate function
    "#]],
    );
    check_query(
        r#"SELECT auction FROM bid WHERE count(*) > 1"#,
        expect![[r#"
        ERROR 42803: aggregate functions are not allowed in WHERE
    "#]],
    );
    check_query(
        r#"SELECT sum(count(*)) FROM bid"#,
        expect![[r#"
            ERROR 42803: aggregate function calls cannot be nested
        "#]],
    );
    check_query(
        r#"SELECT channel FROM bid GROUP BY channel HAVING price > 1"#,
        expect![[r#"
        ERROR 42803: column "bid.price" must appear in the GROUP BY clause or be used in an aggregate function
    "#]],
    );
}

#[test]
fn types() {
    check_query(
        r#"SELECT price + channel FROM bid"#,
        expect![[r#"
            ERROR 42883: operator does not exist: bigint + text
            HINT: No operator matches the given name and argument types. You might need to add explicit type casts.
        "#]],
    );
    check_query(
        r#"SELECT 1 FROM bid WHERE price"#,
        expect![[r#"
            ERROR 42804: argument of WHERE must be type boolean, not type bigint
        "#]],
    );
    check_query(
        r#"SELECT upper(price, 1, 2) FROM bid"#,
        expect![[r#"
        ERROR 42883: function upper(…) does not exist
        HINT: No function matches the given name and argument types. You might need to add explicit type casts.
    "#]],
    );
    check_query(
        r#"SELECT 1 FROM bid WHERE "dateTime" > 5"#,
        expect![[r#"
            ERROR 42883: operator does not exist: timestamp without time zone > integer
            HINT: No operator matches the given name and argument types. You might need to add explicit type casts.
        "#]],
    );
    check_query(
        r#"SELECT sum(channel) FROM bid"#,
        expect![[r#"
            ERROR 42883: function sum(…) does not exist
            HINT: No function matches the given name and argument types. You might need to add explicit type casts.
        "#]],
    );
    check_query(
        r#"SELECT CAST(price AS numeric(99,3)) FROM bid"#,
        expect![[r#"
        ERROR 22023: numeric precision 99 must be between 1 and 76
    "#]],
    );
    check_query(
        r#"SELECT price::numeric(5,7) FROM bid"#,
        expect![[r#"
        ERROR 22023: numeric scale 7 must be between 0 and precision 5
    "#]],
    );
}

#[test]
fn shapes() {
    check_query(
        r#"SELECT price FROM bid UNION SELECT price, bidder FROM bid"#,
        expect![[r#"
        ERROR 42601: each UNION query must have the same number of columns
    "#]],
    );
    check_query(
        r#"SELECT (SELECT price, bidder FROM bid) FROM bid"#,
        expect![[r#"
        ERROR 42601: subquery must return only one column
    "#]],
    );
    check_query(
        r#"SELECT price FROM bid ORDER BY 3"#,
        expect![[r#"
        ERROR 42P10: a position in ORDER BY or GROUP BY is not in select list
    "#]],
    );
    check_query(
        r#"SELECT 1 FROM bid b JOIN auction FOR SYSTEM_TIME AS OF b."dateTime" a ON a.id = b.auction"#,
        expect![[r#"
            ERROR 0A000: FOR SYSTEM_TIME AS OF is not supported
            HINT: Join with a view that keeps the version you want, for example by ROW_NUMBER() … = 1.
        "#]],
    );
    check_query(
        r#"SELECT 1 FROM bid TABLESAMPLE SYSTEM (10)"#,
        expect![[r#"
        ERROR 0A000: TABLESAMPLE is not supported
        HINT: Filter by a hash of a column instead.
    "#]],
    );
    check_query(
        r#"SELECT *"#,
        expect![[r#"
        ERROR 42601: SELECT * with no tables specified is not valid
    "#]],
    );
    check_query(
        r#"SELECT a.* FROM bid b"#,
        expect![[r#"
            ERROR 42P01: missing FROM-clause entry for table "a"
        "#]],
    );
    check_query(
        r#"SELECT price FROM bid FETCH FIRST 3 ROWS WITH TIES"#,
        expect![[r#"
        ERROR 0A000: FETCH with WITH TIES or PERCENT is not supported
        HINT: Use FETCH FIRST n ROWS ONLY or LIMIT n.
    "#]],
    );
}

#[test]
fn windows() {
    check_query(
        r#"SELECT * FROM TUMBLE(bid, price, INTERVAL '1 minute')"#,
        expect![[r#"
        ERROR 42804: time column "price" of a window is of type bigint
        HINT: Windows need a column of type timestamp.
    "#]],
    );
    check_query(
        r#"SELECT * FROM TUMBLE(bid, nope, INTERVAL '1 minute')"#,
        expect![[r#"
        ERROR 42703: column "nope" does not exist
    "#]],
    );
    check_query(
        r#"SELECT * FROM TUMBLE(bid, "dateTime", INTERVAL '0 minutes')"#,
        expect![[r#"
        ERROR 22023: intervals of TUMBLE must be greater than zero
    "#]],
    );
    check_query(
        r#"SELECT * FROM HOP(bid, "dateTime", INTERVAL '1 second', INTERVAL '1 day')"#,
        expect![[r#"
        ERROR 54000: HOP would put one row into 86400 windows (at most 10000)
    "#]],
    );
    check_query(
        r#"SELECT * FROM CUMULATE(bid, "dateTime", INTERVAL '7 seconds', INTERVAL '1 minute')"#,
        expect![[r#"
        ERROR 22023: the size of CUMULATE must be a multiple of its step
    "#]],
    );
    check_query(
        r#"SELECT * FROM TUMBLE((SELECT *, price AS window_end FROM bid), "dateTime", INTERVAL '1 minute')"#,
        expect![[r#"
            auction bigint, bidder bigint, price bigint, channel text, url text, dateTime timestamp without time zone, extra text, window_end bigint, window_start timestamp without time zone, window_end timestamp without time zone, window_time timestamp without time zone
        "#]],
    );
    check_query(
        r#"SELECT * FROM TUMBLE(bid, "dateTime", INTERVAL '1 month')"#,
        expect![[r#"
        ERROR 0A000: interval "1 month" has no fixed length
        HINT: Use days or smaller units; months and years vary in length.
    "#]],
    );
}

#[test]
fn views() {
    check_view(
        r#"SELECT now() AS n, price FROM bid"#,
        expect![[r#"
        ERROR 0A000: function now() is not supported in a materialized view
        HINT: Its value changes without any input changing; use it in the query that reads the view.
    "#]],
    );
    check_view(
        r#"SELECT random() AS r FROM bid"#,
        expect![[r#"
        ERROR 0A000: volatile function random() is not supported in a materialized view
        HINT: Compute the value where the row is inserted.
    "#]],
    );
    check_view(
        r#"SELECT price FROM bid WHERE "dateTime" > now() - INTERVAL '1 hour'"#,
        expect![[r#"
        ERROR 0A000: function now() is not supported in a materialized view
        HINT: Its value changes without any input changing; use it in the query that reads the view.
    "#]],
    );
    check_view(
        r#"SELECT channel, bidder, count(*) AS n FROM bid GROUP BY ROLLUP (channel, bidder)"#,
        expect![[r#"
        ERROR 0A000: GROUPING SETS, ROLLUP and CUBE are not supported in a materialized view
        HINT: Write one GROUP BY per grouping set and combine them with UNION ALL.
    "#]],
    );
    check_view(
        r#"SELECT * FROM (VALUES (1), (2)) v"#,
        expect![[r#"
        ERROR 0A000: VALUES is not supported in a materialized view
        HINT: Put the rows into a table and read that.
    "#]],
    );
    check_view(
        r#"SELECT 1 AS one"#,
        expect![[r#"
        ERROR 0A000: a query without FROM is not supported in a materialized view
        HINT: Read from a source, table or view.
    "#]],
    );
    check_view(
        r#"SELECT id, id FROM account"#,
        expect![[r#"
            ERROR 42701: column "id" specified more than once
        "#]],
    );
    check_view(
        r#"SELECT id, unnest(ARRAY[1, 2]) AS u FROM account"#,
        expect![[r#"
        ERROR 0A000: unnest is not supported in a materialized view
        HINT: Unnest when reading the view.
    "#]],
    );
    check_view(
        r#"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r"#,
        expect![[r#"
            ERROR 0A000: WITH RECURSIVE is not supported here
        "#]],
    );
    check_view(
        r#"SELECT price FROM bid WHERE price > $1"#,
        expect![[r#"
        ERROR 42P02: there is no parameter $1
    "#]],
    );
    check_view(
        r#"SELECT id FROM account WHERE small = 1 OR EXISTS (SELECT 1 FROM log WHERE k = id)"#,
        expect![[r#"
        ERROR 0A000: EXISTS or IN inside OR or in the select list is not supported in a materialized view
        HINT: Write the subquery as a LEFT JOIN, or split the query with UNION.
    "#]],
    );
}
