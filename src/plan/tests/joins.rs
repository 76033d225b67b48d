//! Joins: keys, residual conditions, what is kept and until when.

use expect_test::expect;

use super::check_view;

#[test]
fn inner_join_of_streams_keeps_everything() {
    check_view(
        r#"SELECT b.price, a.category FROM bid b JOIN auction a ON b.auction = a.id"#,
        expect![[r#"
        materialize whole rows (append-only; keeps the rows of the relation; grows without bound)
          exchange by [price, category]
            project [price, category] (append-only)
              inner join on [auction] = [id] (append-only; keeps left rows, for ever; right rows, for ever; grows without bound)
                exchange by [auction]
                  input bid [auction, price] (append-only)
                exchange by [id]
                  input auction [id, category] (append-only)
        NOTICE: the state of "inner join on [auction] = [id]" grows without bound: it keeps all left rows [auction, price] and right rows [id, category]
    "#]],
    );
}

#[test]
fn joins_of_tables_have_keys() {
    check_view(
        r#"SELECT x.id, y.owner FROM account x JOIN account y ON x.small = y.id"#,
        expect![[r#"
        materialize by [id] (retracting; key [id]; keeps the rows of the relation)
          exchange by [id]
            project [id, owner] (retracting; key [id])
              inner join on [small::bigint] = [id] (retracting; key [id]; keeps left rows, for ever; right rows, for ever)
                exchange by [small::bigint]
                  project [id, small, small::bigint] (retracting; key [id])
                    input account [id, small] (retracting; key [id])
                exchange by [id]
                  input account [id, owner] (retracting; key [id])
    "#]],
    );
    check_view(
        r#"SELECT x.id, l.v FROM account x LEFT JOIN log l ON x.id = l.k AND l.v > 3"#,
        expect![[r#"
        materialize whole rows (retracting; keeps the rows of the relation)
          exchange by [id, v]
            project [id, v] (retracting)
              left join on [id] = [k] (retracting; keeps left rows, for ever; right rows, for ever)
                exchange by [id]
                  input account [id] (retracting; key [id])
                exchange by [k]
                  filter where v > 3 (retracting)
                    input log [k, v] (retracting)
    "#]],
    );
    check_view(
        r#"SELECT x.id, l.k FROM account x FULL JOIN log l ON x.id = l.k"#,
        expect![[r#"
        materialize whole rows (retracting; keeps the rows of the relation)
          exchange by [id, k]
            full join on [id] = [k] (retracting; keeps left rows, for ever; right rows, for ever)
              exchange by [id]
                input account [id] (retracting; key [id])
              exchange by [k]
                input log [k] (retracting)
    "#]],
    );
}

#[test]
fn computed_keys_become_columns() {
    check_view(
        r#"SELECT b.price, x.owner FROM bid b JOIN account x ON b.bidder % 10 = x.id + 1"#,
        expect![[r#"
        materialize whole rows (retracting; keeps the rows of the relation)
          exchange by [price, owner]
            project [price, owner] (retracting)
              inner join on [bidder % 10] = [id + 1] (retracting; keeps left rows, for ever; right rows, for ever; grows without bound)
                exchange by [bidder % 10]
                  project [bidder, price, bidder % 10] (append-only)
                    input bid [bidder, price] (append-only)
                exchange by [id + 1]
                  project [id, owner, id + 1] (retracting; key [id])
                    input account [id, owner] (retracting; key [id])
        NOTICE: the state of "inner join on [bidder % 10] = [id + 1]" grows without bound: it keeps all left rows [bidder, price, bidder % 10]
    "#]],
    );
}

#[test]
fn an_interval_join_lets_go() {
    check_view(
        r#"SELECT b.price, a.category FROM bid b JOIN auction a ON b.auction = a.id AND b."dateTime" BETWEEN a."dateTime" AND a."dateTime" + INTERVAL '20 seconds'"#,
        expect![[r#"
            materialize whole rows (append-only; keeps the rows of the relation; grows without bound)
              exchange by [price, category]
                project [price, category] (append-only)
                  inner join on [auction] = [id] where dateTime >= dateTime and dateTime <= (dateTime + interval '20 s') (append-only; watermark on [dateTime, dateTime]; keeps left rows until dateTime < watermark(auction); right rows until dateTime < watermark(bid) - 20 s)
                    exchange by [auction]
                      input bid [auction, price, dateTime] (append-only; watermark on [dateTime])
                    exchange by [id]
                      input auction [id, dateTime, category] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn a_window_join_lets_go() {
    check_view(
        r#"SELECT p.id, a.id AS auction, p.window_end FROM TUMBLE(person, "dateTime", INTERVAL '10 seconds') p LEFT JOIN TUMBLE(auction, "dateTime", INTERVAL '10 seconds') a ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end"#,
        expect![[r#"
            materialize whole rows (retracting; watermark on [window_end]; keeps the rows of the relation)
              exchange by [id, auction, window_end]
                project [id, id as auction, window_end] (retracting; watermark on [window_end])
                  left join on [id, window_start, window_end] = [seller, window_start, window_end] (retracting; watermark on [window_start, window_end]; keeps left rows until window_end <= watermark(auction); right rows until window_end <= watermark(person))
                    exchange by [id, window_start, window_end]
                      project [id, window_start, window_end] (append-only; watermark on [window_start, window_end])
                        window tumble 10 s on dateTime (append-only; watermark on [dateTime, window_end, window_start, window_time])
                          input person [id, dateTime] (append-only; watermark on [dateTime])
                    exchange by [seller, window_start, window_end]
                      project [id, seller, window_start, window_end] (append-only; watermark on [window_start, window_end])
                        window tumble 10 s on dateTime (append-only; watermark on [dateTime, window_end, window_start, window_time])
                          input auction [id, dateTime, seller] (append-only; watermark on [dateTime])
        "#]],
    );
}

#[test]
fn semi_and_anti() {
    check_view(
        r#"SELECT id FROM account WHERE EXISTS (SELECT 1 FROM log WHERE log.k = account.id)"#,
        expect![[r#"
        materialize by [id] (retracting; key [id]; keeps the rows of the relation)
          semi join on [id] = [k] (retracting; key [id]; keeps left rows, for ever; right rows, for ever)
            exchange by [id]
              input account [id] (retracting; key [id])
            exchange by [k]
              input log [k] (retracting)
    "#]],
    );
    check_view(
        r#"SELECT id FROM account WHERE NOT EXISTS (SELECT 1 FROM log WHERE log.k = account.id)"#,
        expect![[r#"
            materialize by [id] (retracting; key [id]; keeps the rows of the relation)
              anti join on [id] = [k] (retracting; key [id]; keeps left rows, for ever; right rows, for ever)
                exchange by [id]
                  input account [id] (retracting; key [id])
                exchange by [k]
                  input log [k] (retracting)
        "#]],
    );
    check_view(
        r#"SELECT k FROM log EXCEPT SELECT id FROM account"#,
        expect![[r#"
        materialize by [k] (retracting; key [k]; keeps the rows of the relation)
          anti join on [k] = [id] (retracting; key [k]; keeps left rows, for ever; right rows, for ever)
            aggregate [k]: distinct (retracting; key [k]; keeps one row per group, for ever)
              exchange by [k]
                partial aggregate [k]: distinct (per batch)
                  input log [k] (retracting)
            exchange by [id]
              input account [id] (retracting; key [id])
    "#]],
    );
}

#[test]
fn without_keys_one_worker() {
    check_view(
        r#"SELECT x.id, l.k FROM account x, log l WHERE x.id < l.k"#,
        expect![[r#"
        materialize whole rows (retracting; keeps the rows of the relation)
          exchange by [id, k]
            inner join of all pairs where id < k (retracting; keeps left rows, for ever; right rows, for ever)
              exchange to one worker
                input account [id] (retracting; key [id])
              exchange to one worker
                input log [k] (retracting)
        NOTICE: "inner join of all pairs where id < k" has no equal keys: it runs on one worker
    "#]],
    );
    check_view(
        r#"SELECT count(*) AS n FROM account x, log l"#,
        expect![[r#"
            materialize one row (retracting; one row; keeps the rows of the relation)
              aggregate all rows: count(*) (retracting; one row; keeps one row)
                exchange to one worker
                  partial aggregate all rows: count(*) (per batch)
                    project [] (retracting)
                      inner join of all pairs (retracting; keeps left rows, for ever; right rows, for ever)
                        exchange to one worker
                          input account [id] (retracting; key [id])
                        exchange to one worker
                          input log [k] (retracting)
            NOTICE: "inner join of all pairs" has no equal keys: it runs on one worker
        "#]],
    );
}

#[test]
fn a_scalar_subquery_is_a_join() {
    check_view(
        r#"SELECT id FROM account WHERE balance > (SELECT avg(balance) FROM account)"#,
        expect![[r#"
            materialize by [id] (retracting; key [id]; keeps the rows of the relation)
              exchange by [id]
                project [id] (retracting; key [id])
                  inner join of all pairs where balance::numeric(24,6) > avg (retracting; key [id]; keeps left rows, for ever; right rows, for ever)
                    exchange to one worker
                      input account [id, balance] (retracting; key [id])
                    aggregate all rows: avg(balance) (retracting; one row; keeps one row)
                      exchange to one worker
                        partial aggregate all rows: avg(balance) (per batch)
                          input account [balance] (retracting)
            NOTICE: "inner join of all pairs where balance::numeric(24,6) > avg" has no equal keys: it runs on one worker
        "#]],
    );
}

#[test]
fn not_in_with_nulls_is_three_anti_joins() {
    check_view(
        r#"SELECT id FROM account WHERE small NOT IN (SELECT v FROM log)"#,
        expect![[r#"
            materialize by [id] (retracting; key [id]; keeps the rows of the relation)
              exchange by [id]
                project [id] (retracting; key [id])
                  anti join on [small is null] = [__any] (retracting; key [id]; keeps left rows, for ever; right rows, for ever)
                    exchange by [small is null]
                      project [id, small, small is null] (retracting; key [id])
                        anti join of all pairs (retracting; key [id]; keeps left rows, for ever; right rows, for ever)
                          exchange to one worker
                            project [id, small] (retracting; key [id])
                              anti join on [small::bigint] = [v] (retracting; key [id]; keeps left rows, for ever; right rows, for ever)
                                exchange by [small::bigint]
                                  project [id, small, small::bigint] (retracting; key [id])
                                    input account [id, small] (retracting; key [id])
                                exchange by [v]
                                  input log [v] (retracting)
                          exchange to one worker
                            project [] where v is null (retracting)
                              input log [v] (retracting)
                    aggregate [__any]: distinct (retracting; key [__any]; keeps one row per group, for ever)
                      exchange by [__any]
                        partial aggregate [__any]: distinct (per batch)
                          project [true as __any] (retracting)
                            input log [k] (retracting)
            NOTICE: "anti join of all pairs" has no equal keys: it runs on one worker
        "#]],
    );
}
