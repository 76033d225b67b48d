//! What a chunk brought that is outside the relation: rows that are late, records that are malformed, rows refused for
//! an event time too far ahead. Counted for every source; kept in tables where asked (`keeper.rs`).

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use connectors::admission::Admitted;
use connectors::{Chunk, RecordError};
use types::{SqlState, row_text};

pub struct LeftOut {
    pub partition: String,
    /// Late rows, with the position of each and the line of the partition that it fell below.
    pub late: RecordBatch,
    pub late_positions: Vec<u64>,
    pub late_lines: Vec<i64>,
    /// Malformed records, then refused rows.
    pub errors: Vec<RecordError>,
}

/// A malformed record on its way into the counters; without a time it was read just now.
pub struct SourceError {
    pub partition: String,
    pub error: RecordError,
    pub seen_us: Option<i64>,
}

/// Rows of a batch, which has no columns when nobody reads the source: then none is late.
fn taken(rows: &RecordBatch, wanted: &UInt32Array) -> RecordBatch {
    if wanted.is_empty() {
        return rows.slice(0, 0);
    }
    take_record_batch(rows, wanted).expect("rows of this chunk")
}

impl LeftOut {
    /// `admitted` is what admission made of `chunk`.
    pub fn of(chunk: Chunk, admitted: &Admitted) -> LeftOut {
        let late: UInt32Array = admitted.late_rows.iter().map(|(row, _)| *row).collect();
        let refused = admitted.refused_rows.iter().zip(&admitted.refused).map(|(row, position)| RecordError {
            position: *position,
            state: SqlState::DatetimeFieldOverflow,
            reason: "event time is further ahead of the clock than max_future allows".into(),
            raw: row_text(&chunk.rows, *row as usize).into_bytes(),
        });
        let refused: Vec<RecordError> = refused.collect();
        LeftOut {
            late: taken(&chunk.rows, &late),
            late_positions: admitted.late.clone(),
            late_lines: admitted.late_rows.iter().map(|(_, line)| *line).collect(),
            errors: chunk.errors.into_iter().chain(refused).collect(),
            partition: chunk.partition,
        }
    }
}
