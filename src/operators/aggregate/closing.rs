//! Groups by the end of their window: which are final now, and whose state may go.
//!
//! A group's window is `open` until it has passed `bound`, then `closed` until it has passed `retain`; ids stay in
//! their bucket until it goes as a whole, also while their group is empty, so an id in a bucket is never stale.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use types::{EpochRecord, WATERMARK_NONE};

use crate::bits::Bits;
use crate::spec::CloseSpec;

pub(crate) struct Closing {
    pub spec: CloseSpec,
    open: BTreeMap<i64, Vec<u32>>,
    closed: BTreeMap<i64, Vec<u32>>,
    /// Groups that left when their window closed (`emit_on_close` only).
    pub emitted: Bits,
    /// `retain` as of the last seal: windows past it are gone.
    retained_us: i64,
}

/// Window ends of rows; a NULL end closes only with the end of the input.
pub(crate) fn window_ends(column: &ArrayRef) -> Vec<i64> {
    let ends = column.as_primitive::<TimestampMicrosecondType>();
    let end = |row: usize| if ends.is_null(row) { i64::MAX } else { ends.value(row) };
    (0..ends.len()).map(end).collect()
}

impl Closing {
    pub fn new(spec: CloseSpec) -> Self {
        Closing {
            spec,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            emitted: Bits::default(),
            retained_us: WATERMARK_NONE,
        }
    }

    /// Puts a new group into the bucket of its window.
    pub fn add(&mut self, id: u32, end: i64) {
        self.open.entry(end).or_default().push(id);
    }

    /// Rows of windows that are gone: admission keeps them out.
    pub fn gone(&self, end: i64) -> bool {
        self.spec.passed(end, self.retained_us)
    }

    /// Moves windows that have closed by now and answers their groups, by window end.
    pub fn close(&mut self, record: &EpochRecord) -> Vec<u32> {
        let bound = self.spec.bound.at(&record.watermarks);
        let mut ids = vec![];
        while let Some(entry) = self.open.first_entry() {
            if !self.spec.passed(*entry.key(), bound) {
                break;
            }
            let (end, bucket) = entry.remove_entry();
            ids.extend_from_slice(&bucket);
            self.closed.entry(end).or_default().extend(bucket);
        }
        ids
    }

    /// Takes out the groups whose state may go by now.
    pub fn expire(&mut self, record: &EpochRecord) -> Vec<u32> {
        let retain = self.spec.retain.at(&record.watermarks);
        self.retained_us = retain;
        let mut ids = vec![];
        for buckets in [&mut self.open, &mut self.closed] {
            while let Some(entry) = buckets.first_entry() {
                if !self.spec.passed(*entry.key(), retain) {
                    break;
                }
                ids.extend(entry.remove());
            }
        }
        ids
    }

    pub fn memory_bytes(&self) -> usize {
        let buckets = self.open.values().chain(self.closed.values());
        buckets.map(|b| b.capacity() * 4 + 48).sum::<usize>() + self.emitted.memory_bytes()
    }
}
