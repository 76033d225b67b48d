//! `retain_history`: how long a relation's changes stay after all readers have passed them, so that a subscription can go
//! on where an earlier one stopped. They stay in memory, which is counted; a restart begins a new history.
//!
//! Invariant: what may be forgotten is decided and done under the lock of the marks, and so is the look whether a pinned
//! epoch is still there. So nothing goes between the two.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use operators::arrangement::Shard;
use types::Epoch;

use coordinator::oracle::Oracle;

/// Marks per period: history stays up to a thousandth longer.
const MARKS: i64 = 1_000;

/// What one relation keeps.
#[derive(Debug, Default)]
pub struct Retention {
    keep_us: i64,
    /// Epochs and when they were sealed, both growing. What is above the first one stays.
    marks: Mutex<VecDeque<(Epoch, i64)>>,
}

impl Retention {
    pub fn new(keep_us: i64) -> Retention {
        Retention { keep_us, marks: Mutex::default() }
    }

    /// All workers have sealed `epoch`: forgets what nobody needs. `complete`: the relation can be read there.
    pub fn release(&self, shards: &[Arc<Shard>], oracle: &Oracle, epoch: Epoch, complete: bool, now_us: i64) {
        let mut marks = self.marks.lock().expect("not poisoned");
        if self.keep_us > 0 && complete {
            let step_us = self.keep_us / MARKS;
            if marks.back().is_none_or(|(last, at)| *last < epoch && at.saturating_add(step_us) <= now_us) {
                marks.push_back((epoch, now_us));
            }
            while marks.get(1).is_some_and(|(_, at)| at.saturating_add(self.keep_us) <= now_us) {
                marks.pop_front();
            }
        }
        let kept_from = marks.front().map_or(Epoch::MAX, |(epoch, _)| *epoch);
        let retain_from = oracle.retain_from().min(kept_from);
        shards.iter().for_each(|shard| shard.set_retain_from(retain_from));
    }

    /// Whether all changes after `epoch`, which is pinned, are there.
    pub fn keeps(&self, shards: &[Arc<Shard>], epoch: Epoch) -> bool {
        let _held = self.marks.lock().expect("not poisoned");
        shards.iter().all(|shard| shard.keeps(epoch))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    /// Seals one epoch per second from 1 on and says how far back one can go after the last.
    fn oldest_kept(keep_us: i64, seconds: u64, pin: Option<Epoch>) -> Epoch {
        let oracle = Oracle::new(0);
        let shards = [Shard::new(Arc::new(Schema::empty()), None)];
        let retention = Retention::new(keep_us);
        let mut pins = vec![];
        for epoch in 1..=seconds {
            oracle.open(epoch, &[], 0);
            oracle.acknowledge(epoch);
            pins.extend((pin == Some(epoch)).then(|| oracle.pin(&[])));
            retention.release(&shards, &oracle, epoch, true, epoch as i64 * 1_000_000);
        }
        (0..=seconds).find(|epoch| retention.keeps(&shards, *epoch)).expect("the newest epoch is kept")
    }

    #[test]
    fn changes_stay_as_long_as_asked_for() {
        assert_eq!(oldest_kept(0, 100, None), 100);
        assert_eq!(oldest_kept(10_000_000, 100, None), 90);
        assert_eq!(oldest_kept(1_000_000_000, 100, None), 1);
        // A reader holds them longer.
        assert_eq!(oldest_kept(10_000_000, 100, Some(40)), 40);
    }

    #[test]
    fn nothing_is_kept_of_the_time_before_the_relation_was_complete() {
        let oracle = Oracle::new(7);
        let shards = [Shard::new(Arc::new(Schema::empty()), None)];
        let retention = Retention::new(1_000_000_000);
        retention.release(&shards, &oracle, 3, false, 1_000);
        assert!(retention.marks.lock().unwrap().is_empty());
        assert!(!retention.keeps(&shards, 6));
    }
}
