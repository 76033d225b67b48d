//! What `hw_catalog` tells of sources: how they are read, how far event time has come, what they leave out.

use std::sync::Arc;

use catalog::ObjectBody;
use datafusion::logical_expr::TableSource;
use types::{WATERMARK_END, WATERMARK_NONE};

use super::hw_catalog::watermark_text;
use super::table::{Cell, Kind, table};
use crate::engine::Shared;
use crate::source_stats::Health;

use Kind::{Bool, Int8, Text, Time};

pub(super) fn sources(shared: &Shared) -> Arc<dyn TableSource> {
    let catalog = shared.catalog();
    let paused = shared.budget.exceeded();
    let sources = shared.lock_sources();
    let rows = sources.values().filter_map(|source| {
        let object = catalog.get(source.id)?;
        let reading = source.stats.read();
        let status = match (reading.health(), reading.ended, source.started()) {
            (Health::Failed, _, _) => "failed",
            (Health::Retrying, _, _) => "retrying",
            (Health::Degraded, _, _) => "degraded",
            (Health::Well, true, _) => "ended",
            (Health::Well, false, true) if paused => "paused",
            (Health::Well, false, true) => "running",
            (Health::Well, false, false) => "idle",
        };
        let paused = || {
            let error = shared.memory_error();
            [Some(error.message), error.detail].into_iter().flatten().collect::<Vec<_>>().join(": ")
        };
        let error = reading.error().or_else(|| (status == "paused").then(paused));
        let next = reading.next_try();
        let (attempts, next_try) = (next.map(|next| next.attempts), next.and_then(|next| next.next_try_us));
        Some(vec![
            Cell::Int(source.id.0.into()),
            object.schema.as_str().into(),
            object.name.as_str().into(),
            source.config.connector().into(),
            status.into(),
            error.into(),
            Cell::Int(reading.counters.rows as i64),
            Cell::Int(reading.counters.bytes as i64),
            Cell::Int(reading.counters.errors as i64),
            Cell::Int(reading.counters.late as i64),
            Cell::Int(attempts.unwrap_or(0).into()),
            next_try.map_or(Cell::Null, Cell::Time),
            Cell::Int(reading.given_up() as i64),
        ])
    });
    let rows = rows.collect();
    drop(sources);
    table(
        &[
            ("id", Int8),
            ("schema", Text),
            ("name", Text),
            ("connector", Text),
            ("status", Text),
            ("error", Text),
            ("rows", Int8),
            ("bytes", Int8),
            ("malformed", Int8),
            ("late", Int8),
            ("attempts", Int8),
            ("next_try", Time),
            ("inputs_given_up", Int8),
        ],
        rows,
    )
}

pub(super) fn watermarks(shared: &Shared) -> Arc<dyn TableSource> {
    let sources = shared.lock_sources();
    let row = |name: &str, watermark: i64, ended: bool| {
        let time = (watermark != WATERMARK_NONE && watermark != WATERMARK_END).then_some(watermark);
        vec![name.into(), watermark_text(watermark).into(), time.map_or(Cell::Null, Cell::Time), ended.into()]
    };
    let mut rows: Vec<Vec<Cell>> = sources
        .values()
        .filter(|source| source.watermark.is_some())
        .map(|source| {
            let reading = source.stats.read();
            row(&source.name, reading.watermark.unwrap_or(WATERMARK_NONE), reading.ended)
        })
        .collect();
    drop(sources);
    let catalog = shared.catalog();
    let tables = catalog.objects.values();
    let with_watermark = tables.filter(|o| has_watermark(&o.body));
    rows.extend(with_watermark.map(|table| row(&table.name, shared.lines.line(table.id), false)));
    table(&[("source", Text), ("watermark", Text), ("event_time", Time), ("ended", Bool)], rows)
}

fn has_watermark(body: &ObjectBody) -> bool {
    matches!(body, ObjectBody::Table(table) if table.watermark.is_some())
}

pub(super) fn late_rows(shared: &Shared) -> Arc<dyn TableSource> {
    let mut rows: Vec<Vec<Cell>> = shared
        .lock_sources()
        .values()
        .map(|source| {
            let late = source.stats.read().counters.late;
            vec![source.name.as_str().into(), Cell::Int(late as i64)]
        })
        .collect();
    let catalog = shared.catalog();
    let counts = shared.late.read();
    let with_watermark = catalog.objects.values().filter(|o| has_watermark(&o.body));
    rows.extend(with_watermark.map(|table| {
        let late = counts.get(&table.id).copied().unwrap_or(0);
        vec![table.name.as_str().into(), Cell::Int(late as i64)]
    }));
    table(&[("relation", Text), ("rows", Int8)], rows)
}

pub(super) fn source_errors(shared: &Shared) -> Arc<dyn TableSource> {
    let mut rows = vec![];
    for source in shared.lock_sources().values() {
        for kept in source.stats.read().counters.kept {
            rows.push(vec![
                source.name.as_str().into(),
                kept.partition.into(),
                Cell::Int(kept.position as i64),
                kept.reason.into(),
                kept.state.code().into(),
                crate::keeper::raw_text(&kept.raw).into(),
                Cell::Time(kept.at_us),
            ]);
        }
    }
    table(
        &[
            ("source", Text),
            ("partition", Text),
            ("position", Int8),
            ("error", Text),
            ("sqlstate", Text),
            ("raw", Text),
            ("seen", Time),
        ],
        rows,
    )
}
