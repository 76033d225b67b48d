//! The streaming side: plan, render on one worker, feed epochs, wait until everything is sealed, read the view.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use catalog::{Catalog, ObjectBody};
use dataflow::{CreateDataflow, Event, FeedBatch, Runtime, Start};
use operators::arrangement::Shard;
use plan::{PlanSession, Planner, ViewPlanOptions};
use sql::Statement;
use types::{DeltaBatch, EpochRecord, MemoryBudget, ObjectId, WATERMARK_END, Watermarks};

use crate::cpu::{self, Measured};
use crate::data::Tables;

/// Epochs in flight, as in the server.
const IN_FLIGHT: u64 = 8;
const VIEW: ObjectId = ObjectId(20_000);

pub struct Streamed {
    pub rows_in: usize,
    pub rows: usize,
    pub checksum: u64,
    pub measured: Measured,
}

#[derive(Default)]
struct Progress {
    sealed: AtomicU64,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Progress {
    fn wait(&self, epoch: u64) {
        let mut held = self.lock.lock().expect("not poisoned");
        while self.sealed.load(Ordering::Acquire) < epoch {
            held = self.moved.wait(held).expect("not poisoned");
        }
    }
}

pub fn query_of(text: &str) -> Box<sql::ast::Query> {
    let statement = sql::parse(text).expect("the query parses").remove(0).statement;
    let Statement::Query(query) = statement else { panic!("a query") };
    query
}

pub fn run(catalog: &Arc<Catalog>, tables: &Tables, text: &str, options: ViewPlanOptions) -> Result<Streamed, String> {
    let planner = Planner::new(catalog.clone(), PlanSession::default());
    let planned = planner.plan_view(VIEW, &query_of(text), &[], options).map_err(|e| format!("{e}"))?;
    let graph = Arc::new(planned.graph);
    let progress = Arc::new(Progress::default());
    let seen = progress.clone();
    let events = Arc::new(move |event: Event| match event {
        Event::Sealed { epoch, .. } => {
            let _held = seen.lock.lock().expect("not poisoned");
            seen.sealed.store(epoch, Ordering::Release);
            seen.moved.notify_all();
        }
        Event::Failed { error, .. } => panic!("the dataflow failed: {error}"),
        _ => {}
    });
    let budget = MemoryBudget::new(usize::MAX);
    let runtime = Runtime::start(1, budget, events).map_err(|e| e.to_string())?;
    let schema = graph.output().schema.clone();
    let shard = Shard::new(schema, planned.key.clone());
    let shards = Arc::new(vec![shard.clone()]);
    runtime.create(CreateDataflow { graph: graph.clone(), shards, start: Start::Fresh });
    runtime.attach(VIEW);
    let feeds = interleave(catalog, tables, &graph.inputs());
    let rows_in = feeds.iter().map(|(_, b, _)| b.num_rows()).sum();
    let ((), measured) = cpu::measure(|| feed(&runtime, &progress, &shard, feeds));
    let batches: Vec<RecordBatch> = shard.snapshot(u64::MAX).batches(None).collect();
    let (rows, checksum) = cpu::checksum(&batches);
    runtime.shutdown();
    Ok(Streamed { rows_in, rows, checksum, measured })
}

type Feed = (ObjectId, RecordBatch, i64);

/// Batches of all inputs in event-time order, each with its source's watermark after it.
fn interleave(catalog: &Catalog, tables: &Tables, inputs: &[ObjectId]) -> Vec<Feed> {
    let mut feeds: Vec<Feed> = vec![];
    for id in inputs {
        let ObjectBody::Source(body) = &catalog.get(*id).expect("known").body else { panic!("a source") };
        let entry = body.watermark.as_ref().expect("declared");
        for batch in &tables[id] {
            let times = batch.column(entry.column).as_primitive::<TimestampMicrosecondType>();
            let last = arrow::compute::max(times).expect("not empty");
            feeds.push((*id, batch.clone(), last - entry.delay_us));
        }
    }
    feeds.sort_by_key(|(_, _, watermark)| *watermark);
    feeds
}

fn feed(runtime: &Runtime, progress: &Progress, shard: &Shard, feeds: Vec<Feed>) {
    let mut watermarks = Watermarks::default();
    let ids: Vec<ObjectId> = feeds.iter().map(|(id, _, _)| *id).collect();
    let mut epoch = 0;
    for (relation, rows, watermark) in feeds {
        epoch += 1;
        let columns = Arc::new((0..rows.num_columns()).collect());
        let batch = FeedBatch { relation, columns, rows: DeltaBatch::inserts(rows), errors: vec![] };
        runtime.feed(0, epoch, batch);
        watermarks.set(relation, watermark);
        advance(runtime, epoch, &watermarks);
        progress.wait(epoch.saturating_sub(IN_FLIGHT));
        shard.set_retain_from(epoch.saturating_sub(IN_FLIGHT));
    }
    ids.into_iter().for_each(|id| watermarks.set(id, WATERMARK_END));
    advance(runtime, epoch + 1, &watermarks);
    progress.wait(epoch + 1);
}

fn advance(runtime: &Runtime, epoch: u64, watermarks: &Watermarks) {
    let record = EpochRecord::new(epoch, epoch as i64, watermarks.clone());
    runtime.advance(Arc::new(record), Arc::new(vec![VIEW]));
}
