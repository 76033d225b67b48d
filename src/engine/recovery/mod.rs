//! Opening a database: manifest → catalog, plans, state, offsets; journal beyond it → catalog changes, table rows,
//! logged epochs. A new directory is the same path with nothing to restore.
//!
//! Order: workers and clock start at the checkpoint's epoch; sources register with their history; dataflows are
//! restored in the order of their ids (a reader's id is larger than what it reads); feeds repeat the logged steps and
//! go on; table rows beyond the checkpoint enter as new epochs; relations that were not in the checkpoint are rebuilt.
//! Ready when all of that is sealed, so no reader sees less than before the crash.

mod sources;
mod start;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use catalog::{Building, Catalog, CatalogChange, CatalogObject, ObjectBody};
use dataflow::{CreateDataflow, DataflowGraph, RestoredBatch, RestoredState, Start};
use state::{DurableStore, JournalEntry, Recovered, StoreOptions};
use types::limits::FAILURES_IN_A_ROW_MAX;
use types::{Epoch, ObjectId, SqlError, SqlState, ToSqlState};

use crate::checkpoint::CheckpointPayload;
use crate::clock::{ClockMessage, Readable};
use crate::config::EngineConfig;
use crate::dataflows;
use crate::engine::{Engine, Shared};
use crate::failures::{Failed, Stage, name_of};
use crate::log::{CatalogEntry, EpochEntry, KIND_CATALOG, KIND_EPOCH, KIND_TABLE_ROWS};
use crate::logged::LoggedSteps;
use crate::rebuild::{self, Request};
use crate::relation::Relation;
use crate::statements::building;
use crate::tables;
use crate::time::now_us;
use sources::{register_sources, restart_feeds};
use start::start;

pub(crate) use sources::{configure, register_source};

/// Private epochs of catching-up dataflows lie below the first shared one.
const FIRST_EPOCH: Epoch = 1_000_000_000;
/// A new incarnation starts so far beyond the last logged epoch that it can't repeat an unlogged one.
const INCARNATION_GAP: Epoch = 1_000_000;

/// What the journal adds to the manifest.
struct Beyond {
    payload: CheckpointPayload,
    /// Steps per source after the checkpoint.
    logged: BTreeMap<ObjectId, LoggedSteps>,
    /// Undecoded rows of tables, in journal order.
    rows: Vec<JournalEntry>,
    last_epoch: Epoch,
}

pub(crate) fn open(config: EngineConfig) -> Result<Engine, SqlError> {
    let (store, recovered) = match &config.data_dir {
        Some(dir) => {
            let options = StoreOptions { accept_data_loss: config.accept_data_loss, ..StoreOptions::default() };
            DurableStore::open(dir, options).map_err(|e| e.to_sql_error())?
        }
        None => DurableStore::in_memory(),
    };
    let beyond = read_beyond(&recovered)?;
    let engine = start(config, store, &beyond, &recovered)?;
    let shared = &engine.shared;
    let mut markers = vec![];
    remove_interrupted(shared)?;
    register_sources(shared, &beyond)?;
    for (table, watermark) in &beyond.payload.table_watermarks {
        shared.lines.raise(*table, *watermark);
    }
    log_incarnation(shared, &beyond);
    let Unrestored { rebuild, withheld } = restore_dataflows(shared, &recovered, &beyond.payload)?;
    restart_feeds(shared, &beyond, &mut markers)?;
    for entry in &beyond.rows {
        tables::replay(shared, entry, &beyond.payload)?;
    }
    // An error means the clock has stopped; the next step says so.
    let _ = shared.clock.send(ClockMessage::Recovered);
    rebuild_relations(shared, rebuild)?;
    wait_caught_up(shared, markers)?;
    let catalog = shared.catalog();
    let background = catalog.objects.values().filter(|object| object.building.is_some());
    background.for_each(|object| building::resume(shared, object.clone()));
    // An error means that everything is about to stop.
    let _ = shared.failures.rebuild.send(Request::Recovered(withheld));
    shared.ready.store(true, std::sync::atomic::Ordering::Release);
    tracing::info!(epoch = shared.oracle.opened(), objects = shared.catalog().objects.len(), "ready");
    Ok(engine)
}

/// Objects that were being built when the server stopped, and that nobody was told to exist.
fn remove_interrupted(shared: &Shared) -> Result<(), SqlError> {
    let catalog = shared.catalog();
    let interrupted = catalog.objects.values().filter(|object| object.building == Some(Building::Foreground));
    let interrupted: Vec<_> = interrupted.collect();
    if interrupted.is_empty() {
        return Ok(());
    }
    for object in &interrupted {
        tracing::warn!(kind = object.kind_name(), name = object.name, "removed: its creation was interrupted");
        let description = format!("CREATE {} {}", object.kind_name().to_uppercase(), object.name);
        shared.jobs.removed(description, object.created_us);
    }
    shared.change_catalog(vec![CatalogChange::Drop(interrupted.iter().map(|object| object.id).collect())])
}

fn corrupt(what: &str, error: impl std::fmt::Display) -> SqlError {
    SqlError::new(types::SqlState::DataCorrupted, format!("cannot read {what}: {error}"))
}

fn read_beyond(recovered: &Recovered) -> Result<Beyond, SqlError> {
    let initial = CheckpointPayload {
        epoch: FIRST_EPOCH,
        incarnation: 0,
        wall_time_us: 0,
        table_position: 0,
        table_watermarks: BTreeMap::new(),
        table_late: BTreeMap::new(),
        catalog: Catalog::new(),
        catalog_position: 0,
        dataflows: vec![],
        held_back: BTreeMap::new(),
        sources: BTreeMap::new(),
    };
    let mut payload = match &recovered.manifest {
        Some(manifest) if !manifest.is_initial() => {
            serde_json::from_value(manifest.payload.clone()).map_err(|e| corrupt("the checkpoint's manifest", e))?
        }
        _ => initial,
    };
    let mut logged: BTreeMap<ObjectId, LoggedSteps> = BTreeMap::new();
    let (mut rows, mut last_epoch) = (vec![], payload.epoch);
    for entry in &recovered.entries {
        match entry.kind {
            KIND_CATALOG if entry.position > payload.catalog_position => {
                let change: CatalogEntry =
                    serde_json::from_slice(&entry.payload).map_err(|e| corrupt("a catalog change", e))?;
                change.changes.into_iter().for_each(|change| payload.catalog.apply(change));
                payload.catalog_position = entry.position;
            }
            KIND_TABLE_ROWS if entry.position > payload.needed_from() => rows.push(entry.clone()),
            KIND_EPOCH => {
                let epoch: EpochEntry =
                    serde_json::from_slice(&entry.payload).map_err(|e| corrupt("an epoch record", e))?;
                payload.wall_time_us = payload.wall_time_us.max(epoch.wall_time_us);
                payload.incarnation = payload.incarnation.max(epoch.incarnation);
                last_epoch = last_epoch.max(epoch.epoch);
                for (source, events) in epoch.sources {
                    if epoch.epoch > payload.settled(source).epoch {
                        let history = logged.entry(source).or_default();
                        events.into_iter().for_each(|event| history.push(event, epoch.wall_time_us));
                    }
                }
            }
            _ => {}
        }
    }
    for (source, read) in &payload.sources {
        let mut pending = LoggedSteps::default();
        read.pending.iter().cloned().for_each(|(at, event)| pending.push(event, at));
        let beyond = logged.remove(source).unwrap_or_default();
        beyond.events.into_iter().for_each(|(at, event)| pending.push(event, at));
        logged.insert(*source, pending);
    }
    // Their sessions are gone.
    payload.catalog.objects.retain(|_, object| !object.is_temporary());
    Ok(Beyond { payload, logged, rows, last_epoch })
}

/// Makes durable that this life of the server has begun, so that none repeats the epochs of another: clients name them.
fn log_incarnation(shared: &Shared, beyond: &Beyond) {
    let entry = EpochEntry {
        epoch: shared.oracle.opened(),
        incarnation: beyond.payload.incarnation + 1,
        wall_time_us: beyond.payload.wall_time_us.max(now_us()),
        table_position: beyond.payload.table_position,
        sources: BTreeMap::new(),
    };
    let bytes = serde_json::to_vec(&entry).expect("an epoch entry has a JSON form");
    let journal = shared.store.journal();
    if let Err(error) = journal.append(KIND_EPOCH, &bytes).and_then(|position| journal.sync_up_to(position)) {
        // A full disk: reads must be possible all the same.
        tracing::warn!(error = %error, "cannot log the start");
    }
}

/// The persisted graph of a table or materialized view.
pub(crate) fn graph_of(object: &CatalogObject) -> Result<Option<Arc<DataflowGraph>>, SqlError> {
    let plan = match &object.body {
        ObjectBody::Table(table) => &table.plan,
        ObjectBody::MaterializedView(view) => &view.plan,
        ObjectBody::Source(_) | ObjectBody::View { .. } => return Ok(None),
    };
    let graph: DataflowGraph =
        serde_json::from_value(plan.clone()).map_err(|e| corrupt(&format!("the plan of \"{}\"", object.name), e))?;
    if graph.version > DataflowGraph::VERSION {
        return Err(corrupt(&format!("the plan of \"{}\"", object.name), "it was written by a newer version"));
    }
    Ok(Some(Arc::new(graph)))
}

/// What is not restored.
#[derive(Default)]
struct Unrestored {
    /// Has to be built anew before anybody reads.
    rebuild: Vec<Arc<DataflowGraph>>,
    /// Views that failed, to be built anew in the background.
    withheld: Vec<ObjectId>,
}

/// Restores what is stored.
fn restore_dataflows(
    shared: &Shared,
    recovered: &Recovered,
    payload: &CheckpointPayload,
) -> Result<Unrestored, SqlError> {
    let mut unrestored = Unrestored::default();
    let catalog = shared.catalog();
    let stored = recovered.state.relations();
    let is_table = |object: &CatalogObject| matches!(object.body, ObjectBody::Table(_));
    // State of relations that are gone, or that are built anew, must not meet new state. Rows of a table are nowhere
    // else: what is stored of it stays.
    let stale = |id: &ObjectId| match catalog.get(*id) {
        Some(object) => !is_table(object) && !payload.dataflows.contains(id),
        None => true,
    };
    shared.store.drop_relations(&stored.iter().copied().filter(stale).collect::<Vec<_>>());
    for object in catalog.objects.values() {
        let Some(graph) = graph_of(object)? else { continue };
        let restored = payload.dataflows.contains(&object.id) || (is_table(object) && stored.contains(&object.id));
        if !is_table(object) && withhold(shared, object, &graph, restored) {
            let background =
                shared.failures.book.get(object.id).is_some_and(|f| f.root == object.id && f.stage == Stage::Failed);
            unrestored.withheld.extend(background.then_some(object.id));
            continue;
        }
        if !restored && !is_table(object) {
            // A background job builds its own.
            if object.building.is_none() {
                unrestored.rebuild.push(graph);
            }
            continue;
        }
        let relation = Relation::new(graph.clone(), shared.runtime.workers(), Some(object));
        shared.relations.lock().expect("not poisoned").insert(object.id, relation.clone());
        let (start, readable) = if restored {
            let state = Arc::new(read_state(recovered, object.id)?);
            (Start::Restored { epoch: payload.epoch, state }, Readable::Restored(payload.epoch))
        } else {
            (Start::Fresh, Readable::AtOnce)
        };
        let create = CreateDataflow { graph, shards: relation.shards.clone(), start };
        let stopping = |_| SqlError::new(types::SqlState::AdminShutdown, "the server is shutting down");
        shared
            .clock
            .send(ClockMessage::Create { dataflow: Box::new(create), readable, temporary: false })
            .map_err(stopping)?;
    }
    Ok(unrestored)
}

/// Leaves out a view that failed, or that reads one that is left out: nobody waits for it. What can be restored is,
/// unless it has failed too often in a row.
fn withhold(shared: &Shared, object: &CatalogObject, graph: &Arc<DataflowGraph>, restored: bool) -> bool {
    let (id, book) = (object.id, &shared.failures.book);
    let catalog = shared.catalog();
    let failed = if let Some(input) = graph.inputs().into_iter().find_map(|input| book.get(input)) {
        input
    } else {
        let Some(entry) = catalog.failures.get(&id).filter(|entry| entry.standing) else { return false };
        let stage = if entry.times > FAILURES_IN_A_ROW_MAX { Stage::Waiting } else { Stage::Failed };
        if restored && stage == Stage::Failed {
            return false;
        }
        let state = SqlState::from_code(&entry.sqlstate).unwrap_or(SqlState::InternalError);
        let error = SqlError::new(state, entry.message.clone())
            .with_detail(format!("Its operator {} stopped; nothing that reads it can be read.", entry.operator));
        let (operator, since_us, times) = (entry.operator.clone(), entry.since_us, entry.times);
        Failed { root: id, operator, error, since_us, times, stage }
    };
    let relation = Relation::new(graph.clone(), shared.runtime.workers(), Some(object));
    shared.relations.lock().expect("not poisoned").insert(id, relation);
    shared.checkpointer.give_up(id);
    rebuild::show(shared, id, &failed, failed.stage);
    true
}

fn read_state(recovered: &Recovered, relation: ObjectId) -> Result<RestoredState, SqlError> {
    let mut state: RestoredState = HashMap::new();
    for block in recovered.state.blocks_of(relation) {
        let block = block.map_err(|e| e.to_sql_error())?;
        let tables = state.entry(block.operator).or_default();
        tables.extend(block.batches.into_iter().map(|batch| RestoredBatch {
            table: block.table,
            vnode_columns: block.vnode_columns.clone(),
            batch,
        }));
    }
    Ok(state)
}

fn rebuild_relations(shared: &Shared, graphs: Vec<Arc<DataflowGraph>>) -> Result<(), SqlError> {
    for graph in graphs {
        let job = shared.jobs.start(format!("rebuild relation {}", graph.relation));
        let id = graph.relation;
        let object = shared.catalog().get(id).cloned();
        let relation = Relation::new(graph, shared.runtime.workers(), object.as_deref());
        shared.relations.lock().expect("not poisoned").insert(id, relation.clone());
        // Whoever reads it is built next and starts from a snapshot: what came after that would not be sealed there.
        let built = dataflows::build_into(shared, &relation, &job, false)
            .and_then(|()| dataflows::wait_joined(shared, &relation, &job));
        let Err(error) = built else { continue };
        if error.state == SqlState::AdminShutdown {
            return Err(error);
        }
        // The server is up without it; it is tried again in the background.
        if shared.oracle.dataflow_failure(id).is_none() {
            let name = object.map_or_else(|| format!("relation {id}"), |object| name_of(&object));
            let message = format!("{name} has failed: it could not be built again: {}", error.message);
            let failed = shared.failures.mark_with(id, String::new(), &SqlError { message, ..error });
            failed.iter().for_each(|id| shared.checkpointer.give_up(*id));
            shared.failures.tell(id);
        }
    }
    Ok(())
}

/// Waits until everything that was visible before is visible again.
fn wait_caught_up(shared: &Shared, markers: Vec<std::sync::mpsc::Receiver<()>>) -> Result<(), SqlError> {
    for marker in markers {
        // An error: that feed stopped with a failure, which is shown with the source.
        let _ = marker.recv();
    }
    let epoch = dataflows::barrier(shared)?;
    let ids: Vec<ObjectId> = shared.relations.lock().expect("not poisoned").keys().copied().collect();
    for id in ids {
        while shared.oracle.failure(id).is_none() && shared.oracle.frontier(id).is_some_and(|f| f < epoch) {
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
