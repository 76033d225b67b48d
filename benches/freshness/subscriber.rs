//! The subscriber: a process of its own that copies a subscription and keeps a histogram of ages.

use std::io::Read;
use std::pin::pin;
use std::process::{Child, Command, Stdio};

use futures::StreamExt;
use hdrhistogram::Histogram;
use tokio_postgres::{Client, NoTls};

use crate::PORT;
use crate::writer::now_ns;

/// Rows taken from the connection at a time; their time of arrival is one.
const ROWS_AT_ONCE: usize = 256;

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

/// The subscriber's own main. It shares the machine with what it measures, so it does little per row.
pub fn run(subscribe: &str, column: usize) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut rest = vec![];
        // Standard input closes when the parent wants the report.
        let _ = std::io::stdin().read_to_end(&mut rest);
        drop(stop);
    });
    let histogram = runtime().block_on(async {
        let client = connect().await;
        let stream = client.copy_out(&format!("COPY ({subscribe}) TO STDOUT")).await.expect("subscribes");
        let mut chunks = pin!(stream.ready_chunks(ROWS_AT_ONCE));
        let mut histogram: Histogram<u64> = Histogram::new(3).expect("a histogram");
        loop {
            let rows = tokio::select! {
                rows = chunks.next() => rows,
                _ = &mut stopped => None,
            };
            let Some(rows) = rows else { break };
            let now = now_ns();
            rows.into_iter().map_while(Result::ok).for_each(|row| record(&mut histogram, &row, column, now));
        }
        histogram
    });
    for value in histogram.iter_recorded() {
        println!("{} {}", value.value_iterated_to(), value.count_at_value());
    }
}

/// One line per message. Only insertions count: a retraction carries the age of the row that it takes back.
fn record(histogram: &mut Histogram<u64>, line: &[u8], column: usize, now: u64) {
    let mut fields = line.trim_ascii_end().split(|b| *b == b'\t').skip(1);
    if fields.next() != Some(b"1") {
        return;
    }
    let sent = fields.nth(column - 2).and_then(|field| str::from_utf8(field).ok()?.parse::<u64>().ok());
    if let Some(sent) = sent {
        histogram.record(now.saturating_sub(sent)).expect("the histogram grows");
    }
}
