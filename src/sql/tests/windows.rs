//! Window table functions and grouped windows: all spellings give one shape.

use expect_test::expect;

use super::*;
use crate::{Statement, WindowCall, ast, window_call};

#[test]
fn tumble_spellings() {
    check(
        "SELECT * FROM TUMBLE(bid, ts, INTERVAL '10 minutes');
         SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(\"dateTime\"), INTERVAL '10' SECOND));
         SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND) AS w;
         SELECT * FROM TUMBLE((SELECT a, ts FROM bid WHERE a > 1), ts, INTERVAL '1' MINUTE, INTERVAL '3' SECOND) w;
         SELECT * FROM TABLE(TUMBLE(SIZE => INTERVAL '2' MINUTE, DATA => TABLE s.bid, TIMECOL => DESCRIPTOR(ts),
           \"OFFSET\" => INTERVAL '1' SECOND));
         SELECT * FROM tumble(s.bid, bid.ts, INTERVAL '1' DAY) JOIN t USING (k)",
        expect![[r#"
            Query SELECT * FROM tumble((SELECT * FROM bid), time => ts, size => INTERVAL '10 minutes')
            Query SELECT * FROM tumble((SELECT * FROM bid), time => "dateTime", size => INTERVAL '10' SECOND)
            Query SELECT * FROM tumble((SELECT * FROM bid), time => ts, size => INTERVAL '10' SECOND) AS w
            Query SELECT * FROM tumble((SELECT a, ts FROM bid WHERE a > 1), time => ts, size => INTERVAL '1' MINUTE, "offset" => INTERVAL '3' SECOND) w
            Query SELECT * FROM tumble((SELECT * FROM s.bid), time => ts, size => INTERVAL '2' MINUTE, "offset" => INTERVAL '1' SECOND)
            Query SELECT * FROM tumble((SELECT * FROM s.bid), time => bid.ts, size => INTERVAL '1' DAY) JOIN t USING(k)"#]],
    );
}

#[test]
fn hop_cumulate_session_spellings() {
    check(
        "SELECT * FROM HOP(bid, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND);
         SELECT * FROM TABLE(HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND,
           SLIDE => INTERVAL '2' SECOND));
         SELECT * FROM CUMULATE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' HOUR);
         SELECT * FROM TABLE(CUMULATE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), STEP => INTERVAL '1' MINUTE,
           SIZE => INTERVAL '1' HOUR));
         SELECT * FROM SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '5' MINUTE);
         SELECT * FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, auction, DESCRIPTOR(ts), INTERVAL '5' MINUTE));
         SELECT * FROM SESSION(TABLE bid PARTITION BY (bidder, auction), DESCRIPTOR(ts), INTERVAL '5' MINUTE);
         SELECT * FROM SESSION(TABLE bid PARTITION BY bidder, ts, INTERVAL '5' MINUTE);
         SELECT * FROM SESSION(DATA => TABLE bid PARTITION BY bidder, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '5' MINUTE);
         SELECT * FROM SESSION(bid, ts, INTERVAL '5 minutes')",
        expect![[r#"
            Query SELECT * FROM hop((SELECT * FROM bid), time => ts, slide => INTERVAL '2' SECOND, size => INTERVAL '10' SECOND)
            Query SELECT * FROM hop((SELECT * FROM bid), time => ts, slide => INTERVAL '2' SECOND, size => INTERVAL '10' SECOND)
            Query SELECT * FROM cumulate((SELECT * FROM bid), time => ts, step => INTERVAL '1' MINUTE, size => INTERVAL '1' HOUR)
            Query SELECT * FROM cumulate((SELECT * FROM bid), time => ts, step => INTERVAL '1' MINUTE, size => INTERVAL '1' HOUR)
            Query SELECT * FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5' MINUTE, "partition" => (bidder))
            Query SELECT * FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5' MINUTE, "partition" => (bidder, auction))
            Query SELECT * FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5' MINUTE, "partition" => (bidder, auction))
            Query SELECT * FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5' MINUTE, "partition" => (bidder))
            Query SELECT * FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5' MINUTE, "partition" => (bidder))
            Query SELECT * FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5 minutes')"#]],
    );
}

#[test]
fn grouped_windows_become_table_functions() {
    check(
        "SELECT TUMBLE_START(ts, INTERVAL '10' SECOND) AS ws, TUMBLE_END(ts, INTERVAL '10' SECOND), channel, count(*)
           FROM bid WHERE price > 5 GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), channel;
         SELECT HOP_START(b.ts, INTERVAL '5' SECOND, INTERVAL '20' SECOND), b.k, sum(b.v) FROM s.bid AS b
           GROUP BY b.k, HOP(b.ts, INTERVAL '5' SECOND, INTERVAL '20' SECOND)
           HAVING HOP_END(b.ts, INTERVAL '5' SECOND, INTERVAL '20' SECOND) > now()
           ORDER BY HOP_START(b.ts, INTERVAL '5' SECOND, INTERVAL '20' SECOND) DESC;
         SELECT B.bidder, SESSION_START(B.\"dateTime\", INTERVAL '10' SECOND) FROM bid B
           GROUP BY B.bidder, SESSION(B.\"dateTime\", INTERVAL '10' SECOND);
         SELECT TUMBLE_ROWTIME(ts, INTERVAL '1' HOUR) AS rt, max(x) FROM (SELECT x, ts FROM t) GROUP BY TUMBLE(ts, INTERVAL '1' HOUR);
         SELECT count(*) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' HOUR) UNION ALL SELECT 1",
        expect![[r#"
            Query SELECT window_start AS ws, window_end AS tumble_end, channel, count(*) FROM tumble((SELECT * FROM bid WHERE price > 5), time => ts, size => INTERVAL '10' SECOND) AS bid GROUP BY window_start, window_end, channel
            Query SELECT window_start AS hop_start, b.k, sum(b.v) FROM hop((SELECT * FROM s.bid AS b), time => ts, slide => INTERVAL '5' SECOND, size => INTERVAL '20' SECOND) AS b GROUP BY b.k, window_start, window_end HAVING window_end > now() ORDER BY window_start DESC
            Query SELECT B.bidder, window_start AS session_start FROM session((SELECT * FROM bid B), time => "dateTime", gap => INTERVAL '10' SECOND, "partition" => (bidder)) B GROUP BY B.bidder, window_start, window_end
            Query SELECT window_time AS rt, max(x) FROM tumble((SELECT * FROM (SELECT x, ts FROM t)), time => ts, size => INTERVAL '1' HOUR) AS input GROUP BY window_start, window_end, window_time
            Query SELECT count(*) FROM tumble((SELECT * FROM t), time => ts, size => INTERVAL '1' HOUR) AS t GROUP BY window_start, window_end UNION ALL SELECT 1"#]],
    );
}

#[test]
fn sessions_take_their_keys_from_group_by() {
    check(
        "SELECT bidder, count(*) FROM SESSION(bid, ts, INTERVAL '5 minutes') GROUP BY bidder, window_start, window_end;
         SELECT s.bidder, count(*) FROM SESSION(bid, ts, INTERVAL '5 minutes') s GROUP BY 1, s.window_start, s.window_end;
         SELECT count(*) FROM SESSION(bid, ts, INTERVAL '5 minutes') GROUP BY window_start, window_end;
         SELECT count(*) FROM SESSION(TABLE bid PARTITION BY a, ts, INTERVAL '5 minutes') GROUP BY b, window_start;
         SELECT a, count(*) FROM SESSION(bid, ts, INTERVAL '5 minutes') GROUP BY a",
        expect![[r#"
            Query SELECT bidder, count(*) FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5 minutes', "partition" => (bidder)) GROUP BY bidder, window_start, window_end
            Query SELECT s.bidder, count(*) FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5 minutes', "partition" => (bidder)) s GROUP BY 1, s.window_start, s.window_end
            Query SELECT count(*) FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5 minutes') GROUP BY window_start, window_end
            Query SELECT count(*) FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5 minutes', "partition" => (a)) GROUP BY b, window_start
            Query SELECT a, count(*) FROM session((SELECT * FROM bid), time => ts, gap => INTERVAL '5 minutes') GROUP BY a"#]],
    );
}

#[test]
fn wrong_windows_are_refused() {
    check_errors(
        &[
            "SELECT * FROM TUMBLE(bid, ts)",
            "SELECT * FROM TUMBLE(bid, INTERVAL '1' SECOND)",
            "SELECT * FROM TUMBLE(bid, ts + INTERVAL '1 s', INTERVAL '1' SECOND)",
            "SELECT * FROM TUMBLE(bid, DESCRIPTOR(a, b), INTERVAL '1' SECOND)",
            "SELECT * FROM HOP(bid, ts, INTERVAL '1' SECOND)",
            "SELECT * FROM TUMBLE(1, ts, INTERVAL '1' SECOND)",
            "SELECT * FROM TUMBLE(bid, ts, INTERVAL '1' SECOND, INTERVAL '1' SECOND, INTERVAL '1' SECOND)",
            "SELECT * FROM TUMBLE(bid, ts, SIZE => INTERVAL '1' SECOND, SIZE => INTERVAL '1' SECOND)",
            "SELECT * FROM TUMBLE(bid, ts, GAP => INTERVAL '1' SECOND)",
            "SELECT * FROM TUMBLE(TABLE bid PARTITION BY k, ts, INTERVAL '1' SECOND)",
            "SELECT count(*) FROM a JOIN b ON a.x = b.x GROUP BY TUMBLE(ts, INTERVAL '1' SECOND)",
            "SELECT TUMBLE_START(ts, INTERVAL '2' SECOND) FROM a GROUP BY TUMBLE(ts, INTERVAL '1' SECOND)",
            "SELECT TUMBLE_START(tt, INTERVAL '1' SECOND) FROM a GROUP BY TUMBLE(ts, INTERVAL '1' SECOND)",
            "SELECT 1 FROM a GROUP BY TUMBLE(ts, INTERVAL '1' SECOND), TUMBLE(ts, INTERVAL '2' SECOND)",
            "SELECT 1 FROM a GROUP BY SESSION(ts, INTERVAL '1' SECOND), x % 2",
            "SELECT 1 FROM SESSION(a, ts, INTERVAL '1' SECOND) GROUP BY x % 2, window_start",
        ],
        expect![[r#"
            22023 @15 window function TUMBLE needs the interval size | The form is TUMBLE(table, time column, size [, offset]).
            22023 @15 window function TUMBLE needs the interval size | The form is TUMBLE(table, time column, size [, offset]).
            22023 @15 window function TUMBLE needs a column as its time argument | The form is TUMBLE(table, time column, size [, offset]).
            22023 @15 window function TUMBLE needs DESCRIPTOR with one column | The form is TUMBLE(table, time column, size [, offset]).
            22023 @15 window function HOP needs the interval size | The form is HOP(table, time column, slide, size [, offset]).
            22023 @22 window function TUMBLE needs a table or subquery as its first argument | The form is TUMBLE(table, time column, size [, offset]).
            22023 @15 window function TUMBLE has too many arguments | The form is TUMBLE(table, time column, size [, offset]).
            22023 @60 window function TUMBLE is given "size" twice | The form is TUMBLE(table, time column, size [, offset]).
            22023 @31 window function TUMBLE has no argument "gap" | The form is TUMBLE(table, time column, size [, offset]).
            22023 @15 window function TUMBLE takes no PARTITION BY; group by the columns instead | The form is TUMBLE(table, time column, size [, offset]).
            0A000 @53 TUMBLE(…) in GROUP BY needs one table or subquery in FROM | Put the join into a subquery or view, or use the window as a table function in FROM.
            42803 @8 TUMBLE_START(…) does not match the window in GROUP BY | Give it the same time column and intervals as in GROUP BY.
            42803 @8 TUMBLE_START(…) does not match the window in GROUP BY | Give it the same time column and intervals as in GROUP BY.
            42P20 @26 GROUP BY cannot have more than one grouped window
            0A000 @60 sessions grouped by an expression are not supported | Compute the key in a subquery and group by its column.
            0A000 @60 sessions grouped by an expression need PARTITION BY | Compute the key in a subquery: SESSION((SELECT *, expr AS k FROM t), …) GROUP BY k, …."#]],
    );
}

#[test]
fn the_planner_sees_the_parts() {
    let call = first_window("SELECT * FROM HOP(bid, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND) AS w");
    assert_eq!(call.kind.name(), "hop");
    assert_eq!(call.input.to_string(), "SELECT * FROM bid");
    assert_eq!(call.time_column.to_string(), "ts");
    let intervals: Vec<i64> = call.intervals.iter().map(|i| crate::interval_us(i).unwrap()).collect();
    assert_eq!(intervals, [2_000_000, 10_000_000]);
    assert_eq!(call.alias.unwrap().name.value, "w");
    let call = first_window("SELECT * FROM SESSION(TABLE bid PARTITION BY a, b, DESCRIPTOR(ts), INTERVAL '1' MINUTE)");
    assert_eq!(call.partition_by.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b"]);
    let ast::SetExpr::Select(input) = call.input.body.as_ref() else { panic!() };
    assert!(input.distribute_by.is_empty());
}

fn first_window(sql: &str) -> WindowCall {
    let parsed = parse(sql).unwrap();
    let Statement::Query(query) = &parsed[0].statement else { panic!() };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { panic!() };
    window_call(&select.from[0].relation).unwrap().unwrap()
}
