//! After a restart: repeats the logged steps after the checkpoint. Their rows flow again, their decisions are not taken
//! anew.
//!
//! The server waits for this before it answers, but not for an input that cannot be read: then it starts without those
//! rows, the source is shown as `retrying`, and they come when they can be read. An input that is gone is given up.

use connectors::admission::{Admission, Decision};
use connectors::{Backoff, ConnectorError};
use types::WATERMARK_END;

use super::FeedChunk;
use super::reading::Feed;
use crate::clock::ClockMessage;
use crate::history::{HistoryCursor, HistoryEvent, Replayed, SourceHistory};
use crate::logged::LoggedSteps;

impl Feed {
    /// False: the feed was stopped.
    pub(super) fn repeat_logged(&mut self, backoff: &mut Backoff) -> bool {
        let logged = std::mem::take(&mut self.start.logged);
        let admission = self.start.admission.clone();
        let config = self.start.config.clone();
        let mut cursor = HistoryCursor::new(config, self.columns.to_vec(), self.offsets.clone(), admission);
        cursor.foresee(logged.events.iter().map(|(_, event)| event));
        let mut history = SourceHistory::default();
        for group in logged.groups() {
            group.iter().for_each(|(_, event)| history.push(event.clone()));
            if !self.repeat(&mut cursor, &history, &logged, backoff) {
                return false;
            }
            let mut through = self.empty_chunk();
            through.repeats = Some(group.len());
            if !self.send_repeated(through, &cursor.admission) {
                return false;
            }
        }
        self.start.admission = cursor.admission;
        self.offsets = cursor.position;
        match self.start.repeated.take() {
            Some(marker) => self.send(ClockMessage::Marker(marker)),
            None => true,
        }
    }

    /// Repeats what the history has beyond the cursor, as long as that takes. False: the feed was stopped.
    fn repeat(
        &mut self,
        cursor: &mut HistoryCursor,
        history: &SourceHistory,
        logged: &LoggedSteps,
        backoff: &mut Backoff,
    ) -> bool {
        loop {
            let advanced = cursor.advance(history, |replayed, admission| {
                let mut out = self.repeated(replayed, logged);
                out.admission = Some(admission.clone());
                out.ended = admission.watermark() == WATERMARK_END && self.start.config.bounded();
                self.send_repeated(out, admission)
            });
            let failed = match advanced {
                Ok(alive) => {
                    self.recovered(backoff);
                    return alive;
                }
                Err(failed) => failed,
            };
            match failed.partition {
                Some(partition) if !failed.error.may_pass() => {
                    self.give_up(&partition, &failed.error);
                    cursor.give_up(partition);
                }
                Some(_) | None => {
                    // Who waits for the start goes on without these rows.
                    self.start.repeated = None;
                    if !self.pause(&failed.error, backoff) {
                        return false;
                    }
                    cursor.project(self.columns.to_vec(), self.start.admission.options.time_column);
                }
            }
        }
    }

    fn repeated(&self, replayed: Replayed<'_>, logged: &LoggedSteps) -> FeedChunk {
        let mut out = self.empty_chunk();
        out.repeats = Some(0);
        match replayed {
            Replayed::Rows { partition, to, rows, refused, bytes, left_out } => {
                let refusal = |position| Decision::Refused { partition: partition.clone(), position };
                out.events.extend(refused.into_iter().map(refusal).map(HistoryEvent::Decided));
                out.events.push(HistoryEvent::Read { partition, to });
                out.bytes = bytes;
                self.leave_out(&mut out, left_out, Some(logged));
                out.rows = rows;
            }
            Replayed::Decided(decision) => out.events.push(HistoryEvent::Decided(decision.clone())),
        }
        out
    }

    fn send_repeated(&self, mut out: FeedChunk, admission: &Admission) -> bool {
        out.watermark = admission.watermark();
        out.permit = self.permits.acquire();
        out.permit.is_some() && self.send(self.message(out))
    }

    /// Tells that a partition is not read any more.
    pub(super) fn give_up(&self, partition: &str, error: &ConnectorError) {
        tracing::error!(source = %self.start.name, partition, %error, "input given up");
        let position = self.offsets.get(partition).copied().unwrap_or(0);
        self.start.stats.give_up(partition, position, types::ToSqlState::to_sql_error(error));
    }
}
