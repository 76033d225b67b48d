//! The shared feed of one source: a named thread that reads the connector, decides admission and hands chunks to the
//! epoch clock. It is the only one that reads the source live; later views replay its history instead.
//!
//! Back-pressure is by permits: a chunk holds one until the clock has put it into an epoch. At the memory limit the
//! feed pauses. Reading errors stop the source, are logged and shown in `hw_catalog.sources`; reads go on.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::RecordBatch;
use connectors::admission::{Admission, Decision};
use connectors::{ConnectorError, Offsets, OpenRequest, ReadEvent, SourceConfig, SourceReader};
use coordinator::{Entered, SourceChunk, StopFeed};
use dataflow::FeedBatch;
use types::{DeltaBatch, MemoryBudget, ObjectId, WATERMARK_END, limits};

use crate::caught::caught;
use crate::clock::{ClockMessage, EnginePorts};
use crate::history::{HistoryCursor, HistoryEvent, Replayed, SourceHistory};
use crate::keeper::{Keeper, KeptRows};
use crate::left_out::{LeftOut, SourceError};
use crate::logged::LoggedSteps;
use crate::source_stats::SourceStats;
use crate::time::now_us;

/// Longest wait for input before control messages and idleness are looked at again.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Pause between looks at the memory budget while it is exceeded.
const PAUSE: Duration = Duration::from_millis(20);

/// What one read brought, after admission. Rows may be empty: decisions and watermarks travel too.
pub struct FeedChunk {
    pub source: ObjectId,
    /// Returned when the chunk has been put into an epoch.
    pub permit: Option<Permit>,
    pub events: Vec<HistoryEvent>,
    /// Logged before the restart; so many logged events are through with this chunk.
    pub repeats: Option<usize>,
    pub rows: RecordBatch,
    /// Which columns of the source `rows` carries.
    pub columns: Arc<Vec<usize>>,
    /// Admission after this chunk; `None` if unchanged.
    pub admission: Option<Admission>,
    pub watermark: i64,
    pub ended: bool,
    pub late: u64,
    pub errors: Vec<SourceError>,
    /// For the tables that keep what is left out.
    pub kept: Vec<KeptRows>,
    pub bytes: u64,
}

impl FeedChunk {
    fn into_source_chunk(self, stats: Arc<SourceStats>) -> SourceChunk<EnginePorts> {
        let FeedChunk { source, permit, events, repeats, rows, columns, admission, watermark, ended, .. } = self;
        let FeedChunk { late, errors, kept, bytes, .. } = self;
        let relations = std::iter::once(source).chain(kept.iter().map(KeptRows::table)).collect();
        let (count, memory) = (rows.num_rows(), rows.get_array_memory_size());
        let enter = move |at: Entered| {
            // The feed may bring the next one.
            drop(permit);
            stats.record(&rows, late, bytes, at.watermark, ended, errors, at.wall_time_us);
            let mut batches: Vec<FeedBatch> = kept.into_iter().map(|kept| kept.enter(at.wall_time_us)).collect();
            if rows.num_rows() > 0 {
                let rows = DeltaBatch::inserts(rows);
                batches.push(FeedBatch { relation: source, columns, rows, errors: vec![] });
            }
            batches
        };
        let enter = Box::new(enter);
        let (rows, bytes) = (count, memory);
        SourceChunk { source, relations, rows, bytes, events, repeats, admission, watermark, ended, enter }
    }
}

pub enum FeedControl {
    /// Decode these columns (ascending) from now on, then put the marker into the clock's queue.
    Project {
        columns: Vec<usize>,
        marker: Sender<()>,
    },
    Stop,
}

/// Where a feed starts.
pub struct FeedStart {
    pub source: ObjectId,
    pub name: String,
    pub config: Arc<dyn SourceConfig>,
    /// As of `offsets`.
    pub admission: Admission,
    pub offsets: Offsets,
    /// Logged steps after `offsets` that must be repeated exactly before new decisions are taken.
    pub logged: LoggedSteps,
    /// Answered by the clock once the logged steps are in epochs.
    pub repeated: Option<Sender<()>>,
    /// Columns of the source, ascending, with the event-time column among them.
    pub columns: Vec<usize>,
    /// Event-time column of the source.
    pub time_column: Option<usize>,
    pub keeper: Option<Arc<Keeper>>,
    /// Counts what enters.
    pub stats: Arc<SourceStats>,
}

/// The clock's and the engine's end of a feed.
pub struct FeedHandle {
    pub control: Sender<FeedControl>,
    permits: Arc<Permits>,
    thread: Option<JoinHandle<()>>,
}

impl StopFeed for FeedHandle {
    fn stop(mut self: Box<Self>) {
        let _ = self.control.send(FeedControl::Stop);
        self.permits.close();
        if let Some(thread) = self.thread.take() {
            // The feed's own failures were reported through the clock.
            let _ = thread.join();
        }
    }
}

/// A counting semaphore for chunks in the clock's queue.
pub struct Permits {
    state: Mutex<(usize, bool)>,
    freed: Condvar,
}

/// One taken permit; dropping it gives it back.
pub struct Permit {
    permits: Arc<Permits>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release();
    }
}

impl Permits {
    fn new(count: usize) -> Arc<Permits> {
        Arc::new(Permits { state: Mutex::new((count, false)), freed: Condvar::new() })
    }

    /// Waits for a permit; `None` once closed.
    fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state.lock().expect("no panic while holding permits");
        while state.0 == 0 && !state.1 {
            state = self.freed.wait(state).expect("no panic while holding permits");
        }
        if state.1 {
            return None;
        }
        state.0 -= 1;
        Some(Permit { permits: self.clone() })
    }

    fn release(&self) {
        self.state.lock().expect("no panic while holding permits").0 += 1;
        self.freed.notify_one();
    }

    fn close(&self) {
        self.state.lock().expect("no panic while holding permits").1 = true;
        self.freed.notify_all();
    }
}

/// Starts the thread.
pub fn start(start: FeedStart, clock: Sender<ClockMessage>, budget: MemoryBudget) -> FeedHandle {
    let (control, commands) = channel();
    let permits = Permits::new(limits::SOURCE_QUEUE_BATCHES_MAX);
    let feed_permits = permits.clone();
    let thread = std::thread::Builder::new()
        .name(format!("hw-src-{}", start.name))
        .spawn(move || {
            let source = start.source;
            let mut feed = Feed::new(start, clock.clone(), commands, feed_permits, budget);
            if let Err(error) = caught("the source", || feed.run().map_err(|e| types::ToSqlState::to_sql_error(&e))) {
                tracing::error!(source = %source, error = %error.message, "source stopped");
                let _ = clock.send(ClockMessage::SourceFailed { source, error });
            }
        })
        .expect("a thread can be started");
    FeedHandle { control, permits, thread: Some(thread) }
}

struct Feed {
    start: FeedStart,
    columns: Arc<Vec<usize>>,
    offsets: Offsets,
    clock: Sender<ClockMessage>,
    commands: Receiver<FeedControl>,
    permits: Arc<Permits>,
    budget: MemoryBudget,
}

impl Feed {
    fn new(
        start: FeedStart,
        clock: Sender<ClockMessage>,
        commands: Receiver<FeedControl>,
        permits: Arc<Permits>,
        budget: MemoryBudget,
    ) -> Feed {
        let columns = Arc::new(start.columns.clone());
        let offsets = start.offsets.clone();
        Feed { start, columns, offsets, clock, commands, permits, budget }
    }

    fn run(&mut self) -> Result<(), ConnectorError> {
        self.place_time_column();
        if !self.repeat_logged()? {
            return Ok(());
        }
        if self.start.admission.watermark() == WATERMARK_END {
            self.wait_for_stop();
            return Ok(());
        }
        let mut reader = self.open()?;
        self.enter_partitions(reader.as_ref());
        loop {
            match self.take_control() {
                Control::Stop => return Ok(()),
                Control::Reopen => reader = self.open()?,
                Control::None => {}
            }
            while self.budget.exceeded() {
                std::thread::sleep(PAUSE);
                match self.take_control() {
                    Control::Stop => return Ok(()),
                    Control::Reopen => reader = self.open()?,
                    Control::None => {}
                }
            }
            let Some(permit) = self.permits.acquire() else { return Ok(()) };
            if self.turn(reader.as_mut(), permit)? {
                self.wait_for_stop();
                return Ok(());
            }
        }
    }

    /// One read. Returns whether nothing more will come.
    fn turn(&mut self, reader: &mut dyn SourceReader, permit: Permit) -> Result<bool, ConnectorError> {
        let event = reader.next(self.wait())?;
        let now = now_us();
        let mut decisions = vec![];
        let mut out = self.empty_chunk();
        let mut ended = false;
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
            ReadEvent::PartitionEnded(name) => {
                let decision = Decision::Ended { partition: name };
                self.start.admission.apply(&decision);
                decisions.push(decision);
            }
            ReadEvent::Idle => {}
            ReadEvent::End => {
                ended = true;
                for partition in reader.partitions() {
                    let known = self.start.admission.partitions.get(&partition.name);
                    if known.is_none_or(|line| !line.ended) {
                        let decision = Decision::Ended { partition: partition.name };
                        self.start.admission.apply(&decision);
                        decisions.push(decision);
                    }
                }
            }
        }
        decisions.extend(self.start.admission.check_idle(now));
        decisions.extend(self.start.admission.advance_with_clock(now));
        out.events.extend(decisions.into_iter().map(HistoryEvent::Decided));
        out.watermark = if ended { WATERMARK_END } else { self.start.admission.watermark() };
        out.ended = ended;
        out.admission = Some(self.start.admission.clone());
        if out.events.is_empty() && out.errors.is_empty() && !ended {
            return Ok(false);
        }
        out.permit = Some(permit);
        let sent = self.clock.send(self.message(out)).is_ok();
        Ok(ended || !sent)
    }

    /// For the clock: a chunk whose rows are counted and kept when its epoch is known.
    fn message(&self, chunk: FeedChunk) -> ClockMessage {
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

    fn empty_chunk(&self) -> FeedChunk {
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
    fn leave_out(&self, out: &mut FeedChunk, left_out: LeftOut, logged: Option<&LoggedSteps>) {
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
            let _ = self.clock.send(self.message(out));
        }
    }

    /// Repeats the logged steps after the checkpoint; their rows flow again, their decisions are not taken anew.
    /// False: the engine is stopping.
    fn repeat_logged(&mut self) -> Result<bool, ConnectorError> {
        let logged = std::mem::take(&mut self.start.logged);
        let admission = self.start.admission.clone();
        let config = self.start.config.clone();
        let mut cursor = HistoryCursor::new(config, self.columns.to_vec(), self.offsets.clone(), admission);
        let mut history = SourceHistory::default();
        let mut alive = true;
        for group in logged.groups() {
            group.iter().for_each(|(_, event)| history.push(event.clone()));
            alive = self.repeat(&mut cursor, &history, &logged)?;
            let mut through = self.empty_chunk();
            through.repeats = Some(group.len());
            through.watermark = cursor.admission.watermark();
            through.permit = self.permits.acquire();
            alive = alive && through.permit.is_some() && self.clock.send(self.message(through)).is_ok();
            if !alive {
                break;
            }
        }
        self.start.admission = cursor.admission;
        self.offsets = cursor.position;
        if let Some(marker) = self.start.repeated.take() {
            let _ = self.clock.send(ClockMessage::Marker(marker));
        }
        Ok(alive)
    }

    /// Repeats what the history has beyond the cursor.
    fn repeat(
        &self,
        cursor: &mut HistoryCursor,
        history: &SourceHistory,
        logged: &LoggedSteps,
    ) -> Result<bool, ConnectorError> {
        cursor.advance(history, |replayed, admission| {
            let mut out = self.empty_chunk();
            out.repeats = Some(0);
            match replayed {
                Replayed::Rows { partition, to, rows, refused, bytes, left_out } => {
                    let refusal = |position| Decision::Refused { partition: partition.clone(), position };
                    out.events.extend(refused.into_iter().map(refusal).map(HistoryEvent::Decided));
                    out.events.push(HistoryEvent::Read { partition, to });
                    out.bytes = bytes;
                    self.leave_out(&mut out, left_out, Some(logged));
                    out.rows = rows;
                }
                Replayed::Decided(decision) => out.events.push(HistoryEvent::Decided(decision.clone())),
            }
            out.watermark = admission.watermark();
            out.ended = out.watermark == WATERMARK_END && self.start.config.bounded();
            out.admission = Some(admission.clone());
            out.permit = self.permits.acquire();
            out.permit.is_some() && self.clock.send(self.message(out)).is_ok()
        })
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
        let _ = self.clock.send(ClockMessage::Marker(marker));
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

enum Control {
    None,
    Reopen,
    Stop,
}
