//! Types and names of ad-hoc results.

use expect_test::expect;

use super::check_query;

#[test]
fn literals_and_arithmetic() {
    check_query(
        r#"SELECT 1, 3000000000, 0.1 + 0.2, 'x', NULL, true"#,
        expect![[r#"
        ?column? integer, ?column? bigint, ?column? numeric(2,1), ?column? text, ?column? unknown, ?column? boolean
    "#]],
    );
    check_query(
        r#"SELECT price + 1, small + 1, small / 2, balance * 2, ratio + 1 FROM bid, account"#,
        expect![[r#"
        ?column? bigint, ?column? integer, ?column? integer, ?column? numeric(31,2), ?column? double precision
    "#]],
    );
    check_query(
        r#"SELECT mod(price, 3), MOD(small, 2), price % 2 FROM bid, account"#,
        expect![[r#"
        ?column? bigint, ?column? integer, ?column? bigint
    "#]],
    );
}

#[test]
fn times() {
    check_query(
        r#"SELECT timestamp '2024-01-01', timestamptz '2024-01-01', date '2024-01-01', interval '1 day', now()"#,
        expect![[r#"
            timestamp timestamp without time zone, timestamptz timestamp with time zone, date date, interval interval, now timestamp with time zone
        "#]],
    );
    check_query(
        r#"SELECT "dateTime" - "dateTime", "dateTime" + INTERVAL '1 hour', date_trunc('minute', "dateTime"), extract(hour FROM "dateTime") FROM bid"#,
        expect![[r#"
            ?column? interval, ?column? timestamp without time zone, date_trunc timestamp without time zone, extract integer
        "#]],
    );
}

#[test]
fn aggregates() {
    check_query(
        r#"SELECT count(*), sum(price), avg(price), min(channel), sum(small), sum(balance), avg(balance), sum(ratio), count(DISTINCT price) FROM bid, account"#,
        expect![[r#"
            count bigint, sum bigint, avg double precision, min text, sum bigint, sum numeric(30,2), avg numeric(24,6), sum double precision, count bigint
        "#]],
    );
    check_query(
        r#"SELECT count(*), count(price) FROM bid"#,
        expect![[r#"
            count bigint, count bigint
        "#]],
    );
    check_query(
        r#"SELECT max FROM (SELECT max(price) FROM bid) q"#,
        expect![[r#"
        max bigint
    "#]],
    );
    check_query(
        r#"SELECT row_number() OVER (), rank() OVER (ORDER BY price), ntile(4) OVER (ORDER BY price) FROM bid"#,
        expect![[r#"
            row_number bigint, rank bigint, ntile bigint
        "#]],
    );
}

#[test]
fn names_as_postgres_gives_them() {
    check_query(
        r#"SELECT price + 1, upper(channel), price::text, CASE WHEN price > 1 THEN 1 END, (SELECT max(price) FROM bid), "dateTime" FROM bid"#,
        expect![[r#"
            ?column? bigint, upper text, price text, case integer, max bigint, dateTime timestamp without time zone
        "#]],
    );
    check_query(
        r#"SELECT *, price AS p FROM costly, log LIMIT 1"#,
        expect![[r#"
        ERROR 42703: column "price" does not exist
    "#]],
    );
    check_query(
        r#"SELECT bid.* FROM bid"#,
        expect![[r#"
        auction bigint, bidder bigint, price bigint, channel text, url text, dateTime timestamp without time zone, extra text
    "#]],
    );
    check_query(
        r#"SELECT coalesce(channel, 'x'), CAST(1 AS bigint), CAST(TRUNC(AVG(price)) AS BIGINT) FROM bid GROUP BY channel"#,
        expect![[r#"
            coalesce text, int8 bigint, trunc bigint
        "#]],
    );
    check_query(
        r#"SELECT CHAR_LENGTH(channel) FROM bid"#,
        expect![[r#"
        char_length integer
    "#]],
    );
}

#[test]
fn values_and_sets() {
    check_query(
        r#"VALUES (1, 'a'), (2, 'b')"#,
        expect![[r#"
        column1 integer, column2 text
    "#]],
    );
    check_query(
        r#"SELECT 1 UNION ALL SELECT 2.5"#,
        expect![[r#"
        ?column? numeric(21,1)
    "#]],
    );
    check_query(
        r#"SELECT price FROM bid ORDER BY price FETCH FIRST 3 ROWS ONLY"#,
        expect![[r#"
        price bigint
    "#]],
    );
    check_query(
        r#"WITH q AS (SELECT price FROM bid) SELECT * FROM q"#,
        expect![[r#"
        price bigint
    "#]],
    );
}

#[test]
fn grouping_sets_are_for_queries() {
    check_query(
        r#"SELECT channel, price % 3 AS m, count(*) AS n FROM bid GROUP BY ROLLUP (channel, price % 3)"#,
        expect![[r#"
            channel text, m bigint, n bigint
        "#]],
    );
    check_query(
        r#"SELECT window_start, channel, count(*) FROM TUMBLE(bid, "dateTime", INTERVAL '1 minute') GROUP BY window_start, CUBE (channel)"#,
        expect![[r#"
            window_start timestamp without time zone, channel text, count bigint
        "#]],
    );
}

#[test]
fn result_columns_may_share_a_name() {
    check_query(
        r#"SELECT price, price, 1, 1 FROM bid"#,
        expect![[r#"
        price bigint, price bigint, ?column? integer, ?column? integer
    "#]],
    );
    check_query(
        r#"SELECT *, k FROM log"#,
        expect![[r#"
        k bigint, v bigint, k bigint
    "#]],
    );
    check_query(
        r#"SELECT * FROM (SELECT x.k, y.k FROM log x, log y) q"#,
        expect![[r#"
            k bigint, k bigint
        "#]],
    );
    check_query(
        r#"SELECT count(*), count(k), count(v) FROM log"#,
        expect![[r#"
        count bigint, count bigint, count bigint
    "#]],
    );
}
