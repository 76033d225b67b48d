//! The views that must survive: over the file, over the generated stream, over tables.

use crate::accounts;
use crate::inputs::Bids;

/// A view and, for comparison, the query it stands for.
#[derive(Debug, Clone)]
pub struct View {
    pub name: String,
    pub query: String,
    pub on_close: bool,
}

impl View {
    pub fn new(name: &str, query: impl Into<String>) -> View {
        View { name: name.to_string(), query: query.into(), on_close: false }
    }

    /// Emitted on window close: compared only when all windows have closed.
    fn closing(name: &str, query: impl Into<String>) -> View {
        View { on_close: true, ..View::new(name, query) }
    }

    pub fn create(&self) -> String {
        let end = if self.on_close { " EMIT ON WINDOW CLOSE" } else { "" };
        format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {} AS {}{end}", self.name, self.query)
    }
}

const TUMBLED: &str = "SELECT window_start, k, count(*) AS n, sum(v) AS total FROM \
    TUMBLE(events, ts, INTERVAL '10 seconds') WHERE k >= 0 GROUP BY window_start, window_end, k";
const SESSIONS: &str = "SELECT k, window_start, window_end, count(*) AS n, max(v) AS most FROM \
    SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND) WHERE k >= 0 \
    GROUP BY k, window_start, window_end";

/// Over the file source `events`.
pub fn of_file() -> Vec<View> {
    vec![
        View::new("f_all", "SELECT id, k, v, label FROM events"),
        View::new("f_plain", "SELECT id, v * 2 AS doubled, upper(label) AS label FROM events WHERE v % 7 = 3"),
        View::new("f_tumble", TUMBLED),
        View::closing("f_tumble_closed", TUMBLED),
        View::new(
            "f_hop",
            "SELECT window_start, window_end, count(*) AS n, min(v) AS least, max(v) AS most, \
             count(DISTINCT label) AS labels FROM HOP(events, ts, INTERVAL '5 seconds', INTERVAL '20 seconds') \
             WHERE k >= 0 GROUP BY window_start, window_end",
        ),
        View::new("f_session", SESSIONS),
        View::closing("f_session_closed", SESSIONS),
        View::new("f_by_key", "SELECT k, count(*) AS n, sum(v) AS total, avg(v) AS mean FROM events GROUP BY k"),
        View::new("f_twice", "SELECT n, count(*) AS windows, max(total) AS most FROM f_tumble GROUP BY n"),
        View::new(
            "f_join",
            "SELECT a.k AS k, count(*) AS n, sum(a.v) AS total FROM events a JOIN f_by_key b ON a.k = b.k \
             WHERE a.v > 0 GROUP BY a.k",
        ),
        View::new(
            "f_left",
            "SELECT t.window_start AS window_start, t.k AS k, t.n AS n, p.n AS positive FROM f_tumble t LEFT JOIN \
             (SELECT window_start, k, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '10 seconds') WHERE v > 450 \
             GROUP BY window_start, window_end, k) p ON t.window_start = p.window_start AND t.k = p.k",
        ),
        View::new(
            "f_top",
            "SELECT k, id, v FROM (SELECT k, id, v, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS rn \
             FROM events WHERE v IS NOT NULL) WHERE rn <= 3",
        ),
        View::new("f_distinct", "SELECT DISTINCT k, label FROM events"),
        View::new("f_late", "SELECT id, k, v, label, ts, hw_position, hw_watermark FROM late_events"),
        View::new(
            "f_late_by_key",
            "SELECT l.k AS k, count(*) AS n, min(b.n) AS in_time FROM late_events l JOIN f_by_key b ON l.k = b.k GROUP BY l.k",
        ),
        View::new("f_bad", "SELECT position, error, sqlstate, raw FROM bad_events"),
        View::new("f_total", "SELECT count(*) AS n, sum(v) AS total FROM events"),
    ]
}

/// Over the generated stream `source`. The endless one is cut where the bounded one ends.
pub fn of_bids(source: &str, prefix: &str) -> Vec<View> {
    let limit = Bids::limit();
    let name = |what: &str| format!("{prefix}_{what}");
    let tumbled = format!(
        "SELECT window_start, channel, count(*) AS n, max(price) AS most FROM \
         TUMBLE({source}, date_time, INTERVAL '1 second') WHERE {limit} GROUP BY window_start, window_end, channel"
    );
    let highest = format!(
        "SELECT b.auction AS auction, b.bidder AS bidder, b.price AS price, b.date_time AS date_time FROM {source} b \
         JOIN (SELECT max(price) AS most, window_start, window_end FROM \
         TUMBLE({source}, date_time, INTERVAL '2 seconds') GROUP BY window_start, window_end) w \
         ON b.price = w.most AND b.date_time >= w.window_start AND b.date_time < w.window_end WHERE b.{limit}"
    );
    vec![
        View::new(&name("tumble"), tumbled.clone()),
        View::closing(&name("tumble_closed"), tumbled),
        View::new(&name("highest"), highest),
        View::new(
            &name("bidders"),
            format!("SELECT bidder, count(*) AS n, sum(price) AS spent FROM {source} WHERE {limit} GROUP BY bidder"),
        ),
    ]
}

/// The tables that clients write.
pub const TABLES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS ledger (id bigint, writer int, amount bigint)",
    "CREATE TABLE IF NOT EXISTS pair_a (id bigint, writer int)",
    "CREATE TABLE IF NOT EXISTS pair_b (id bigint, writer int)",
    "CREATE TABLE IF NOT EXISTS stock (id bigint PRIMARY KEY, owner int, n bigint, note varchar)",
    "CREATE TABLE IF NOT EXISTS clicks (id bigint, page int, at timestamp, \
     WATERMARK FOR at AS at - INTERVAL '5 seconds') APPEND ONLY",
];

/// Over the tables.
pub fn of_tables() -> Vec<View> {
    let mut views = accounts::views();
    views.extend([
        View::new(
            "t_writers",
            "SELECT writer, count(*) AS n, sum(amount) AS total, max(id) AS last FROM ledger GROUP BY writer",
        ),
        View::new("t_twice", "SELECT count(*) AS writers, sum(n) AS n, max(total) AS most FROM t_writers"),
        View::new("t_filter", "SELECT id, amount + 1 AS next FROM ledger WHERE amount % 10 = 4"),
        View::new("t_pairs", "SELECT a.id AS a_id, b.id AS b_id FROM pair_a a FULL JOIN pair_b b ON a.id = b.id"),
        View::new(
            "t_stock",
            "SELECT owner, count(*) AS items, sum(n) AS n, min(n) AS least, count(DISTINCT note) AS notes FROM stock GROUP BY owner",
        ),
        View::new(
            "t_stock_top",
            "SELECT owner, id, n FROM (SELECT owner, id, n, row_number() OVER (PARTITION BY owner ORDER BY n DESC, id) AS rn \
             FROM stock) WHERE rn <= 2",
        ),
        View::new(
            "t_join",
            "SELECT s.id AS id, s.n AS n, w.total AS total FROM stock s LEFT JOIN t_writers w ON s.owner = w.writer",
        ),
        View::new(
            "t_clicks",
            "SELECT window_start, page, count(*) AS n FROM TUMBLE(clicks, at, INTERVAL '2 seconds') \
             GROUP BY window_start, window_end, page",
        ),
        View::new(
            "t_visits",
            "SELECT page, window_start, window_end, count(*) AS n FROM \
             SESSION(TABLE clicks PARTITION BY page, DESCRIPTOR(at), INTERVAL '1' SECOND) GROUP BY page, window_start, window_end",
        ),
    ]);
    views
}

/// Emitted once per closed window of `clicks`; `clicks.rs` knows which windows have closed.
pub const CLICKS_CLOSED: &str = "CREATE MATERIALIZED VIEW IF NOT EXISTS t_clicks_closed AS \
    SELECT window_start, window_end, page, count(*) AS n FROM TUMBLE(clicks, at, INTERVAL '2 seconds') \
    GROUP BY window_start, window_end, page EMIT ON WINDOW CLOSE";
