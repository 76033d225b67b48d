//! Admission: which rows of a source are part of the relation, and what its watermark is. Deterministic given the
//! rows of each partition in order and the logged decisions (idleness, refusals), so that batching, replay and
//! backfill can't change an answer (design: lateness at admission, per partition).

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::Chunk;

/// The event-time options of a source, microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionOptions {
    /// Column of the *projected* rows that carries event time (timestamp µs) and the declared delay.
    pub time_column: Option<usize>,
    pub delay_us: i64,
    pub allowed_lateness_us: i64,
    pub idle_timeout_us: i64,
    pub max_future_us: i64,
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
    /// Event time beyond max_future: the row at this position is outside the relation.
    Refused {
        partition: String,
        position: u64,
    },
}

/// A chunk after admission.
#[derive(Debug)]
pub struct Admitted {
    pub rows: RecordBatch,
    /// Positions of the admitted rows.
    pub positions: Vec<u64>,
    /// Positions of rows left out as late, and refused.
    pub late: Vec<u64>,
    pub refused: Vec<u64>,
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
    /// Wall clock of the last row or of entry; not part of determinism (only Decisions follow from it).
    pub last_active_us: i64,
}

impl Admission {
    pub fn new(options: AdmissionOptions) -> Self {
        let _ = options;
        unimplemented!()
    }

    /// A partition known from the start (or appeared): enters with the current watermark as entry line.
    pub fn enter(&mut self, partition: &str, now_us: i64) -> Option<Decision> {
        let _ = (partition, now_us);
        unimplemented!()
    }

    /// Live admission: decides and reports the decisions.
    pub fn admit(&mut self, chunk: &Chunk, now_us: i64) -> Admitted {
        let _ = (chunk, now_us);
        unimplemented!()
    }

    /// Replay: the same rows with logged decisions; decides nothing itself.
    pub fn admit_logged(&mut self, chunk: &Chunk, refused: &[u64]) -> Admitted {
        let _ = (chunk, refused);
        unimplemented!()
    }

    /// Applies a logged decision (Entered, Idle, Ended) at its epoch.
    pub fn apply(&mut self, decision: &Decision) {
        let _ = decision;
        unimplemented!()
    }

    /// Partitions that have fallen idle by now, as decisions (already applied).
    pub fn check_idle(&mut self, now_us: i64) -> Vec<Decision> {
        let _ = now_us;
        unimplemented!()
    }

    /// Wall clock at which `check_idle` should be called next, if any partition could fall idle.
    pub fn next_idle_us(&self) -> Option<i64> {
        unimplemented!()
    }

    /// The source watermark now: minimum over partitions that are neither idle nor ended, never going back;
    /// `WATERMARK_END` when all ended, `WATERMARK_NONE` while an active partition has seen nothing.
    pub fn watermark(&self) -> i64 {
        unimplemented!()
    }
}
