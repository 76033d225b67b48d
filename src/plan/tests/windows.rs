//! Window table functions in every spelling, fused with the aggregate above or not.

use expect_test::expect;

use super::check_view;

#[test]
fn tumble_fuses_with_the_group_by() {
    check_view(
        r#"SELECT window_start, window_end, auction, count(*) AS n FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') GROUP BY window_start, window_end, auction"#,
        expect![[r#"
            materialize by [window_start, window_end, auction] (retracting; key [window_start, window_end, auction]; watermark on [window_end, window_start]; keeps the rows of the relation)
              aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (retracting; key [window_start, window_end, auction]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                exchange by [window_start, window_end, auction]
                  partial aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (per batch)
                    input bid [auction, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn spellings_give_one_plan() {
    check_view(
        r#"SELECT window_start, max(price) AS m FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '1' MINUTE, INTERVAL '3' SECOND)) GROUP BY window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_start]; keeps the rows of the relation)
              exchange by [window_start, m]
                project [window_start, max(price) as m] (retracting; watermark on [window_start])
                  aggregate [window_start, window_end] over tumble 1 min offset 3 s: max(price) (retracting; key [window_start, window_end]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end] over tumble 1 min offset 3 s: max(price) (per batch)
                        input bid [price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
    check_view(
        r#"SELECT window_start, max(price) AS m FROM TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR("dateTime"), SIZE => INTERVAL '1' MINUTE, "offset" => INTERVAL '3' SECOND) GROUP BY window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_start]; keeps the rows of the relation)
              exchange by [window_start, m]
                project [window_start, max(price) as m] (retracting; watermark on [window_start])
                  aggregate [window_start, window_end] over tumble 1 min offset 3 s: max(price) (retracting; key [window_start, window_end]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end] over tumble 1 min offset 3 s: max(price) (per batch)
                        input bid [price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
    check_view(
        r#"SELECT TUMBLE_START("dateTime", INTERVAL '1' MINUTE) AS s, max(price) AS m FROM bid GROUP BY TUMBLE("dateTime", INTERVAL '1' MINUTE)"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [s]; keeps the rows of the relation)
              exchange by [s, m]
                project [window_start as s, max(price) as m] (retracting; watermark on [s])
                  aggregate [window_start, window_end] over tumble 1 min: max(price) (retracting; key [window_start, window_end]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end] over tumble 1 min: max(price) (per batch)
                        input bid [price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn hop_and_cumulate() {
    check_view(
        r#"SELECT window_end, count(DISTINCT bidder) AS b FROM HOP(bid, "dateTime", INTERVAL '2 seconds', INTERVAL '10 seconds') WHERE price > 5 GROUP BY window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [window_end, b]
                project [window_end, count(distinct bidder) as b] (retracting; watermark on [window_end])
                  aggregate [window_start, window_end] over hop 2 s of 10 s: count(distinct bidder) (retracting; key [window_start, window_end]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end] over hop 2 s of 10 s: count(distinct bidder) (per batch)
                        project [bidder, dateTime] where price > 5 (append-only; watermark on [dateTime])
                          input bid [bidder, price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
    check_view(
        r#"SELECT window_end, sum(price) AS s FROM CUMULATE(bid, "dateTime", INTERVAL '1 minute', INTERVAL '1 hour') GROUP BY window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [window_end, s]
                project [window_end, sum(price) as s] (retracting; watermark on [window_end])
                  aggregate [window_start, window_end] over cumulate 1 min up to 1 h: sum(price) (retracting; key [window_start, window_end]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end] over cumulate 1 min up to 1 h: sum(price) (per batch)
                        input bid [price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn window_without_an_aggregate_stays_an_operator() {
    check_view(
        r#"SELECT auction, window_start FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') WHERE auction = 7"#,
        expect![[r#"
            materialize whole rows (append-only; watermark on [window_start]; keeps the rows of the relation; grows without bound)
              exchange by [auction, window_start]
                project [auction, window_start] (append-only; watermark on [window_start])
                  window tumble 10 s on dateTime (append-only; watermark on [dateTime, window_end, window_start, window_time])
                    filter where auction = 7 (append-only; watermark on [dateTime])
                      input bid [auction, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn a_filter_on_the_window_keeps_it_apart() {
    check_view(
        r#"SELECT window_end, count(*) AS n FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') WHERE window_end > "dateTime" + INTERVAL '5 seconds' GROUP BY window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [window_end, n]
                project [window_end, count(*) as n] (retracting; watermark on [window_end])
                  aggregate [window_start, window_end]: count(*) (retracting; key [window_start, window_end]; watermark on [window_start, window_end]; keeps one row per group, until window_end <= watermark(bid))
                    exchange by [window_start, window_end]
                      partial aggregate [window_start, window_end]: count(*) (per batch)
                        project [window_start, window_end] where window_end > (dateTime + interval '5 s') (append-only; watermark on [window_start, window_end])
                          window tumble 10 s on dateTime (append-only; watermark on [dateTime, window_end, window_start, window_time])
                            input bid [dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn a_subquery_in_between_fuses_too() {
    check_view(
        r#"SELECT e, k, count(*) AS n FROM (SELECT window_start AS s, window_end AS e, auction % 10 AS k FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds')) q GROUP BY s, e, k"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [e]; keeps the rows of the relation)
              exchange by [e, k, n]
                project [e, k, count(*) as n] (retracting; watermark on [e])
                  aggregate [s, e, k] over tumble 10 s: count(*) (retracting; key [s, e, k]; watermark on [e, s]; keeps one row per group, until e <= watermark(bid))
                    exchange by [s, e, k]
                      partial aggregate [s, e, k] over tumble 10 s: count(*) (per batch)
                        project [auction % 10 as k, dateTime] (append-only; watermark on [dateTime])
                          input bid [auction, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn sessions_fuse_with_their_group_by() {
    check_view(
        r#"SELECT bidder, window_start, window_end, count(*) AS n FROM SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '5' MINUTE) GROUP BY bidder, window_start, window_end"#,
        expect![[r#"
            materialize by [bidder, window_start, window_end] (retracting; key [bidder, window_start, window_end]; watermark on [window_end]; keeps the rows of the relation)
              exchange by [bidder, window_start, window_end]
                session aggregate [bidder] gap 5 min on dateTime: count(*) (retracting; key [bidder, window_start, window_end]; watermark on [window_end]; keeps accumulators of open sessions, until window_end < watermark(bid))
                  exchange by [bidder]
                    input bid [bidder, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
    check_view(
        r#"SELECT bidder, window_end, count(*) AS n FROM SESSION(bid, "dateTime", INTERVAL '5 minutes') GROUP BY bidder, window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [bidder, window_end, n]
                project [bidder, window_end, count(*) as n] (retracting; watermark on [window_end])
                  session aggregate [bidder] gap 5 min on dateTime: count(*) (retracting; key [bidder, window_start, window_end]; watermark on [window_end]; keeps accumulators of open sessions, until window_end < watermark(bid))
                    exchange by [bidder]
                      input bid [bidder, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
    check_view(
        r#"SELECT bidder, SESSION_START("dateTime", INTERVAL '5' MINUTE) AS s, count(*) AS n FROM bid WHERE price > 9 GROUP BY bidder, SESSION("dateTime", INTERVAL '5' MINUTE)"#,
        expect![[r#"
            materialize whole rows (retracting; keeps the rows of the relation)
              exchange by [bidder, s, n]
                project [bidder, window_start as s, count(*) as n] (retracting)
                  session aggregate [bidder] gap 5 min on dateTime: count(*) (retracting; key [bidder, window_start, window_end]; watermark on [window_end]; keeps accumulators of open sessions, until window_end < watermark(bid))
                    exchange by [bidder]
                      project [bidder, dateTime] where price > 9 (append-only; watermark on [dateTime])
                        input bid [bidder, price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn a_filter_above_a_session_keeps_it_apart() {
    check_view(
        r#"SELECT bidder, window_end, count(*) AS n FROM SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '5' MINUTE) WHERE price > 9 GROUP BY bidder, window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [bidder, window_end, n]
                project [bidder, window_end, count(*) as n] (retracting; watermark on [window_end])
                  aggregate [bidder, window_start, window_end]: count(*) (retracting; key [bidder, window_start, window_end]; watermark on [window_end]; keeps one row per group, until window_end < watermark(bid))
                    exchange by [bidder, window_start, window_end]
                      partial aggregate [bidder, window_start, window_end]: count(*) (per batch)
                        project [bidder, window_start, window_end] where price > 9 (retracting; watermark on [window_end])
                          session [bidder] gap 5 min on dateTime (retracting; watermark on [window_end, window_time]; keeps rows of open sessions, until window_end < watermark(bid))
                            exchange by [bidder]
                              input bid [bidder, price, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn a_filter_on_the_key_of_a_session_moves_below() {
    check_view(
        r#"SELECT bidder, window_end, count(*) AS n FROM SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '5' MINUTE) WHERE bidder = 9 GROUP BY bidder, window_start, window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [bidder, window_end, n]
                project [bidder, window_end, count(*) as n] (retracting; watermark on [window_end])
                  session aggregate [bidder] gap 5 min on dateTime: count(*) (retracting; key [bidder, window_start, window_end]; watermark on [window_end]; keeps accumulators of open sessions, until window_end < watermark(bid))
                    exchange by [bidder]
                      filter where bidder = 9 (append-only; watermark on [dateTime])
                        input bid [bidder, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn session_rows() {
    check_view(
        r#"SELECT auction, window_start FROM SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '5' MINUTE)"#,
        expect![[r#"
            materialize whole rows (retracting; keeps the rows of the relation)
              exchange by [auction, window_start]
                project [auction, window_start] (retracting)
                  session [bidder] gap 5 min on dateTime (retracting; watermark on [window_end, window_time]; keeps rows of open sessions, until window_end < watermark(bid))
                    exchange by [bidder]
                      input bid [auction, bidder, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn allowed_lateness_keeps_state_longer() {
    check_view(
        r#"SELECT window_end, k, sum(v) AS s FROM TUMBLE(lenient, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, k"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [window_end, k, s]
                project [window_end, k, sum(v) as s] (retracting; watermark on [window_end])
                  aggregate [window_start, window_end, k] over tumble 1 min: sum(v) (retracting; key [window_start, window_end, k]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(lenient) - 10 s)
                    exchange by [window_start, window_end, k]
                      partial aggregate [window_start, window_end, k] over tumble 1 min: sum(v) (per batch)
                        input lenient [k, v, ts] (append-only; watermark on [ts])
        "#]],
    );
}

#[test]
fn without_a_watermark_windows_stay() {
    check_view(
        r#"SELECT window_end, k, sum(v) AS s FROM TUMBLE(plain, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, k"#,
        expect![[r#"
            materialize whole rows (retracting; keeps the rows of the relation)
              exchange by [window_end, k, s]
                project [window_end, k, sum(v) as s] (retracting)
                  aggregate [window_start, window_end, k] over tumble 1 min: sum(v) (retracting; key [window_start, window_end, k]; keeps one row per group, for ever; grows without bound)
                    exchange by [window_start, window_end, k]
                      partial aggregate [window_start, window_end, k] over tumble 1 min: sum(v) (per batch)
                        input plain [k, v, ts] (append-only)
            NOTICE: the state of "aggregate [window_start, window_end, k] over tumble 1 min: sum(v)" grows without bound: nothing says when a group is done
        "#]],
    );
    check_view(
        r#"SELECT window_end, k, sum(v) AS s FROM SESSION(plain, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, k"#,
        expect![[r#"
            materialize whole rows (retracting; keeps the rows of the relation)
              exchange by [window_end, k, s]
                project [window_end, k, sum(v) as s] (retracting)
                  session aggregate [k] gap 1 min on ts: sum(v) (retracting; key [window_start, window_end, k]; keeps accumulators of all sessions, for ever; grows without bound)
                    exchange by [k]
                      input plain [k, v, ts] (append-only)
            NOTICE: the state of "session aggregate [k] gap 1 min on ts: sum(v)" grows without bound: sessions never close without a watermark
        "#]],
    );
}

#[test]
fn windows_over_windows() {
    check_view(
        r#"SELECT window_end, max(n) AS m FROM (SELECT window_start, window_end, auction, count(*) AS n FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') GROUP BY window_start, window_end, auction) q GROUP BY window_end"#,
        expect![[r#"
            materialize by [window_end] (retracting; key [window_end]; watermark on [window_end]; keeps the rows of the relation)
              aggregate [window_end]: max(n) (retracting; key [window_end]; watermark on [window_end]; keeps one row per group, until window_end <= watermark(bid))
                exchange by [window_end]
                  partial aggregate [window_end]: max(n) (per batch)
                    project [window_end, count(*) as n] (retracting; watermark on [window_end])
                      aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (retracting; key [window_start, window_end, auction]; watermark on [window_end, window_start]; keeps one row per group, until window_end <= watermark(bid))
                        exchange by [window_start, window_end, auction]
                          partial aggregate [window_start, window_end, auction] over tumble 10 s: count(*) (per batch)
                            input bid [auction, dateTime] (append-only; watermark on [dateTime])
        "#]],
    );
}
