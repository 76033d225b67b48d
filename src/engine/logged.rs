//! What the journal has of a source beyond the checkpoint: the steps that a restart repeats exactly, and when each
//! position was read, so that a row kept with its time has the same time again.

use std::collections::BTreeMap;

use connectors::admission::Decision;

use crate::history::HistoryEvent;

#[derive(Debug, Clone, Default)]
pub struct LoggedSteps {
    /// In order, each with the time of the epoch that logged it.
    pub events: Vec<(i64, HistoryEvent)>,
    /// Per partition, ascending: everything below `to` that the entries before don't cover was read at this time.
    times: BTreeMap<String, Vec<(u64, i64)>>,
}

impl LoggedSteps {
    /// The next logged event, of an epoch of that time.
    pub fn push(&mut self, event: HistoryEvent, wall_time_us: i64) {
        if let HistoryEvent::Read { partition, to } = &event {
            self.times.entry(partition.clone()).or_default().push((*to, wall_time_us));
        }
        self.events.push((wall_time_us, event));
    }

    /// When `position` was read.
    pub fn time_of(&self, partition: &str, position: u64) -> Option<i64> {
        let times = self.times.get(partition)?;
        let after = times.partition_point(|(to, _)| *to <= position);
        times.get(after).map(|(_, time)| *time)
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What can be repeated in one go: reads in any order, then the decisions that follow them.
    pub fn groups(&self) -> impl Iterator<Item = &[(i64, HistoryEvent)]> {
        let reads = |event: &HistoryEvent| match event {
            HistoryEvent::Read { .. } | HistoryEvent::Decided(Decision::Refused { .. }) => true,
            HistoryEvent::Decided(
                Decision::Entered { .. }
                | Decision::Idle { .. }
                | Decision::Ended { .. }
                | Decision::Identified { .. }
                | Decision::Advanced { .. },
            ) => false,
        };
        self.events.chunk_by(move |(_, before), (_, after)| reads(before) || !reads(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(partition: &str, to: u64) -> HistoryEvent {
        HistoryEvent::Read { partition: partition.into(), to }
    }

    #[test]
    fn a_position_has_the_time_of_the_epoch_that_read_it() {
        let mut logged = LoggedSteps::default();
        for (event, at) in [(read("a", 10), 1), (read("b", 5), 2), (read("a", 20), 3)] {
            logged.push(event, at);
        }
        let times: Vec<_> = [0, 9, 10, 19, 20].map(|position| logged.time_of("a", position)).into();
        assert_eq!(times, [Some(1), Some(1), Some(3), Some(3), None]);
        assert_eq!(logged.time_of("c", 0), None);
    }

    #[test]
    fn a_group_ends_with_its_decisions() {
        let mut logged = LoggedSteps::default();
        let idle = || HistoryEvent::Decided(Decision::Idle { partition: "a".into() });
        let refused = HistoryEvent::Decided(Decision::Refused { partition: "a".into(), position: 3 });
        for event in [idle(), refused, read("a", 10), read("b", 5), idle(), idle(), read("a", 20)] {
            logged.push(event, 1);
        }
        assert_eq!(logged.groups().map(<[_]>::len).collect::<Vec<_>>(), [1, 5, 1]);
    }
}
