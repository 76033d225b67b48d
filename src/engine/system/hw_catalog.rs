//! `hw_catalog`: what this server knows about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::ObjectBody;
use dataflow::NodeKind;
use datafusion::logical_expr::TableSource;
use types::{WATERMARK_END, WATERMARK_NONE};

use super::hw_sources::{late_rows, source_errors, sources, watermarks};
use super::table::{Cell, Kind, table};
use crate::engine::Shared;
use crate::locks::{Mode, Resource};

use Kind::{Bool, Int4, Int8, Text, Time};

/// All relations, in an order that never changes: their OIDs follow it.
pub const NAMES: [&str; 15] = [
    "sources",
    "tables",
    "views",
    "jobs",
    "operators",
    "watermarks",
    "freshness",
    "late_rows",
    "source_errors",
    "errors",
    "checkpoints",
    "sessions",
    "memory",
    "locks",
    "failures",
];

/// The relation of that name, as of now.
pub fn relation(shared: &Shared, name: &str) -> Option<Arc<dyn TableSource>> {
    let source = match name {
        "sources" => sources(shared),
        "tables" => objects(shared, |body| matches!(body, ObjectBody::Table(_))),
        "views" => objects(shared, |body| matches!(body, ObjectBody::MaterializedView(_) | ObjectBody::View { .. })),
        "jobs" => jobs(shared),
        "operators" => operators(shared),
        "watermarks" => watermarks(shared),
        "freshness" => freshness(shared),
        "late_rows" => late_rows(shared),
        "source_errors" => source_errors(shared),
        "errors" => errors(shared),
        "checkpoints" => checkpoints(shared),
        "sessions" => sessions(shared),
        "memory" => memory(shared),
        "locks" => locks(shared),
        "failures" => failures(shared),
        _ => return None,
    };
    Some(source)
}

/// A watermark as text: a timestamp, or where it stands outside of time.
pub(crate) fn watermark_text(watermark: i64) -> String {
    match watermark {
        WATERMARK_NONE => "none".to_string(),
        WATERMARK_END => "infinity".to_string(),
        us => chrono::DateTime::from_timestamp_micros(us)
            .map_or_else(|| us.to_string(), |t| t.naive_utc().format("%Y-%m-%d %H:%M:%S%.6f").to_string()),
    }
}

fn objects(shared: &Shared, wanted: fn(&ObjectBody) -> bool) -> Arc<dyn TableSource> {
    let catalog = shared.catalog();
    let rows = catalog.objects.values().filter(|o| wanted(&o.body)).map(|object| {
        let failed = shared.failures.book.get(object.id);
        let status = failed.as_ref().map_or("running", |failed| failed.stage.name());
        let failure = failed.map(|failed| failed.error.message);
        let rows = shared.relation(object.id).map(|r| r.shards.iter().map(|s| s.row_count() as i64).sum::<i64>());
        vec![
            Cell::Int(object.id.0.into()),
            object.schema.as_str().into(),
            object.name.as_str().into(),
            object.kind_name().into(),
            status.into(),
            failure.into(),
            rows.into(),
            object.sql.as_str().into(),
            Cell::Time(object.created_us),
        ]
    });
    table(
        &[
            ("id", Int8),
            ("schema", Text),
            ("name", Text),
            ("kind", Text),
            ("status", Text),
            ("error", Text),
            ("rows", Int8),
            ("definition", Text),
            ("created", Time),
        ],
        rows.collect(),
    )
}

/// Relations that cannot be read because something failed, and what is being done about it.
fn failures(shared: &Shared) -> Arc<dyn TableSource> {
    let catalog = shared.catalog();
    let rows = shared.failures.book.read().into_iter().filter_map(|(id, failed)| {
        let (object, root) = (catalog.get(id)?, catalog.get(failed.root));
        let reads = root.filter(|root| root.id != id).map(|root| root.name.clone());
        Some(vec![
            Cell::Int(id.0.into()),
            object.schema.as_str().into(),
            object.name.as_str().into(),
            object.kind_name().into(),
            failed.stage.name().into(),
            reads.into(),
            failed.operator.as_str().into(),
            failed.error.state.code().into(),
            failed.error.message.as_str().into(),
            Cell::Time(failed.since_us),
            Cell::Int(failed.times.into()),
        ])
    });
    table(
        &[
            ("id", Int8),
            ("schema", Text),
            ("name", Text),
            ("kind", Text),
            ("state", Text),
            ("because_of", Text),
            ("operator", Text),
            ("sqlstate", Text),
            ("error", Text),
            ("since", Time),
            ("times", Int4),
        ],
        rows.collect(),
    )
}

fn jobs(shared: &Shared) -> Arc<dyn TableSource> {
    let mut jobs = shared.jobs.ended();
    jobs.extend(shared.jobs.read());
    let rows = jobs.into_iter().map(|job| {
        vec![
            Cell::Int(job.id.into()),
            job.description.into(),
            job.state.name().into(),
            job.error.into(),
            Cell::Int(job.rows as i64),
            Cell::Time(job.started_us),
        ]
    });
    let columns =
        [("id", Int8), ("description", Text), ("state", Text), ("error", Text), ("rows", Int8), ("started", Time)];
    table(&columns, rows.collect())
}

fn operators(shared: &Shared) -> Arc<dyn TableSource> {
    let catalog = shared.catalog();
    let readings = shared.runtime.stats().read();
    let relations = shared.relations.lock().expect("not poisoned").clone();
    let mut rows = vec![];
    for ((id, operator), reading) in readings {
        let Some(relation) = relations.get(&id) else { continue };
        let node = relation.graph.nodes.iter().find(|n| n.id == operator && matches!(n.kind, NodeKind::Operator(_)));
        let Some(node) = node else { continue };
        rows.push(vec![
            Cell::Int(id.0.into()),
            catalog.get(id).map(|o| o.name.clone()).into(),
            Cell::Int(operator.into()),
            node.label.as_str().into(),
            Cell::Int(reading.rows_in as i64),
            Cell::Int(reading.rows_out as i64),
            Cell::Int(reading.busy_ns as i64),
            Cell::Int(reading.state_bytes as i64),
        ]);
    }
    table(
        &[
            ("relation_id", Int8),
            ("relation", Text),
            ("operator", Int8),
            ("label", Text),
            ("rows_in", Int8),
            ("rows_out", Int8),
            ("busy_ns", Int8),
            ("state_bytes", Int8),
        ],
        rows,
    )
}

fn freshness(shared: &Shared) -> Arc<dyn TableSource> {
    let catalog = shared.catalog();
    let opened = shared.oracle.opened();
    let rows = catalog.objects.values().filter_map(|object| {
        let frontier = shared.oracle.frontier(object.id)?;
        Some(vec![
            Cell::Int(object.id.0.into()),
            object.name.as_str().into(),
            Cell::Int(frontier as i64),
            Cell::Int((opened - frontier.min(opened)) as i64),
        ])
    });
    table(&[("id", Int8), ("name", Text), ("epoch", Int8), ("epochs_behind", Int8)], rows.collect())
}

fn errors(shared: &Shared) -> Arc<dyn TableSource> {
    let catalog = shared.catalog();
    let relations = shared.relations.lock().expect("not poisoned").clone();
    // An error and its retraction may lie in different shards, and of one kind there may be many rows.
    let mut kinds: BTreeMap<_, i64> = BTreeMap::new();
    for (id, relation) in relations {
        for error in relation.shards.iter().flat_map(|shard| shard.snapshot(types::Epoch::MAX).errors()) {
            *kinds.entry((id, error.state, error.message)).or_default() += error.diff;
        }
    }
    let rows = kinds.into_iter().filter(|(_, count)| *count != 0).map(|((id, state, message), count)| {
        let name = catalog.get(id).map(|o| o.name.clone());
        vec![name.into(), state.code().into(), message.into(), Cell::Int(count)]
    });
    table(&[("relation", Text), ("sqlstate", Text), ("message", Text), ("count", Int8)], rows.collect())
}

fn checkpoints(shared: &Shared) -> Arc<dyn TableSource> {
    let rows = shared.checkpointer.finished().into_iter().map(|record| {
        vec![
            Cell::Int(record.epoch as i64),
            Cell::Time(record.finished_us),
            Cell::Int(record.stats.bytes_written as i64),
            Cell::Int(record.stats.bytes_before as i64),
            Cell::Int(record.stats.runs as i64),
            Cell::Int(record.stats.duration.as_micros() as i64),
            Cell::Int(record.stats.live_bytes as i64),
        ]
    });
    table(
        &[
            ("epoch", Int8),
            ("finished", Time),
            ("bytes_written", Int8),
            ("bytes_changed", Int8),
            ("runs", Int8),
            ("duration_us", Int8),
            ("live_bytes", Int8),
        ],
        rows.collect(),
    )
}

fn sessions(shared: &Shared) -> Arc<dyn TableSource> {
    let rows = shared.sessions.read().into_iter().map(|session| {
        vec![
            Cell::Int(session.id.into()),
            session.user.into(),
            session.application.into(),
            Cell::Time(session.started_us),
            session.state.name().into(),
            session.query.into(),
        ]
    });
    let columns =
        [("id", Int4), ("user", Text), ("application", Text), ("started", Time), ("state", Text), ("query", Text)];
    table(&columns, rows.collect())
}

/// What transactions hold and wait for, summed up by table.
fn locks(shared: &Shared) -> Arc<dyn TableSource> {
    let catalog = shared.catalog();
    let mut counts: BTreeMap<_, i64> = BTreeMap::new();
    for (session, lock) in shared.locks.read() {
        let what = match lock.resource {
            Resource::Table(_) => "table",
            Resource::Line(_) => "watermark",
            Resource::Row(..) => "row",
        };
        *counts.entry((session, lock.resource.table(), what, lock.mode, lock.granted)).or_default() += 1;
    }
    let rows = counts.into_iter().map(|((session, table, what, mode, granted), count)| {
        vec![
            Cell::Int(session.into()),
            Cell::Int(table.0.into()),
            catalog.get(table).map(|object| object.name.clone()).into(),
            what.into(),
            match mode {
                Mode::Share => "share",
                Mode::Exclusive => "exclusive",
            }
            .into(),
            Cell::Bool(granted),
            Cell::Int(count),
        ]
    });
    let columns = [
        ("session", Int4),
        ("table_id", Int8),
        ("table", Text),
        ("what", Text),
        ("mode", Text),
        ("granted", Bool),
        ("count", Int8),
    ];
    table(&columns, rows.collect())
}

fn memory(shared: &Shared) -> Arc<dyn TableSource> {
    let (used, limit) = (shared.budget.used_bytes(), shared.budget.limit_bytes());
    let rows = vec![vec!["used".into(), Cell::Int(used as i64)], vec!["limit".into(), Cell::Int(limit as i64)]];
    table(&[("part", Text), ("bytes", Int8)], rows)
}
