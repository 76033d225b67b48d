//! Reads files from given positions to their ends, or exactly up to given positions, one after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::text_file::Range;
use super::{FileConfig, PartitionReader, Step, locate, rows_max};
use crate::{ConnectorError, KnownPartitions, OpenRequest, PartitionState, ReadEvent, SourceReader, Trouble};

pub(super) struct OnceReader {
    config: FileConfig,
    projection: Vec<usize>,
    rows_max: usize,
    partitions: Vec<PartitionState>,
    known: KnownPartitions,
    until: Option<BTreeMap<String, u64>>,
    /// The partition being read; all before it are done.
    current: usize,
    reader: Option<Box<dyn PartitionReader>>,
}

impl OnceReader {
    pub fn open(config: FileConfig, request: OpenRequest) -> Result<Self, ConnectorError> {
        let rows_max = rows_max(&request);
        let OpenRequest { from, known, until, projection, .. } = request;
        let names: Vec<String> = match &until {
            Some(until) => until.keys().cloned().collect(),
            None => {
                let mut names = config.listing.list()?;
                if names.is_empty() {
                    return Err(ConnectorError::FileNotFound { path: config.listing.path().to_string() });
                }
                // What was read and is not listed any more fails when its turn comes, the others go on.
                let gone = from.iter().filter(|(name, position)| **position > 0 && !names.contains(name));
                let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
                names.extend(gone);
                names
            }
        };
        let state = |name: String| {
            let position = from.get(&name).copied().unwrap_or(0);
            PartitionState { name, position, ended: false }
        };
        let partitions = names.into_iter().map(state).collect();
        Ok(OnceReader { config, projection, rows_max, partitions, known, until, current: 0, reader: None })
    }

    fn open_current(&self) -> Result<Box<dyn PartitionReader>, ConnectorError> {
        let PartitionState { name, position, .. } = &self.partitions[self.current];
        let until = self.until.as_ref().map(|until| until[name]);
        let reached = until.unwrap_or(*position);
        let identity = self.known.get(name).and_then(|known| known.identity.as_deref());
        let path = locate::path_of(&self.config, name, identity, reached)?;
        let range = Range { from: *position, until, follow: false };
        self.config.partition(name, &path, range, &self.projection).map_err(|error| match error {
            // It was there when its position was recorded.
            ConnectorError::FileNotFound { .. } if reached > 0 => {
                ConnectorError::HistoryLost { partition: name.clone(), position: reached }
            }
            other => other,
        })
    }

    fn step(&mut self) -> Result<Step, ConnectorError> {
        if self.nothing_left() {
            return Ok(Step::End);
        }
        if self.reader.is_none() {
            self.reader = Some(self.open_current()?);
        }
        self.reader.as_mut().expect("opened above").read(self.rows_max)
    }

    /// True if `until` leaves nothing to read of the current partition.
    fn nothing_left(&self) -> bool {
        let partition = &self.partitions[self.current];
        self.until.as_ref().is_some_and(|until| until[&partition.name] <= partition.position)
    }
}

impl SourceReader for OnceReader {
    fn next(&mut self, _wait: Duration) -> Result<ReadEvent, ConnectorError> {
        while self.current < self.partitions.len() {
            let step = match self.step() {
                Ok(step) => step,
                // A damaged file does not keep the others from being read.
                Err(error) if !error.may_pass() => {
                    let partition = self.partitions[self.current].name.clone();
                    self.reader = None;
                    self.current += 1;
                    return Ok(ReadEvent::PartitionTroubled(Trouble { partition, error, retry: None }));
                }
                Err(error) => return Err(error),
            };
            match step {
                Step::Chunk(chunk) => {
                    self.partitions[self.current].position = chunk.to;
                    return Ok(ReadEvent::Chunk(chunk));
                }
                Step::Pending | Step::End => {
                    self.reader = None;
                    self.current += 1;
                    // Reaching `until` says nothing about what comes after it.
                    if self.until.is_none() {
                        let partition = &mut self.partitions[self.current - 1];
                        partition.ended = true;
                        return Ok(ReadEvent::PartitionEnded(partition.name.clone()));
                    }
                }
            }
        }
        Ok(ReadEvent::End)
    }

    fn partitions(&self) -> Vec<PartitionState> {
        self.partitions.clone()
    }
}
