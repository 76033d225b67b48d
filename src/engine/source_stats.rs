//! Counters and kept bad records of one source: `hw_catalog.sources`, `watermarks`, `late_rows`, `source_errors`.

use std::collections::VecDeque;
use std::sync::Mutex;

use arrow::array::RecordBatch;
use connectors::RecordError;
use serde::{Deserialize, Serialize};
use types::{SqlError, SqlState, limits};

use crate::left_out::SourceError;

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistedCounters {
    pub rows: u64,
    pub bytes: u64,
    pub late: u64,
    pub errors: u64,
    pub kept: VecDeque<KeptError>,
}

/// A malformed record that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptError {
    pub partition: String,
    pub position: u64,
    pub reason: String,
    #[serde(default = "unknown_state")]
    pub state: SqlState,
    pub raw: Vec<u8>,
    pub at_us: i64,
}

/// Of records that were kept before states were.
fn unknown_state() -> SqlState {
    SqlState::BadCopyFileFormat
}

/// A reading of everything.
#[derive(Debug, Clone, Default)]
pub struct SourceReading {
    pub counters: PersistedCounters,
    pub watermark: Option<i64>,
    pub ended: bool,
    pub failure: Option<SqlError>,
}

#[derive(Debug, Default)]
pub struct SourceStats {
    inner: Mutex<SourceReading>,
}

impl SourceStats {
    pub fn restored(counters: PersistedCounters, watermark: Option<i64>, ended: bool) -> Self {
        SourceStats { inner: Mutex::new(SourceReading { counters, watermark, ended, failure: None }) }
    }

    pub fn record(
        &self,
        rows: &RecordBatch,
        late: u64,
        bytes: u64,
        watermark: Option<i64>,
        ended: bool,
        errors: Vec<SourceError>,
        now_us: i64,
    ) {
        let mut inner = self.inner.lock().expect("not poisoned");
        inner.counters.rows += rows.num_rows() as u64;
        inner.counters.bytes += bytes;
        inner.counters.late += late;
        inner.counters.errors += errors.len() as u64;
        inner.watermark = watermark;
        inner.ended |= ended;
        for SourceError { partition, error, seen_us } in errors {
            if inner.counters.kept.len() == limits::SOURCE_ERRORS_KEPT_MAX {
                inner.counters.kept.pop_front();
            }
            let RecordError { position, state, reason, raw } = error;
            let at_us = seen_us.unwrap_or(now_us);
            inner.counters.kept.push_back(KeptError { partition, position, reason, state, raw, at_us });
        }
    }

    pub fn fail(&self, error: SqlError) {
        self.inner.lock().expect("not poisoned").failure = Some(error);
    }

    pub fn persisted(&self) -> PersistedCounters {
        self.inner.lock().expect("not poisoned").counters.clone()
    }

    pub fn read(&self) -> SourceReading {
        self.inner.lock().expect("not poisoned").clone()
    }
}
