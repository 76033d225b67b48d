//! Marking an epoch as a checkpoint: when it is due, and what of the clock's own knowledge goes with it.
//! The state itself is cut by the operators.

use std::time::Duration;

use types::{Epoch, ObjectId};

use super::effect::{CheckpointPlan, SourceState};
use super::{Effect, History, Machine, Now, Ticket};

/// Which checkpoint runs and when the next one is due.
pub(super) struct Checkpoints {
    interval: Duration,
    input_bytes_max: usize,
    pub running: bool,
    pub wanted: Vec<Ticket>,
    /// Start or end of the last one.
    last: Duration,
    /// Epochs opened or catalog changed since the last one.
    pub dirty: bool,
    /// Fed since the last one.
    pub input_bytes: usize,
}

impl Checkpoints {
    pub fn new(interval: Duration, input_bytes_max: usize) -> Checkpoints {
        Checkpoints {
            interval,
            input_bytes_max,
            running: false,
            wanted: vec![],
            last: Duration::ZERO,
            dirty: false,
            input_bytes: 0,
        }
    }

    pub fn done(&mut self, now: Now) {
        self.running = false;
        self.last = now.elapsed;
    }

    pub fn due_in(&self, now: Now) -> Option<Duration> {
        let open = self.dirty && !self.running;
        open.then(|| (self.last + self.interval).saturating_sub(now.elapsed))
    }
}

impl<H: History> Machine<H> {
    pub(super) fn checkpoint_due(&self, now: Now) -> bool {
        let it = &self.checkpoints;
        let due = now.elapsed >= it.last + it.interval || it.input_bytes >= it.input_bytes_max;
        it.dirty && !self.recovering && !it.running && (due || !it.wanted.is_empty())
    }

    /// The journal position up to which everything is in epochs: the one before the first write that waits.
    fn settled(&self) -> u64 {
        self.writes.front().map_or(self.heard, |write| write.position - 1)
    }

    pub(super) fn begin_checkpoint(&mut self, now: Now, epoch: Epoch, concerned: &[ObjectId]) {
        let it = &mut self.checkpoints;
        it.running = true;
        it.last = now.elapsed;
        it.dirty = false;
        it.input_bytes = 0;
        let waiting = std::mem::take(&mut it.wanted);
        let kept = concerned.iter().filter(|id| !self.dataflows[id].temporary);
        let dataflows = kept.map(|id| (*id, self.dataflows[id].operators)).collect();
        let sources = self.sources.iter().map(|(id, source)| (*id, SourceState::clone(&source.state)));
        let plan = CheckpointPlan {
            epoch,
            incarnation: self.incarnation,
            wall_time_us: self.wall_time_us,
            position: self.settled(),
            table_watermarks: self.table_watermarks.clone(),
            dataflows,
            sources: sources.collect(),
            waiting,
        };
        self.effects.push(Effect::Checkpoint(plan));
    }
}
