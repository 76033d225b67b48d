//! One life of a server between two crashes, and who is scheduled in it. Everything that could happen next is an action;
//! the seed picks one. Nothing else decides: no thread, no clock, no hash order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coordinator::locks::LockTable;
use coordinator::oracle::Oracle;
use coordinator::{Driver, Message};
use dataflow::{DataflowGraph, Event, NodeKind, Runtime, Stepped, Trip};
use operators::arrangement::Shard;
use operators::spec::OperatorSpec;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use types::{ObjectId, ToSqlState};

use crate::builder::Builder;
use crate::checkpointer::Checkpointer;
use crate::client::{Client, Commit, random_transaction};
use crate::disk::Disk;
use crate::feeder::Feeder;
use crate::model::Model;
use crate::ports::{Shared, SharedHandle, SimulatedPorts, lock};
use crate::reader::Reader;
use crate::recovery::{clock_start, recover};
use crate::schema::{ACCOUNTS, LOOSE, VIEWS, needs};
use crate::{Faults, Plan};
use state::testing::SimulatedDisk;

type Shards = Arc<Vec<Arc<Shard>>>;

pub struct World<'w, 'a> {
    worker: &'w mut Stepped<'a>,
    driver: Driver<SimulatedPorts>,
    pub runtime: Arc<Runtime>,
    trip: Trip,
    pub shared: SharedHandle,
    pub oracle: Arc<Oracle>,
    pub relations: BTreeMap<ObjectId, Shards>,
    /// Views that can be named.
    pub catalog: BTreeSet<ObjectId>,
    pub clients: Vec<Client>,
    pub commits: Vec<Commit>,
    pub locks: LockTable,
    /// Requests for locks that were granted later.
    pub granted: BTreeSet<u64>,
    builders: Vec<Builder>,
    /// Views of the catalog that are built anew after the restart, in order.
    rebuild: VecDeque<ObjectId>,
    readers: Vec<Reader>,
    pub feeder: Feeder,
    checkpointer: Checkpointer,
    /// A view that is about to fail, and those that have.
    tripped: Option<ObjectId>,
    failed: BTreeSet<ObjectId>,
    /// The disk has lost its power: this life is over.
    pub dark: bool,
    /// Everything that was visible before the crash is visible again: clients may come.
    ready: bool,
    /// Handled since the last tick.
    told: bool,
    transactions: u64,
    pub model: Model,
    pub rng: StdRng,
    pub faults: Faults,
    plan: Plan,
    steps: u64,
}

/// What goes from one life to the next.
pub struct Legacy {
    pub disk: SimulatedDisk,
    pub model: Model,
    pub now_us: i64,
    /// Of every choice: the same seed gives the same.
    pub trace: u64,
    pub steps: u64,
}

impl Legacy {
    /// Before the first life: an empty disk.
    pub fn new(seed: u64) -> Legacy {
        Legacy { disk: SimulatedDisk::new(seed), model: Model::default(), now_us: 0, trace: 0, steps: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Message,
    Tick,
    Turn,
    Sync,
    Client(usize),
    Begin(usize),
    Cancel(usize),
    Commit(usize),
    Builder(usize),
    Build,
    Rebuild,
    Drop,
    Reader(usize),
    Read,
    Feed,
    Checkpoint,
    AskCheckpoint,
    Mark,
    Compact,
    Trip,
    Fill,
    Wait,
}

/// Lives through one life: until the crash, or until everything has come to rest and was checked.
pub fn live(worker: &mut Stepped<'_>, trip: Trip, legacy: Legacy, plan: Plan, seed: u64, last: bool) -> Legacy {
    let Legacy { disk, model, now_us, trace, steps } = legacy;
    let rng = StdRng::seed_from_u64(seed);
    let (disk, found) = Disk::open(disk);
    let start = clock_start(&found, Duration::from_micros(plan.checkpoint_every_us));
    let oracle = Oracle::new(start.epoch);
    let runtime = worker.runtime();
    let shared = Shared {
        now_us,
        disk,
        inbox: VecDeque::new(),
        begun: vec![],
        entered: vec![],
        moved: vec![],
        catalog: BTreeSet::new(),
        catalog_position: 0,
        gone: vec![],
    };
    let shared: SharedHandle = Arc::new(Mutex::new(shared));
    let ports = SimulatedPorts { shared: shared.clone(), runtime: runtime.clone(), oracle: oracle.clone() };
    let mut world = World {
        worker,
        driver: Driver::new(start, ports),
        runtime,
        trip,
        shared,
        oracle,
        relations: BTreeMap::new(),
        catalog: BTreeSet::new(),
        clients: (0..plan.clients).map(|_| Client::default()).collect(),
        commits: vec![],
        locks: LockTable::default(),
        granted: BTreeSet::new(),
        builders: vec![],
        rebuild: VecDeque::new(),
        readers: vec![],
        feeder: Feeder::default(),
        checkpointer: Checkpointer::default(),
        tripped: None,
        failed: BTreeSet::new(),
        dark: false,
        ready: false,
        told: true,
        transactions: 0,
        model,
        rng,
        faults: plan.faults,
        plan,
        steps: 0,
    };
    world.rebuild = recover(&mut world, found, plan.bound).into();
    let trace = world.run(trace, last);
    let steps = steps + world.steps;
    let World { driver, shared, model, mut rng, .. } = world;
    drop(driver);
    let mut shared = lock(&shared);
    // Chunks on their way hold the shared part.
    shared.inbox.clear();
    Legacy { disk: shared.disk.crash(rng.random()), model, now_us: shared.now_us, trace, steps }
}

impl World<'_, '_> {
    fn run(&mut self, mut trace: u64, last: bool) -> u64 {
        let busy = self.rng.random_range(50..self.plan.steps_max);
        if !last && self.rng.random_bool(0.5) {
            let after = self.rng.random_range(1..200);
            lock(&self.shared).disk.cut_power_in(after);
        }
        for _ in 0..busy {
            if self.dark {
                return trace;
            }
            let action = self.choose();
            let text = format!("{action:?}");
            trace = trace.rotate_left(5) ^ text.bytes().fold(7u64, |a, b| a.wrapping_mul(31).wrapping_add(b.into()));
            self.act(action);
        }
        if last {
            self.come_to_rest();
        }
        trace
    }

    /// One of the things that could happen, the everyday ones more often.
    fn choose(&mut self) -> Action {
        let weights = self.possible();
        let all: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.random_range(0..all);
        for (action, weight) in weights {
            if at < weight {
                return action;
            }
            at -= weight;
        }
        unreachable!("the weights were added up")
    }

    fn possible(&self) -> Vec<(Action, u32)> {
        let shared = lock(&self.shared);
        let mut all = vec![(Action::Turn, 20), (Action::Wait, 4), (Action::Fill, 1), (Action::AskCheckpoint, 1)];
        all.extend([(Action::Mark, 1), (Action::Compact, 1)]);
        if !shared.inbox.is_empty() {
            all.push((Action::Message, 20));
        }
        if self.told {
            all.push((Action::Tick, 20));
        }
        if shared.disk.unsynced() {
            all.push((Action::Sync, 8));
        }
        drop(shared);
        for (at, client) in self.clients.iter().enumerate() {
            match client.is_idle() {
                true if self.ready => all.push((Action::Begin(at), 3)),
                true => {}
                false => all.extend([(Action::Client(at), 8), (Action::Cancel(at), 1)]),
            }
        }
        all.extend((0..self.commits.len()).map(|at| (Action::Commit(at), 5)));
        all.extend((0..self.builders.len()).map(|at| (Action::Builder(at), 6)));
        all.extend((0..self.readers.len()).map(|at| (Action::Reader(at), 3)));
        if !self.rebuild.is_empty() && self.builders.is_empty() && self.feeder.repeated() {
            all.push((Action::Rebuild, 5));
        }
        if self.ready {
            all.extend([(Action::Build, 2), (Action::Drop, 1), (Action::Read, 4)]);
        }
        if self.plan.trips && self.ready {
            all.push((Action::Trip, 1));
        }
        if !self.feeder.ended() {
            all.push((Action::Feed, 3));
        }
        if self.checkpointer.ready() {
            all.push((Action::Checkpoint, 5));
        }
        all
    }

    fn act(&mut self, action: Action) {
        self.steps += 1;
        self.ready = self.ready || self.caught_up();
        lock(&self.shared).now_us += self.rng.random_range(1..300);
        match action {
            Action::Message => self.handle_one(),
            Action::Tick => self.tick(),
            Action::Turn => self.turn(),
            Action::Sync => self.sync(),
            Action::Begin(at) => {
                self.transactions += 1;
                let statements = random_transaction(&mut self.rng);
                self.clients[at].begin(self.transactions, statements);
            }
            Action::Client(at) => self.with_client(at, |client, world| client.step(world, at)),
            Action::Cancel(at) => self.with_client(at, |client, world| client.cancel(world, at)),
            Action::Commit(at) => {
                let mut commit = self.commits.remove(at);
                if !commit.step(self) {
                    self.commits.insert(at, commit);
                }
            }
            Action::Builder(at) => {
                let mut builder = self.builders.remove(at);
                if !builder.step(self) {
                    self.builders.insert(at, builder);
                }
            }
            Action::Reader(at) => {
                let mut reader = self.readers.remove(at);
                if !reader.step(self) {
                    self.readers.insert(at, reader);
                }
            }
            Action::Rebuild => {
                let id = self.rebuild.pop_front().expect("something is to be rebuilt");
                let builder = Builder::new(self, id);
                self.builders.push(builder);
            }
            Action::Build => self.build_some_view(),
            Action::Drop => self.drop_some_view(),
            Action::Read => {
                let reader = Reader::new(self);
                self.readers.push(reader);
            }
            Action::Feed => {
                let mut feeder = std::mem::take(&mut self.feeder);
                feeder.step(self);
                self.feeder = feeder;
            }
            Action::Checkpoint => self.checkpoint(),
            Action::AskCheckpoint => {
                let (reply, _) = tokio::sync::oneshot::channel();
                lock(&self.shared).inbox.push_back(Message::CheckpointNow { reply });
            }
            Action::Fill => {
                let room = self.rng.random_range(0..20_000);
                let full = self.plan.disk_fills && self.rng.random_bool(0.4);
                lock(&self.shared).disk.leave_room(full.then_some(room));
            }
            Action::Mark => self.dark |= !lock(&self.shared).disk.mark(),
            Action::Trip => self.trip(),
            Action::Compact => self.dark |= !lock(&self.shared).disk.compact(),
            Action::Wait => lock(&self.shared).now_us += self.rng.random_range(1..50_000),
        }
    }

    fn with_client(&mut self, at: usize, act: impl FnOnce(&mut Client, &mut Self)) {
        let mut client = std::mem::take(&mut self.clients[at]);
        act(&mut client, self);
        self.clients[at] = client;
    }

    fn handle_one(&mut self) {
        let message = lock(&self.shared).inbox.pop_front();
        if let Some(message) = message {
            self.driver.handle(message);
            self.told = true;
            self.follow();
        }
    }

    fn tick(&mut self) {
        self.driver.tick();
        self.told = false;
        self.follow();
    }

    /// Takes over what the driver's effects have left in the shared part.
    fn follow(&mut self) {
        let mut shared = lock(&self.shared);
        let (entered, moved) = (std::mem::take(&mut shared.entered), std::mem::take(&mut shared.moved));
        let (begun, gone) = (std::mem::take(&mut shared.begun), std::mem::take(&mut shared.gone));
        drop(shared);
        self.model.enter(entered, moved);
        for relation in gone {
            lock(&self.shared).disk.drop_relation(relation);
            self.checkpointer.leave_out(relation);
        }
        for (plan, waiting) in begun {
            let mut checkpointer = std::mem::take(&mut self.checkpointer);
            checkpointer.begin(self, plan, waiting);
            self.checkpointer = checkpointer;
        }
    }

    fn turn(&mut self) {
        self.worker.turn();
        for event in self.worker.events() {
            match event {
                Event::Sealed { dataflow, epoch } => {
                    self.oracle.sealed(dataflow, epoch);
                    let retain_from = self.oracle.retain_from();
                    let shards = self.relations.get(&dataflow).into_iter().flat_map(|shards| shards.iter());
                    shards.for_each(|shard| shard.set_retain_from(retain_from));
                    lock(&self.shared).inbox.push_back(Message::Sealed { dataflow, epoch });
                }
                Event::Cut { dataflow, operator, epoch, cut, .. } => {
                    self.checkpointer.cut(dataflow, operator, epoch, cut);
                }
                Event::Deadline { dataflow, operator, worker, at_us } => {
                    let deadline = Message::Deadline { dataflow, operator, worker, at_us };
                    lock(&self.shared).inbox.push_back(deadline);
                }
                Event::Failed { dataflow, operator, error } => {
                    let error = error.to_sql_error();
                    assert_eq!(
                        self.tripped.take(),
                        Some(dataflow),
                        "relation {dataflow}, operator {operator}: {error:?}"
                    );
                    self.failed.extend(self.oracle.fail(dataflow, &error));
                    lock(&self.shared).inbox.push_back(Message::Failed { dataflow });
                }
            }
        }
    }

    pub fn sync(&mut self) {
        let mut shared = lock(&self.shared);
        let before = shared.disk.durable();
        self.dark |= !shared.disk.sync();
        if shared.disk.durable() > before {
            shared.inbox.push_back(Message::Durable);
        }
    }

    fn checkpoint(&mut self) {
        let mut checkpointer = std::mem::take(&mut self.checkpointer);
        checkpointer.step(self);
        self.checkpointer = checkpointer;
    }

    fn build_some_view(&mut self) {
        let there = |id: &ObjectId| crate::schema::is_table(*id) || *id == crate::schema::SOURCE;
        let can = |id: ObjectId| {
            let known = self.relations.contains_key(&id);
            !known && needs(id).iter().all(|input| there(input) || self.catalog.contains(input))
        };
        let possible: Vec<ObjectId> = VIEWS.iter().map(|view| view.id).filter(|id| can(*id)).collect();
        if !possible.is_empty() && self.builders.len() < 3 {
            let id = possible[self.rng.random_range(0..possible.len())];
            let builder = Builder::new(self, id);
            self.builders.push(builder);
        }
    }

    fn drop_some_view(&mut self) {
        let read = |id: &ObjectId| self.relations.keys().any(|reader| *reader != *id && needs_of(*reader, *id));
        let built = |id: &ObjectId| self.builders.iter().any(|builder| builder.id == *id);
        let possible: Vec<ObjectId> = self.catalog.iter().copied().filter(|id| !read(id) && !built(id)).collect();
        if !possible.is_empty() {
            let id = possible[self.rng.random_range(0..possible.len())];
            let builder = Builder::drop_view(self, id);
            self.builders.extend(builder);
        }
    }

    fn caught_up(&self) -> bool {
        let Some(epoch) = self.model.repeated() else { return false };
        let sealed = |id: &ObjectId| self.oracle.frontier(*id).is_some_and(|frontier| frontier >= epoch);
        self.rebuild.is_empty()
            && self.builders.is_empty()
            && self.feeder.repeated()
            && self.relations.keys().all(sealed)
    }

    /// A transaction's locks end.
    pub fn release(&mut self, transaction: u64) {
        let granted = self.locks.release_since(transaction, 0);
        self.granted.extend(granted);
    }

    pub fn shards(&self, relation: ObjectId) -> &[Arc<Shard>] {
        &self.relations[&relation]
    }

    /// Tables, and views that are complete.
    pub fn readable(&self) -> Vec<ObjectId> {
        let building = |id: &ObjectId| self.builders.iter().any(|builder| builder.id == *id);
        let views = self.catalog.iter().copied().filter(|id| !building(id) && self.relations.contains_key(id));
        [ACCOUNTS, LOOSE].into_iter().chain(views).collect()
    }

    /// A relation failed: only if somebody made it fail, or something that it reads.
    pub fn allow_failure(&self, relation: ObjectId) {
        let read_failed = needs(relation).iter().any(|input| self.failed.contains(input));
        let allowed = self.failed.contains(&relation) || read_failed;
        assert!(allowed, "relation {relation} has failed: {:?}", self.oracle.failure(relation));
    }

    /// Makes a complete view fail at the next thing it does.
    fn trip(&mut self) {
        let mut views = self.readable();
        views.retain(|id| !crate::schema::is_table(*id) && !self.failed.contains(id));
        if self.tripped.is_none() && !views.is_empty() {
            let id = views[self.rng.random_range(0..views.len())];
            self.trip.set(id);
            self.tripped = Some(id);
        }
    }

    /// After a restart: who was told that a view exists finds it.
    pub fn check_catalog(&mut self, found: &BTreeSet<ObjectId>) {
        let model = &mut self.model;
        for id in model.created.iter().filter(|id| !model.uncertain.contains(id)) {
            assert!(found.contains(id), "view {id} is gone after the crash");
        }
        for id in found {
            assert!(model.created.contains(id) || model.uncertain.contains(id), "view {id} was never created");
        }
        model.created = found.clone();
        model.uncertain.clear();
    }

    /// Nothing new happens: everything that waits must come to an end, and then everything is compared once more.
    fn come_to_rest(&mut self) {
        lock(&self.shared).disk.leave_room(None);
        for round in 0.. {
            assert!(round < 5_000, "somebody is stuck: {}", self.who_waits());
            lock(&self.shared).now_us += 1_000;
            while !lock(&self.shared).inbox.is_empty() {
                self.handle_one();
            }
            self.tick();
            self.sync();
            self.turn();
            (0..self.clients.len()).for_each(|at| self.with_client(at, |client, world| client.step(world, at)));
            (0..self.commits.len()).rev().for_each(|at| self.act(Action::Commit(at)));
            (0..self.builders.len()).rev().for_each(|at| self.act(Action::Builder(at)));
            (0..self.readers.len()).rev().for_each(|at| self.act(Action::Reader(at)));
            if !self.rebuild.is_empty() && self.builders.is_empty() && self.feeder.repeated() {
                self.act(Action::Rebuild);
            }
            if !self.feeder.ended() {
                self.act(Action::Feed);
            }
            if self.checkpointer.ready() {
                self.checkpoint();
            }
            self.ready = self.ready || self.caught_up();
            if self.at_rest() {
                break;
            }
        }
        assert!(self.locks.is_empty(), "a lock outlives its transaction");
        self.act(Action::Read);
        let mut relations = self.readable();
        relations.retain(|id| self.oracle.failure(*id).is_none());
        let pin = self.oracle.pin(&relations);
        self.model.show(pin.epoch());
        let expected = self.model.contents(pin.epoch());
        for id in relations {
            assert_eq!(crate::rows::contents(self.shards(id), pin.epoch()), expected[&id], "relation {id} at rest");
        }
        self.model.check_meaning();
    }

    fn at_rest(&self) -> bool {
        let quiet = |id: &ObjectId| {
            self.oracle.failure(*id).is_some() || self.oracle.frontier(*id) == Some(self.oracle.opened())
        };
        lock(&self.shared).inbox.is_empty()
            && self.clients.iter().all(Client::is_idle)
            && self.commits.is_empty()
            && self.builders.is_empty()
            && self.rebuild.is_empty()
            && self.readers.is_empty()
            && self.feeder.ended()
            && self.relations.keys().all(quiet)
            && self.ready
    }

    fn who_waits(&self) -> String {
        let frontiers: Vec<_> = self.relations.keys().map(|id| (*id, self.oracle.frontier(*id))).collect();
        format!(
            "{} clients, {} commits, builders {:?}, {} to rebuild, {} readers, feed ended {}, opened {}, frontiers {frontiers:?}; the clock: {}; the journal: {}, dark {}",
            self.clients.iter().filter(|client| !client.is_idle()).count(),
            self.commits.len(),
            self.builders.iter().map(Builder::waits_for).collect::<Vec<_>>(),
            self.rebuild.len(),
            self.readers.len(),
            self.feeder.ended(),
            self.oracle.opened(),
            self.driver.machine().waits_for(),
            lock(&self.shared).disk.stands(),
            self.dark,
        )
    }
}

fn needs_of(reader: ObjectId, input: ObjectId) -> bool {
    needs(reader).contains(&input)
}

pub fn new_shards(graph: &DataflowGraph) -> Shards {
    let NodeKind::Operator(OperatorSpec::Materialize(spec)) = &graph.output().kind else {
        panic!("a graph ends with its Materialize")
    };
    Arc::new(vec![Shard::new(spec.schema.clone(), spec.key.clone())])
}
