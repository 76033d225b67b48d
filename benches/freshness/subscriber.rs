//! The subscriber: a process of its own that copies a subscription and keeps a histogram of ages.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use hdrhistogram::Histogram;
use tokio_postgres::{Client, NoTls};

use crate::PORT;
use crate::writer::now_ns;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub async fn connect() -> Client {
    let url = format!("host=127.0.0.1 port={PORT} user=highwater dbname=highwater");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connects");
    tokio::spawn(async move {
        // The end of the server ends the connection.
        let _ = connection.await;
    });
    client
}

pub struct Subscriber {
    child: Child,
}

/// Starts this program again as a subscriber; `column` counts the fields of a copied line.
pub fn spawn(subscribe: &str, column: usize) -> Subscriber {
    let program = std::env::current_exe().expect("this program");
    let child = Command::new(program)
        .args(["--subscriber", subscribe, &column.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the subscriber starts");
    Subscriber { child }
}

impl Subscriber {
    /// Tells it to end, and takes its histogram: one `value count` line each.
    pub fn finish(mut self) -> Histogram<u64> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let mut output = self.child.stdout.take().expect("piped");
        output.read_to_string(&mut text).expect("the subscriber's report");
        self.child.wait().expect("the subscriber ends");
        let mut histogram = Histogram::new(3).expect("a histogram");
        for line in text.lines() {
            let (value, count) = line.split_once(' ').expect("value count");
            let (value, count) = (value.parse().expect("a value"), count.parse().expect("a count"));
            histogram.record_n(value, count).expect("the histogram grows");
        }
        histogram
    }
}

/// The subscriber's own main.
pub fn run(subscribe: &str, column: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    std::thread::spawn(move || {
        let mut rest = vec![];
        // Standard input closes when the parent wants the report.
        let _ = std::io::stdin().read_to_end(&mut rest);
        told.store(true, Ordering::Relaxed);
    });
    let histogram = runtime().block_on(async {
        let client = connect().await;
        let stream = client.copy_out(&format!("COPY ({subscribe}) TO STDOUT")).await.expect("subscribes");
        futures::pin_mut!(stream);
        let mut histogram: Histogram<u64> = Histogram::new(3).expect("a histogram");
        while !stop.load(Ordering::Relaxed) {
            let wait = std::time::Duration::from_millis(100);
            let Ok(next) = tokio::time::timeout(wait, stream.next()).await else { continue };
            let Some(Ok(bytes)) = next else { break };
            let now = now_ns();
            for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                record(&mut histogram, line, column, now);
            }
        }
        histogram
    });
    for value in histogram.iter_recorded() {
        println!("{} {}", value.value_iterated_to(), value.count_at_value());
    }
}

/// Only insertions count: a retraction carries the age of the row that it takes back.
fn record(histogram: &mut Histogram<u64>, line: &[u8], column: usize, now: u64) {
    let text = std::str::from_utf8(line).expect("text");
    let fields: Vec<&str> = text.split('\t').collect();
    if fields[1] != "1" {
        return;
    }
    if let Ok(sent) = fields[column].parse::<u64>() {
        histogram.record(now.saturating_sub(sent)).expect("the histogram grows");
    }
}
