//! A source's admission log: how far each partition was read and which decisions fell in between. A replay of it
//! (after a crash, or for a view that comes later) admits exactly the same rows.
//!
//! Between decisions the order of partitions does not matter, so steps without decisions are coalesced: the log's
//! length is the number of decisions, not of epochs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use connectors::admission::{Admission, Decision};
use connectors::{Chunk, ConnectorError, KnownPartitions, Offsets, OpenRequest, ReadEvent, SourceConfig, Trouble};
use serde::{Deserialize, Serialize};

use crate::left_out::LeftOut;

/// One thing that happened to a source, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryEvent {
    /// `partition` was read up to `to`.
    Read {
        partition: String,
        to: u64,
    },
    Decided(Decision),
}

/// Reading up to `to` in every partition, then `decisions`; rows at `refused` are outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    pub to: Offsets,
    pub decisions: Vec<Decision>,
    pub refused: Vec<(String, u64)>,
}

impl HistoryStep {
    /// A silent source that follows the clock decides for ever: of consecutive advances the last says all.
    fn decide(&mut self, decision: Decision) {
        match (self.decisions.last_mut(), &decision) {
            (Some(last @ Decision::Advanced { .. }), Decision::Advanced { .. }) => *last = decision,
            _ => self.decisions.push(decision),
        }
    }

    /// Decisions after the first `applied`, and the last of those again if it may have been replaced since.
    fn decisions_after(&self, applied: usize) -> &[Decision] {
        let replaced = |n: &usize| matches!(self.decisions.get(*n), Some(Decision::Advanced { .. }));
        let from = applied.checked_sub(1).filter(replaced).unwrap_or(applied);
        &self.decisions[from..]
    }
}

/// All steps since the source's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceHistory {
    pub steps: Vec<HistoryStep>,
}

impl SourceHistory {
    pub fn push(&mut self, event: HistoryEvent) {
        match event {
            HistoryEvent::Read { partition, to } => {
                self.open_step().to.insert(partition, to);
            }
            HistoryEvent::Decided(Decision::Refused { partition, position }) => {
                self.open_step().refused.push((partition, position));
            }
            HistoryEvent::Decided(decision) => match self.steps.last_mut() {
                Some(step) => step.decide(decision),
                None => {
                    self.steps.push(HistoryStep { decisions: vec![decision], ..HistoryStep::default() });
                }
            },
        }
    }

    /// The step that reading may still extend: one without decisions.
    fn open_step(&mut self) -> &mut HistoryStep {
        if self.steps.last().is_none_or(|step| !step.decisions.is_empty()) {
            let to = self.steps.last().map(|s| s.to.clone()).unwrap_or_default();
            self.steps.push(HistoryStep { to, ..HistoryStep::default() });
        }
        self.steps.last_mut().expect("just ensured")
    }

    /// The log again as what happened, one after the other.
    pub fn events(&self) -> Vec<HistoryEvent> {
        let mut events = vec![];
        for HistoryStep { to, decisions, refused } in &self.steps {
            let refusal = |(partition, position): &(String, u64)| {
                HistoryEvent::Decided(Decision::Refused { partition: partition.clone(), position: *position })
            };
            events.extend(refused.iter().map(refusal));
            events
                .extend(to.iter().map(|(partition, to)| HistoryEvent::Read { partition: partition.clone(), to: *to }));
            events.extend(decisions.iter().cloned().map(HistoryEvent::Decided));
        }
        events
    }

    /// What steps from `step` on say of how partitions are found. The last word holds, also for rows before it: it is
    /// about where the file stands now.
    fn identify(&self, known: &mut KnownPartitions, step: usize) {
        for decision in self.steps[step.min(self.steps.len())..].iter().flat_map(|step| &step.decisions) {
            if let Decision::Identified { partition, identity } = decision {
                known.entry(partition.clone()).or_default().identity = Some(identity.clone());
            }
        }
    }

    /// Where reading stands after all steps.
    pub fn offsets(&self) -> Offsets {
        self.steps.last().map(|s| s.to.clone()).unwrap_or_default()
    }
}

/// What a replay brings, in order.
pub enum Replayed<'a> {
    /// Admitted rows of one partition, read up to `to`. Refused positions lie inside.
    Rows { partition: String, to: u64, rows: RecordBatch, refused: Vec<u64>, bytes: u64, left_out: LeftOut },
    /// Applied to the admission already.
    Decided(&'a Decision),
}

/// A history that cannot be read; the partition, if only one is to blame.
#[derive(Debug)]
pub struct ReplayError {
    pub partition: Option<String>,
    pub error: ConnectorError,
}

impl From<ConnectorError> for ReplayError {
    fn from(error: ConnectorError) -> Self {
        ReplayError { partition: None, error }
    }
}

/// A reader of a history that can be continued when the history has grown.
pub struct HistoryCursor {
    pub config: Arc<dyn SourceConfig>,
    pub projection: Vec<usize>,
    pub position: Offsets,
    pub admission: Admission,
    /// By what the partitions are found; of the newest history that was seen.
    known: KnownPartitions,
    /// `known` comes from whoever has seen more of the history than is replayed yet.
    foreseen: bool,
    given_up: BTreeSet<String>,
    step: usize,
    decisions: usize,
}

impl HistoryCursor {
    /// Starts where `admission` stands: at `position`, before the first step that will be given to `advance`.
    pub fn new(config: Arc<dyn SourceConfig>, projection: Vec<usize>, position: Offsets, admission: Admission) -> Self {
        let known = admission.known();
        HistoryCursor {
            config,
            projection,
            position,
            admission,
            known,
            foreseen: false,
            given_up: BTreeSet::new(),
            step: 0,
            decisions: 0,
        }
    }

    /// Partitions are found as the last of `events` says, which the histories to come end with.
    pub fn foresee<'e>(&mut self, events: impl Iterator<Item = &'e HistoryEvent>) {
        self.foreseen = true;
        for event in events {
            if let HistoryEvent::Decided(Decision::Identified { partition, identity }) = event {
                self.known.entry(partition.clone()).or_default().identity = Some(identity.clone());
            }
        }
    }

    /// Decodes other columns from here on.
    pub fn project(&mut self, projection: Vec<usize>, time_column: Option<usize>) {
        self.projection = projection;
        self.admission.options.time_column = time_column;
    }

    /// Leaves out what the history still has of a partition.
    pub fn give_up(&mut self, partition: String) {
        self.given_up.insert(partition);
    }

    /// Replays what `history` has beyond the last call. After an error it may be called again and goes on where it was. `deliver` answers false to stop early; then so does this.
    pub fn advance(
        &mut self,
        history: &SourceHistory,
        mut deliver: impl FnMut(Replayed<'_>, &Admission) -> bool,
    ) -> Result<bool, ReplayError> {
        if !self.foreseen {
            history.identify(&mut self.known, self.step);
        }
        while let Some(step) = history.steps.get(self.step) {
            if !self.read_step(step, &mut deliver)? {
                return Ok(false);
            }
            for decision in step.decisions_after(self.decisions) {
                self.admission.apply(decision);
                if !deliver(Replayed::Decided(decision), &self.admission) {
                    return Ok(false);
                }
            }
            self.decisions = step.decisions.len();
            // The last step may still grow.
            if self.step + 1 == history.steps.len() {
                break;
            }
            self.step += 1;
            self.decisions = 0;
        }
        Ok(true)
    }

    fn read_step(
        &mut self,
        step: &HistoryStep,
        deliver: &mut impl FnMut(Replayed<'_>, &Admission) -> bool,
    ) -> Result<bool, ReplayError> {
        let behind = |(p, to): (&String, &u64)| self.position.get(p).copied().unwrap_or(0) < *to;
        let until: Offsets = step.to.clone().into_iter().filter(|(p, _)| !self.given_up.contains(p)).collect();
        if !until.iter().any(behind) {
            return Ok(true);
        }
        let mut reader = self.config.open(OpenRequest {
            from: self.position.clone(),
            known: self.known.clone(),
            until: Some(until),
            projection: self.projection.clone(),
            chunk_rows_max: 0,
        })?;
        loop {
            match reader.next(Duration::from_millis(100))? {
                ReadEvent::Chunk(chunk) => {
                    let refused = refused_in(step, &chunk);
                    let admitted = self.admission.admit_logged(&chunk, &refused);
                    self.position.insert(chunk.partition.clone(), chunk.to);
                    let (partition, to, bytes) = (chunk.partition.clone(), chunk.to, chunk.bytes);
                    let left_out = LeftOut::of(chunk, &admitted);
                    let rows = admitted.rows;
                    if !deliver(Replayed::Rows { partition, to, rows, refused, bytes, left_out }, &self.admission) {
                        return Ok(false);
                    }
                }
                ReadEvent::End => return Ok(true),
                ReadEvent::PartitionTroubled(Trouble { partition, error, .. }) => {
                    return Err(ReplayError { partition: Some(partition), error });
                }
                ReadEvent::PartitionAdded(_)
                | ReadEvent::PartitionIdentified { .. }
                | ReadEvent::PartitionEnded(_)
                | ReadEvent::PartitionRecovered(_)
                | ReadEvent::Noted { .. }
                | ReadEvent::Idle => {}
            }
        }
    }
}

fn refused_in(step: &HistoryStep, chunk: &Chunk) -> Vec<u64> {
    let here = |(p, at): &&(String, u64)| *p == chunk.partition && (chunk.from..chunk.to).contains(at);
    step.refused.iter().filter(here).map(|(_, position)| *position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_with_the_clock_take_one_place_in_the_log() {
        let mut history = SourceHistory::default();
        let idle = Decision::Idle { partition: "p".into() };
        let entered = Decision::Entered { partition: "p".into(), line: 3 };
        let advanced = |line| Decision::Advanced { line };
        for decision in [idle.clone(), advanced(1), advanced(2)] {
            history.push(HistoryEvent::Decided(decision));
        }
        assert_eq!(history.steps[0].decisions_after(0), [idle.clone(), advanced(2)]);
        assert_eq!(history.steps[0].decisions_after(1), [advanced(2)]);
        // Who has applied an advance applies what stands there now.
        history.push(HistoryEvent::Decided(advanced(3)));
        assert_eq!(history.steps[0].decisions_after(2), [advanced(3)]);
        for decision in [entered.clone(), idle.clone(), advanced(9)] {
            history.push(HistoryEvent::Decided(decision));
        }
        assert_eq!(history.steps[0].decisions, [idle.clone(), advanced(3), entered.clone(), idle, advanced(9)]);
        assert_eq!(history.steps[0].decisions_after(3), &history.steps[0].decisions[3..]);
    }
}
