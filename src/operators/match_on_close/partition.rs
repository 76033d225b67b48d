//! The rows of one partition: those that wait for the watermark, and the known ones that are still needed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use kernels::MatchProgress;

use crate::OperatorError;
use crate::timeline::has_passed;

/// Rough cost of a partition, and of a row, beside their bytes.
const PARTITION_BYTES: usize = 400;
const ROW_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Partition {
    pub key: Box<[u8]>,
    /// By time and encoding, with their number.
    waiting: BTreeMap<(i64, Box<[u8]>), i64>,
    /// In order.
    pub known: VecDeque<Box<[u8]>>,
    progress: MatchProgress,
    /// The last cut has its progress.
    pub saved: bool,
}

pub(super) fn row_bytes(row: &[u8]) -> usize {
    row.len() + ROW_BYTES
}

impl Partition {
    pub fn new(key: Box<[u8]>, progress: MatchProgress) -> Partition {
        Partition { key, waiting: BTreeMap::new(), known: VecDeque::new(), progress, saved: false }
    }

    pub fn own_bytes(&self) -> usize {
        2 * self.key.len() + PARTITION_BYTES
    }

    pub fn progress(&self) -> &MatchProgress {
        &self.progress
    }

    pub fn progress_mut(&mut self) -> &mut MatchProgress {
        &mut self.progress
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.known.is_empty()
    }

    pub fn earliest(&self) -> Option<i64> {
        self.waiting.first_key_value().map(|((time, _), _)| *time)
    }

    /// Adds `count` equal rows; the change of the bytes held. Counts may pass below zero while they are restored.
    pub fn wait(&mut self, time: i64, row: &[u8], count: i64) -> isize {
        let bytes = row_bytes(row) as isize;
        match self.waiting.entry((time, row.into())) {
            Entry::Vacant(entry) => {
                entry.insert(count);
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += count;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
        bytes * count as isize
    }

    /// Rows before `bound` become known.
    ///
    /// Errors: `Internal` for a row that was taken back more often than it came.
    pub fn learn(&mut self, bound: i64) -> Result<(), OperatorError> {
        while let Some(entry) = self.waiting.first_entry() {
            if !has_passed(entry.key().0, bound) {
                break;
            }
            let ((_, row), count) = entry.remove_entry();
            if count < 0 {
                return Err(OperatorError::internal("a row of an append-only input was taken back"));
            }
            self.known.extend((0..count).map(|_| row.clone()));
        }
        Ok(())
    }
}
