//! Making an epoch: what goes into it, whom it concerns, who is told.
//!
//! Table writes enter in journal order and only when durable; chunks of replayable sources at once.

use std::collections::{BTreeMap, BTreeSet};

use types::{Epoch, EpochRecord, ObjectId};

use super::{Effect, History, Machine, Now, Ticket};

/// An epoch that has been decided and is not sent yet.
pub(super) struct Opening<H: History> {
    pub epoch: Epoch,
    pub wall_time_us: i64,
    /// Relations that get rows, sources that moved.
    pub touched: BTreeSet<ObjectId>,
    pub logged: BTreeMap<ObjectId, Vec<H::Event>>,
    /// It must be durable before anybody sees it.
    pub urgent: bool,
    pub entering: Vec<Entering>,
    pub rows: usize,
    pub bytes: usize,
    /// Dataflows whose deadline has come.
    due: BTreeSet<ObjectId>,
    checkpoint: bool,
    writers: Vec<Ticket>,
    barriers: Vec<Ticket>,
    markers: Vec<Ticket>,
}

/// Rows on their way into an epoch.
pub(super) enum Entering {
    Chunk { ticket: Ticket, source: ObjectId, watermark: Option<i64> },
    Write { ticket: Ticket, tables: Vec<ObjectId> },
}

impl<H: History> Machine<H> {
    /// Puts everything that waits into one epoch.
    pub(super) fn open_epoch(&mut self, now: Now) {
        let checkpoint = self.checkpoint_due(now);
        self.epoch += 1;
        self.wall_time_us = now.wall_us.max(self.wall_time_us + 1);
        let mut opening = Opening {
            epoch: self.epoch,
            wall_time_us: self.wall_time_us,
            touched: BTreeSet::new(),
            logged: BTreeMap::new(),
            urgent: false,
            entering: vec![],
            rows: 0,
            bytes: 0,
            due: BTreeSet::new(),
            checkpoint,
            writers: vec![],
            barriers: std::mem::take(&mut self.barriers),
            markers: std::mem::take(&mut self.markers),
        };
        for chunk in std::mem::take(&mut self.chunks) {
            self.take_chunk(chunk, &mut opening);
        }
        self.take_writes(&mut opening);
        let due: Vec<_> = self.deadlines.iter().filter(|(_, at)| **at <= opening.wall_time_us).collect();
        let due: Vec<_> = due.into_iter().map(|(key, _)| *key).collect();
        for key in due {
            self.deadlines.remove(&key);
            opening.due.insert(key.0);
        }
        self.log_epoch(now, opening);
    }

    /// Table writes whose journal entries are durable, in journal order.
    fn take_writes(&mut self, opening: &mut Opening<H>) {
        let durable = self.durable;
        while let Some(write) = self.writes.pop_front_if(|write| write.position <= durable) {
            self.table_position = self.table_position.max(write.position);
            for (table, watermark) in &write.tables {
                opening.touched.insert(*table);
                if let Some(watermark) = *watermark {
                    let line = self.table_watermarks.entry(*table).or_insert(watermark);
                    *line = watermark.max(*line);
                }
            }
            opening.rows += write.rows;
            opening.bytes += write.bytes;
            let tables = write.tables.iter().map(|(table, _)| *table).collect();
            opening.entering.push(Entering::Write { ticket: write.ticket, tables });
            opening.writers.extend(write.awaited.then_some(write.ticket));
        }
    }

    /// Sends the epoch to the workers and answers who waited for it.
    pub(super) fn send_epoch(&mut self, now: Now, opening: Opening<H>) {
        let Opening { epoch, wall_time_us, checkpoint, rows, .. } = opening;
        let concerned = self.concerned(&opening.touched, &opening.due, checkpoint);
        for id in &concerned {
            let dataflow = self.dataflows.get_mut(id).expect("it was just listed");
            dataflow.outstanding.push_back((epoch, rows));
        }
        self.checkpoints.input_bytes += opening.bytes;
        self.effects.push(Effect::Opened { epoch, concerned: concerned.clone(), rows });
        let mut record = EpochRecord::new(epoch, wall_time_us, self.watermarks());
        record.checkpoint = checkpoint;
        for entering in opening.entering {
            self.effects.push(match entering {
                Entering::Chunk { ticket, source, watermark } => {
                    Effect::FeedChunk { ticket, source, epoch, wall_time_us, watermark }
                }
                Entering::Write { ticket, tables } => Effect::FeedWrite { ticket, epoch, tables },
            });
        }
        // What sources have counted up to here belongs to the checkpoint.
        match checkpoint {
            true => self.begin_checkpoint(now, epoch, &concerned),
            false => self.checkpoints.dirty = true,
        }
        self.effects.push(Effect::Advance { record, concerned });
        if !opening.writers.is_empty() {
            self.effects.push(Effect::Acknowledge(epoch));
        }
        let told = opening.writers.into_iter().chain(opening.barriers);
        self.effects.extend(told.map(|ticket| Effect::Epoch { ticket, epoch }));
        self.effects.extend(opening.markers.into_iter().map(Effect::Done));
    }
}
