//! The start of a life: what is on disk becomes workers' state, the clock's knowledge and rows to be told again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Message, Readable, SourceEntry, SourceOptions, Start as ClockStart};
use dataflow::{CreateDataflow, Start};
use types::{Epoch, ObjectId};

use crate::client::write_message;
use crate::disk::{Disk, Entry, Event};
use crate::ports::lock;
use crate::schema::{ACCOUNTS, LOOSE, SOURCE, graphs};
use crate::world::{World, new_shards};

/// Private epochs lie below.
const FIRST_EPOCH: Epoch = 1_000_000;
/// No epoch of one life is one of another.
const INCARNATION_GAP: Epoch = 10_000;

pub fn clock_start(disk: &Disk, interval: Duration) -> ClockStart {
    let saved = disk.saved.as_ref().map(|saved| &saved.plan);
    let (last, incarnation) = disk.last_epoch();
    ClockStart {
        epoch: if last == 0 { FIRST_EPOCH } else { last + INCARNATION_GAP },
        incarnation: incarnation + 1,
        wall_time_us: saved.map_or(0, |plan| plan.wall_time_us),
        table_position: saved.map_or(0, |plan| plan.position),
        table_watermarks: BTreeMap::new(),
        checkpoint_interval: interval,
        checkpoint_input_bytes: 50_000,
    }
}

/// Brings everything back that the disk knows of. Returns the views that have to be built anew.
pub fn recover(world: &mut World<'_, '_>, bound: bool) -> Vec<ObjectId> {
    let (saved, entries, catalog, source) = {
        let shared = lock(&world.shared);
        let entries: Vec<(u64, Entry)> = shared.disk.entries().map(|(at, entry)| (at, entry.clone())).collect();
        (shared.disk.saved.clone(), entries, shared.disk.catalog(), shared.disk.source(SOURCE))
    };
    let from = saved.as_ref().map_or(0, |saved| saved.plan.position);
    let state = source;
    let pending: Vec<Event> = state.pending.iter().map(|(_, event)| event.clone()).collect();
    world.model.restart(entries.clone(), from, state.history.0.clone(), pending.clone());
    world.check_catalog(&catalog);
    world.catalog = catalog.clone();
    lock(&world.shared).catalog = catalog.clone();
    world.feeder.start(&state.history.0, pending);
    let options = SourceOptions { has_time: false, bound };
    let entry = Box::new(SourceEntry { source: SOURCE, state, options });
    lock(&world.shared).inbox.push_back(Message::AddSource { entry, kept: () });
    let mut rebuild = vec![];
    for id in [ACCOUNTS, LOOSE].into_iter().chain(catalog) {
        let restored = saved.as_ref().filter(|saved| saved.plan.dataflows.contains_key(&id));
        let is_table = crate::schema::is_table(id);
        if restored.is_none() && !is_table {
            rebuild.push(id);
            continue;
        }
        let graph = graphs()[&id].clone();
        let shards = new_shards(&graph);
        world.relations.insert(id, shards.clone());
        let (start, readable) = match restored {
            Some(saved) => {
                let state: HashMap<_, _> = saved.state.get(&id).cloned().unwrap_or_default().into_iter().collect();
                let epoch = saved.plan.epoch;
                (Start::Restored { epoch, state: Arc::new(state) }, Readable::Restored(epoch))
            }
            None => (Start::Fresh, Readable::AtOnce),
        };
        let dataflow = Box::new(CreateDataflow { graph, shards, start });
        lock(&world.shared).inbox.push_back(Message::Create { dataflow, readable, temporary: false });
    }
    for (position, entry) in entries.into_iter().filter(|(position, _)| *position > from) {
        if let Entry::Rows { changes, .. } = entry {
            lock(&world.shared).inbox.push_back(write_message(position, &changes, None));
        }
    }
    lock(&world.shared).inbox.push_back(Message::Recovered);
    rebuild
}
