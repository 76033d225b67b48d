//! Freshness: from an event's birth to a subscriber in another process, on the wire, open loop.
//!
//! A writer appends lines to a followed file on a fixed schedule; each carries its scheduled time. The server (its own
//! process) keeps two views; a subscriber (its own process) reads `COPY (SUBSCRIBE …) TO STDOUT` and records now −
//! scheduled time. The schedule is a share of full load: what the same two views take when a burst is appended at once.
//! In the same block a loopback echo and an fdatasync of 4 kB are timed. How to read it:
//! benches/README.md.

mod reference;
mod subscriber;
mod writer;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hdrhistogram::Histogram;

const PORT: u16 = 26_432;
/// Events whose ingestion measures full load.
const BURST: u64 = 2_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(position) = arguments.iter().position(|a| a == "--subscriber") {
        subscriber::run(&arguments[position + 1], arguments[position + 2].parse().expect("a column number"));
        return;
    }
    let number = |name: &str, default: f64| {
        let position = arguments.iter().position(|a| a == name);
        position.and_then(|p| arguments.get(p + 1)?.parse().ok()).unwrap_or(default)
    };
    let (load, seconds) = (number("--load", 10.0), number("--seconds", 20.0));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("events.jsonl");
    std::fs::write(&file, "").expect("the event file");
    let mut server = Server::start(directory.path());
    server.execute(&format!(
        "CREATE SOURCE events (id bigint, k bigint, sent bigint) WITH (connector = 'file', path = '{}', follow = true)
           FORMAT PLAIN ENCODE JSON;
         CREATE MATERIALIZED VIEW passed AS SELECT id, sent FROM events WHERE k >= 0;
         CREATE MATERIALIZED VIEW newest AS SELECT k, count(*) AS n, max(sent) AS sent FROM events GROUP BY k;",
        file.display()
    ));
    let full = server.full_load(&file);
    let rate = number("--rate", full * load / 100.0);
    println!("freshness of a followed file, {rate:.0} events/s in open loop for {seconds} s; milliseconds");
    println!("full load of the two views: {full:.0} events/s");
    println!("| path | samples | p50 | p90 | p99 | p99.9 | max |");
    println!("|---|---|---|---|---|---|---|");
    for (view, column) in [("passed", 3), ("newest", 4)] {
        let subscriber = subscriber::spawn(&format!("SUBSCRIBE {view} WITH (SNAPSHOT = false)"), column);
        std::thread::sleep(Duration::from_millis(500));
        let echo = reference::Echo::start();
        let late_by = writer::write(&file, rate, Duration::from_secs_f64(seconds));
        std::thread::sleep(Duration::from_millis(500));
        row(&format!("event → subscriber of {view}"), &subscriber.finish());
        row("loopback echo in the same block", &echo.finish());
        row("fdatasync of 4 kB in the same block", &reference::sync_times(directory.path()));
        row("writer behind its schedule", &late_by);
    }
    server.stop();
}

fn row(name: &str, histogram: &Histogram<u64>) {
    let ms = |v: u64| v as f64 / 1e6;
    println!(
        "| {name} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} |",
        histogram.len(),
        ms(histogram.value_at_quantile(0.5)),
        ms(histogram.value_at_quantile(0.9)),
        ms(histogram.value_at_quantile(0.99)),
        ms(histogram.value_at_quantile(0.999)),
        ms(histogram.max()),
    );
}

struct Server {
    child: Child,
}

impl Server {
    fn start(directory: &std::path::Path) -> Server {
        let child = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["serve", "--workers", "1", "--http", "127.0.0.1:0", "--listen"])
            .arg(format!("127.0.0.1:{PORT}"))
            .arg("--data-dir")
            .arg(directory.join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", PORT)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Server { child }
    }

    fn execute(&self, sql: &str) {
        subscriber::runtime().block_on(async {
            subscriber::connect().await.batch_execute(sql).await.expect("the statements run");
        });
    }

    /// Events per second from the append of a burst until both views have it.
    fn full_load(&self, file: &std::path::Path) -> f64 {
        let start = writer::burst(file, BURST);
        subscriber::runtime().block_on(async {
            let client = subscriber::connect().await;
            let seen = "SELECT least((SELECT count(*) FROM passed), (SELECT sum(n)::bigint FROM newest))";
            while client.query_one(seen, &[]).await.expect("the views can be read").get::<_, Option<i64>>(0)
                < Some(BURST as i64)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        BURST as f64 / start.elapsed().as_secs_f64()
    }

    fn stop(&mut self) {
        // Either may fail only if the server is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::io::stdout().flush();
    }
}
