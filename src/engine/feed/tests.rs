//! A feed against a source that fails as it is told to: nothing is lost or doubled by trying again, what is gone does not
//! keep the rest from being read, and nobody waits for a read that hangs.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use connectors::{
    Chunk, ConnectorError, Offsets, OpenRequest, PartitionState, ReadEvent, SourceConfig, SourceReader, Trouble,
};
use coordinator::{Entered, StopFeed};
use types::{MemoryBudget, ObjectId, WATERMARK_END};

use super::{FeedHandle, FeedStart, FeedThreads, start};
use crate::clock::ClockMessage;
use crate::history::HistoryEvent;
use crate::logged::LoggedSteps;
use crate::relation::SourceRuntime;
use crate::source_stats::{Health, SourceStats};

/// What the source does at the next read.
enum Act {
    /// The next row of a partition.
    Row(&'static str),
    Fail(&'static str),
    Lose(&'static str),
    End,
    /// Until the sender is gone.
    Hang(Receiver<()>),
}

/// Rows are their own positions.
#[derive(Clone)]
struct Scripted {
    acts: Arc<Mutex<Vec<Act>>>,
    bounded: bool,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("scripted")
    }
}

struct Reader {
    source: Scripted,
    offsets: Offsets,
}

fn failure(path: &str) -> ConnectorError {
    ConnectorError::Io { path: path.into(), source: std::io::Error::from_raw_os_error(5) }
}

impl SourceConfig for Scripted {
    fn connector(&self) -> &str {
        "scripted"
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
    }

    fn bounded(&self) -> bool {
        self.bounded
    }

    fn validate(&self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn open(&self, request: OpenRequest) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Ok(Box::new(Reader { source: self.clone(), offsets: request.from }))
    }
}

impl SourceReader for Reader {
    fn next(&mut self, _wait: Duration) -> Result<ReadEvent, ConnectorError> {
        let mut acts = self.source.acts.lock().unwrap();
        let act = if acts.is_empty() { None } else { Some(acts.remove(0)) };
        drop(acts);
        match act {
            None => Ok(ReadEvent::Idle),
            Some(Act::End) => Ok(ReadEvent::End),
            Some(Act::Fail(path)) => Err(failure(path)),
            Some(Act::Hang(until)) => {
                assert!(until.recv().is_err());
                Err(failure("hung"))
            }
            Some(Act::Lose(partition)) => {
                let error = ConnectorError::HistoryLost { partition: partition.into(), position: 7 };
                Ok(ReadEvent::PartitionTroubled(Trouble { partition: partition.into(), error, retry: None }))
            }
            Some(Act::Row(partition)) => {
                let at = self.offsets.entry(partition.to_string()).or_default();
                let from = *at;
                *at += 1;
                let rows =
                    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![from as i64])) as _)]).unwrap();
                let (partition, positions, errors) = (partition.to_string(), vec![from], vec![]);
                Ok(ReadEvent::Chunk(Chunk { partition, from, to: from + 1, rows, positions, errors, bytes: 1 }))
            }
        }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        let state = |name: &str| PartitionState {
            name: name.into(),
            position: self.offsets.get(name).copied().unwrap_or(0),
            ended: false,
        };
        ["a", "b"].map(state).into()
    }
}

struct Running {
    handle: FeedHandle,
    clock: Receiver<ClockMessage>,
    stats: Arc<SourceStats>,
    threads: FeedThreads,
}

fn run(acts: Vec<Act>, bounded: bool) -> Running {
    let stats = Arc::new(SourceStats::default());
    let config = Arc::new(Scripted { acts: Arc::new(Mutex::new(acts)), bounded });
    let configured =
        connectors::ConfiguredSource { config: config.clone(), options: Default::default(), resolved_options: vec![] };
    let runtime = SourceRuntime::new(ObjectId(1), "scripted".into(), configured, None, stats.clone(), None);
    let feed = FeedStart {
        source: ObjectId(1),
        name: "scripted".into(),
        config,
        admission: runtime.new_admission(),
        offsets: Offsets::new(),
        logged: LoggedSteps::default(),
        repeated: None,
        columns: vec![0],
        time_column: None,
        keeper: None,
        stats: stats.clone(),
    };
    let (sender, clock): (Sender<ClockMessage>, _) = channel();
    let threads = FeedThreads::default();
    let handle = start(feed, sender, MemoryBudget::new(usize::MAX), &threads).unwrap();
    Running { handle, clock, stats, threads }
}

impl Running {
    /// What comes until so many rows are there: where reading stands after each, and `ended`.
    fn rows(&self, count: usize) -> Vec<String> {
        let mut rows = vec![];
        while rows.len() < count {
            match self.clock.recv_timeout(Duration::from_secs(20)).expect("more comes") {
                ClockMessage::Chunk(chunk) => {
                    for event in &chunk.events {
                        if let HistoryEvent::Read { partition, to } = event {
                            rows.push(format!("{partition} {to}"));
                        }
                    }
                    if chunk.ended {
                        assert_eq!(chunk.watermark, WATERMARK_END);
                        rows.push("ended".into());
                    }
                    (chunk.enter)(Entered { epoch: 1, wall_time_us: 1, watermark: None });
                }
                ClockMessage::SourceFailed { error, .. } => {
                    rows.push(error.message.clone());
                    self.stats.fail(error);
                }
                _ => panic!("a feed says nothing else"),
            }
        }
        rows
    }
}

#[test]
fn a_failed_read_is_tried_again_exactly_where_it_was() {
    let acts = vec![Act::Row("a"), Act::Row("b"), Act::Fail("disk"), Act::Fail("disk"), Act::Row("a"), Act::End];
    let running = run(acts, true);
    assert_eq!(running.rows(2), ["a 1", "b 1"]);
    while running.stats.read().retries < 2 {
        std::thread::yield_now();
    }
    let reading = running.stats.read();
    assert_eq!(reading.health(), Health::Retrying);
    assert!(reading.error().unwrap().starts_with("cannot read \"disk\""), "{:?}", reading.error());
    assert!(reading.next_try().is_some_and(|next| next.attempts == 2 && next.next_try_us.is_some()));
    assert_eq!(running.rows(2), ["a 2", "ended"]);
    assert_eq!((running.stats.read().health(), running.stats.read().retries), (Health::Well, 2));
}

#[test]
fn an_input_that_is_gone_does_not_keep_the_others_from_being_read() {
    let running = run(vec![Act::Row("a"), Act::Lose("a"), Act::Row("b")], false);
    assert_eq!(running.rows(2), ["a 1", "b 1"]);
    let reading = running.stats.read();
    assert_eq!((reading.health(), reading.given_up()), (Health::Degraded, 1));
    assert_eq!(reading.error().as_deref(), Some("a: \"a\" no longer holds the data up to position 7"));
    let kept = reading.counters.kept.back().expect("it is among the errors");
    assert_eq!((kept.partition.as_str(), kept.position, reading.counters.errors), ("a", 1, 0));
}

#[test]
fn a_bounded_source_without_one_of_its_inputs_fails_instead_of_ending() {
    let running = run(vec![Act::Lose("a"), Act::Row("b"), Act::End], true);
    assert_eq!(running.rows(2), ["b 1", "\"a\" no longer holds the data up to position 7"]);
    assert_eq!(running.stats.read().health(), Health::Failed);
}

#[test]
fn stopping_does_not_wait_for_a_read_that_hangs() {
    let (release, hung) = channel();
    let running = run(vec![Act::Row("a"), Act::Hang(hung), Act::Row("b")], false);
    assert_eq!(running.rows(1), ["a 1"]);
    Box::new(running.handle).stop();
    // Its thread is still in the read; it ends after it, and nothing it read comes through.
    drop(release);
    while running.threads.count() > 0 {
        std::thread::yield_now();
    }
    assert!(running.clock.try_iter().next().is_none());
}
