//! Making an epoch: when one is wanted, what goes into it, whom it concerns, what is logged of it.
//!
//! Credit holds it back: while too many epochs or rows are in flight nothing is opened and input collects.
//! Table writes enter in journal order and only when durable; chunks of replayable sources at once, their record being
//! logged behind (`freshness = 'bound'` sources: logged and synced first).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dataflow::FeedBatch;
use tokio::sync::oneshot;
use types::{Epoch, EpochRecord, ObjectId, limits};

use super::Clock;
use super::messages::TableRows;
use crate::history::HistoryEvent;
use crate::log::{EpochEntry, KIND_EPOCH};
use crate::time::now_us;

/// Rows in flight at which no further epoch is opened.
const ROWS_IN_FLIGHT_MAX: usize = 8 * limits::BATCH_ROWS_MAX;

impl Clock {
    pub(super) fn wants_epoch(&self) -> bool {
        let durable = self.store.journal().durable_position();
        let now = now_us();
        !self.chunks.is_empty()
            || !self.markers.is_empty()
            || !self.barriers.is_empty()
            || self.writes.front().is_some_and(|w| w.position <= durable)
            || self.deadlines.values().any(|at| *at <= now)
            || self.checkpoint_due()
    }

    pub(super) fn has_credit(&self) -> bool {
        let (epochs, rows) = self.oracle.in_flight();
        epochs < limits::EPOCHS_IN_FLIGHT_MAX && rows < ROWS_IN_FLIGHT_MAX
    }

    /// Puts everything that waits into one epoch and sends it to the workers.
    pub(super) fn open_epoch(&mut self) {
        // Before anything is decided: what is taken in here may open epochs itself, drop dataflows, ask for barriers.
        let drained = self.checkpoint_due().then(|| self.take_in_journaled());
        let position = drained.filter(|_| !self.checkpoint_running);
        let epoch = self.epoch + 1;
        self.wall_time_us = now_us().max(self.wall_time_us + 1);
        let mut touched: BTreeSet<ObjectId> = BTreeSet::new();
        let mut logged: BTreeMap<ObjectId, Vec<HistoryEvent>> = BTreeMap::new();
        let chunks = std::mem::take(&mut self.chunks);
        let bound = chunks.iter().any(|c| self.sources.get(&c.source).is_some_and(|s| s.entry.bound));
        let mut batches: Vec<FeedBatch> = vec![];
        for chunk in chunks {
            self.take_chunk(chunk, &mut touched, &mut logged, &mut batches);
        }
        let replies = self.take_writes(&mut touched, &mut batches);
        self.log_epoch(epoch, logged, bound);
        let now = self.wall_time_us;
        let due: Vec<ObjectId> = self.deadlines.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        due.iter().for_each(|id| {
            self.deadlines.remove(id);
        });
        let checkpoint = position.is_some();
        let concerned: Vec<ObjectId> = self
            .dataflows
            .iter()
            .filter(|(_, d)| d.joined && !d.failed)
            .filter(|(id, d)| checkpoint || due.contains(id) || d.roots.iter().any(|r| touched.contains(r)))
            .map(|(id, _)| *id)
            .collect();
        let rows = batches.iter().map(|b| b.rows.num_rows()).sum();
        self.input_bytes += batches.iter().map(|b| b.rows.memory_bytes()).sum::<usize>();
        self.epoch = epoch;
        self.oracle.open(epoch, &concerned, rows);
        let mut record = EpochRecord::new(epoch, self.wall_time_us, self.watermarks());
        if let Some(position) = position {
            record.checkpoint = true;
            self.begin_checkpoint(epoch, position, &concerned);
        }
        self.send_epoch(record, concerned, batches);
        self.answer(epoch, replies);
        self.dirty |= !checkpoint;
    }

    /// Table writes whose journal entries are durable, in journal order.
    fn take_writes(
        &mut self,
        touched: &mut BTreeSet<ObjectId>,
        batches: &mut Vec<FeedBatch>,
    ) -> Vec<oneshot::Sender<Epoch>> {
        let durable = self.store.journal().durable_position();
        let mut replies = vec![];
        while self.writes.front().is_some_and(|w| w.position <= durable) {
            let write = self.writes.pop_front().expect("just seen");
            self.table_position = self.table_position.max(write.position);
            for TableRows { table, columns, rows, watermark } in write.writes {
                touched.insert(table);
                if let Some(watermark) = watermark {
                    let line = self.table_watermarks.entry(table).or_insert(watermark);
                    *line = watermark.max(*line);
                }
                batches.push(FeedBatch { relation: table, columns, rows, errors: vec![] });
            }
            replies.extend(write.reply);
        }
        replies
    }

    fn log_epoch(&mut self, epoch: Epoch, sources: BTreeMap<ObjectId, Vec<HistoryEvent>>, bound: bool) {
        if sources.is_empty() {
            return;
        }
        let entry = EpochEntry {
            epoch,
            incarnation: self.start.incarnation,
            wall_time_us: self.wall_time_us,
            table_position: self.table_position,
            sources,
        };
        let bytes = serde_json::to_vec(&entry).expect("an epoch entry has a JSON form");
        let logged = if bound {
            self.store
                .journal()
                .append(KIND_EPOCH, &bytes)
                .and_then(|position| self.store.journal().sync_up_to(position))
        } else {
            self.store.journal().append_lazy(KIND_EPOCH, &bytes).map(|_| ())
        };
        if let Err(error) = logged {
            // A full disk: epochs of replayable sources go on unlogged, a restart re-reads them.
            tracing::warn!(error = %error, epoch, "cannot log epoch record");
        }
    }

    fn send_epoch(&mut self, record: EpochRecord, concerned: Vec<ObjectId>, batches: Vec<FeedBatch>) {
        for batch in batches {
            self.runtime.feed(self.next_worker, record.epoch, batch);
            self.next_worker = (self.next_worker + 1) % self.runtime.workers();
        }
        self.runtime.advance(Arc::new(record), Arc::new(concerned));
    }

    fn answer(&mut self, epoch: Epoch, replies: Vec<oneshot::Sender<Epoch>>) {
        if !replies.is_empty() {
            self.oracle.acknowledge(epoch);
        }
        for reply in replies.into_iter().chain(self.barriers.drain(..)) {
            // A client that has gone does not wait for its answer.
            let _ = reply.send(epoch);
        }
        for marker in self.markers.drain(..) {
            let _ = marker.send(());
        }
    }
}
