//! What the journal has of a source beyond the checkpoint: the steps that a restart repeats exactly, and when each
//! position was read, so that a row kept with its time has the same time again.

use std::collections::BTreeMap;

use crate::history::{HistoryEvent, SourceHistory};

#[derive(Debug, Clone, Default)]
pub struct LoggedSteps {
    pub history: SourceHistory,
    /// Per partition, ascending: everything below `to` that the entries before don't cover was read at this time.
    times: BTreeMap<String, Vec<(u64, i64)>>,
}

impl LoggedSteps {
    /// The next logged event, of an epoch of that time.
    pub fn push(&mut self, event: HistoryEvent, wall_time_us: i64) {
        if let HistoryEvent::Read { partition, to } = &event {
            self.times.entry(partition.clone()).or_default().push((*to, wall_time_us));
        }
        self.history.push(event);
    }

    /// When `position` was read.
    pub fn time_of(&self, partition: &str, position: u64) -> Option<i64> {
        let times = self.times.get(partition)?;
        let after = times.partition_point(|(to, _)| *to <= position);
        times.get(after).map(|(_, time)| *time)
    }

    pub fn is_empty(&self) -> bool {
        self.history.steps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_the_time_of_the_epoch_that_read_it() {
        let mut logged = LoggedSteps::default();
        let read = |partition: &str, to| HistoryEvent::Read { partition: partition.into(), to };
        for (event, at) in [(read("a", 10), 1), (read("b", 5), 2), (read("a", 20), 3)] {
            logged.push(event, at);
        }
        let times: Vec<_> = [0, 9, 10, 19, 20].map(|position| logged.time_of("a", position)).into();
        assert_eq!(times, [Some(1), Some(1), Some(3), Some(3), None]);
        assert_eq!(logged.time_of("c", 0), None);
        assert_eq!(logged.history.offsets(), [("a".to_string(), 20), ("b".to_string(), 5)].into());
    }
}
