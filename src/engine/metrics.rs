//! Figures for Prometheus, read at the moment of a scrape. Low cardinality: per source, per view, never per row or key.

use std::collections::BTreeMap;

use types::ObjectId;

use crate::engine::Engine;
use crate::failures::Stage;
use crate::source_stats::Health;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
}

/// One value of a metric; samples of one name share help and kind.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSample {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: MetricKind,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Engine {
    /// All samples, grouped by name.
    pub fn metrics(&self) -> Vec<MetricSample> {
        let mut samples = vec![];
        self.source_samples(&mut samples);
        self.view_samples(&mut samples);
        self.process_samples(&mut samples);
        samples.sort_by_key(|sample| sample.name);
        samples
    }

    fn source_samples(&self, samples: &mut Vec<MetricSample>) {
        for source in self.shared.lock_sources().values() {
            let reading = source.stats.read();
            let mut counter = |name, help, value: u64| {
                let labels = vec![("source", source.name.clone())];
                samples.push(MetricSample { name, help, kind: MetricKind::Counter, labels, value: value as f64 });
            };
            let counters = &reading.counters;
            counter("highwater_source_rows_total", "Rows admitted from a source", counters.rows);
            counter("highwater_source_bytes_total", "Bytes read from a source", counters.bytes);
            counter("highwater_source_errors_total", "Malformed records of a source", counters.errors);
            counter("highwater_late_rows_total", "Rows of a source left out as late", counters.late);
            counter(
                "highwater_source_retries_total",
                "Reads of a source that failed and are tried again",
                reading.retries,
            );
            let mut gauge = |name, help, value: usize| {
                let labels = vec![("source", source.name.clone())];
                samples.push(MetricSample { name, help, kind: MetricKind::Gauge, labels, value: value as f64 });
            };
            let unhealthy = usize::from(reading.health() != Health::Well);
            gauge("highwater_source_unhealthy", "1 while a source, or an input of it, cannot be read", unhealthy);
            gauge(
                "highwater_source_inputs_given_up",
                "Inputs of a source that are not read any more",
                reading.given_up(),
            );
        }
    }

    /// One that has stopped reads nothing until somebody does something about it.
    fn stopped_sources(&self) -> usize {
        self.shared.lock_sources().values().filter(|source| source.stats.read().failure.is_some()).count()
    }

    fn view_samples(&self, samples: &mut Vec<MetricSample>) {
        let catalog = self.shared.catalog();
        let mut bytes: BTreeMap<ObjectId, u64> = BTreeMap::new();
        for ((relation, _), reading) in self.shared.runtime.stats().read() {
            *bytes.entry(relation).or_default() += reading.state_bytes;
        }
        for (id, bytes) in bytes {
            let Some(object) = catalog.get(id) else { continue };
            let mut gauge = |name, help, value| {
                let labels = vec![("view", object.name.clone())];
                samples.push(MetricSample { name, help, kind: MetricKind::Gauge, labels, value });
            };
            gauge("highwater_state_bytes", "Bytes of state behind a view or table", bytes as f64);
            if let Some(relation) = self.shared.relation(id) {
                let rows: usize = relation.shards.iter().map(|shard| shard.row_count()).sum();
                gauge("highwater_state_rows", "Rows of a view or table", rows as f64);
            }
        }
        let mut stages = [Stage::Failed, Stage::Rebuilding, Stage::Waiting].map(|stage| (stage, 0));
        for failed in self.shared.failures.book.read().values() {
            let stage = stages.iter_mut().find(|(stage, _)| *stage == failed.stage);
            stage.expect("all stages are listed").1 += 1;
        }
        for (stage, count) in stages {
            let help = "Tables and views that cannot be read because something failed, by what is being done about it";
            let labels = vec![("stage", stage.name().to_string())];
            let (name, kind, value) = ("highwater_relations_failed", MetricKind::Gauge, f64::from(count));
            samples.push(MetricSample { name, help, kind, labels, value });
        }
    }

    fn process_samples(&self, samples: &mut Vec<MetricSample>) {
        let (used, limit) = self.memory();
        let mut push = |name, help, kind, value| {
            samples.push(MetricSample { name, help, kind, labels: vec![], value });
        };
        let stopped = self.stopped_sources() as f64;
        push("highwater_sources_stopped", "Sources that have stopped with an error", MetricKind::Gauge, stopped);
        push("highwater_memory_bytes", "Bytes counted against the memory limit", MetricKind::Gauge, used as f64);
        push("highwater_memory_limit_bytes", "The memory limit", MetricKind::Gauge, limit as f64);
        let opened = self.shared.oracle.opened() as f64;
        push("highwater_epoch", "Newest epoch", MetricKind::Gauge, opened);
        let sessions = self.shared.sessions.read().len() as f64;
        let feeds = self.shared.feed_threads.count() as f64;
        push("highwater_source_threads", "Threads that read sources", MetricKind::Gauge, feeds);
        push("highwater_pg_connections", "Open sessions", MetricKind::Gauge, sessions);
        if let Some(last) = self.shared.checkpointer.finished().last() {
            let age = (crate::time::now_us() - last.finished_us) as f64 / 1e6;
            push("highwater_checkpoint_age_seconds", "Time since the last checkpoint", MetricKind::Gauge, age);
            let duration = last.stats.duration.as_secs_f64();
            push(
                "highwater_checkpoint_duration_seconds",
                "Duration of the last checkpoint",
                MetricKind::Gauge,
                duration,
            );
            let bytes = last.stats.bytes_written as f64;
            push("highwater_checkpoint_bytes", "Bytes written by the last checkpoint", MetricKind::Gauge, bytes);
        }
    }
}
