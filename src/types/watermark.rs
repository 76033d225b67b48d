//! Watermarks: how far event time has surely progressed, per source.
//! They change at epoch boundaries only and travel in the epoch record, never in the data,
//! so any operator can compute its own bound from the record alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ObjectId;

/// No watermark yet: nothing may close.
pub const WATERMARK_NONE: i64 = i64::MIN;
/// The input has ended: everything may close.
pub const WATERMARK_END: i64 = i64::MAX;

/// Watermarks by source, microseconds since the Unix epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Watermarks(pub BTreeMap<ObjectId, i64>);

impl Watermarks {
    /// The watermark of `source`, `WATERMARK_NONE` if it has none yet.
    pub fn of(&self, source: ObjectId) -> i64 {
        self.0.get(&source).copied().unwrap_or(WATERMARK_NONE)
    }

    pub fn set(&mut self, source: ObjectId, watermark: i64) {
        self.0.insert(source, watermark);
    }
}

/// A promise about a time column: once the sources' watermarks give `at() = w`, no later epoch changes a row whose
/// value in that column is below (or at, see the reader) `w`. The planner infers it per column and edge.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventTimeBound {
    /// (source, microseconds to subtract from its watermark). The bound is the minimum over all of them.
    pub sources: Vec<(ObjectId, i64)>,
}

impl EventTimeBound {
    pub fn of_source(source: ObjectId) -> Self {
        EventTimeBound { sources: vec![(source, 0)] }
    }

    /// The bound under `watermarks`: `WATERMARK_NONE` while any source has none, `WATERMARK_END` when all ended.
    pub fn at(&self, watermarks: &Watermarks) -> i64 {
        self.sources
            .iter()
            .map(|(source, offset)| match watermarks.of(*source) {
                WATERMARK_NONE => WATERMARK_NONE,
                WATERMARK_END => WATERMARK_END,
                w => w.saturating_sub(*offset),
            })
            .min()
            .unwrap_or(WATERMARK_NONE)
    }

    /// The bound that holds for both: used where two inputs meet.
    pub fn and(&self, other: &EventTimeBound) -> EventTimeBound {
        let mut sources = self.sources.clone();
        sources.extend(other.sources.iter().copied());
        sources.sort_unstable();
        sources.dedup();
        EventTimeBound { sources }
    }

    /// The same promise weakened by `offset_us` (a column computed as `ts - offset`, or allowed lateness).
    pub fn delayed(&self, offset_us: i64) -> EventTimeBound {
        let sources = self.sources.iter().map(|(s, o)| (*s, o.saturating_add(offset_us))).collect();
        EventTimeBound { sources }
    }
}
