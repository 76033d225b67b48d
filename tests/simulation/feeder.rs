//! The feed of the simulated source: repeats what was logged, then reads on, now and then refusing a row for a reason
//! that only the wall clock knows.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use coordinator::{Entered, Message, SourceChunk};
use dataflow::FeedBatch;
use rand::Rng;
use types::DeltaBatch;

use crate::disk::Event;
use crate::model::source_row;
use crate::ports::{Batch, SimulatedPorts, lock};
use crate::rows::batch;
use crate::schema::{Row, SOURCE};
use crate::world::World;

/// Rows that the source has.
const ROWS_MAX: u64 = 120;

#[derive(Default)]
pub struct Feeder {
    position: u64,
    logged: VecDeque<Event>,
}

impl Feeder {
    pub fn start(&mut self, saved: &[Event], logged: Vec<Event>) {
        let read = |event: &Event| match event {
            Event::Read(to) => Some(*to),
            Event::Refused(_) => None,
        };
        self.position = saved.iter().filter_map(read).next_back().unwrap_or(0);
        self.logged = logged.into();
    }

    /// Everything logged has been brought again.
    pub fn repeated(&self) -> bool {
        self.logged.is_empty()
    }

    pub fn ended(&self) -> bool {
        self.position >= ROWS_MAX && self.repeated()
    }

    /// Brings one chunk.
    pub fn step(&mut self, world: &mut World<'_, '_>) {
        let repeats = !self.logged.is_empty();
        let events = self.next_events(world);
        let repeats = repeats.then_some(events.len());
        let Some(to) = events.iter().rev().find_map(|event| match event {
            Event::Read(to) => Some(*to),
            Event::Refused(_) => None,
        }) else {
            return;
        };
        let refused: BTreeSet<u64> = events
            .iter()
            .filter_map(|event| match event {
                Event::Refused(position) => Some(*position),
                Event::Read(_) => None,
            })
            .collect();
        let rows = (self.position..to).filter(|position| !refused.contains(position)).map(source_row);
        let rows: Vec<Row> = rows.collect();
        self.position = to;
        let (shared, moved, count) = (world.shared.clone(), events.clone(), rows.len());
        let enter = move |at: Entered| {
            lock(&shared).moved.push((at.epoch, moved));
            if rows.is_empty() {
                return vec![];
            }
            let rows = DeltaBatch::inserts(batch(&rows));
            let batch = FeedBatch { relation: SOURCE, columns: Arc::new(vec![0, 1]), rows, errors: vec![] };
            vec![Batch { position: None, batch }]
        };
        let chunk: SourceChunk<SimulatedPorts> = SourceChunk {
            source: SOURCE,
            relations: BTreeSet::from([SOURCE]),
            rows: count,
            bytes: count * 16,
            events,
            repeats,
            admission: None,
            watermark: 0,
            ended: false,
            enter: Box::new(enter),
        };
        lock(&world.shared).inbox.push_back(Message::Chunk(chunk));
    }

    /// Logged ones up to the next read, or new ones.
    fn next_events(&mut self, world: &mut World<'_, '_>) -> Vec<Event> {
        if !self.logged.is_empty() {
            let end = self.logged.iter().position(|event| matches!(event, Event::Read(_)));
            let end = end.map_or(self.logged.len(), |at| at + 1);
            return self.logged.drain(..end).collect();
        }
        if self.position >= ROWS_MAX {
            return vec![];
        }
        let to = (self.position + world.rng.random_range(1..9)).min(ROWS_MAX);
        let refused = (self.position..to).filter(|_| world.rng.random_bool(0.15)).map(Event::Refused);
        let mut events: Vec<Event> = refused.collect();
        events.push(Event::Read(to));
        events
    }
}
