//! The clock's side of sources: what their feeds brought goes into the epoch at hand, moves the source's history and its
//! watermark, and is counted. Admission has already decided row by row; nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};

use dataflow::FeedBatch;
use types::{DeltaBatch, ObjectId, WATERMARK_END, Watermarks};

use super::Clock;
use super::messages::SourceEntry;
use crate::feed::{FeedChunk, FeedHandle};
use crate::history::{HistoryEvent, SourceHistory};
use crate::keeper;

pub(super) struct Source {
    pub entry: SourceEntry,
    pub feed: Option<FeedHandle>,
}

impl Clock {
    pub(super) fn take_chunk(
        &mut self,
        chunk: FeedChunk,
        touched: &mut BTreeSet<ObjectId>,
        logged: &mut BTreeMap<ObjectId, Vec<HistoryEvent>>,
        batches: &mut Vec<FeedBatch>,
    ) {
        let Some(source) = self.sources.get_mut(&chunk.source) else { return };
        let entry = &mut source.entry;
        if chunk.admission.is_some() {
            entry.admission = chunk.admission;
        }
        for event in chunk.events {
            entry.history.push(event.clone());
            logged.entry(chunk.source).or_default().push(event);
        }
        entry.ended |= chunk.ended;
        if entry.has_time || chunk.ended {
            let before = entry.watermark.unwrap_or(types::WATERMARK_NONE);
            let after = if chunk.ended { WATERMARK_END } else { chunk.watermark };
            if after > before {
                entry.watermark = Some(after);
            }
        }
        let now_us = self.wall_time_us;
        entry.stats.record(&chunk.rows, chunk.late, chunk.bytes, entry.watermark, chunk.ended, chunk.errors, now_us);
        keeper::enter(chunk.kept, now_us, touched, batches);
        touched.insert(chunk.source);
        if chunk.rows.num_rows() > 0 {
            batches.push(FeedBatch {
                relation: chunk.source,
                columns: chunk.columns,
                rows: DeltaBatch::inserts(chunk.rows),
                errors: vec![],
            });
        }
    }

    pub(super) fn remove_source(&mut self, id: ObjectId) {
        self.stop_feed(id);
        self.chunks.retain(|chunk| chunk.source != id);
        self.sources.remove(&id);
    }

    pub(super) fn stop_feed(&mut self, id: ObjectId) {
        if let Some(feed) = self.sources.get_mut(&id).and_then(|source| source.feed.take()) {
            feed.stop();
        }
    }

    pub(super) fn histories(&self, dataflow: ObjectId) -> BTreeMap<ObjectId, SourceHistory> {
        let roots = self.dataflows.get(&dataflow).map(|d| &d.roots).into_iter().flatten();
        roots.filter_map(|r| self.sources.get(r).map(|s| (*r, s.entry.history.clone()))).collect()
    }
    pub(super) fn watermarks(&self) -> Watermarks {
        let mut watermarks = Watermarks::default();
        for (id, source) in &self.sources {
            if let Some(watermark) = source.entry.watermark {
                watermarks.set(*id, watermark);
            }
        }
        for (id, watermark) in &self.table_watermarks {
            watermarks.set(*id, *watermark);
        }
        watermarks
    }
}
