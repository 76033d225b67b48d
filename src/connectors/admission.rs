//! Admission: which rows of a source are part of the relation, and what its watermark is. Deterministic given the
//! rows of each partition in order and the logged decisions (idleness, refusals), so that batching, replay and
//! backfill can't change an answer (docs/architecture.md, Time).
//!
//! The rule, row by row in the order of the partition: the partition's line is the larger of its own (highest event
//! time before this row, less the delay) and its entry line. A row below line − allowed lateness is late. An event time
//! beyond now + max_future is refused and moves nothing. A NULL event time is admitted and moves nothing.
//!
//! Order of a log within one epoch: `Idle` decisions first (idleness is decided between epochs), then `Entered` before
//! the rows of its partition, then rows, then `Ended`. Replay applies all but `Ended`, then the rows, then `Ended`.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use serde::{Deserialize, Serialize};
use types::{WATERMARK_END, WATERMARK_NONE};

use crate::{Chunk, KnownPartition, KnownPartitions};

/// The event-time options of a source, microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionOptions {
    /// Column of the *projected* rows that carries event time (timestamp µs) and the declared delay.
    pub time_column: Option<usize>,
    pub delay_us: i64,
    pub allowed_lateness_us: i64,
    pub idle_timeout_us: i64,
    pub max_future_us: i64,
    /// `idle_advance = 'wall_clock'`.
    #[serde(default)]
    pub follow_clock: bool,
}

/// A decision that depended on the wall clock; logged with its epoch and applied as is on replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// The partition appeared, or came back from idleness, with this entry line.
    Entered {
        partition: String,
        line: i64,
    },
    /// Silent longer than idle_timeout: no longer holds the watermark back.
    Idle {
        partition: String,
    },
    Ended {
        partition: String,
    },
    /// By what the connector finds the partition again; says nothing about its rows.
    Identified {
        partition: String,
        identity: String,
    },
    /// Event time beyond max_future: the row at this position is outside the relation.
    Refused {
        partition: String,
        position: u64,
    },
    /// Nobody held the watermark back: it followed the wall clock to this line.
    Advanced {
        line: i64,
    },
}

/// A chunk after admission.
#[derive(Debug)]
pub struct Admitted {
    pub rows: RecordBatch,
    /// Positions of rows left out as late, and refused.
    pub late: Vec<u64>,
    pub refused: Vec<u64>,
    /// Where they stand in the chunk: the rows left out as late, each with its partition's line then; the refused.
    pub late_rows: Vec<(u32, i64)>,
    pub refused_rows: Vec<u32>,
    /// Decisions taken while admitting; empty on replay.
    pub decisions: Vec<Decision>,
}

/// The state of one source's admission. Serialised into checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    pub options: AdmissionOptions,
    pub partitions: BTreeMap<String, PartitionLine>,
    /// Never goes back.
    pub watermark: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLine {
    /// Highest event time seen less the delay; `WATERMARK_NONE` before the first row.
    pub own: i64,
    pub entry: i64,
    pub idle: bool,
    pub ended: bool,
    #[serde(default)]
    pub identity: Option<String>,
    /// Wall clock of the last row or of entry; not part of determinism (only Decisions follow from it), and not kept
    /// across restarts: what was silent while nobody listened is not thereby idle.
    #[serde(skip, default = "unknown")]
    pub last_active_us: i64,
}

/// Stands for a `last_active_us` that nobody has noted: silence counts from the next `check_idle`.
const UNKNOWN_US: i64 = i64::MIN;

/// The watermark of a silent source follows the clock in steps of this: each is an epoch and a line in the log.
pub const CLOCK_STEP_US: i64 = 200_000;

fn unknown() -> i64 {
    UNKNOWN_US
}

impl Admission {
    pub fn new(options: AdmissionOptions) -> Self {
        Admission { options, partitions: BTreeMap::new(), watermark: WATERMARK_NONE }
    }

    /// A partition known from the start (or appeared): enters with the current watermark as entry line.
    /// `None` if it is already in and active.
    pub fn enter(&mut self, partition: &str, now_us: i64) -> Option<Decision> {
        if self.partitions.get(partition).is_some_and(PartitionLine::active) {
            return None;
        }
        let decision = Decision::Entered { partition: partition.to_string(), line: self.watermark };
        self.apply(&decision);
        self.line_mut(partition).last_active_us = now_us;
        Some(decision)
    }

    /// This partition will deliver nothing more. `None` if it had ended before.
    pub fn end(&mut self, partition: &str) -> Option<Decision> {
        if self.partitions.get(partition).is_some_and(|line| line.ended) {
            return None;
        }
        let decision = Decision::Ended { partition: partition.to_string() };
        self.apply(&decision);
        Some(decision)
    }

    /// What is known of each partition, for who opens the source where this admission stands.
    pub fn known(&self) -> KnownPartitions {
        let known = |line: &PartitionLine| KnownPartition { identity: line.identity.clone(), ended: line.ended };
        self.partitions.iter().map(|(name, line)| (name.clone(), known(line))).collect()
    }

    /// This partition will deliver nothing more, in a source that may go on by another one: it no longer holds the
    /// watermark back, but does not end the source either. `None` if nothing changes.
    pub fn retire(&mut self, partition: &str) -> Option<Decision> {
        let others = self.partitions.iter().any(|(name, line)| name != partition && !line.ended);
        if others {
            return self.end(partition);
        }
        let active = self.partitions.get(partition).is_some_and(PartitionLine::active);
        let decision = active.then(|| Decision::Idle { partition: partition.to_string() })?;
        self.apply(&decision);
        Some(decision)
    }

    /// Live admission: decides and reports the decisions.
    pub fn admit(&mut self, chunk: &Chunk, now_us: i64) -> Admitted {
        let mut decisions = vec![];
        if chunk.rows.num_rows() > 0 || !self.partitions.contains_key(&chunk.partition) {
            decisions.extend(self.enter(&chunk.partition, now_us));
            self.line_mut(&chunk.partition).last_active_us = now_us;
        }
        let horizon_us = now_us.saturating_add(self.options.max_future_us);
        let mut admitted = self.judge(chunk, |_, ts| ts > horizon_us);
        decisions.extend(
            admitted
                .refused
                .iter()
                .map(|position| Decision::Refused { partition: chunk.partition.clone(), position: *position }),
        );
        admitted.decisions = decisions;
        admitted
    }

    /// Replay: the same rows with logged decisions; decides nothing itself. `refused` holds the logged positions of
    /// this chunk's partition (others beside them do no harm), in any order.
    pub fn admit_logged(&mut self, chunk: &Chunk, refused: &[u64]) -> Admitted {
        if refused.is_empty() {
            return self.judge(chunk, |_, _| false);
        }
        let mut refused = refused.to_vec();
        refused.sort_unstable();
        self.judge(chunk, |position, _| refused.binary_search(&position).is_ok())
    }

    /// Applies a logged decision at its epoch; a Refused is for `admit_logged`.
    pub fn apply(&mut self, decision: &Decision) {
        match decision {
            Decision::Entered { partition, line } => {
                let entered = self.line_mut(partition);
                entered.entry = entered.entry.max(*line);
                entered.idle = false;
                entered.ended = false;
            }
            Decision::Idle { partition } => self.line_mut(partition).idle = true,
            Decision::Ended { partition } => self.line_mut(partition).ended = true,
            Decision::Identified { partition, identity } => {
                self.line_mut(partition).identity = Some(identity.clone());
            }
            Decision::Advanced { line } => self.watermark = self.watermark.max(*line),
            Decision::Refused { .. } => {}
        }
        self.advance();
    }

    /// Partitions that have fallen idle by now, as decisions (already applied). To be called between epochs.
    pub fn check_idle(&mut self, now_us: i64) -> Vec<Decision> {
        if self.options.time_column.is_none() {
            return vec![];
        }
        let timeout_us = self.options.idle_timeout_us;
        let unknown = self.partitions.values_mut().filter(|line| line.last_active_us == UNKNOWN_US);
        unknown.for_each(|line| line.last_active_us = now_us);
        let fallen: Vec<Decision> = self
            .partitions
            .iter()
            .filter(|(_, line)| line.active() && line.last_active_us.saturating_add(timeout_us) <= now_us)
            .map(|(partition, _)| Decision::Idle { partition: partition.clone() })
            .collect();
        fallen.iter().for_each(|decision| self.apply(decision));
        fallen
    }

    /// With `idle_advance = 'wall_clock'`, while every partition that has not ended is silent: moves the watermark to
    /// where a row stamped now would put it, in steps of at least [`CLOCK_STEP_US`]. To be called after `check_idle`.
    pub fn advance_with_clock(&mut self, now_us: i64) -> Option<Decision> {
        let line = now_us.saturating_sub(self.options.delay_us);
        if !self.follows_clock() || line < self.watermark.saturating_add(CLOCK_STEP_US) {
            return None;
        }
        let decision = Decision::Advanced { line };
        self.apply(&decision);
        Some(decision)
    }

    fn follows_clock(&self) -> bool {
        let silent = || self.partitions.values().all(|line| !line.active());
        let waiting = || self.partitions.values().any(|line| !line.ended);
        self.options.follow_clock && self.options.time_column.is_some() && waiting() && silent()
    }

    /// Wall clock at which `check_idle` and `advance_with_clock` should be called next, if they could decide anything.
    pub fn next_idle_us(&self) -> Option<i64> {
        self.options.time_column?;
        if self.follows_clock() {
            return Some(self.watermark.saturating_add(self.options.delay_us).saturating_add(CLOCK_STEP_US));
        }
        let active = self.partitions.values().filter(|line| line.active() && line.last_active_us != UNKNOWN_US);
        let next = active.map(|line| line.last_active_us.saturating_add(self.options.idle_timeout_us)).min();
        next.filter(|at| *at < i64::MAX)
    }

    /// The source watermark now: minimum over partitions that are neither idle nor ended, never going back;
    /// `WATERMARK_END` when all ended, `WATERMARK_NONE` while an active partition has seen nothing.
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    fn line_mut(&mut self, partition: &str) -> &mut PartitionLine {
        if !self.partitions.contains_key(partition) {
            self.partitions.insert(partition.to_string(), PartitionLine::new());
        }
        self.partitions.get_mut(partition).expect("inserted above if it was missing")
    }

    /// Runs the rule over the rows and moves the partition's own line. `refuse` gets position and event time.
    fn judge(&mut self, chunk: &Chunk, refuse: impl Fn(u64, i64) -> bool) -> Admitted {
        assert_eq!(chunk.rows.num_rows(), chunk.positions.len(), "one position per row");
        let Some(column) = self.options.time_column else {
            self.line_mut(&chunk.partition);
            return Admitted::whole(chunk);
        };
        let AdmissionOptions { delay_us, allowed_lateness_us, .. } = self.options;
        let times = chunk.rows.column(column).as_primitive::<TimestampMicrosecondType>();
        let line = self.line_mut(&chunk.partition);
        let (mut own, entry) = (line.own, line.entry);
        let mut kept: Vec<u32> = vec![];
        // Until the first row is left out, `kept` stands for all rows so far.
        let mut all_kept = true;
        let (mut late, mut refused) = (vec![], vec![]);
        let (mut late_rows, mut refused_rows) = (vec![], vec![]);
        let nulls = times.nulls();
        for (row, ts) in times.values().iter().enumerate() {
            let left_out = if nulls.is_some_and(|n| n.is_null(row)) {
                None
            } else if refuse(chunk.positions[row], *ts) {
                refused_rows.push(row as u32);
                Some(&mut refused)
            } else {
                let line = own.max(entry);
                own = own.max(ts.saturating_sub(delay_us));
                let is_late = *ts < line.saturating_sub(allowed_lateness_us);
                if is_late {
                    late_rows.push((row as u32, line));
                }
                is_late.then_some(&mut late)
            };
            match left_out {
                None if all_kept => {}
                None => kept.push(row as u32),
                Some(positions) => {
                    if all_kept {
                        kept.extend(0..row as u32);
                        all_kept = false;
                    }
                    positions.push(chunk.positions[row]);
                }
            }
        }
        line.own = own;
        self.advance();
        if all_kept {
            return Admitted::whole(chunk);
        }
        Admitted { late, refused, late_rows, refused_rows, ..Admitted::some(chunk, kept) }
    }

    /// Recomputes the watermark; it only grows.
    fn advance(&mut self) {
        let computed = if self.partitions.is_empty() {
            WATERMARK_NONE
        } else if self.partitions.values().all(|line| line.ended) {
            WATERMARK_END
        } else if self.options.time_column.is_none() {
            WATERMARK_NONE
        } else {
            let active = self.partitions.values().filter(|line| line.active());
            // With all partitions silent nothing holds the watermark, and no row moves it.
            active.map(PartitionLine::line).min().unwrap_or(WATERMARK_NONE)
        };
        self.watermark = self.watermark.max(computed);
    }
}

impl PartitionLine {
    fn new() -> Self {
        PartitionLine {
            own: WATERMARK_NONE,
            entry: WATERMARK_NONE,
            idle: false,
            ended: false,
            identity: None,
            last_active_us: UNKNOWN_US,
        }
    }

    /// Holds the watermark back.
    pub fn active(&self) -> bool {
        !self.idle && !self.ended
    }

    /// The larger of own and entry line.
    pub fn line(&self) -> i64 {
        self.own.max(self.entry)
    }
}

impl Admitted {
    fn whole(chunk: &Chunk) -> Self {
        Admitted::of(chunk.rows.clone())
    }

    fn some(chunk: &Chunk, kept: Vec<u32>) -> Self {
        let rows = take_record_batch(&chunk.rows, &UInt32Array::from(kept)).expect("rows of this batch");
        Admitted::of(rows)
    }

    fn of(rows: RecordBatch) -> Self {
        let (late, refused, late_rows, refused_rows, decisions) = Default::default();
        Admitted { rows, late, refused, late_rows, refused_rows, decisions }
    }
}

#[cfg(test)]
mod tests;
