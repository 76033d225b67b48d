//! Sources and tables with a connector at recovery: registered with their history, then their feeds go on where the
//! checkpoint left them, repeating the logged steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use catalog::{CatalogObject, ObjectBody};
use connectors::{ColumnSpec, ConfiguredSource, FormatSpec};
use types::{ObjectId, SqlError, ToSqlState};

use super::{Beyond, graph_of};
use crate::checkpoint::SourcePayload;
use crate::clock::{ClockMessage, SourceEntry, SourceOptions, SourceState};
use crate::engine::Shared;
use crate::keeper::Keeper;
use crate::logged::LoggedSteps;
use crate::relation::SourceRuntime;
use crate::source_stats::SourceStats;
use crate::{dataflows, derived};

/// The connector of a source, or of a table, as the catalog describes it.
pub(crate) fn configure(object: &CatalogObject, body: &catalog::SourceBody) -> Result<ConfiguredSource, SqlError> {
    let format =
        FormatSpec { format: body.format.clone(), encode: body.encode.clone(), options: body.format_options.clone() };
    let columns: Vec<ColumnSpec> = object
        .columns
        .iter()
        .filter(|c| c.generated.is_none())
        .map(|c| ColumnSpec { name: c.name.clone(), data_type: c.data_type.clone() })
        .collect();
    let configured = connectors::configure(&body.options, &format, &columns).map_err(|e| e.to_sql_error())?;
    derived::derive(object, body, configured)
}

/// The connector behind an object.
fn source_of(object: &CatalogObject) -> Option<&catalog::SourceBody> {
    match &object.body {
        ObjectBody::Source(body) => Some(body),
        ObjectBody::Table(table) => table.source.as_ref(),
        ObjectBody::View { .. } | ObjectBody::MaterializedView(_) => None,
    }
}

pub(super) fn register_sources(shared: &Shared, beyond: &Beyond) -> Result<(), SqlError> {
    for object in shared.catalog().objects.values() {
        let Some(body) = source_of(object) else { continue };
        let configured = configure(object, body)?;
        let stored = matches!(object.body, ObjectBody::Table(_));
        let (payload, logged) = (payload_of(beyond, object.id, stored), logged_of(beyond, object.id, stored));
        register_source(shared, object, configured, body, payload, logged)?;
    }
    Ok(())
}

/// Makes a source known to the engine and the clock.
pub(crate) fn register_source(
    shared: &Shared,
    object: &CatalogObject,
    configured: ConfiguredSource,
    body: &catalog::SourceBody,
    payload: Option<&SourcePayload>,
    logged: LoggedSteps,
) -> Result<(), SqlError> {
    let stats = payload.map(|p| SourceStats::restored(p.counters.clone(), p.watermark, p.ended)).unwrap_or_default();
    let stats = Arc::new(stats);
    let bound = configured.options.freshness == connectors::Freshness::Bound;
    let keeper = Keeper::of(object, body, &shared.catalog());
    let (id, name) = (object.id, object.name.clone());
    let source = SourceRuntime::new(id, name, configured, body.watermark.clone(), stats.clone(), keeper);
    let state = SourceState {
        history: payload.map(|p| p.history.clone()).unwrap_or_default(),
        admission: payload.and_then(|p| p.admission.clone()),
        watermark: payload.and_then(|p| p.watermark),
        ended: payload.is_some_and(|p| p.ended),
        pending: logged.events.into(),
    };
    let options = SourceOptions { has_time: body.watermark.is_some(), bound };
    let entry = Box::new(SourceEntry { source: object.id, state, options });
    shared.lock_sources().insert(object.id, source);
    let stopping = |_| SqlError::new(types::SqlState::AdminShutdown, "the server is shutting down");
    shared.clock.send(ClockMessage::AddSource { entry, kept: stats }).map_err(stopping)
}

/// Feeds that had run go on where the checkpoint left them.
pub(super) fn restart_feeds(
    shared: &Shared,
    beyond: &Beyond,
    markers: &mut Vec<std::sync::mpsc::Receiver<()>>,
) -> Result<(), SqlError> {
    let mut read: BTreeMap<ObjectId, BTreeSet<usize>> = BTreeMap::new();
    for object in shared.catalog().objects.values() {
        if let Some(graph) = graph_of(object)? {
            for (relation, columns) in dataflows::columns_read(&graph) {
                read.entry(relation).or_default().extend(columns);
            }
        }
    }
    let sources: Vec<Arc<SourceRuntime>> = shared.lock_sources().values().cloned().collect();
    for source in sources {
        let stored = shared.relation(source.id).is_some();
        let payload = payload_of(beyond, source.id, stored);
        let logged = logged_of(beyond, source.id, stored);
        let had_run = payload.is_some_and(|p| !p.history.steps.is_empty()) || !logged.is_empty();
        if !had_run && !has_restored_reader(shared, source.id) {
            continue;
        }
        let columns = read.get(&source.id).cloned().unwrap_or_default();
        let offsets = payload.map(|p| p.history.offsets()).unwrap_or_default();
        let admission = payload.and_then(|p| p.admission.clone()).unwrap_or_else(|| source.new_admission());
        let marker = marker_of(markers);
        dataflows::start_feed_at(shared, &source, &columns, offsets, admission, logged, Some(marker))?;
    }
    Ok(())
}

/// What the checkpoint holds of a source. A table's is of use only with the rows: as far as those are stored, and without
/// them all is read again.
fn payload_of(beyond: &Beyond, source: ObjectId, stored: bool) -> Option<&SourcePayload> {
    if let Some(held_back) = beyond.payload.held_back.get(&source) {
        return held_back.source.as_ref();
    }
    let payload = beyond.payload.sources.get(&source);
    payload.filter(|_| !stored || beyond.payload.dataflows.contains(&source))
}

/// What has to be repeated of a source: all that was logged beyond the checkpoint. A table whose rows are not in the
/// checkpoint repeats the checkpoint's part too.
fn logged_of(beyond: &Beyond, source: ObjectId, stored: bool) -> LoggedSteps {
    let logged = beyond.logged.get(&source).cloned().unwrap_or_default();
    match (payload_of(beyond, source, stored), beyond.payload.sources.get(&source)) {
        (None, Some(read_before)) => {
            let mut all = LoggedSteps::default();
            let time_us = beyond.payload.wall_time_us;
            read_before.history.events().into_iter().for_each(|event| all.push(event, time_us));
            logged.events.into_iter().for_each(|(at, event)| all.push(event, at));
            all
        }
        (Some(_), _) | (None, None) => logged,
    }
}

/// Whether a restored dataflow reads the source itself: then it runs, even if it has not brought anything yet.
fn has_restored_reader(shared: &Shared, source: ObjectId) -> bool {
    let relations = shared.relations.lock().expect("not poisoned");
    let stored = relations.contains_key(&source);
    relations.values().any(|relation| relation.graph.inputs().contains(&source) && (!stored || relation.id == source))
}

fn marker_of(markers: &mut Vec<std::sync::mpsc::Receiver<()>>) -> Sender<()> {
    let (sender, receiver) = channel();
    markers.push(receiver);
    sender
}
