//! Row patterns over the auction stream: events a second and core, as views that follow their input and as views whose rows
//! are final. The rows are fed in epochs of 64 k rows through the planned dataflow, from Arrow, on one worker.
//!
//! `cargo bench --bench pattern -- [--events N] [--query NAME]`

#[path = "../nexmark/cpu.rs"]
mod cpu;
#[path = "../nexmark/data.rs"]
mod data;
#[path = "../nexmark/stream.rs"]
mod stream;

use plan::ViewPlanOptions;

/// The server's, so that both measure the same memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUERIES: [(&str, &str); 4] = [
    (
        "v_shape",
        r#"SELECT * FROM bid MATCH_RECOGNIZE (PARTITION BY auction ORDER BY "dateTime"
           MEASURES s.price AS price, LAST(down.price) AS lowest, LAST(up."dateTime") AS at
           PATTERN (s down+ up+)
           DEFINE down AS down.price < PREV(down.price), up AS up.price > PREV(up.price))"#,
    ),
    (
        "three_rising",
        r#"SELECT * FROM bid MATCH_RECOGNIZE (PARTITION BY auction ORDER BY "dateTime"
           MEASURES FIRST(price) AS low, LAST(price) AS high
           AFTER MATCH SKIP TO NEXT ROW PATTERN (s up{2}) WITHIN INTERVAL '10' MINUTE
           DEFINE up AS up.price > PREV(up.price))"#,
    ),
    (
        "a_then_b_without_c",
        r#"SELECT * FROM bid MATCH_RECOGNIZE (PARTITION BY bidder ORDER BY "dateTime"
           MEASURES a."dateTime" AS began, b."dateTime" AS ended
           PATTERN (a x*? b) WITHIN INTERVAL '10' SECOND
           DEFINE a AS channel = 'Apple', x AS channel <> 'Baidu', b AS channel = 'Google')"#,
    ),
    (
        "back_reference",
        r#"SELECT * FROM bid MATCH_RECOGNIZE (PARTITION BY auction ORDER BY "dateTime"
           MEASURES a.price AS price, count(b.*) AS n, c.price AS last
           PATTERN (a b+ c) WITHIN INTERVAL '10' SECOND
           DEFINE b AS b.price < a.price, c AS c.price > a.price)"#,
    ),
];

fn main() {
    let argument = |name: &str| {
        let mut arguments = std::env::args().skip_while(|a| a != name);
        arguments.nth(1)
    };
    let events: u64 = argument("--events").and_then(|v| v.parse().ok()).unwrap_or(2_000_000);
    let only = argument("--query");
    let (catalog, tables) = data::generate(events);
    println!("row patterns, {events} events in memory, 1 worker, epochs of 65,536 rows");
    println!("| pattern | view | rows in | matches | M rows/s and core | CPU s | wall s |");
    println!("|---|---|---|---|---|---|---|");
    for (name, text) in QUERIES.into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let mut matches = vec![];
        for emit_on_window_close in [true, false] {
            let options = ViewPlanOptions { emit_on_window_close, ..ViewPlanOptions::default() };
            let view = if emit_on_window_close { "final" } else { "following" };
            match stream::run(&catalog, &tables, text, options) {
                Ok(done) => {
                    let rate = done.rows_in as f64 / done.measured.cpu_s / 1e6;
                    let (cpu_s, wall_s) = (done.measured.cpu_s, done.measured.wall_s);
                    println!(
                        "| {name} | {view} | {} | {} | {rate:.2} | {cpu_s:.2} | {wall_s:.2} |",
                        done.rows_in, done.rows
                    );
                    matches.push((done.rows, done.checksum));
                }
                Err(error) => println!("| {name} | {view} | void: {error} | | | | |"),
            }
        }
        // The source has ended, so both give the same rows.
        assert!(matches.windows(2).all(|pair| pair[0] == pair[1]), "{name}: the two views differ");
    }
}
