//! The inputs that the killed servers load: a growing CSV file and a generated stream, the same for every run.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use calendar::timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Event time of the first row: 2024-01-01 00:00:00.
const START_MS: i64 = 1_704_067_200_000;
const STEP_MS: i64 = 20;
/// Rows come up to this much out of order; the watermark's delay is a second more.
const JITTER_MS: i64 = 4_000;
/// Every so many rows one is hopelessly late.
const LATE_EVERY: usize = 400;
const LATE_MS: i64 = 90_000;
/// And so many have a malformed record after them.
const MALFORMED_EVERY: usize = 300;
const KEYS: i64 = 30;

/// Columns and watermark of the file's rows.
pub const EVENTS_COLUMNS: &str =
    "(id bigint, k int, v bigint, label varchar, ts timestamp, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')";

/// The lines of the file. The last row closes all windows before it.
pub fn event_lines(seed: u64, rows: usize) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lines = vec!["id,k,v,label,ts".to_string()];
    for id in 0..rows {
        let late = if id % LATE_EVERY == LATE_EVERY - 1 { LATE_MS } else { 0 };
        let at_ms = START_MS + id as i64 * STEP_MS - rng.random_range(0..=JITTER_MS) - late;
        let k = rng.random_range(0..KEYS).min(rng.random_range(0..KEYS));
        let mut line = format!("{id},{k},");
        if rng.random_bool(0.95) {
            write!(line, "{}", rng.random_range(-500..500)).expect("a string takes text");
        }
        let label = ["red", "green", "blue", "a \"quoted\", label"][rng.random_range(0..4)];
        write!(line, ",\"{}\",{}", label.replace('"', "\"\""), timestamp(at_ms)).expect("a string takes text");
        lines.push(line);
        if id % MALFORMED_EVERY == MALFORMED_EVERY - 1 {
            lines.push(format!("oops {id}"));
        }
    }
    lines.push(format!("{rows},-1,0,end,{}", timestamp(START_MS + rows as i64 * STEP_MS + 3_600_000)));
    lines
}

/// A file that is written while it is read.
pub struct GrowingFile {
    pub path: PathBuf,
    lines: Vec<String>,
    written: usize,
}

impl GrowingFile {
    pub fn new(path: &Path, lines: Vec<String>) -> GrowingFile {
        GrowingFile { path: path.to_path_buf(), lines, written: 0 }
    }

    /// Appends up to `lines` lines, the last of them torn in two writes.
    pub fn grow(&mut self, lines: usize) {
        let upto = (self.written + lines).min(self.lines.len());
        let mut text = String::new();
        for line in &self.lines[self.written..upto] {
            text.push_str(line);
            text.push('\n');
        }
        self.written = upto;
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).expect("the file can grow");
        let torn = text.len().saturating_sub(7);
        file.write_all(&text.as_bytes()[..torn]).expect("the file can grow");
        file.write_all(&text.as_bytes()[torn..]).expect("the file can grow");
    }

    pub fn finish(&mut self) {
        self.grow(usize::MAX - self.written);
    }
}

/// Enough of a calendar: the inputs stay within one month.
mod calendar {
    const MONTH_START_MS: i64 = super::START_MS;

    /// `ms` since 1970, of January 2024 or the last day before it.
    pub fn timestamp(ms: i64) -> String {
        let since = ms - MONTH_START_MS;
        let (days, rest) = (since.div_euclid(86_400_000), since.rem_euclid(86_400_000));
        let date = if days < 0 { "2023-12-31".to_string() } else { format!("2024-01-{:02}", days + 1) };
        let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
        format!("{date} {hours:02}:{minutes:02}:{:02}.{:03}", rest / 1_000 % 60, rest % 1_000)
    }
}

/// The generated stream: bids of `EVENTS` events, event times from a fixed start.
pub struct Bids;

impl Bids {
    const EVENTS: u64 = 40_000;
    const RATE: u64 = 5_000;
    const COLUMNS: &str = "(auction bigint, bidder bigint, price bigint, channel varchar, date_time timestamp, \
                           WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')";
    const SHAPE: &str = "connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.split.num = '2', \
                         nexmark.base.time = '2024-01-01 00:00:00', nexmark.event.interval = '200us'";

    /// Endless and paced: it is being read whenever the server is killed.
    pub fn endless(name: &str) -> String {
        let (columns, shape, rate) = (Self::COLUMNS, Self::SHAPE, Self::RATE);
        format!("CREATE SOURCE IF NOT EXISTS {name} {columns} WITH ({shape}, nexmark.rate = '{rate}')")
    }

    /// The same events, read at once, with an end.
    pub fn bounded(name: &str) -> String {
        let (columns, shape, events) = (Self::COLUMNS, Self::SHAPE, Self::EVENTS);
        format!("CREATE SOURCE IF NOT EXISTS {name} {columns} WITH ({shape}, nexmark.event.num = '{events}')")
    }

    /// The part of the endless stream that the bounded one has.
    pub fn limit() -> String {
        let end_ms = START_MS + (Self::EVENTS * 1_000 / Self::RATE) as i64;
        format!("date_time < timestamp '{}'", timestamp(end_ms))
    }
}
