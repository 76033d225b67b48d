//! Counters per operator and worker, for `hw_catalog.operators`, metrics and the memory budget.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use types::ObjectId;

/// One operator on one worker.
#[derive(Debug, Default)]
pub struct OperatorCounters {
    pub rows_in: AtomicU64,
    pub rows_out: AtomicU64,
    pub busy_ns: AtomicU64,
    pub state_bytes: AtomicU64,
}

/// A reading, summed over workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperatorReading {
    pub rows_in: u64,
    pub rows_out: u64,
    pub busy_ns: u64,
    pub state_bytes: u64,
}

/// All operators of all dataflows: (dataflow, operator id, worker).
#[derive(Debug, Clone, Default)]
pub struct StatsRegistry {
    counters: Arc<Mutex<BTreeMap<(ObjectId, u32, usize), Arc<OperatorCounters>>>>,
}

impl StatsRegistry {
    pub(crate) fn register(&self, dataflow: ObjectId, operator: u32, worker: usize) -> Arc<OperatorCounters> {
        let counters = Arc::new(OperatorCounters::default());
        self.lock().insert((dataflow, operator, worker), counters.clone());
        counters
    }

    pub(crate) fn forget(&self, dataflow: ObjectId) {
        self.lock().retain(|(d, _, _), _| *d != dataflow);
    }

    /// Readings by (dataflow, operator id).
    pub fn read(&self) -> BTreeMap<(ObjectId, u32), OperatorReading> {
        let mut readings: BTreeMap<(ObjectId, u32), OperatorReading> = BTreeMap::new();
        for ((dataflow, operator, _), counters) in self.lock().iter() {
            let reading = readings.entry((*dataflow, *operator)).or_default();
            reading.rows_in += counters.rows_in.load(Ordering::Relaxed);
            reading.rows_out += counters.rows_out.load(Ordering::Relaxed);
            reading.busy_ns += counters.busy_ns.load(Ordering::Relaxed);
            reading.state_bytes += counters.state_bytes.load(Ordering::Relaxed);
        }
        readings
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(ObjectId, u32, usize), Arc<OperatorCounters>>> {
        self.counters.lock().expect("no panic while holding the registry")
    }
}
