//! One worker that a test steps by hand: no other thread, and every operator gives way as often as it may, so that
//! each turn does the same whenever the test runs.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use operators::arrangement::Shard;
use operators::spec::{MaterializeSpec, OperatorSpec};
use types::{DeltaBatch, Epoch, EpochRecord, MemoryBudget, ObjectId, Watermarks};

use crate::command::{Command, CreateDataflow, Event, FeedBatch, Start};
use crate::graph::{DataflowGraph, Edge, Exchange, Node, NodeKind};
use crate::pace::Pace;
use crate::stats::StatsRegistry;
use crate::worker::{State, WorkerContext};

pub struct Harness<'a> {
    commands: Sender<Command>,
    state: State<'a>,
    events: Arc<Mutex<Vec<Event>>>,
}

/// Runs a test on a worker of its own.
pub fn with_worker(test: impl FnOnce(&mut Harness<'_>) + Send + Sync + 'static) {
    timely::execute_directly(move |worker| {
        let (commands, receiver) = channel();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let seen = events.clone();
        let context = WorkerContext {
            commands: receiver,
            events: Arc::new(move |event| seen.lock().unwrap().push(event)),
            stats: StatsRegistry::default(),
            budget: MemoryBudget::new(usize::MAX),
            pace: Pace { fuel: Duration::ZERO, ..Pace::default() },
        };
        let mut harness = Harness { commands, state: State::new(worker, context), events };
        test(&mut harness);
        harness.state.drop_all();
    });
}

impl Harness<'_> {
    pub fn send(&mut self, command: Command) {
        self.commands.send(command).unwrap();
    }

    /// One turn; every operator that has something to do runs once.
    pub fn turn(&mut self) {
        assert!(self.state.turn(Duration::ZERO));
    }

    /// Turns until `done`.
    pub fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let turns = (0..10_000).take_while(|_| {
            let open = !done(self);
            if open {
                self.turn();
            }
            open
        });
        assert!(turns.count() < 10_000, "it does not come to an end");
    }

    /// Creates a dataflow without state; its relation on this worker.
    pub fn create(&mut self, graph: DataflowGraph) -> Arc<Shard> {
        let OperatorSpec::Materialize(spec) = (match &graph.output().kind {
            NodeKind::Operator(spec) => spec,
            NodeKind::Input { .. } => panic!("a graph ends with its Materialize"),
        }) else {
            panic!("a graph ends with its Materialize")
        };
        let shard = Shard::new(spec.schema.clone(), spec.key.clone());
        let (id, shards) = (graph.relation, Arc::new(vec![shard.clone()]));
        let create = CreateDataflow { graph: Arc::new(graph), shards, start: Start::Fresh };
        self.send(Command::Create(Box::new(create)));
        self.send(Command::Attach { dataflow: id });
        shard
    }

    /// Opens an epoch in which the relation `fed` gets rows `0..rows`, for the dataflows it concerns.
    pub fn epoch(&mut self, epoch: Epoch, fed: ObjectId, rows: i64, concerned: &[ObjectId]) {
        if rows > 0 {
            let rows = DeltaBatch::inserts(numbers(0..rows));
            let batch = FeedBatch { relation: fed, columns: Arc::new(vec![0]), rows, errors: vec![] };
            self.send(Command::Feed { epoch, batch });
        }
        let record = Arc::new(EpochRecord::new(epoch, epoch as i64, Watermarks::default()));
        self.send(Command::Advance { record, dataflows: Arc::new(concerned.to_vec()) });
    }

    pub fn sealed(&self, dataflow: ObjectId) -> Epoch {
        let events = self.events.lock().unwrap();
        let sealed = events.iter().filter_map(|event| match event {
            Event::Sealed { dataflow: id, epoch } if *id == dataflow => Some(*epoch),
            _ => None,
        });
        sealed.max().unwrap_or(0)
    }
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

pub fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    RecordBatch::try_new(schema(), vec![column]).unwrap()
}

/// A relation that keeps what `input` brings.
pub fn copy_of(relation: ObjectId, input: ObjectId) -> DataflowGraph {
    let spec = MaterializeSpec { relation, key: None, schema: schema(), append_only: false, errors_apart: false };
    let keep = node(1, NodeKind::Operator(OperatorSpec::Materialize(spec)), Some(0));
    DataflowGraph { version: DataflowGraph::VERSION, relation, nodes: vec![input_of(input), keep] }
}

pub fn input_of(relation: ObjectId) -> Node {
    node(0, NodeKind::Input { relation, columns: vec![0] }, None)
}

pub fn node(id: u32, kind: NodeKind, from: Option<usize>) -> Node {
    Node {
        id,
        label: String::new(),
        kind,
        inputs: from.map(|from| Edge { from, exchange: Exchange::Pipeline }).into_iter().collect(),
        schema: schema(),
        append_only: false,
        key: None,
        bounds: vec![],
        state: String::new(),
        unbounded_state: false,
    }
}

/// What a relation holds, added up.
pub fn sum(shard: &Shard) -> i64 {
    let batches = shard.snapshot(Epoch::MAX).batches(None);
    batches.map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()).sum()
}
