//! What one read brought, on its way to the clock: rows that count and are kept once their epoch is known.

use std::sync::Arc;

use arrow::array::RecordBatch;
use connectors::admission::Admission;
use coordinator::{Entered, SourceChunk};
use dataflow::FeedBatch;
use types::{DeltaBatch, ObjectId};

use super::permits::Permit;
use crate::clock::EnginePorts;
use crate::history::HistoryEvent;
use crate::keeper::KeptRows;
use crate::left_out::SourceError;
use crate::source_stats::SourceStats;

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
    pub(super) fn into_source_chunk(self, stats: Arc<SourceStats>) -> SourceChunk<EnginePorts> {
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
