//! One planned view rendered on W workers and fed by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use catalog::{Catalog, CatalogChange, CatalogObject, ColumnEntry, ObjectBody, SourceBody, WatermarkEntry};
use dataflow::{CreateDataflow, DataflowGraph, Event, FeedBatch, Runtime, Start};
use operators::Cut;
use operators::arrangement::Shard;
use plan::{PlanSession, Planner, ViewPlanOptions};
use sql::Statement;
use types::{DeltaBatch, EpochRecord, MemoryBudget, ObjectId, Watermarks};

pub const SOURCE: ObjectId = ObjectId(16_384);
pub const VIEW: ObjectId = ObjectId(20_000);

pub struct Pipeline {
    pub runtime: Runtime,
    pub shards: Arc<Vec<Arc<Shard>>>,
    pub graph: Arc<DataflowGraph>,
    pub cuts: Receiver<(u32, usize, Cut)>,
    sealed: Arc<AtomicU64>,
    epoch: u64,
    next_worker: usize,
}

/// `s (k bigint, ts timestamp, WATERMARK FOR ts AS ts)`.
fn catalog() -> Arc<Catalog> {
    let column = |name: &str, data_type| ColumnEntry {
        name: name.into(),
        data_type,
        not_null: false,
        default: None,
        generated: None,
        comment: None,
    };
    let watermark = WatermarkEntry {
        column: 1,
        delay_us: 0,
        allowed_lateness_us: 0,
        idle_timeout_us: i64::MAX,
        max_future_us: i64::MAX,
        follow_clock: false,
    };
    let body = SourceBody {
        options: vec![],
        format: "PLAIN".into(),
        encode: "NATIVE".into(),
        format_options: vec![],
        watermark: Some(watermark),
        bounded: true,
        keeps: Default::default(),
        generated: vec![],
    };
    let mut catalog = Catalog::new();
    catalog.apply(CatalogChange::Put(CatalogObject {
        id: SOURCE,
        schema: "public".into(),
        name: "s".into(),
        columns: vec![column("k", DataType::Int64), column("ts", DataType::Timestamp(TimeUnit::Microsecond, None))],
        body: ObjectBody::Source(body),
        depends_on: vec![],
        sql: String::new(),
        comment: None,
        created_us: 0,
        building: None,
    }));
    Arc::new(catalog)
}

impl Pipeline {
    pub fn start(query: &str, workers: usize) -> Pipeline {
        let statement = sql::parse(query).expect("parses").remove(0).statement;
        let Statement::Query(query) = statement else { panic!("a query") };
        let planner = Planner::new(catalog(), PlanSession::default());
        let planned = planner.plan_view(VIEW, &query, &[], ViewPlanOptions::default()).expect("plans");
        let graph = Arc::new(planned.graph);
        let sealed = Arc::new(AtomicU64::new(0));
        let (sender, cuts): (Sender<_>, _) = channel();
        let (seen, sender) = (sealed.clone(), Mutex::new(sender));
        let events = Arc::new(move |event: Event| match event {
            Event::Sealed { epoch, .. } => seen.store(epoch, Ordering::Release),
            Event::Cut { operator, worker, cut, .. } => {
                sender.lock().expect("not poisoned").send((operator, worker, cut)).expect("the bench listens");
            }
            Event::Failed { error, .. } => panic!("the dataflow failed: {error}"),
            Event::Deadline { .. } => {}
        });
        let runtime = Runtime::start(workers, MemoryBudget::new(usize::MAX), events).expect("starts");
        let schema = graph.output().schema.clone();
        let shards: Vec<Arc<Shard>> = (0..workers).map(|_| Shard::new(schema.clone(), planned.key.clone())).collect();
        let shards = Arc::new(shards);
        runtime.create(CreateDataflow { graph: graph.clone(), shards: shards.clone(), start: Start::Fresh });
        runtime.attach(VIEW);
        Pipeline { runtime, shards, graph, cuts, sealed, epoch: 0, next_worker: 0 }
    }

    /// One epoch with these keys at event time `at_us`, sealed on return.
    pub fn epoch(&mut self, keys: Vec<i64>, at_us: i64, watermark: i64, checkpoint: bool) {
        self.epoch += 1;
        let rows = keys.len();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("k", Arc::new(Int64Array::from(keys))),
            ("ts", Arc::new(TimestampMicrosecondArray::from(vec![at_us; rows]))),
        ];
        let rows = DeltaBatch::inserts(RecordBatch::try_from_iter(columns).expect("one length"));
        let batch = FeedBatch { relation: SOURCE, columns: Arc::new(vec![0, 1]), rows, errors: vec![] };
        self.runtime.feed(self.next_worker, self.epoch, batch);
        self.next_worker = (self.next_worker + 1) % self.runtime.workers();
        let mut watermarks = Watermarks::default();
        watermarks.set(SOURCE, watermark);
        let mut record = EpochRecord::new(self.epoch, self.epoch as i64, watermarks);
        record.checkpoint = checkpoint;
        self.runtime.advance(Arc::new(record), Arc::new(vec![VIEW]));
        while self.sealed.load(Ordering::Acquire) < self.epoch {
            std::thread::yield_now();
        }
        self.shards.iter().for_each(|shard| shard.set_retain_from(self.epoch));
    }

    /// Operators of the graph: so many cuts come per worker and checkpoint.
    pub fn operators(&self) -> usize {
        self.graph.nodes.iter().filter(|n| matches!(n.kind, dataflow::NodeKind::Operator(_))).count()
    }

    pub fn state_bytes(&self) -> u64 {
        self.runtime.stats().read().values().map(|reading| reading.state_bytes).sum()
    }
}
