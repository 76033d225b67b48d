//! What of epochs goes into the journal, and who waits for it.
//!
//! Epochs of replayable sources are logged behind: a restart reads again what was not. But what was decided in an epoch
//! must never be missing before something later that is there, so entries that could not be written (a full disk) stay
//! in front of the next ones. An epoch with a `bound` source is held back until it is durable.

use std::collections::VecDeque;
use std::time::Duration;

use types::Epoch;

use super::effect::EpochEntry;
use super::epoch::Opening;
use super::{Effect, History, Machine, Now};

/// Pause before a full disk is tried again.
const RETRY: Duration = Duration::from_millis(100);

pub(super) struct Log<H: History> {
    /// Not in the journal, oldest first.
    backlog: VecDeque<EpochEntry<H::Event>>,
    /// What the last `Log` gave: in the journal unless `LogFailed` follows at once.
    last: Vec<EpochEntry<H::Event>>,
    /// The epoch that waits until it is durable, and where it lies if it is in the journal.
    held: Option<(Opening<H>, Option<u64>)>,
    retry_at: Option<Duration>,
}

impl<H: History> Default for Log<H> {
    fn default() -> Self {
        Log { backlog: VecDeque::new(), last: vec![], held: None, retry_at: None }
    }
}

impl<H: History> Log<H> {
    /// No other epoch may be opened.
    pub fn holds(&self) -> bool {
        self.held.is_some()
    }

    pub fn confirm(&mut self, epoch: Epoch, position: u64) {
        if let Some((opening, at)) = &mut self.held
            && opening.epoch <= epoch
        {
            *at = Some(position);
        }
    }

    /// The last `Log` came only so far.
    pub fn failed(&mut self, now: Now, written: usize) {
        let missing = self.last.drain(..).skip(written).rev();
        missing.for_each(|entry| self.backlog.push_front(entry));
        self.retry_at = Some(now.elapsed + RETRY);
    }

    pub fn retry_in(&self, now: Now) -> Option<Duration> {
        self.retry_at.map(|at| at.saturating_sub(now.elapsed))
    }
}

impl<H: History> Machine<H> {
    /// Logs what the epoch decided, then sends it; or holds it until the log is durable.
    pub(super) fn log_epoch(&mut self, now: Now, mut opening: Opening<H>) {
        let sources = std::mem::take(&mut opening.logged);
        if sources.is_empty() {
            return self.send_epoch(now, opening);
        }
        self.log.backlog.push_back(EpochEntry {
            epoch: opening.epoch,
            incarnation: self.incarnation,
            wall_time_us: opening.wall_time_us,
            table_position: self.table_position,
            sources,
        });
        self.write_log(opening.urgent);
        match opening.urgent {
            true => self.log.held = Some((opening, None)),
            false => self.send_epoch(now, opening),
        }
    }

    /// Goes on with what could not be logged, and with the epoch that waits for it.
    pub(super) fn continue_log(&mut self, now: Now) {
        if self.log.retry_at.is_some_and(|at| at <= now.elapsed) {
            self.log.retry_at = None;
            self.write_log(self.log.held.is_some());
        }
        let durable = self.durable;
        if let Some((opening, _)) = self.log.held.take_if(|(_, at)| at.is_some_and(|at| at <= durable)) {
            self.send_epoch(now, opening);
        }
    }

    fn write_log(&mut self, urgent: bool) {
        let entries: Vec<_> = self.log.backlog.drain(..).collect();
        if !entries.is_empty() {
            self.log.last = entries.clone();
            self.log.retry_at = None;
            self.effects.push(Effect::Log { entries, urgent });
        }
    }
}
