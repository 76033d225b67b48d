//! Counters and kept bad records of one source: `hw_catalog.sources`, `watermarks`, `late_rows`, `source_errors`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use arrow::array::RecordBatch;
use connectors::{RecordError, Retry};
use serde::{Deserialize, Serialize};
use types::{SqlError, SqlState, limits};

use crate::left_out::SourceError;
use crate::time::now_us;

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

/// What keeps an input from being read.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub error: SqlError,
    /// Failures in a row.
    pub attempts: u32,
    /// `None`: it is not tried again.
    pub next_try_us: Option<i64>,
}

/// How a source fares, beside having ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Well,
    /// All of it, or an input, is tried again.
    Retrying,
    /// Some inputs are not read any more, the rest is.
    Degraded,
    /// Nothing of it is read any more.
    Failed,
}

/// A reading of everything.
#[derive(Debug, Clone, Default)]
pub struct SourceReading {
    pub counters: PersistedCounters,
    pub watermark: Option<i64>,
    pub ended: bool,
    pub failure: Option<SqlError>,
    /// Of the source as a whole.
    pub retrying: Option<Trouble>,
    /// Of single inputs.
    pub troubles: BTreeMap<String, Trouble>,
    /// Reads that failed and were tried again, since the start of the server.
    pub retries: u64,
}

impl SourceReading {
    fn keep(&mut self, error: KeptError) {
        if self.counters.kept.len() == limits::SOURCE_ERRORS_KEPT_MAX {
            self.counters.kept.pop_front();
        }
        self.counters.kept.push_back(error);
    }

    pub fn health(&self) -> Health {
        let trying = |trouble: &Trouble| trouble.next_try_us.is_some();
        if self.failure.is_some() {
            Health::Failed
        } else if self.retrying.is_some() || self.troubles.values().any(trying) {
            Health::Retrying
        } else if self.troubles.is_empty() {
            Health::Well
        } else {
            Health::Degraded
        }
    }

    /// The error that says most, and how many inputs have others.
    pub fn error(&self) -> Option<String> {
        let whole = self.failure.as_ref().or(self.retrying.as_ref().map(|trouble| &trouble.error));
        let told = |error: &SqlError| match &error.detail {
            Some(detail) => format!("{}: {detail}", error.message),
            None => error.message.clone(),
        };
        if let Some(error) = whole {
            return Some(told(error));
        }
        let (partition, trouble) = self.troubles.first_key_value()?;
        let others = match self.troubles.len() - 1 {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        Some(format!("{partition}: {}{others}", told(&trouble.error)))
    }

    /// What is tried next, of all that is.
    pub fn next_try(&self) -> Option<&Trouble> {
        let all = self.retrying.iter().chain(self.troubles.values());
        all.filter(|trouble| trouble.next_try_us.is_some()).min_by_key(|trouble| trouble.next_try_us)
    }

    /// Inputs that are not read any more.
    pub fn given_up(&self) -> usize {
        self.troubles.values().filter(|trouble| trouble.next_try_us.is_none()).count()
    }
}

#[derive(Debug, Default)]
pub struct SourceStats {
    inner: Mutex<SourceReading>,
}

impl SourceStats {
    pub fn restored(counters: PersistedCounters, watermark: Option<i64>, ended: bool) -> Self {
        let reading = SourceReading { counters, watermark, ended, ..SourceReading::default() };
        SourceStats { inner: Mutex::new(reading) }
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
            let RecordError { position, state, reason, raw } = error;
            let at_us = seen_us.unwrap_or(now_us);
            inner.keep(KeptError { partition, position, reason, state, raw, at_us });
        }
    }

    pub fn fail(&self, error: SqlError) {
        let mut inner = self.inner.lock().expect("not poisoned");
        inner.failure = Some(error);
        inner.retrying = None;
    }

    /// The source, or one input of it, could not be read and will be tried again.
    pub fn retry(&self, input: Option<&str>, error: SqlError, retry: Retry, now_us: i64) {
        let wait_us = i64::try_from(retry.wait.as_micros()).unwrap_or(i64::MAX);
        let next_try_us = Some(now_us.saturating_add(wait_us));
        let trouble = Trouble { error, attempts: retry.attempts, next_try_us };
        let mut inner = self.inner.lock().expect("not poisoned");
        inner.retries += 1;
        match input {
            Some(input) => drop(inner.troubles.insert(input.to_string(), trouble)),
            None => inner.retrying = Some(trouble),
        }
    }

    pub fn recover(&self, input: Option<&str>) {
        let mut inner = self.inner.lock().expect("not poisoned");
        match input {
            Some(input) => drop(inner.troubles.remove(input)),
            None => inner.retrying = None,
        }
    }

    /// An input is not read any more.
    pub fn give_up(&self, input: &str, position: u64, error: SqlError) {
        self.note(input, position, error.state, error.message.clone());
        let trouble = Trouble { error, attempts: 1, next_try_us: None };
        self.inner.lock().expect("not poisoned").troubles.insert(input.to_string(), trouble);
    }

    /// Something that whoever reads the source's errors should know of; no record is malformed by it.
    pub fn note(&self, partition: &str, position: u64, state: SqlState, reason: String) {
        let partition = partition.to_string();
        let kept = KeptError { partition, position, reason, state, raw: vec![], at_us: now_us() };
        self.inner.lock().expect("not poisoned").keep(kept);
    }

    pub fn persisted(&self) -> PersistedCounters {
        self.inner.lock().expect("not poisoned").counters.clone()
    }

    pub fn read(&self) -> SourceReading {
        self.inner.lock().expect("not poisoned").clone()
    }
}
