//! Large insertions into a bag, kept as the arrays they came in: a view that only passes rows on costs no copy.
//!
//! They stand beside the pages until the relation's first retraction, which has to find single rows; then they move
//! into pages for good. Each remembers its epoch, so that a reader below it leaves the segment out instead of undoing
//! its rows one by one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use types::limits::{PAGES_PER_CHUNK, SEGMENT_ROWS_MIN};
use types::{DeltaBatch, Epoch};

/// Whether a bag without retractions keeps this change as it is.
pub(super) fn is_segment(delta: &DeltaBatch) -> bool {
    delta.diffs().is_none() && delta.num_rows() >= SEGMENT_ROWS_MIN
}

#[derive(Debug)]
struct Segment {
    epoch: Epoch,
    rows: RecordBatch,
}

type Chunk = Vec<Arc<Segment>>;

/// Segments in epoch order. Cloning makes a version that later changes don't touch, in two copy-on-write levels as
/// pages have them.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments {
    chunks: Arc<Vec<Arc<Chunk>>>,
    rows: usize,
    bytes: usize,
}

impl Segments {
    pub fn push(&mut self, epoch: Epoch, delta: &DeltaBatch) {
        self.rows += delta.num_rows();
        self.bytes += delta.memory_bytes();
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.last().is_none_or(|c| c.len() == PAGES_PER_CHUNK) {
            chunks.push(Arc::default());
        }
        let last = chunks.last_mut().expect("a chunk with room was pushed");
        Arc::make_mut(last).push(Arc::new(Segment { epoch, rows: delta.rows().clone() }));
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub fn row_count(&self) -> usize {
        self.rows
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Rows that came after `epoch`.
    pub fn rows_after(&self, epoch: Epoch) -> usize {
        let newest_first = self.chunks.iter().rev().flat_map(|c| c.iter().rev());
        newest_first.take_while(|s| s.epoch > epoch).map(|s| s.rows.num_rows()).sum()
    }

    /// What stood here at `epoch`, in slices of at most `rows_max` rows.
    pub fn batches(self, epoch: Epoch, rows_max: usize) -> impl Iterator<Item = RecordBatch> + Send {
        let chunks = self.chunks;
        let chunk = move |number: usize| chunks.get(number).cloned();
        let segments = (0..).map_while(chunk).flat_map(|c| (0..c.len()).map(move |i| c[i].clone()));
        let segments = segments.take_while(move |s| s.epoch <= epoch);
        segments.flat_map(move |segment| {
            let rows = segment.rows.num_rows();
            (0..rows).step_by(rows_max).map(move |from| segment.rows.slice(from, rows_max.min(rows - from)))
        })
    }
}
