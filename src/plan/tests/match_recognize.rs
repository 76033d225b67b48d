//! MATCH_RECOGNIZE: what a view keeps, and what goes on from a pattern.

use expect_test::expect;

use super::{check_closed, check_view};

const RUNS: &str = r#"bid MATCH_RECOGNIZE (PARTITION BY auction ORDER BY "dateTime"
    MEASURES count(*) AS n, MATCH_ROWTIME() AS at, NEXT(price) AS next
    PATTERN (a b+?) WITHIN INTERVAL '10' SECOND DEFINE b AS b.price > a.price) AS m"#;

#[test]
fn a_view_keeps_the_columns_that_the_pattern_reads() {
    check_view(
        &format!("SELECT auction, n FROM {RUNS}"),
        expect![[r#"
        materialize whole rows (retracting; keeps the rows of the relation)
          exchange by [auction, n]
            project [auction, n] (retracting)
              match recognize [auction]: a b+? (retracting; keeps all input rows, for ever; grows without bound)
                exchange by [auction]
                  input bid [auction, price, dateTime] (append-only; watermark on [dateTime])
        NOTICE: the state of "match recognize [auction]: a b+?" grows without bound: it keeps all its input rows
    "#]],
    );
}

#[test]
fn a_filter_on_the_partition_goes_below_the_pattern() {
    check_view(
        &format!("SELECT auction, n FROM {RUNS} WHERE auction = 7 AND n > 2"),
        expect![[r#"
        materialize whole rows (retracting; keeps the rows of the relation)
          exchange by [auction, n]
            project [auction, n] where n > 2 (retracting)
              match recognize [auction]: a b+? (retracting; keeps all input rows, for ever; grows without bound)
                exchange by [auction]
                  filter where auction = 7 (append-only; watermark on [dateTime])
                    input bid [auction, price, dateTime] (append-only; watermark on [dateTime])
        NOTICE: the state of "match recognize [auction]: a b+?" grows without bound: it keeps all its input rows
    "#]],
    );
}

#[test]
fn times_of_a_match_have_a_watermark_if_nothing_looks_ahead() {
    check_closed(
        &format!("SELECT auction, at FROM {RUNS}"),
        expect![[r#"
        materialize whole rows (append-only; keeps the rows of the relation; grows without bound)
          exchange by [auction, at]
            project [auction, at] (append-only)
              match recognize [auction]: a b+?, emitted on close (append-only; keeps rows that wait and rows of open matches, until dateTime < watermark(bid) - 10 s)
                exchange by [auction]
                  input bid [auction, price, dateTime] (append-only; watermark on [dateTime])
    "#]],
    );
    let runs = RUNS.replace(", NEXT(price) AS next", "");
    check_closed(
        &format!("SELECT auction, at FROM {runs}"),
        expect![[r#"
        materialize whole rows (append-only; watermark on [at]; keeps the rows of the relation; grows without bound)
          exchange by [auction, at]
            project [auction, at] (append-only; watermark on [at])
              match recognize [auction]: a b+?, emitted on close (append-only; watermark on [at]; keeps rows that wait and rows of open matches, until dateTime < watermark(bid) - 10 s)
                exchange by [auction]
                  input bid [auction, price, dateTime] (append-only; watermark on [dateTime])
    "#]],
    );
}
