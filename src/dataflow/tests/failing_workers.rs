//! Two workers of which one fails at a dataflow: that one stops on both, with what reads it; the others go on, and
//! later ones can be made.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use operators::arrangement::Shard;
use types::{DeltaBatch, Epoch, EpochRecord, MemoryBudget, ObjectId, Watermarks};

use super::harness::{copy_of, numbers, schema};
use crate::command::{CreateDataflow, Event, FeedBatch, RestoredBatch, Start};
use crate::graph::Exchange;
use crate::runtime::Runtime;

const TABLE: ObjectId = ObjectId(1);
const READER: ObjectId = ObjectId(2);
const OTHER: ObjectId = ObjectId(3);
const LATER: ObjectId = ObjectId(4);

#[derive(Default)]
struct Seen {
    sealed: HashMap<ObjectId, Epoch>,
    failed: Vec<(ObjectId, String)>,
}

struct Workers {
    runtime: Runtime,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Workers {
    fn start() -> Workers {
        let seen: Arc<(Mutex<Seen>, Condvar)> = Arc::default();
        let told = seen.clone();
        let events = move |event| {
            let mut seen = told.0.lock().unwrap();
            match event {
                Event::Sealed { dataflow, epoch } => drop(seen.sealed.insert(dataflow, epoch)),
                Event::Failed { dataflow, error, .. } => seen.failed.push((dataflow, error.to_string())),
                Event::Cut { .. } | Event::Deadline { .. } => {}
            }
            told.1.notify_all();
        };
        let runtime = Runtime::start(2, MemoryBudget::new(usize::MAX), Arc::new(events)).unwrap();
        Workers { runtime, seen }
    }

    fn create(&self, relation: ObjectId, input: ObjectId, start: Start) -> Arc<Vec<Arc<Shard>>> {
        let mut graph = copy_of(relation, input);
        graph.nodes[1].inputs[0].exchange = Exchange::Hash(vec![0]);
        let shards = Arc::new(vec![Shard::new(schema(), None), Shard::new(schema(), None)]);
        self.runtime.create(CreateDataflow { graph: Arc::new(graph), shards: shards.clone(), start });
        self.runtime.attach(relation);
        shards
    }

    fn feed(&self, epoch: Epoch, relation: ObjectId, rows: DeltaBatch) {
        let batch = FeedBatch { relation, columns: Arc::new(vec![0]), rows, errors: vec![] };
        self.runtime.feed(1, epoch, batch);
    }

    fn advance(&self, epoch: Epoch, dataflows: &[ObjectId]) {
        let record = Arc::new(EpochRecord::new(epoch, 0, Watermarks::default()));
        self.runtime.advance(record, Arc::new(dataflows.to_vec()));
    }

    fn wait(&self, done: impl Fn(&Seen) -> bool) {
        let seen = self.seen.0.lock().unwrap();
        let waited = self.seen.1.wait_timeout_while(seen, Duration::from_secs(60), |seen| !done(seen)).unwrap();
        assert!(!waited.1.timed_out(), "it does not come to an end");
    }

    fn sealed(&self, relation: ObjectId) -> Epoch {
        self.seen.0.lock().unwrap().sealed.get(&relation).copied().unwrap_or(0)
    }

    fn failed(&self) -> Vec<(ObjectId, String)> {
        self.seen.0.lock().unwrap().failed.clone()
    }

    /// A dataflow that is made now works: its rows cross between the workers.
    fn check_later(&self, epoch: Epoch) {
        let shards = self.create(LATER, LATER, Start::Fresh);
        self.feed(epoch, LATER, DeltaBatch::inserts(numbers(0..1_000)));
        self.advance(epoch, &[LATER]);
        self.wait(|seen| seen.sealed.get(&LATER) >= Some(&epoch));
        let rows: Vec<usize> = shards.iter().map(|shard| shard.row_count()).collect();
        assert_eq!(rows[0] + rows[1], 1_000);
        assert!(rows[0] > 0 && rows[1] > 0, "both workers have some");
    }
}

#[test]
fn a_dataflow_that_fails_on_one_worker_stops_on_all_and_the_others_go_on() {
    let workers = Workers::start();
    let table = workers.create(TABLE, TABLE, Start::Fresh);
    workers.create(READER, TABLE, Start::Fresh);
    workers.create(OTHER, OTHER, Start::Fresh);
    let all = [TABLE, READER, OTHER];
    workers.feed(1, TABLE, DeltaBatch::inserts(numbers(0..10)));
    workers.advance(1, &all);
    workers.wait(|seen| all.iter().all(|id| seen.sealed.get(id) >= Some(&1)));
    // Only one row, which is on one worker, is not there.
    workers.feed(2, TABLE, DeltaBatch::inserts(numbers(50..51)).negate());
    workers.feed(2, OTHER, DeltaBatch::inserts(numbers(0..10)));
    workers.advance(2, &all);
    workers.feed(3, TABLE, DeltaBatch::inserts(numbers(0..10)));
    workers.advance(3, &all);
    workers.wait(|seen| seen.sealed.get(&OTHER) >= Some(&3) && !seen.failed.is_empty());
    assert_eq!(workers.failed(), [(TABLE, "1 retracted rows are not there".to_string())]);
    assert_eq!((workers.sealed(TABLE), workers.sealed(READER)), (1, 1));
    assert!(table.iter().any(|shard| shard.snapshot(Epoch::MAX).error().is_some()));
    workers.runtime.drop_dataflow(READER);
    workers.runtime.drop_dataflow(TABLE);
    workers.check_later(4);
    workers.runtime.shutdown();
}

#[test]
fn a_dataflow_that_one_worker_cannot_restore_stops_on_all_and_others_can_be_made() {
    let workers = Workers::start();
    let rows = DeltaBatch::inserts(numbers(0..1)).to_record_batch();
    let unknown = RestoredBatch { table: 9, vnode_columns: vec![0], batch: rows };
    let state = Arc::new([(1, vec![unknown])].into());
    workers.create(TABLE, TABLE, Start::Restored { epoch: 1, state });
    workers.create(OTHER, OTHER, Start::Fresh);
    workers.feed(2, TABLE, DeltaBatch::inserts(numbers(0..10)));
    workers.advance(2, &[TABLE, OTHER]);
    workers.wait(|seen| seen.sealed.get(&OTHER) >= Some(&2));
    assert_eq!(workers.failed(), [(TABLE, "a relation has no state table 9".to_string())]);
    assert!(workers.sealed(TABLE) <= 1);
    workers.check_later(3);
    workers.runtime.shutdown();
}
