//! The Nexmark cases that must plan, as views and ad hoc.

use super::{query, show_error, view};
use crate::{ViewPlanOptions, lower_windows_for_batch, relation_of};
use datafusion_common::tree_node::TreeNode;

/// (case, query)
const CASES: &[(&str, &str)] = &[
    (
        "win_tumble",
        r#"SELECT window_start, window_end, auction, COUNT(*) AS n, SUM(price) AS s, MIN(price) AS mn,
         MAX(price) AS mx, CAST(TRUNC(AVG(price)) AS BIGINT) AS av FROM TABLE(TUMBLE(TABLE bid,
         DESCRIPTOR("dateTime"), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, auction"#,
    ),
    (
        "win_hop",
        r#"SELECT window_start, window_end, auction, COUNT(*) AS n, SUM(price) AS s FROM TABLE(HOP(TABLE bid,
         DESCRIPTOR("dateTime"), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) WHERE MOD(auction, 10) = 0 GROUP
         BY window_start, window_end, auction"#,
    ),
    (
        "win_session_tvf",
        r#"SELECT window_start, window_end, bidder, COUNT(*) AS n, SUM(price) AS s FROM TABLE(SESSION(TABLE bid
         PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND)) GROUP BY window_start,
         window_end, bidder"#,
    ),
    (
        "win_cumulate_keyed",
        r#"SELECT window_start, window_end, channel, COUNT(*) AS n, COUNT(DISTINCT bidder) AS b FROM
         TABLE(CUMULATE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) WHERE
         channel IN ('Apple','Google','Baidu','Facebook') GROUP BY window_start, window_end, channel"#,
    ),
    (
        "win_hop_global_minmax",
        r#"SELECT window_start, window_end, COUNT(*) AS n, MIN(price) AS mn, MAX(price) AS mx,
         CAST(TRUNC(AVG(price)) AS BIGINT) AS av, COUNT(DISTINCT channel) AS ch FROM TABLE(HOP(TABLE bid,
         DESCRIPTOR("dateTime"), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start,
         window_end"#,
    ),
    (
        "win_hop_passthrough",
        r#"SELECT auction, price, window_start, window_end FROM TABLE(HOP(TABLE bid, DESCRIPTOR("dateTime"),
         INTERVAL '5' SECOND, INTERVAL '10' SECOND)) WHERE MOD(auction, 500) = 0"#,
    ),
    (
        "win_legacy_hop",
        r#"SELECT HOP_START("dateTime", INTERVAL '5' SECOND, INTERVAL '20' SECOND) AS ws, HOP_END("dateTime",
         INTERVAL '5' SECOND, INTERVAL '20' SECOND) AS we, COUNT(*) AS n, SUM(price) AS s FROM bid GROUP BY
         HOP("dateTime", INTERVAL '5' SECOND, INTERVAL '20' SECOND)"#,
    ),
    (
        "win_legacy_tumble",
        r#"SELECT TUMBLE_START("dateTime", INTERVAL '10' SECOND) AS ws, TUMBLE_END("dateTime", INTERVAL '10'
         SECOND) AS we, channel, COUNT(*) AS n FROM bid WHERE CHAR_LENGTH(channel) < 9 GROUP BY
         TUMBLE("dateTime", INTERVAL '10' SECOND), channel"#,
    ),
    (
        "win_ooo_session",
        r#"SELECT window_start, window_end, bidder, COUNT(*) AS n, SUM(price) AS s FROM TABLE(SESSION(TABLE
         bid_ooo PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '2' SECOND)) GROUP BY window_start,
         window_end, bidder"#,
    ),
    (
        "win_join_left",
        r#"SELECT P.window_start, P.id, P.name, A.id AS auction FROM (SELECT * FROM TABLE(TUMBLE(TABLE person,
         DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))) P LEFT JOIN (SELECT * FROM TABLE(TUMBLE(TABLE
         auction, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))) A ON A.seller = P.id AND A.window_start =
         P.window_start AND A.window_end = P.window_end"#,
    ),
    (
        "win_tumble_global_distinct",
        r#"SELECT window_start, window_end, COUNT(*) AS n, COUNT(DISTINCT bidder) AS bidders, COUNT(DISTINCT
         auction) FILTER (WHERE price > 100000) AS pricey, SUM(DISTINCT price) AS sd FROM TABLE(TUMBLE(TABLE
         bid, DESCRIPTOR("dateTime"), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"#,
    ),
    (
        "win_tumble_named_args",
        r#"SELECT window_start, channel, COUNT(*) AS n FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL =>
         DESCRIPTOR("dateTime"), SIZE => INTERVAL '2' MINUTE)) WHERE channel IN ('Apple','Google') GROUP BY
         window_start, window_end, channel"#,
    ),
    (
        "win_tumble_offset",
        r#"SELECT window_start, window_end, window_time, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid,
         DESCRIPTOR("dateTime"), INTERVAL '10' SECOND, INTERVAL '3' SECOND)) GROUP BY window_start,
         window_end, window_time"#,
    ),
    ("nexmark_q00", r#"SELECT auction, bidder, price, "dateTime", extra FROM bid"#),
    ("nexmark_q02", r#"SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0"#),
    (
        "nexmark_q07",
        r#"SELECT B.auction, B.price, B.bidder, B."dateTime", B.extra from bid B JOIN ( SELECT MAX(price) AS
         maxprice, window_end as "dateTime" FROM TABLE( TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL
         '10' SECOND)) GROUP BY window_start, window_end ) B1 ON B.price = B1.maxprice WHERE B."dateTime"
         BETWEEN B1."dateTime" - INTERVAL '10' SECOND AND B1."dateTime""#,
    ),
    (
        "nexmark_q08",
        r#"SELECT P.id, P.name, P.starttime FROM ( SELECT id, name, window_start AS starttime, window_end AS
         endtime FROM TABLE( TUMBLE(TABLE person, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND)) GROUP BY id,
         name, window_start, window_end ) P JOIN ( SELECT seller, window_start AS starttime, window_end AS
         endtime FROM TABLE( TUMBLE(TABLE auction, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND)) GROUP BY
         seller, window_start, window_end ) A ON P.id = A.seller AND P.starttime = A.starttime AND P.endtime
         = A.endtime"#,
    ),
    (
        "nexmark_q11",
        r#"SELECT B.bidder, count(*) as bid_count, SESSION_START(B."dateTime", INTERVAL '10' SECOND) as
         starttime, SESSION_END(B."dateTime", INTERVAL '10' SECOND) as endtime FROM bid B GROUP BY B.bidder,
         SESSION(B."dateTime", INTERVAL '10' SECOND)"#,
    ),
    (
        "nexmark_q04",
        r#"SELECT Q.category, CAST(TRUNC(AVG(Q.final)) AS BIGINT) FROM ( SELECT MAX(B.price) AS final,
         A.category FROM auction A, bid B WHERE A.id = B.auction AND B."dateTime" BETWEEN A."dateTime" AND
         A.expires GROUP BY A.id, A.category ) Q GROUP BY Q.category"#,
    ),
    (
        "nexmark_q05",
        r#"SELECT AuctionBids.auction, AuctionBids.num FROM ( SELECT auction, count(*) AS num, window_start AS
         starttime, window_end AS endtime FROM TABLE( HOP(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '2'
         SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end ) AS AuctionBids JOIN (
         SELECT max(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime FROM ( SELECT count(*) AS
         num, window_start AS starttime, window_end AS endtime FROM TABLE( HOP(TABLE bid,
         DESCRIPTOR("dateTime"), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start,
         window_end ) AS CountBids GROUP BY CountBids.starttime, CountBids.endtime ) AS MaxBids ON
         AuctionBids.starttime = MaxBids.starttime AND AuctionBids.endtime = MaxBids.endtime AND
         AuctionBids.num >= MaxBids.maxn"#,
    ),
    (
        "nexmark_q09",
        r#"SELECT id, "itemName", description, "initialBid", reserve, "dateTime", expires, seller, category,
         extra, auction, bidder, price, bid_dateTime, bid_extra FROM ( SELECT A.*, B.auction, B.bidder,
         B.price, B."dateTime" AS bid_dateTime, B.extra AS bid_extra, ROW_NUMBER() OVER (PARTITION BY A.id
         ORDER BY B.price DESC, B."dateTime" ASC) AS rownum FROM auction A, bid B WHERE A.id = B.auction AND
         B."dateTime" BETWEEN A."dateTime" AND A.expires ) WHERE rownum <= 1"#,
    ),
    (
        "nexmark_q18",
        r#"SELECT auction, bidder, price, channel, url, "dateTime", extra FROM (SELECT *, ROW_NUMBER() OVER
         (PARTITION BY bidder, auction ORDER BY "dateTime" DESC) AS rank_number FROM bid) WHERE rank_number
         <= 1"#,
    ),
    (
        "win_topn",
        r#"SELECT window_start, window_end, auction, n, rn FROM ( SELECT *, ROW_NUMBER() OVER (PARTITION BY
         window_start, window_end ORDER BY n DESC, auction ASC) AS rn FROM ( SELECT window_start, window_end,
         auction, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end, auction)) WHERE rn <= 3"#,
    ),
    (
        "win_dedup_last",
        r#"SELECT window_start, auction, bidder, price, "dateTime" FROM ( SELECT *, ROW_NUMBER() OVER
         (PARTITION BY window_start, window_end, auction ORDER BY "dateTime" DESC) AS rn FROM
         TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))) WHERE rn = 1"#,
    ),
    (
        "win_join_full",
        r#"SELECT COALESCE(L.window_start, R.window_start) AS ws, L.auction AS l_auction, L.n AS l_n, R.auction
         AS r_auction, R.n AS r_n FROM (SELECT window_start, window_end, auction, COUNT(*) AS n FROM
         TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '30' SECOND)) WHERE channel = 'Apple' GROUP
         BY window_start, window_end, auction) L FULL JOIN (SELECT window_start, window_end, auction,
         COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '30' SECOND)) WHERE
         channel = 'Google' GROUP BY window_start, window_end, auction) R ON L.auction = R.auction AND
         L.window_start = R.window_start AND L.window_end = R.window_end"#,
    ),
    (
        "join_semi_in",
        r#"SELECT id, name, state FROM person WHERE id IN (SELECT seller FROM auction WHERE category = 12)"#,
    ),
    (
        "join_anti_not_exists",
        r#"SELECT id, name, state FROM person P WHERE NOT EXISTS (SELECT 1 FROM auction A WHERE A.seller =
         P.id)"#,
    ),
    (
        "join_right",
        r#"SELECT P.name, A.id AS auction FROM person P RIGHT JOIN auction A ON A.seller = P.id AND P.state =
         'OR'"#,
    ),
    ("set_except", r#"SELECT bidder FROM bid EXCEPT SELECT seller FROM auction"#),
    ("set_intersect", r#"SELECT seller FROM auction INTERSECT SELECT bidder FROM bid"#),
    ("set_union", r#"SELECT id AS k FROM person WHERE MOD(id, 5) = 0 UNION SELECT seller FROM auction"#),
    (
        "topn_global",
        r#"SELECT auction, bidder, price, rn FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY price DESC, "dateTime"
         ASC) AS rn FROM bid) WHERE rn <= 10"#,
    ),
    (
        "agg_stddev",
        r#"SELECT category, CAST(TRUNC(STDDEV_POP("initialBid")) AS DECIMAL(20,2)) AS sdp,
         CAST(TRUNC(STDDEV_SAMP("initialBid")) AS DECIMAL(20,2)) AS sds, CAST(TRUNC(VAR_POP("initialBid") /
         1000000) AS DECIMAL(20,2)) AS vp FROM auction GROUP BY category"#,
    ),
    (
        "agg_scalar_subquery",
        r#"SELECT id, "initialBid" FROM auction WHERE "initialBid" > (SELECT 10 * CAST(TRUNC(AVG("initialBid"))
         AS BIGINT) FROM auction WHERE category = 10 AND MOD(id, 50) = 0)"#,
    ),
];

#[test]
fn every_case_plans_as_a_view() {
    for (name, text) in CASES {
        let planned = view(text, ViewPlanOptions::default());
        let planned = planned.unwrap_or_else(|error| panic!("{name}: {}", show_error(&error)));
        assert_eq!(planned.graph.output().schema.fields().len(), planned.columns.len(), "{name}");
        assert!(!planned.depends_on.is_empty(), "{name}");
    }
}

#[test]
fn every_case_plans_ad_hoc_without_window_nodes() {
    for (name, text) in CASES {
        let planned = query(text).unwrap_or_else(|error| panic!("{name}: {}", show_error(&error)));
        let lowered = lower_windows_for_batch(planned.logical.clone());
        let lowered = lowered.unwrap_or_else(|error| panic!("{name}: {}", show_error(&error)));
        assert_eq!(lowered.schema(), planned.logical.schema(), "{name}: lowering keeps the schema");
        let extension = lowered.exists(|node| Ok(matches!(node, datafusion_expr::LogicalPlan::Extension(_))));
        assert!(!extension.expect("the visitor never fails"), "{name}: a window node is left");
        let scans = lowered.exists(|node| Ok(relation_of(node).is_some())).expect("the visitor never fails");
        assert!(scans, "{name}: no scan carries its relation");
        crate::analyze::optimize_for_stream(lowered).unwrap_or_else(|error| panic!("{name}: {}", show_error(&error)));
    }
}

#[test]
fn plans_survive_persistence() {
    for (name, text) in CASES {
        let planned = view(text, ViewPlanOptions::default()).expect("plans");
        let stored = serde_json::to_value(&planned.graph).expect("a graph is plain data");
        let loaded: dataflow::DataflowGraph = serde_json::from_value(stored).expect("what was stored");
        assert_eq!(loaded, planned.graph, "{name}");
    }
}
