//! The open-loop writer: event n is due at start + n ÷ rate, whatever happens; what is due is written at once.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

/// Between two writes; what falls due in it is written together, and late by so much. Writing each event as it falls
/// due would take a core from what is measured.
const SLEEP: Duration = Duration::from_micros(100);

pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

/// Appends `events` events at once; returns when that began.
pub fn burst(file: &Path, events: u64) -> Instant {
    let now = now_ns();
    let mut lines = String::new();
    (0..events).for_each(|n| line(&mut lines, n, now));
    let mut output = std::fs::OpenOptions::new().append(true).open(file).expect("the event file");
    let start = Instant::now();
    output.write_all(lines.as_bytes()).expect("appending to the event file");
    start
}

fn line(lines: &mut String, id: u64, sent: u64) {
    writeln!(lines, "{{\"id\":{id},\"k\":{},\"sent\":{sent}}}", id % 100).expect("writing to memory");
}

/// Writes for `length`; returns how late each write was against its schedule.
pub fn write(file: &Path, rate: f64, length: Duration) -> Histogram<u64> {
    let mut late_by = Histogram::new(3).expect("a histogram");
    let mut output = std::fs::OpenOptions::new().append(true).open(file).expect("the event file");
    let (start, start_ns) = (Instant::now(), now_ns());
    let total = (rate * length.as_secs_f64()) as u64;
    let due_ns = |n: u64| (n as f64 * 1e9 / rate) as u64;
    let (mut next, mut lines) = (0u64, String::new());
    while next < total {
        std::thread::sleep(SLEEP);
        let elapsed = start.elapsed().as_nanos() as u64;
        if due_ns(next) > elapsed {
            continue;
        }
        lines.clear();
        let first = next;
        while next < total && due_ns(next) <= elapsed {
            line(&mut lines, next, start_ns + due_ns(next));
            next += 1;
        }
        output.write_all(lines.as_bytes()).expect("appending to the event file");
        late_by.record((start.elapsed().as_nanos() as u64).saturating_sub(due_ns(first))).expect("the histogram grows");
    }
    late_by
}
