//! The start of a life: what is on disk becomes workers' state, the clock's knowledge and rows to be told again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Message, Readable, SourceEntry, SourceOptions, Start as ClockStart};
use dataflow::{CreateDataflow, Start};
use types::{Epoch, ObjectId};

use crate::client::write_message;
use crate::disk::{Entry, Event, Found};
use crate::ports::lock;
use crate::schema::{ACCOUNTS, LOOSE, SOURCE, graphs, is_table};
use crate::world::{World, new_shards};

/// Private epochs lie below.
const FIRST_EPOCH: Epoch = 1_000_000;
/// No epoch of one life is one of another.
const INCARNATION_GAP: Epoch = 10_000;

pub fn clock_start(found: &Found, interval: Duration) -> ClockStart {
    let last = found.last_epoch;
    ClockStart {
        epoch: if last == 0 { FIRST_EPOCH } else { last + INCARNATION_GAP },
        incarnation: found.incarnation + 1,
        wall_time_us: found.wall_time_us,
        table_position: found.position,
        table_watermarks: BTreeMap::new(),
        checkpoint_interval: interval,
        checkpoint_input_bytes: 50_000,
    }
}

/// Brings everything back that the disk knows of. Returns the views that have to be built anew.
pub fn recover(world: &mut World<'_, '_>, found: Found, bound: bool) -> Vec<ObjectId> {
    let Found { epoch, position: from, mut state, source, catalog, entries, .. } = found;
    let pending: Vec<Event> = source.pending.iter().map(|(_, event)| event.clone()).collect();
    world.model.restart(&entries, from, source.history.0.clone(), pending.clone());
    world.check_catalog(&catalog);
    world.catalog = catalog.clone();
    lock(&world.shared).catalog = catalog.clone();
    world.feeder.start(&source.history.0, pending);
    let options = SourceOptions { has_time: false, bound };
    let entry = Box::new(SourceEntry { source: SOURCE, state: source, options });
    lock(&world.shared).inbox.push_back(Message::AddSource { entry, kept: () });
    let stale: Vec<ObjectId> = state.keys().copied().filter(|id| !is_table(*id) && !catalog.contains(id)).collect();
    stale.iter().for_each(|id| lock(&world.shared).disk.drop_relation(*id));
    let mut rebuild = vec![];
    for id in [ACCOUNTS, LOOSE].into_iter().chain(catalog) {
        let restored = state.remove(&id);
        if restored.is_none() && !is_table(id) {
            rebuild.push(id);
            continue;
        }
        let graph = graphs()[&id].clone();
        let shards = new_shards(&graph);
        world.relations.insert(id, shards.clone());
        let (start, readable) = match restored {
            Some(state) => (Start::Restored { epoch, state: Arc::new(state) }, Readable::Restored(epoch)),
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
