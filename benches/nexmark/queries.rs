//! The queries, as a view and as the batch reference.

pub struct Query {
    pub name: &'static str,
    pub stream: &'static str,
    /// Where batch SQL has no such window, its own spelling; else the same text.
    pub batch: Option<&'static str>,
}

pub const QUERIES: &[Query] = &[
    Query { name: "q0", stream: r#"SELECT auction, bidder, price, "dateTime", extra FROM bid"#, batch: None },
    Query {
        name: "q1",
        stream: r#"SELECT auction, bidder, 0.908 * price AS price, "dateTime", extra FROM bid"#,
        batch: None,
    },
    Query { name: "q2", stream: "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0", batch: None },
    Query {
        name: "q7",
        stream: r#"SELECT B.auction, B.price, B.bidder, B."dateTime", B.extra FROM bid B
            JOIN (SELECT MAX(price) AS maxprice, window_end AS "dateTime"
                  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))
                  GROUP BY window_start, window_end) B1
            ON B.price = B1.maxprice
            WHERE B."dateTime" BETWEEN B1."dateTime" - INTERVAL '10' SECOND AND B1."dateTime""#,
        batch: None,
    },
    Query {
        name: "q8",
        stream: r#"SELECT P.id, P.name, P.starttime FROM
              (SELECT id, name, window_start AS starttime, window_end AS endtime
               FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))
               GROUP BY id, name, window_start, window_end) P
            JOIN (SELECT seller, window_start AS starttime, window_end AS endtime
                  FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))
                  GROUP BY seller, window_start, window_end) A
            ON P.id = A.seller AND P.starttime = A.starttime AND P.endtime = A.endtime"#,
        batch: None,
    },
    Query {
        name: "q11",
        stream: r#"SELECT B.bidder, count(*) AS bid_count, SESSION_START(B."dateTime", INTERVAL '10' SECOND) AS starttime,
              SESSION_END(B."dateTime", INTERVAL '10' SECOND) AS endtime
            FROM bid B GROUP BY B.bidder, SESSION(B."dateTime", INTERVAL '10' SECOND)"#,
        batch: None,
    },
    Query {
        name: "tumble_count",
        stream: r#"SELECT window_start, window_end, auction, count(*) AS n
            FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') GROUP BY window_start, window_end, auction"#,
        batch: None,
    },
    Query {
        name: "hop_count",
        stream: r#"SELECT window_start, window_end, auction, count(*) AS n
            FROM HOP(bid, "dateTime", INTERVAL '2 seconds', INTERVAL '10 seconds')
            GROUP BY window_start, window_end, auction"#,
        batch: None,
    },
    Query { name: "count_by_key", stream: "SELECT auction, count(*) AS n FROM bid GROUP BY auction", batch: None },
];
