//! The open-loop writer: event n is due at start + n ÷ rate, whatever happens; what is due is written at once.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

/// Appends `events` events at once.
pub fn burst(file: &Path, events: u64) {
    let now = now_ns();
    let mut lines = String::new();
    (0..events).for_each(|n| line(&mut lines, n, now));
    let mut output = std::fs::OpenOptions::new().append(true).open(file).expect("the event file");
    output.write_all(lines.as_bytes()).expect("appending to the event file");
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
        let elapsed = start.elapsed().as_nanos() as u64;
        if due_ns(next) > elapsed {
            let wait = due_ns(next) - elapsed;
            // Sleeping is late by some 60 µs: sleep short of it, then spin.
            if wait > 150_000 {
                std::thread::sleep(Duration::from_nanos(wait - 100_000));
            } else {
                std::hint::spin_loop();
            }
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
