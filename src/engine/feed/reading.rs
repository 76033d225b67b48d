//! Reading live: opens the connector where reading stands, takes what comes through admission to the clock, and when a
//! read fails waits and opens it again exactly there.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use connectors::admission::Decision;
use connectors::{Backoff, ConnectorError, Offsets, OpenRequest, ReadEvent, SourceReader, Trouble};
use types::{MemoryBudget, SqlError, ToSqlState, WATERMARK_END};

use super::chunk::FeedChunk;
use super::permits::{Permit, Permits};
use super::{FeedControl, FeedStart};
use crate::clock::ClockMessage;
use crate::history::HistoryEvent;
use crate::left_out::{LeftOut, SourceError};
use crate::logged::LoggedSteps;
use crate::time::now_us;

/// Longest wait for input before control messages and idleness are looked at again.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Pause between looks at the memory budget while it is exceeded.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Feed {
    pub start: FeedStart,
    pub columns: Arc<Vec<usize>>,
    pub offsets: Offsets,
    clock: Sender<ClockMessage>,
    commands: Receiver<FeedControl>,
    pub permits: Arc<Permits>,
    budget: MemoryBudget,
    /// Of a bounded source: why an input was given up. Such a source does not end, it fails.
    given_up: Option<ConnectorError>,
}

/// What a control message asks of the reader.
enum Control {
    None,
    Reopen,
    Stop,
}

/// What one read leads to.
enum Turn {
    Next,
    /// Nothing more will come.
    Ended,
    Stopped,
}

impl Feed {
    pub fn new(
        start: FeedStart,
        clock: Sender<ClockMessage>,
        commands: Receiver<FeedControl>,
        permits: Arc<Permits>,
        budget: MemoryBudget,
    ) -> Feed {
        let columns = Arc::new(start.columns.clone());
        let offsets = start.offsets.clone();
        Feed { start, columns, offsets, clock, commands, permits, budget, given_up: None }
    }

    /// Until it is stopped.
    pub fn run(&mut self) {
        self.place_time_column();
        let mut backoff = Backoff::new(&self.start.name);
        if !self.repeat_logged(&mut backoff) {
            return;
        }
        if self.start.admission.watermark() == WATERMARK_END {
            return self.wait_for_stop();
        }
        loop {
            match self.read(&mut backoff) {
                Ok(Turn::Stopped) => return,
                Ok(Turn::Next | Turn::Ended) => return self.wait_for_stop(),
                Err(error) if error.may_pass() => {
                    if !self.pause(&error, &mut backoff) {
                        return;
                    }
                }
                Err(error) => {
                    self.fail(error.to_sql_error());
                    return self.wait_for_stop();
                }
            }
        }
    }

    /// Reads until the input ends, the feed is stopped or a read fails.
    fn read(&mut self, backoff: &mut Backoff) -> Result<Turn, ConnectorError> {
        let mut reader = self.open()?;
        self.enter_partitions(reader.as_ref());
        loop {
            match self.take_control() {
                Control::Stop => return Ok(Turn::Stopped),
                Control::Reopen => reader = self.open()?,
                Control::None => {}
            }
            if self.budget.exceeded() {
                std::thread::sleep(PAUSE);
                continue;
            }
            let Some(permit) = self.permits.acquire() else { return Ok(Turn::Stopped) };
            let event = reader.next(self.wait())?;
            self.recovered(backoff);
            match self.turn(event, reader.as_ref(), permit) {
                Turn::Next => {}
                turn => return Ok(turn),
            }
        }
    }

    /// Takes one event to the clock.
    fn turn(&mut self, event: ReadEvent, reader: &dyn SourceReader, permit: Permit) -> Turn {
        let now = now_us();
        let mut decisions = vec![];
        let mut out = self.empty_chunk();
        match event {
            ReadEvent::Chunk(chunk) => {
                let admitted = self.start.admission.admit(&chunk, now);
                self.offsets.insert(chunk.partition.clone(), chunk.to);
                // Entry lines and refusals hold for these rows: they come first.
                out.events.extend(admitted.decisions.iter().cloned().map(HistoryEvent::Decided));
                out.events.push(HistoryEvent::Read { partition: chunk.partition.clone(), to: chunk.to });
                out.bytes = chunk.bytes;
                self.leave_out(&mut out, LeftOut::of(chunk, &admitted), None);
                out.rows = admitted.rows;
            }
            ReadEvent::PartitionAdded(name) => decisions.extend(self.start.admission.enter(&name, now)),
            ReadEvent::PartitionIdentified { partition, identity } => {
                decisions.push(self.decide(Decision::Identified { partition, identity }));
            }
            ReadEvent::PartitionEnded(partition) => decisions.push(self.decide(Decision::Ended { partition })),
            ReadEvent::PartitionTroubled(trouble) => decisions.extend(self.trouble(trouble)),
            ReadEvent::PartitionRecovered(partition) => {
                tracing::info!(source = %self.start.name, partition, "input can be read again");
                self.start.stats.recover(Some(&partition));
            }
            ReadEvent::Noted { partition, position, reason } => {
                tracing::warn!(source = %self.start.name, partition, position, reason);
                self.start.stats.note(&partition, position, types::SqlState::DataCorrupted, reason);
            }
            ReadEvent::Idle => {}
            ReadEvent::End => match self.given_up.take() {
                // What lies behind is not all of the input.
                Some(error) => self.fail(error.to_sql_error()),
                None => {
                    out.ended = true;
                    decisions.extend(self.end(reader));
                }
            },
        }
        decisions.extend(self.start.admission.check_idle(now));
        decisions.extend(self.start.admission.advance_with_clock(now));
        self.pass_on(out, decisions, permit)
    }

    fn pass_on(&mut self, mut out: FeedChunk, decisions: Vec<Decision>, permit: Permit) -> Turn {
        out.events.extend(decisions.into_iter().map(HistoryEvent::Decided));
        out.watermark = if out.ended { WATERMARK_END } else { self.start.admission.watermark() };
        out.admission = Some(self.start.admission.clone());
        if out.events.is_empty() && out.errors.is_empty() && !out.ended {
            return Turn::Next;
        }
        out.permit = Some(permit);
        let ended = out.ended;
        match (self.send(self.message(out)), ended) {
            (false, _) => Turn::Stopped,
            (true, true) => Turn::Ended,
            (true, false) => Turn::Next,
        }
    }

    fn decide(&mut self, decision: Decision) -> Decision {
        self.start.admission.apply(&decision);
        decision
    }

    /// One partition cannot be read: now, or never again.
    fn trouble(&mut self, trouble: Trouble) -> Option<Decision> {
        let Trouble { partition, error, retry } = trouble;
        if let Some(retry) = retry {
            tracing::warn!(source = %self.start.name, partition, %error, attempts = retry.attempts, "input not readable");
            self.start.stats.retry(Some(&partition), error.to_sql_error(), retry, now_us());
            return None;
        }
        self.give_up(&partition, &error);
        if self.start.config.bounded() {
            self.given_up = Some(error);
            return None;
        }
        // It must not hold the others' watermark back.
        let known = self.start.admission.partitions.contains_key(&partition);
        if known { self.start.admission.retire(&partition) } else { None }
    }

    /// All partitions that have not ended do now.
    fn end(&mut self, reader: &dyn SourceReader) -> Vec<Decision> {
        let partitions = reader.partitions();
        partitions.iter().filter_map(|partition| self.start.admission.end(&partition.name)).collect()
    }

    /// Waits until the next try, answering meanwhile. False: the feed was stopped.
    pub(super) fn pause(&mut self, error: &ConnectorError, backoff: &mut Backoff) -> bool {
        let retry = backoff.fail();
        let detail = error.detail();
        tracing::warn!(source = %self.start.name, %error, detail, attempts = retry.attempts, "source not readable");
        self.start.stats.retry(None, error.to_sql_error(), retry, now_us());
        let until = Instant::now() + retry.wait;
        loop {
            match self.commands.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(FeedControl::Project { columns, marker }) => {
                    self.project(columns, marker);
                }
                Ok(FeedControl::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    pub(super) fn recovered(&self, backoff: &mut Backoff) {
        if backoff.succeed() {
            tracing::info!(source = %self.start.name, "source can be read again");
            self.start.stats.recover(None);
        }
    }

    /// Nothing of the source is read any more.
    pub fn fail(&self, error: SqlError) {
        tracing::error!(source = %self.start.name, error = %error.message, "source stopped");
        self.send(ClockMessage::SourceFailed { source: self.start.source, error });
    }

    /// Whether the clock takes it: not once the feed was stopped.
    pub(super) fn send(&self, message: ClockMessage) -> bool {
        self.permits.send(&self.clock, message)
    }

    /// For the clock: a chunk whose rows are counted and kept when its epoch is known.
    pub(super) fn message(&self, chunk: FeedChunk) -> ClockMessage {
        let stats = self.start.stats.clone();
        ClockMessage::Chunk(chunk.into_source_chunk(stats))
    }

    fn wait(&self) -> Duration {
        let until_idle = self.start.admission.next_idle_us().map(|at| at - now_us());
        match until_idle {
            Some(us) if us <= 0 => Duration::ZERO,
            Some(us) => WAIT_MAX.min(Duration::from_micros(us as u64)),
            None => WAIT_MAX,
        }
    }

    pub(super) fn empty_chunk(&self) -> FeedChunk {
        let schema = self.start.config.schema().project(&self.columns).expect("columns of the source");
        FeedChunk {
            source: self.start.source,
            permit: None,
            events: vec![],
            repeats: None,
            rows: RecordBatch::new_empty(Arc::new(schema)),
            columns: self.columns.clone(),
            admission: None,
            watermark: 0,
            ended: false,
            late: 0,
            errors: vec![],
            kept: vec![],
            bytes: 0,
        }
    }

    /// Counts what is outside the relation, and keeps it where asked.
    pub(super) fn leave_out(&self, out: &mut FeedChunk, left_out: LeftOut, logged: Option<&LoggedSteps>) {
        out.late = left_out.late_positions.len() as u64;
        out.kept = self.start.keeper.as_ref().map(|keeper| keeper.keep(&left_out, logged)).unwrap_or_default();
        let partition = left_out.partition;
        let errors = left_out.errors.into_iter().map(|error| SourceError {
            seen_us: logged.and_then(|logged| logged.time_of(&partition, error.position)),
            partition: partition.clone(),
            error,
        });
        out.errors = errors.collect();
    }

    fn open(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        self.start.config.open(OpenRequest {
            from: self.offsets.clone(),
            known: self.start.admission.known(),
            until: None,
            projection: self.columns.to_vec(),
            chunk_rows_max: 0,
        })
    }

    /// Partitions known when the feed starts enter before any row is read.
    fn enter_partitions(&mut self, reader: &dyn SourceReader) {
        let now = now_us();
        let mut out = self.empty_chunk();
        for partition in reader.partitions() {
            if !self.start.admission.partitions.contains_key(&partition.name) {
                let decision = self.start.admission.enter(&partition.name, now);
                out.events.extend(decision.map(HistoryEvent::Decided));
            }
        }
        out.watermark = self.start.admission.watermark();
        out.admission = Some(self.start.admission.clone());
        if !out.events.is_empty() {
            out.permit = self.permits.acquire();
            // Fails only while the engine is stopping; the next read notices.
            self.send(self.message(out));
        }
    }

    fn place_time_column(&mut self) {
        let position = |column| self.columns.iter().position(|c| *c == column);
        self.start.admission.options.time_column = self.start.time_column.and_then(position);
    }

    fn take_control(&mut self) -> Control {
        match self.commands.try_recv() {
            Ok(FeedControl::Project { columns, marker }) => match self.project(columns, marker) {
                true => Control::Reopen,
                false => Control::None,
            },
            Ok(FeedControl::Stop) | Err(TryRecvError::Disconnected) => Control::Stop,
            Err(TryRecvError::Empty) => Control::None,
        }
    }

    /// Whether other columns than before are decoded from now on.
    fn project(&mut self, columns: Vec<usize>, marker: Sender<()>) -> bool {
        let changed = *self.columns != columns;
        self.columns = Arc::new(columns);
        self.place_time_column();
        self.send(ClockMessage::Marker(marker));
        changed
    }

    /// The input has ended; only control messages are left.
    fn wait_for_stop(&mut self) {
        while let Ok(control) = self.commands.recv() {
            match control {
                FeedControl::Project { columns, marker } => {
                    self.project(columns, marker);
                }
                FeedControl::Stop => return,
            }
        }
    }
}
