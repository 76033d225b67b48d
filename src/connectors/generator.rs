//! What the built-in generators share: splits as partitions, row numbers as positions, limits and pacing.
//!
//! A generated source is one imaginary stream of events, numbered from 0; each split holds some of them in order. The
//! same position always gives the same row, so replay is exact. Pacing says when an event is due on the wall clock: what
//! is due is delivered at once, then the reader sleeps until the next one is. Reading up to recorded positions (`until`)
//! is never paced.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use chrono::DateTime;

use crate::format::text::parse_timestamp;
use crate::options::OptionBag;
use crate::{Chunk, ConnectorError, OpenRequest, PartitionState, ReadEvent, SourceReader};

/// Rows of one kind out of a stream of events. Rows are numbered per split.
pub(crate) trait RowGenerator: Send {
    /// Rows [from, to) of `split`.
    fn generate(&mut self, split: u64, from: u64, to: u64) -> RecordBatch;

    /// Number of the event that is row `row` of `split`; grows with `row`.
    fn event_of(&self, split: u64, row: u64) -> u64;

    /// Rows of `split` among the events below `event`.
    fn rows_before(&self, split: u64, event: u64) -> u64;
}

/// When events are due: the first at `start_us`, then one every `gap_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub start_us: i64,
    pub gap_ns: u64,
}

impl Pace {
    /// Events due at `now_us`.
    fn due(&self, now_us: i64) -> u64 {
        match u128::try_from(i128::from(now_us) - i128::from(self.start_us)) {
            Ok(elapsed_us) => u64::try_from(elapsed_us * 1_000 / u128::from(self.gap_ns) + 1).unwrap_or(u64::MAX),
            Err(_) => 0,
        }
    }

    /// Time from `now_us` until `event` is due, rounded up to the next microsecond.
    fn until_due(&self, event: u64, now_us: i64) -> Duration {
        let offset_us = (u128::from(event) * u128::from(self.gap_ns)).div_ceil(1_000);
        let due_us = i128::from(self.start_us) + i128::try_from(offset_us).unwrap_or(i128::MAX / 2);
        Duration::from_micros(u64::try_from((due_us - i128::from(now_us)).max(0)).unwrap_or(u64::MAX))
    }
}

/// Longer waits are cut, so that instants can't overflow.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

pub(crate) fn wall_clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A time option; if absent and `live`, now, which is then noted in `resolved`.
pub(crate) fn resolved_time(
    bag: &mut OptionBag,
    name: &str,
    live: bool,
    default_us: i64,
    resolved: &mut Vec<(String, String)>,
) -> Result<i64, ConnectorError> {
    let given = bag.parsed(name, "a timestamp such as '2024-01-01 00:00:00'", |v| parse_timestamp(v.as_bytes()))?;
    if given.is_some() || !live {
        return Ok(given.unwrap_or(default_us));
    }
    // Event times of generated rows are milliseconds.
    let now_us = wall_clock_us() / 1_000 * 1_000;
    resolved.push((name.to_string(), format_timestamp(now_us)));
    Ok(now_us)
}

/// Microseconds since the epoch as text that reads back the same.
fn format_timestamp(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

pub(crate) struct GeneratorReader<G> {
    generator: G,
    splits: Vec<Split>,
    /// `None`: as fast as rows can be made.
    pace: Option<Pace>,
    rows_max: u64,
    /// Split to look at first, so that none starves.
    turn: usize,
}

struct Split {
    number: u64,
    state: PartitionState,
    /// Position at which it stops.
    stop: Option<u64>,
    /// Stopping there means that it has ended.
    ends: bool,
}

/// Rows and limits of a generated source.
pub(crate) struct GeneratorPlan<G> {
    pub generator: G,
    pub splits: u64,
    /// Events in all; `None`: without end.
    pub events: Option<u64>,
    pub pace: Option<Pace>,
    /// Rows per chunk unless the request says otherwise.
    pub chunk_rows: u64,
}

impl<G: RowGenerator> GeneratorReader<G> {
    /// Errors: `HistoryLost` if a position lies beyond the end or a partition is unknown.
    pub fn open(plan: GeneratorPlan<G>, request: &OpenRequest) -> Result<Self, ConnectorError> {
        let GeneratorPlan { generator, splits, events, pace, chunk_rows } = plan;
        let names: Vec<String> = (0..splits).map(|split| split.to_string()).collect();
        let limit = |split: u64| events.map(|events| generator.rows_before(split, events));
        let mut named = request.from.iter().chain(request.until.iter().flatten());
        let beyond = |name: &String, position: u64| match names.iter().position(|n| n == name) {
            Some(split) => limit(split as u64).is_some_and(|limit| position > limit),
            None => position > 0,
        };
        if let Some((name, position)) = named.find(|(name, position)| beyond(name, **position)) {
            return Err(ConnectorError::HistoryLost { partition: name.clone(), position: *position });
        }
        let split = |(number, name): (usize, &String)| {
            let position = request.from.get(name).copied().unwrap_or(0);
            let state = PartitionState { name: name.clone(), position, ended: false };
            let number = number as u64;
            match &request.until {
                Some(until) => until.get(name).map(|to| Split { number, state, stop: Some(*to), ends: false }),
                None => Some(Split { number, state, stop: limit(number), ends: true }),
            }
        };
        let splits = names.iter().enumerate().filter_map(split).collect();
        let pace = pace.filter(|_| request.until.is_none());
        let rows_max = if request.chunk_rows_max == 0 { chunk_rows } else { request.chunk_rows_max as u64 };
        Ok(GeneratorReader { generator, splits, pace, rows_max, turn: 0 })
    }

    /// A chunk of the next split that has something due.
    fn due_chunk(&mut self, now_us: i64) -> Option<Chunk> {
        let due = self.pace.map(|pace| pace.due(now_us));
        for offset in 0..self.splits.len() {
            let index = (self.turn + offset) % self.splits.len();
            let split = &mut self.splits[index];
            let from = split.state.position;
            let due = due.map_or(u64::MAX, |due| self.generator.rows_before(split.number, due));
            let to = from.saturating_add(self.rows_max).min(due).min(split.stop.unwrap_or(u64::MAX));
            if from >= to {
                continue;
            }
            let rows = self.generator.generate(split.number, from, to);
            split.state.position = to;
            self.turn = index + 1;
            let (partition, positions) = (split.state.name.clone(), (from..to).collect());
            let bytes = rows.get_array_memory_size() as u64;
            return Some(Chunk { partition, from, to, rows, positions, errors: vec![], bytes });
        }
        None
    }
}

impl Split {
    fn stopped(&self) -> bool {
        self.stop.is_some_and(|stop| self.state.position >= stop)
    }
}

impl<G: RowGenerator> SourceReader for GeneratorReader<G> {
    fn next(&mut self, wait: Duration) -> Result<ReadEvent, ConnectorError> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            if let Some(split) = self.splits.iter_mut().find(|s| s.ends && s.stopped() && !s.state.ended) {
                split.state.ended = true;
                return Ok(ReadEvent::PartitionEnded(split.state.name.clone()));
            }
            let now_us = wall_clock_us();
            if let Some(chunk) = self.due_chunk(now_us) {
                return Ok(ReadEvent::Chunk(chunk));
            }
            let next_event = |s: &Split| self.generator.event_of(s.number, s.state.position);
            let Some(event) = self.splits.iter().filter(|s| !s.stopped()).map(next_event).min() else {
                return Ok(ReadEvent::End);
            };
            let pace = self.pace.expect("without pacing everything is due");
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(ReadEvent::Idle);
            }
            std::thread::sleep(pace.until_due(event, now_us).min(left));
        }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        self.splits.iter().map(|split| split.state.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_due_from_its_instant_on() {
        let pace = Pace { start_us: 1_000, gap_ns: 1_500 };
        let due: Vec<u64> = [999, 1_000, 1_001, 1_002, 1_003].map(|now| pace.due(now)).to_vec();
        assert_eq!(due, [0, 1, 1, 2, 3]);
        for event in 0..1_000 {
            for now in [0, 1_000, 1_777, 2_400] {
                let at = now + pace.until_due(event, now).as_micros() as i64;
                assert!(pace.due(at) > event, "it is due when the sleep is over");
                assert!(at == now || pace.due(at - 1) <= event, "and not before");
            }
        }
    }
}
