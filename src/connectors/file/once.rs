//! Reads files from given positions to their ends, or exactly up to given positions, one after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FileConfig, PartitionReader, Step, rows_max};
use crate::{ConnectorError, OpenRequest, PartitionState, ReadEvent, SourceReader};

pub(super) struct OnceReader {
    config: FileConfig,
    projection: Vec<usize>,
    rows_max: usize,
    partitions: Vec<PartitionState>,
    until: Option<BTreeMap<String, u64>>,
    /// The partition being read; all before it are done.
    current: usize,
    reader: Option<Box<dyn PartitionReader>>,
}

impl OnceReader {
    pub fn open(config: FileConfig, request: OpenRequest) -> Result<Self, ConnectorError> {
        let rows_max = rows_max(&request);
        let OpenRequest { from, until, projection, .. } = request;
        let names = match &until {
            Some(until) => until.keys().cloned().collect(),
            None => config.listing.list()?,
        };
        if until.is_none() {
            if names.is_empty() {
                return Err(ConnectorError::FileNotFound { path: config.listing.path().to_string() });
            }
            let gone = from.iter().find(|(name, position)| **position > 0 && !names.contains(name));
            if let Some((partition, position)) = gone {
                let (partition, position) = (partition.clone(), *position);
                return Err(ConnectorError::HistoryLost { partition, position });
            }
        }
        let state = |name: String| {
            let position = from.get(&name).copied().unwrap_or(0);
            PartitionState { name, position, ended: false }
        };
        let partitions = names.into_iter().map(state).collect();
        Ok(OnceReader { config, projection, rows_max, partitions, until, current: 0, reader: None })
    }

    fn open_current(&self) -> Result<Box<dyn PartitionReader>, ConnectorError> {
        let partition = &self.partitions[self.current];
        let until = self.until.as_ref().map(|until| until[&partition.name]);
        let opened = self.config.partition(&partition.name, partition.position, until, &self.projection);
        opened.map_err(|error| match error {
            // It was there when its position was recorded.
            ConnectorError::FileNotFound { .. } if until.is_some() || partition.position > 0 => {
                let position = until.unwrap_or(partition.position);
                ConnectorError::HistoryLost { partition: partition.name.clone(), position }
            }
            other => other,
        })
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
            let step = if self.nothing_left() {
                Step::End
            } else {
                if self.reader.is_none() {
                    self.reader = Some(self.open_current()?);
                }
                self.reader.as_mut().expect("opened above").read(self.rows_max)?
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
