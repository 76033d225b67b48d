//! Random statements that change the tables. Values are few, so that keys meet and rows repeat.

use rand::Rng;
use rand::rngs::StdRng;

pub const TABLES: [&str; 4] = [
    "CREATE TABLE r (id bigint, k int, g text, v int, d decimal(12,2), t timestamp)",
    "CREATE TABLE s (id bigint PRIMARY KEY, k int, name text, w decimal(10,3))",
    "CREATE TABLE u (k int, note text, at timestamp)",
    "CREATE TABLE a (id bigint, k int, v int, at timestamp, WATERMARK FOR at AS at - INTERVAL '5 seconds') APPEND ONLY",
];

/// Rows of one INSERT, now and then.
const MANY: usize = 150;

/// The source of statements of one run.
pub struct Changes {
    /// Event time of the append-only table, milliseconds.
    now_ms: i64,
    next_id: i64,
}

impl Changes {
    pub fn new() -> Changes {
        Changes { now_ms: 0, next_id: 0 }
    }

    pub fn statement(&mut self, rng: &mut StdRng) -> String {
        match rng.random_range(0..20) {
            0..6 => {
                let count = rows(rng);
                insert("r", count, rng, Self::r_row)
            }
            6..8 => update_r(rng),
            8..10 => format!("DELETE FROM r WHERE {}", condition(rng)),
            10..12 => {
                let count = rng.random_range(1..6);
                insert("s", count, rng, s_row) + " ON CONFLICT DO NOTHING"
            }
            12 => {
                format!("UPDATE s SET k = {}, w = {} WHERE id % 5 = {}", key(rng), decimal(rng), rng.random_range(0..5))
            }
            13 => format!("UPDATE s SET name = {} WHERE id = {}", text(rng), rng.random_range(0..30)),
            14 => format!("DELETE FROM s WHERE id % 7 = {}", rng.random_range(0..7)),
            15 => {
                let count = rng.random_range(1..4);
                insert("u", count, rng, |rng| format!("({}, {}, {})", key(rng), text(rng), time(rng)))
            }
            16 => format!("DELETE FROM u WHERE k = {}", rng.random_range(0..5)),
            _ => self.insert_a(rng),
        }
    }

    /// A block over several tables; nothing in it reads what it wrote.
    pub fn block(&mut self, rng: &mut StdRng) -> Vec<String> {
        let r = insert("r", rng.random_range(1..5), rng, Self::r_row);
        let u = insert("u", 1, rng, |rng| format!("({}, {}, {})", key(rng), text(rng), time(rng)));
        let end = if rng.random_bool(0.8) { "COMMIT" } else { "ROLLBACK" };
        vec!["BEGIN".into(), r, u, end.into()]
    }

    fn r_row(rng: &mut StdRng) -> String {
        let (id, k, g, v) = (rng.random_range(0..60), key(rng), text(rng), int(rng));
        format!("({id}, {k}, {g}, {v}, {}, {})", decimal(rng), time(rng))
    }

    /// Event time moves on, with disorder and some rows that come too late.
    fn insert_a(&mut self, rng: &mut StdRng) -> String {
        let count = rows(rng);
        let values: Vec<String> = (0..count)
            .map(|_| {
                self.now_ms += rng.random_range(0..900);
                self.next_id += 1;
                let behind = if rng.random_bool(0.05) { 9_000 } else { rng.random_range(0..4_500) };
                let at = clock((self.now_ms - behind).max(0));
                format!("({}, {}, {}, {at})", self.next_id, key(rng), int(rng))
            })
            .collect();
        format!("INSERT INTO a VALUES {}", values.join(", "))
    }
}

fn rows(rng: &mut StdRng) -> usize {
    if rng.random_bool(0.05) { MANY } else { rng.random_range(1..10) }
}

fn insert(table: &str, count: usize, rng: &mut StdRng, mut row: impl FnMut(&mut StdRng) -> String) -> String {
    let values: Vec<String> = (0..count).map(|_| row(rng)).collect();
    format!("INSERT INTO {table} VALUES {}", values.join(", "))
}

fn s_row(rng: &mut StdRng) -> String {
    format!("({}, {}, {}, {})", rng.random_range(0..30), key(rng), text(rng), decimal(rng))
}

fn update_r(rng: &mut StdRng) -> String {
    let set = match rng.random_range(0..6) {
        0 => format!("v = v + {}", rng.random_range(-3..4)),
        1 => format!("k = {}", key(rng)),
        2 => format!("g = {}", text(rng)),
        3 => format!("d = d + {}, v = {}", decimal(rng), int(rng)),
        4 => "t = t + INTERVAL '1 minute'".into(),
        _ => format!("id = id + 1, k = {}", key(rng)),
    };
    format!("UPDATE r SET {set} WHERE {}", condition(rng))
}

fn condition(rng: &mut StdRng) -> String {
    match rng.random_range(0..6) {
        0 => format!("k = {}", rng.random_range(0..6)),
        1 => format!("id % 9 = {}", rng.random_range(0..9)),
        2 => "g IS NULL AND v < 0".into(),
        3 => format!("v > {} AND v < {}", rng.random_range(-20..10), rng.random_range(10..25)),
        4 => format!("g = 'aa' AND id < {}", rng.random_range(0..60)),
        _ => format!("id = {}", rng.random_range(0..60)),
    }
}

fn or_null(rng: &mut StdRng, value: String) -> String {
    if rng.random_bool(0.12) { "NULL".into() } else { value }
}

fn key(rng: &mut StdRng) -> String {
    let key = rng.random_range(0..6);
    or_null(rng, key.to_string())
}

fn int(rng: &mut StdRng) -> String {
    let value = rng.random_range(-20..21);
    or_null(rng, value.to_string())
}

fn text(rng: &mut StdRng) -> String {
    let text = ["'aa'", "'ab'", "'b'", "''", "'Ωmega'"][rng.random_range(0..5)];
    or_null(rng, text.into())
}

fn decimal(rng: &mut StdRng) -> String {
    let cents: i32 = rng.random_range(-500..500);
    or_null(rng, format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100))
}

fn time(rng: &mut StdRng) -> String {
    let at = clock(rng.random_range(0..120) * 500);
    or_null(rng, at)
}

fn clock(ms: i64) -> String {
    let (seconds, millis) = (ms / 1_000, ms % 1_000);
    format!("'2026-03-01 {:02}:{:02}:{:02}.{millis:03}'", 10 + seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
