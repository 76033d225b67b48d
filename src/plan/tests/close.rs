//! EMIT ON WINDOW CLOSE.

use expect_test::expect;

use super::check_closed;

#[test]
fn the_aggregate_holds_back() {
    check_closed(
        r#"SELECT window_end, count(*) AS n FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') GROUP BY window_start, window_end"#,
        expect![[r#"
            materialize whole rows (append-only; watermark on [window_end]; keeps the rows of the relation; grows without bound)
              exchange by [window_end, n]
                project [window_end, count(*) as n] (append-only; watermark on [window_end])
                  aggregate [window_start, window_end] over tumble 10 s: count(*), emitted on close (append-only; key [window_start, window_end]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end] over tumble 10 s: count(*) (per batch)
                        input bid [dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
    check_closed(
        r#"SELECT window_end, auction, avg(price) + 1 AS a FROM HOP(bid, "dateTime", INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY window_start, window_end, auction"#,
        expect![[r#"
            materialize whole rows (append-only; watermark on [window_end]; keeps the rows of the relation; grows without bound)
              exchange by [window_end, auction, a]
                project [window_end, auction, avg(price) + 1 as a] (append-only; watermark on [window_end])
                  aggregate [window_start, window_end, auction] over hop 2 s of 10 s: avg(price), emitted on close (append-only; key [window_start, window_end, auction]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end, auction]
                      partial aggregate [window_start, window_end, auction] over hop 2 s of 10 s: avg(price) (per batch)
                        input bid [auction, price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn sessions_hold_back() {
    check_closed(
        r#"SELECT bidder, window_end, count(*) AS n FROM SESSION(bid, "dateTime", INTERVAL '5 minutes') GROUP BY bidder, window_start, window_end"#,
        expect![[r#"
            materialize whole rows (append-only; watermark on [window_end]; keeps the rows of the relation; grows without bound)
              exchange by [bidder, window_end, n]
                project [bidder, window_end, count(*) as n] (append-only; watermark on [window_end])
                  session aggregate [bidder] gap 5 min on dateTime: count(*), emitted on close (append-only; key [bidder, window_start, window_end]; watermark on [window_end]; keeps accumulators of open sessions, until window_end < watermark(bid))
                    exchange by [bidder]
                      input bid [bidder, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn top_n_holds_back() {
    check_closed(
        r#"SELECT window_end, auction, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC) AS rn FROM (SELECT window_end, auction, count(*) AS n FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') GROUP BY window_start, window_end, auction) q) r WHERE rn <= 2"#,
        expect![[r#"
            materialize whole rows (append-only; watermark on [window_end]; keeps the rows of the relation; grows without bound)
              exchange by [window_end, auction, n]
                top 2 per [window_end] by n desc, emitted on close (append-only; watermark on [window_end]; keeps all input rows, until window_end <= watermark(bid))
                  exchange by [window_end]
                    project [window_end, auction, count(*) as n] (retracting; watermark on [window_end])
                      aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (retracting; key [window_start, window_end, auction]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                        exchange by [window_start, window_end, auction]
                          partial aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (per batch)
                            input bid [auction, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn elsewhere_an_operator_holds_back() {
    check_closed(
        r#"SELECT auction, window_end FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds')"#,
        expect![[r#"
        materialize whole rows (append-only; watermark on [window_end]; keeps the rows of the relation; grows without bound)
          exchange by [auction, window_end]
            emit on close of window_end (append-only; watermark on [window_end]; keeps rows of open windows, until window_end <= watermark(bid))
              exchange by [auction, window_end]
                project [auction, window_end] (append-only; watermark on [window_end])
                  window tumble 10 s on dateTime (append-only; watermark on [dateTime, window_end, window_start, window_time])
                    input bid [auction, dateTime] (append-only; watermark on [dateTime])
    "#]],
    );
    check_closed(
        r#"SELECT p.id, p.window_end FROM TUMBLE(person, "dateTime", INTERVAL '10 seconds') p JOIN TUMBLE(auction, "dateTime", INTERVAL '10 seconds') a ON p.id = a.seller AND p.window_end = a.window_end"#,
        expect![[r#"
            materialize whole rows (append-only; watermark on [window_end]; keeps the rows of the relation; grows without bound)
              exchange by [id, window_end]
                emit on close of window_end (append-only; watermark on [window_end]; keeps rows of open windows, until window_end <= min(watermark(auction), watermark(person)))
                  exchange by [id, window_end]
                    project [id, window_end] (append-only; watermark on [window_end])
                      inner join on [id, window_end] = [seller, window_end] (append-only; watermark on [window_end, window_end]; keeps left rows until window_end <= watermark(auction); right rows until window_end <= watermark(person))
                        exchange by [id, window_end]
                          project [id, window_end] (append-only; watermark on [window_end])
                            window tumble 10 s on dateTime (append-only; watermark on [dateTime, window_end, window_start, window_time])
                              input person [id, dateTime] (append-only; watermark on [dateTime])
                        exchange by [seller, window_end]
                          project [seller, window_end] (append-only; watermark on [window_end])
                            window tumble 10 s on dateTime (append-only; watermark on [dateTime, window_end, window_start, window_time])
                              input auction [dateTime, seller] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn with_lateness_corrections_follow() {
    check_closed(
        r#"SELECT window_end, sum(v) AS s FROM TUMBLE(lenient, ts, INTERVAL '1 minute') GROUP BY window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [window_end, s]
                project [window_end, sum(v) as s] (retracting; watermark on [window_end])
                  aggregate [window_start, window_end] over tumble 1 min: sum(v), emitted on close (retracting; key [window_start, window_end]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(lenient) - 10 s)
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end] over tumble 1 min: sum(v) (per batch)
                        input lenient [v, ts] (append-only; watermark on [ts])
        "#]],
    );
}

#[test]
fn without_a_watermark_it_is_refused() {
    check_closed(
        r#"SELECT window_end, sum(v) AS s FROM TUMBLE(plain, ts, INTERVAL '1 minute') GROUP BY window_start, window_end"#,
        expect![[r#"
            ERROR 0A000: cannot emit on window close without a watermark
            DETAIL: Without one no window is ever complete, so nothing would be emitted.
            HINT: Declare WATERMARK FOR ts in plain.
        "#]],
    );
}

#[test]
fn without_a_window_it_is_refused() {
    check_closed(
        r#"SELECT auction FROM bid WHERE price > 5"#,
        expect![[r#"
            ERROR 0A000: EMIT ON WINDOW CLOSE needs a window in the query
            HINT: Use TUMBLE, HOP, CUMULATE or SESSION in FROM, and keep window_end or group by it.
        "#]],
    );
    check_closed(
        r#"SELECT auction, "dateTime" FROM bid"#,
        expect![[r#"
        ERROR 0A000: EMIT ON WINDOW CLOSE needs a window in the query
        HINT: Use TUMBLE, HOP, CUMULATE or SESSION in FROM, and keep window_end or group by it.
    "#]],
    );
    check_closed(
        r#"SELECT auction, count(*) AS n FROM bid GROUP BY auction"#,
        expect![[r#"
            ERROR 0A000: EMIT ON WINDOW CLOSE needs a window in the query
            HINT: Use TUMBLE, HOP, CUMULATE or SESSION in FROM, and keep window_end or group by it.
        "#]],
    );
    check_closed(
        r#"SELECT "dateTime", count(*) AS n FROM bid GROUP BY "dateTime""#,
        expect![[r#"
        ERROR 0A000: EMIT ON WINDOW CLOSE needs a window in the query
        HINT: Use TUMBLE, HOP, CUMULATE or SESSION in FROM, and keep window_end or group by it.
    "#]],
    );
}
