//! The views. Each stands for itself: what a client would get by asking its query.

/// Name, query; `closed`: emitted on window close, and the condition that tells closed windows.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub name: &'static str,
    pub query: &'static str,
    pub closed: Option<&'static str>,
}

const fn view(name: &'static str, query: &'static str) -> View {
    View { name, query, closed: None }
}

impl View {
    pub fn create(&self) -> String {
        let end = if self.closed.is_some() { " EMIT ON WINDOW CLOSE" } else { "" };
        format!("CREATE MATERIALIZED VIEW {} AS {}{end}", self.name, self.query)
    }

    /// What the view must hold.
    pub fn expected(&self) -> String {
        match self.closed {
            Some(condition) => format!("SELECT * FROM ({}) q WHERE {condition}", self.query),
            None => self.query.to_string(),
        }
    }
}

pub const ALL: &[&[View]] = &[ROWS, GROUPS, JOINS, ORDERS, SETS, WINDOWS];

const ROWS: &[View] = &[
    view("f1", "SELECT id, k, v FROM r WHERE v > 10 AND k IS NOT NULL"),
    view("f2", "SELECT * FROM r WHERE g IS NULL OR v IS NULL OR (k = 2 AND d < 0)"),
    view(
        "p1",
        "SELECT id + 1 AS a, v * 2 - k AS b, upper(g) AS c, coalesce(g, 'none') AS e, d + 0.5 AS h, \
         CASE WHEN v > 0 THEN 'more' WHEN v < 0 THEN 'less' ELSE 'zero or null' END AS i FROM r",
    ),
    view("p2", "SELECT id, t + INTERVAL '1 hour' AS later, date_trunc('minute', t) AS minute, t::date AS day FROM r"),
    view(
        "p3",
        "SELECT g LIKE 'a%' AS l, length(g) AS n, g || '-' AS j, v IN (1, 2, 3) AS i, v BETWEEN -5 AND 5 AS b, \
         nullif(k, 3) AS nk, -v AS minus, abs(d) AS positive FROM r",
    ),
];

const GROUPS: &[View] = &[
    view(
        "a1",
        "SELECT k, count(*) AS n, count(v) AS nv, sum(v) AS sv, min(v) AS least, max(v) AS most, avg(v) AS mean \
         FROM r GROUP BY k",
    ),
    view(
        "a2",
        "SELECT count(*) AS n, sum(d) AS sd, min(t) AS first, max(t) AS last, min(g) AS g1, max(g) AS g2, avg(d) AS ad FROM r",
    ),
    view(
        "a3",
        "SELECT g, count(*) FILTER (WHERE v > 0) AS p, sum(v) FILTER (WHERE k = 1) AS s1, \
         max(d) FILTER (WHERE v IS NOT NULL) AS m FROM r GROUP BY g",
    ),
    view("a4", "SELECT k, count(DISTINCT g) AS dg, sum(DISTINCT v) AS ds, count(DISTINCT d) AS dd FROM r GROUP BY k"),
    view("a5", "SELECT k, g, count(*) AS n, sum(v) AS s FROM r GROUP BY k, g HAVING count(*) > 1 AND sum(v) > 0"),
    view("a6", "SELECT v % 3 AS m, k + 1 AS k1, sum(v) AS s, min(d) AS least FROM r GROUP BY v % 3, k + 1"),
    view("a7", "SELECT k, string_agg(g, ',' ORDER BY g) AS gs, bool_or(v > 5) AS some FROM r GROUP BY k"),
    view("a8", "SELECT g, array_agg(v ORDER BY v) AS vs FROM r GROUP BY g"),
    view(
        "a9",
        "SELECT k, CAST(round(stddev_pop(v) * 1000) AS bigint) AS sd, bit_or(v) AS bits FROM r WHERE v >= 0 GROUP BY k",
    ),
    view(
        "a10",
        "SELECT n, count(*) AS c, max(s) AS m FROM (SELECT k, g, count(*) AS n, sum(v) AS s FROM r GROUP BY k, g) q GROUP BY n",
    ),
    view("a11", "SELECT count(*) AS n, sum(v) AS s, max(v) AS m FROM r WHERE v > 15"),
    view("d1", "SELECT DISTINCT k, g FROM r"),
    view("o1", "SELECT k, n + nv AS both, most - least AS spread FROM a1 WHERE n > 2"),
    view("o2", "SELECT count(*) AS keys, sum(n) AS n, max(mean) AS best FROM a1"),
];

const JOINS: &[View] = &[
    view("j1", "SELECT r.id AS rid, s.id AS sid, r.v AS v, s.name AS name FROM r JOIN s ON r.k = s.k"),
    view("j2", "SELECT r.id AS rid, r.v AS v, s.id AS sid FROM r LEFT JOIN s ON r.k = s.k AND s.w > 0"),
    view("j3", "SELECT r.g AS g, s.id AS sid, s.name AS name FROM r RIGHT JOIN s ON r.k = s.k AND r.g = s.name"),
    view("j4", "SELECT r.id AS rid, s.id AS sid, r.d AS d, s.w AS w FROM r FULL JOIN s ON r.k = s.k AND r.g = s.name"),
    view("j5", "SELECT r.id AS rid, s.id AS sid FROM r LEFT JOIN s ON r.k = s.k AND r.v > s.id - 15"),
    view("j6", "SELECT * FROM r WHERE k IN (SELECT k FROM s WHERE w > 1)"),
    view("j7", "SELECT * FROM r WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.k = r.k)"),
    view("j8", "SELECT id, k FROM s WHERE EXISTS (SELECT 1 FROM r WHERE r.k = s.k AND r.v > s.id)"),
    view("j10", "SELECT r.id AS rid, s.id AS sid, u.note AS note FROM r JOIN s ON r.k = s.k JOIN u ON s.k = u.k"),
    view("j11", "SELECT x.id AS a, y.id AS b FROM r x JOIN r y ON x.k = y.k AND x.g = y.g AND x.id < y.id"),
    view("j12", "SELECT s.id AS id, m.most - s.id AS distance FROM s CROSS JOIN (SELECT max(v) AS most FROM r) m"),
    view("j13", "SELECT s.name AS name, count(*) AS n, sum(r.v) AS total FROM r JOIN s ON r.k = s.k GROUP BY s.name"),
    view(
        "j14",
        "SELECT coalesce(c.k, e.k) AS k, coalesce(c.n, 0) - coalesce(e.n, 0) AS difference FROM \
         (SELECT k, count(*) AS n FROM r GROUP BY k) c FULL JOIN (SELECT k, count(*) AS n FROM s GROUP BY k) e ON c.k = e.k",
    ),
    view(
        "j15",
        "SELECT r.id AS id, u.note AS note FROM r JOIN u ON r.k = u.k AND r.t BETWEEN u.at - INTERVAL '10 seconds' AND u.at + INTERVAL '10 seconds'",
    ),
    view("j17", "SELECT s.id AS id, o.n AS n, o.mean AS mean FROM s LEFT JOIN a1 o ON s.k = o.k"),
    view("j18", "SELECT id, v - (SELECT min(v) FROM r) AS above FROM r WHERE v > (SELECT avg(v) FROM r)"),
    view("j19", "SELECT r.id AS rid, s.id AS sid FROM r FULL JOIN s ON r.k = s.k AND r.v > 0 AND s.w > 0"),
    view("j20", "SELECT id, (SELECT count(*) FROM s WHERE s.k = r.k) AS partners FROM r"),
];

const ORDERS: &[View] = &[
    view("t1", "SELECT id, v FROM r ORDER BY v DESC NULLS LAST, id LIMIT 5"),
    view("t2", "SELECT id, v FROM r ORDER BY id, v LIMIT 3 OFFSET 2"),
    view(
        "t3",
        "SELECT k, id, v, rn FROM (SELECT k, id, v, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS rn FROM r) q WHERE rn <= 2",
    ),
    view(
        "t4",
        "SELECT k, id, v FROM (SELECT k, id, v, rank() OVER (PARTITION BY k ORDER BY v DESC) AS rk FROM r) q WHERE rk <= 2",
    ),
    view("t5", "SELECT k, id, n FROM (SELECT k, id, count(*) OVER (PARTITION BY k) AS n FROM r) q WHERE n > 2"),
    view("t6", "SELECT id, k, v, sum(v) OVER (PARTITION BY k ORDER BY id) AS running FROM r"),
    view("t7", "SELECT id, v, lag(v) OVER (PARTITION BY k ORDER BY id, v) AS before, k FROM r"),
    view(
        "t8",
        "SELECT k, id FROM (SELECT k, id, row_number() OVER (PARTITION BY k ORDER BY w, id) AS rn FROM s) q WHERE rn = 1",
    ),
    view("t9", "SELECT k, total FROM (SELECT k, sum(v) AS total FROM r GROUP BY k) q ORDER BY total DESC, k LIMIT 2"),
];

const SETS: &[View] = &[
    view("u1", "SELECT id, k FROM r UNION ALL SELECT id, k FROM s"),
    view("u2", "SELECT k, g FROM r UNION SELECT k, name FROM s"),
    view("u3", "SELECT k, g FROM r INTERSECT SELECT k, name FROM s"),
    view("u4", "SELECT k, g FROM r EXCEPT SELECT k, name FROM s"),
    view(
        "u5",
        "SELECT 'r' AS origin, count(*) AS n FROM r UNION ALL SELECT 's', count(*) FROM s UNION ALL SELECT 'u', count(*) FROM u",
    ),
    view("u6", "SELECT k, sum(n) AS n FROM (SELECT k, 1 AS n FROM r UNION ALL SELECT k, -1 FROM s) q GROUP BY k"),
];

/// Windows that the watermark (five seconds behind the newest row) has passed.
const PASSED: Option<&str> = Some("window_end <= (SELECT max(at) - INTERVAL '5 seconds' FROM a)");
/// A row at the end of a session still belongs to it.
const SESSION_PASSED: Option<&str> = Some("window_end < (SELECT max(at) - INTERVAL '5 seconds' FROM a)");

const TUMBLE: &str = "SELECT window_start, window_end, k, count(*) AS n, sum(v) AS s, max(v) AS most \
    FROM TUMBLE(a, at, INTERVAL '3 seconds') GROUP BY window_start, window_end, k";
const TUMBLE_ALL: &str = "SELECT window_start, window_end, count(*) AS n, avg(v) AS mean, count(DISTINCT k) AS keys \
    FROM TUMBLE(a, at, INTERVAL '4 seconds', INTERVAL '1 second') GROUP BY window_start, window_end";
const HOP: &str = "SELECT window_start, window_end, k, count(*) AS n, min(v) AS least, max(v) AS most \
    FROM HOP(a, at, INTERVAL '2 seconds', INTERVAL '6 seconds') GROUP BY window_start, window_end, k";
const CUMULATE: &str = "SELECT window_start, window_end, count(*) AS n, sum(v) AS s \
    FROM CUMULATE(a, at, INTERVAL '2 seconds', INTERVAL '8 seconds') GROUP BY window_start, window_end";
const SESSION: &str = "SELECT k, window_start, window_end, count(*) AS n, sum(v) AS s \
    FROM SESSION(TABLE a PARTITION BY k, DESCRIPTOR(at), INTERVAL '1' SECOND) GROUP BY k, window_start, window_end";
const ROWS_TUMBLED: &str =
    "SELECT id, k, v, window_start, window_end FROM TUMBLE(a, at, INTERVAL '3 seconds') WHERE v > 0";

const WINDOWS: &[View] = &[
    view("w1", TUMBLE),
    View { name: "w1c", query: TUMBLE, closed: PASSED },
    view("w2", TUMBLE_ALL),
    View { name: "w2c", query: TUMBLE_ALL, closed: PASSED },
    view("w3", HOP),
    View { name: "w3c", query: HOP, closed: PASSED },
    view("w4", CUMULATE),
    View { name: "w4c", query: CUMULATE, closed: PASSED },
    view("w5", SESSION),
    View { name: "w5c", query: SESSION, closed: SESSION_PASSED },
    view("w6", ROWS_TUMBLED),
    view(
        "w7",
        "SELECT w.window_start AS window_start, w.k AS k, w.n AS n, s.id AS sid FROM w1 w LEFT JOIN s ON w.k = s.k",
    ),
    view(
        "w8",
        "SELECT x.window_start AS window_start, x.n AS n, y.n AS large FROM \
         (SELECT window_start, window_end, count(*) AS n FROM TUMBLE(a, at, INTERVAL '3 seconds') GROUP BY window_start, window_end) x \
         LEFT JOIN (SELECT window_start, window_end, count(*) AS n FROM TUMBLE(a, at, INTERVAL '3 seconds') WHERE v > 10 \
         GROUP BY window_start, window_end) y ON x.window_start = y.window_start AND x.window_end = y.window_end",
    ),
    view(
        "w9",
        "SELECT k, n FROM (SELECT window_start, k, n, row_number() OVER (PARTITION BY window_start ORDER BY n DESC, k) AS rn FROM w1) q WHERE rn = 1",
    ),
];
