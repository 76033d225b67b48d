//! ROW_NUMBER, ORDER BY … LIMIT and other window functions.

use expect_test::expect;

use super::check_view;

#[test]
fn row_number_with_a_bound() {
    check_view(
        r#"SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rn FROM bid) q WHERE rn <= 3"#,
        expect![[r#"
            materialize whole rows (retracting; keeps the rows of the relation)
              exchange by [auction, price]
                top 3 per [auction] by price desc (retracting; keeps the rows that are shown)
                  exchange by [auction]
                    input bid [auction, price] (append-only)
        "#]],
    );
    check_view(
        r#"SELECT auction, price, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rn FROM bid) q WHERE rn < 4"#,
        expect![[r#"
            materialize by [auction, rn] (retracting; key [auction, rn]; keeps the rows of the relation)
              exchange by [auction, rn]
                project [auction, price, row_number as rn] (retracting; key [auction, rn])
                  top 3 per [auction] by price desc (retracting; key [auction, row_number]; keeps the rows that are shown)
                    exchange by [auction]
                      input bid [auction, price] (append-only)
        "#]],
    );
}

#[test]
fn row_number_equal_to_something_numbers_and_filters() {
    check_view(
        r#"SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rn FROM bid) q WHERE rn = 2"#,
        expect![[r#"
            materialize whole rows (retracting; keeps the rows of the relation)
              exchange by [auction, price]
                project [auction, price] where row_number() PARTITION BY [bid.auction] ORDER BY [bid.price DESC NULLS FIRST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW = 2 (retracting)
                  project [auction, price, row_number::numeric(20,0) as row_number() PARTITION BY [bid.auction] ORDER BY [bid.price DESC NULLS FIRST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW] (retracting)
                    top 2 per [auction] by price desc (retracting; key [auction, row_number]; keeps the rows that are shown)
                      exchange by [auction]
                        input bid [auction, price] (append-only)
        "#]],
    );
    check_view(
        r#"SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rn FROM bid) q WHERE rn = 1 AND price > 5"#,
        expect![[r#"
            materialize by [auction] (retracting; key [auction]; keeps the rows of the relation)
              filter where price > 5 (retracting; key [auction])
                top 1 per [auction] by price desc (retracting; key [auction]; keeps the rows that are shown)
                  exchange by [auction]
                    input bid [auction, price] (append-only)
        "#]],
    );
}

#[test]
fn row_number_without_a_bound() {
    check_view(
        r#"SELECT auction, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY "dateTime") AS rn FROM bid"#,
        expect![[r#"
            materialize by [auction, rn] (retracting; key [auction, rn]; keeps the rows of the relation)
              exchange by [auction, rn]
                project [auction, row_number as rn] (retracting; key [auction, rn])
                  row number over [auction] by dateTime (retracting; key [auction, row_number]; keeps all input rows, for ever; grows without bound)
                    exchange by [auction]
                      input bid [auction, dateTime] (append-only; watermark on [dateTime])
            NOTICE: the state of "row number over [auction] by dateTime" grows without bound: rows that may move up must be at hand
        "#]],
    );
}

#[test]
fn limit_with_and_without_order() {
    check_view(
        r#"SELECT id, owner FROM account ORDER BY balance DESC LIMIT 3 OFFSET 1"#,
        expect![[r#"
            materialize by [id] (retracting; key [id]; keeps the rows of the relation)
              exchange by [id]
                project [id, owner] (retracting; key [id])
                  top 3 by balance desc after 1 (retracting; key [id]; keeps all input rows, for ever)
                    exchange to one worker
                      input account [id, owner, balance] (retracting; key [id])
        "#]],
    );
    check_view(
        r#"SELECT id FROM account LIMIT 5"#,
        expect![[r#"
            materialize by [id] (retracting; key [id]; keeps the rows of the relation)
              exchange by [id]
                top 5 (retracting; key [id]; keeps all input rows, for ever)
                  exchange to one worker
                    input account [id] (retracting; key [id])
        "#]],
    );
    check_view(
        r#"SELECT id FROM account ORDER BY id"#,
        expect![[r#"
        materialize by [id] (retracting; key [id]; keeps the rows of the relation)
          exchange by [id]
            input account [id] (retracting; key [id])
    "#]],
    );
}

#[test]
fn distinct_on_is_the_first_row() {
    check_view(
        r#"SELECT DISTINCT ON (owner) owner, balance FROM account ORDER BY owner, balance DESC"#,
        expect![[r#"
        materialize by [owner] (retracting; key [owner]; keeps the rows of the relation)
          top 1 per [owner] by owner, balance desc (retracting; key [owner]; keeps all input rows, for ever)
            exchange by [owner]
              input account [owner, balance] (retracting)
    "#]],
    );
}

#[test]
fn other_window_functions_recompute() {
    check_view(
        r#"SELECT id, sum(balance) OVER (PARTITION BY owner ORDER BY id) AS s, rank() OVER (PARTITION BY small ORDER BY balance) AS r FROM account"#,
        expect![[r#"
            materialize by [id] (retracting; key [id]; keeps the rows of the relation)
              exchange by [id]
                project [id, sum(account.balance) PARTITION BY [account.owner] ORDER BY [account.id ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW as s, rank() PARTITION BY [account.small] ORDER BY [account.balance ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW::bigint as r] (retracting; key [id])
                  recompute [small]: rank (retracting; key [id]; keeps all input rows, for ever)
                    exchange by [small]
                      project [id, balance, small, sum(account.balance) PARTITION BY [account.owner] ORDER BY [account.id ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW] (retracting; key [id])
                        recompute [owner]: sum (retracting; key [id]; keeps all input rows, for ever)
                          exchange by [owner]
                            input account [id, owner, balance, small] (retracting; key [id])
        "#]],
    );
    check_view(
        r#"SELECT id, lag(balance) OVER (ORDER BY id) AS p FROM account"#,
        expect![[r#"
            materialize by [id] (retracting; key [id]; keeps the rows of the relation)
              exchange by [id]
                project [id, lag(account.balance) ORDER BY [account.id ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW as p] (retracting; key [id])
                  recompute all rows: lag (retracting; key [id]; keeps all input rows, for ever)
                    exchange to one worker
                      input account [id, balance] (retracting; key [id])
            NOTICE: "recompute all rows: lag" has no key: every change recomputes all rows
        "#]],
    );
}

#[test]
fn top_n_per_window_lets_go() {
    check_view(
        r#"SELECT window_end, auction, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC) AS rn FROM (SELECT window_end, auction, count(*) AS n FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') GROUP BY window_start, window_end, auction) q) r WHERE rn <= 2"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [window_end, auction, n]
                top 2 per [window_end] by n desc (retracting; watermark on [window_end]; keeps all input rows, until window_end <= watermark(bid))
                  exchange by [window_end]
                    project [window_end, auction, count(*) as n] (retracting; watermark on [window_end])
                      aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (retracting; key [window_start, window_end, auction]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                        exchange by [window_start, window_end, auction]
                          partial aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (per batch)
                            input bid [auction, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}
