//! GROUP BY and DISTINCT.

use expect_test::expect;

use super::check_view;

#[test]
fn arguments_filters_and_groups_become_columns() {
    check_view(
        r#"SELECT price % 10 AS d, count(*) FILTER (WHERE channel = 'a') AS a, sum(price + 1) AS s, avg(price) AS v FROM bid GROUP BY price % 10"#,
        expect![[r#"
            materialize by [d] (retracting; key [d]; keeps the rows of the relation)
              aggregate [price % 10]: count(*) filter (channel = 'a'), sum(price + 1), avg(price) (retracting; key [d]; keeps one row per group, for ever; grows without bound)
                exchange by [price % 10]
                  partial aggregate [price % 10]: count(*) filter (channel = 'a'), sum(price + 1), avg(price) (per batch)
                    project [price % 10, channel = 'a', price + 1, price] (append-only)
                      input bid [price, channel] (append-only)
            NOTICE: the state of "aggregate [price % 10]: count(*) filter (channel = 'a'), sum(price + 1), avg(price)" grows without bound: nothing says when a group is done
        "#]],
    );
}

#[test]
fn a_global_aggregate_is_one_row() {
    check_view(
        r#"SELECT count(*), max(price) FROM bid"#,
        expect![[r#"
            materialize one row (retracting; one row; keeps the rows of the relation)
              aggregate all rows: count(*), max(price) (retracting; one row; keeps one row)
                exchange to one worker
                  partial aggregate all rows: count(*), max(price) (per batch)
                    input bid [price] (append-only)
        "#]],
    );
    check_view(
        r#"SELECT count(*) FROM account"#,
        expect![[r#"
            materialize one row (retracting; one row; keeps the rows of the relation)
              aggregate all rows: count(*) (retracting; one row; keeps one row)
                exchange to one worker
                  partial aggregate all rows: count(*) (per batch)
                    input account [id] (retracting; key [id])
        "#]],
    );
}

#[test]
fn over_a_table_min_keeps_values() {
    check_view(
        r#"SELECT owner, min(balance) AS m, sum(small) AS s, avg(ratio) AS r FROM account GROUP BY owner"#,
        expect![[r#"
            materialize by [owner] (retracting; key [owner]; keeps the rows of the relation)
              aggregate [owner]: min(balance), sum(small::bigint), avg(ratio) (retracting; key [owner]; keeps one row per group and the distinct values, for ever)
                exchange by [owner]
                  partial aggregate [owner]: min(balance), sum(small::bigint), avg(ratio) (per batch)
                    project [owner, balance, small::bigint, ratio] (retracting)
                      input account [owner, balance, small, ratio] (retracting)
        "#]],
    );
}

#[test]
fn distinct_is_groups_without_calls() {
    check_view(
        r#"SELECT DISTINCT channel FROM bid"#,
        expect![[r#"
        materialize by [channel] (retracting; key [channel]; keeps the rows of the relation)
          aggregate [channel]: distinct (retracting; key [channel]; keeps one row per group, for ever; grows without bound)
            exchange by [channel]
              partial aggregate [channel]: distinct (per batch)
                input bid [channel] (append-only)
        NOTICE: the state of "aggregate [channel]: distinct" grows without bound: nothing says when a group is done
    "#]],
    );
    check_view(
        r#"SELECT channel FROM bid UNION SELECT extra FROM bid"#,
        expect![[r#"
        materialize by [channel] (retracting; key [channel]; keeps the rows of the relation)
          aggregate [channel]: distinct (retracting; key [channel]; keeps one row per group, for ever; grows without bound)
            exchange by [channel]
              partial aggregate [channel]: distinct (per batch)
                union all (append-only)
                  input bid [channel] (append-only)
                  input bid [extra] (append-only)
        NOTICE: the state of "aggregate [channel]: distinct" grows without bound: nothing says when a group is done
    "#]],
    );
}

#[test]
fn other_aggregates_recompute() {
    check_view(
        r#"SELECT bidder, string_agg(channel, ',' ORDER BY price) AS l, count(*) AS n FROM bid GROUP BY bidder"#,
        expect![[r#"
            materialize by [bidder] (retracting; key [bidder]; keeps the rows of the relation)
              recompute [bidder]: string_agg, count (retracting; key [bidder]; keeps all input rows, for ever; grows without bound)
                exchange by [bidder]
                  input bid [bidder, channel, price] (append-only)
            NOTICE: the state of "recompute [bidder]: string_agg, count" grows without bound: it keeps all its input rows
        "#]],
    );
    check_view(
        r#"SELECT stddev(price) AS s FROM bid"#,
        expect![[r#"
            materialize one row (retracting; one row; keeps the rows of the relation)
              recompute all rows: stddev (retracting; one row; keeps all input rows, for ever; grows without bound)
                exchange to one worker
                  input bid [price] (append-only)
            NOTICE: "recompute all rows: stddev" has no key: every change recomputes all rows
            NOTICE: the state of "recompute all rows: stddev" grows without bound: it keeps all its input rows
        "#]],
    );
}

#[test]
fn having_and_nesting() {
    check_view(
        r#"SELECT n, count(*) AS c FROM (SELECT bidder, count(*) AS n FROM bid GROUP BY bidder HAVING count(*) > 1) q GROUP BY n"#,
        expect![[r#"
            materialize by [n] (retracting; key [n]; keeps the rows of the relation)
              aggregate [n]: count(*) (retracting; key [n]; keeps one row per group, for ever; grows without bound)
                exchange by [n]
                  partial aggregate [n]: count(*) (per batch)
                    project [count(*) as count(Int64(1))] where count(*) > 1 (retracting)
                      aggregate [bidder]: count(*) (retracting; key [bidder]; keeps one row per group, for ever; grows without bound)
                        exchange by [bidder]
                          partial aggregate [bidder]: count(*) (per batch)
                            input bid [bidder] (append-only)
            NOTICE: the state of "aggregate [bidder]: count(*)" grows without bound: nothing says when a group is done
            NOTICE: the state of "aggregate [n]: count(*)" grows without bound: nothing says when a group is done
        "#]],
    );
}

#[test]
fn grouped_by_event_time_groups_end() {
    check_view(
        r#"SELECT "dateTime", count(*) AS n FROM bid GROUP BY "dateTime""#,
        expect![[r#"
        materialize by [dateTime] (retracting; key [dateTime]; watermark on [dateTime]; keeps the rows of the relation)
          aggregate [dateTime]: count(*) (retracting; key [dateTime]; watermark on [dateTime]; keeps one row per group, until dateTime < watermark(bid))
            exchange by [dateTime]
              partial aggregate [dateTime]: count(*) (per batch)
                input bid [dateTime] (append-only; watermark on [dateTime])
    "#]],
    );
}

#[test]
fn a_plain_view_is_expanded() {
    check_view(
        r#"SELECT channel, sum(amount) AS s FROM costly GROUP BY channel"#,
        expect![[r#"
        materialize by [channel] (retracting; key [channel]; keeps the rows of the relation)
          aggregate [channel]: sum(amount) (retracting; key [channel]; keeps one row per group, for ever; grows without bound)
            exchange by [channel]
              partial aggregate [channel]: sum(amount) (per batch)
                project [channel, price as amount] where price > 100 (append-only)
                  input bid [price, channel] (append-only)
        NOTICE: the state of "aggregate [channel]: sum(amount)" grows without bound: nothing says when a group is done
    "#]],
    );
}
