//! One worker thread: takes commands, steps timely, moves taps, reports progress. Never spins: it parks until a
//! command or a peer wakes it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use operators::guarded;
use timely::worker::Worker;
use types::{Epoch, EpochRecord, MemoryBudget, ObjectId};

use crate::command::{Command, CreateDataflow, Event, FeedBatch, Start};
use crate::pace::Pace;
use crate::ports::{Snapshot, advance_port, feed, forward, move_snapshot};
use crate::render::{RenderContext, Rendered, RenderedInput, render};
use crate::stats::StatsRegistry;
use crate::taps::OutputTap;

/// Upper bound of a sleep; every wake-up is explicit, this only bounds the damage of a lost one.
const PARK_MAX: Duration = Duration::from_millis(500);

pub struct WorkerContext {
    pub commands: Receiver<Command>,
    pub events: Arc<dyn Fn(Event) + Send + Sync>,
    pub stats: StatsRegistry,
    pub budget: MemoryBudget,
    pub pace: Pace,
}

impl WorkerContext {
    /// Gives a dataflow its part of a batch; one that cannot take it has failed.
    fn feed(&self, hosted: &mut Hosted, epoch: Epoch, batch: &FeedBatch) {
        if let Err((operator, error)) = feed(hosted, epoch, batch) {
            hosted.stopped = true;
            (self.events)(Event::Failed { dataflow: hosted.relation, operator, error });
        }
    }
}

/// A rendered dataflow and what this worker knows about its progress.
pub(crate) struct Hosted {
    relation: ObjectId,
    pub rendered: Rendered,
    tap: Rc<RefCell<OutputTap>>,
    feed: FeedState,
    /// Ports that are still being filled from a snapshot, and what waits behind it.
    pub snapshots: BTreeMap<usize, Snapshot>,
    reported: Epoch,
    /// A snapshot could not be read: its ports stay where they are until it is dropped.
    pub stopped: bool,
}

/// How a dataflow relates to the shared feed.
enum FeedState {
    /// Catching up from private feeds; shared epochs do not concern it yet.
    Private,
    /// Shared commands queue up behind the last private ones.
    Held(Vec<Command>),
    Attached,
}

/// One worker between two turns.
pub(crate) struct State<'a> {
    worker: &'a mut Worker,
    context: WorkerContext,
    dataflows: BTreeMap<ObjectId, Hosted>,
    /// Newest epoch opened by `Advance`.
    opened: Epoch,
}

/// Runs until `Shutdown`.
pub fn run(worker: &mut Worker, context: WorkerContext) {
    let mut state = State::new(worker, context);
    while state.turn(PARK_MAX) {}
    state.drop_all();
}

impl<'a> State<'a> {
    pub(crate) fn new(worker: &'a mut Worker, context: WorkerContext) -> Self {
        State { worker, context, dataflows: BTreeMap::new(), opened: 0 }
    }

    /// Takes the commands that wait and lets every operator that has something to do run once. With nothing to do it
    /// sleeps for up to `park`. False after `Shutdown`.
    pub(crate) fn turn(&mut self, park: Duration) -> bool {
        let mut shutdown = false;
        while let Ok(command) = self.context.commands.try_recv() {
            self.move_taps();
            shutdown |= self.handle(command);
        }
        if shutdown {
            return false;
        }
        let busy = self.move_snapshots();
        self.worker.step_or_park(Some(if busy { Duration::ZERO } else { park }));
        self.move_taps();
        self.report();
        true
    }

    pub(crate) fn drop_all(mut self) {
        let ids: Vec<ObjectId> = self.dataflows.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_dataflow(id));
    }

    /// Carries out one command; true for `Shutdown`.
    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Create(create) => self.create(*create),
            Command::Feed { epoch, batch } => {
                for hosted in self.dataflows.values_mut() {
                    match &mut hosted.feed {
                        FeedState::Private => {}
                        FeedState::Held(queue) => queue.push(Command::Feed { epoch, batch: batch.clone() }),
                        FeedState::Attached => self.context.feed(hosted, epoch, &batch),
                    }
                }
            }
            Command::FeedPrivate { dataflow, epoch, batch } => {
                if let Some(hosted) = self.dataflows.get_mut(&dataflow) {
                    self.context.feed(hosted, epoch, &batch);
                }
            }
            Command::Hold { dataflow } => {
                if let Some(hosted) = self.dataflows.get_mut(&dataflow) {
                    hosted.feed = FeedState::Held(vec![]);
                }
            }
            Command::Attach { dataflow } => self.attach(dataflow),
            Command::Advance { record, dataflows } => {
                self.opened = record.epoch;
                self.advance(record, &dataflows);
            }
            Command::AdvancePrivate { dataflow, record } => {
                if let Some(hosted) = self.dataflows.get(&dataflow) {
                    hosted.tap.borrow_mut().outstanding.insert(record.epoch);
                    self.open(dataflow, &record);
                    self.advance_ports(dataflow, record.epoch);
                }
            }
            Command::Drop { dataflow } => self.drop_dataflow(dataflow),
            Command::Shutdown => return true,
        }
        false
    }

    fn create(&mut self, create: CreateDataflow) {
        let id = create.graph.relation;
        let start = match &create.start {
            Start::Fresh => 0,
            Start::Restored { epoch, .. } => *epoch,
        };
        let shard = create.shards[self.worker.index()].clone();
        shard.set_frontier(start);
        let tap = Rc::new(RefCell::new(OutputTap::new(shard, start)));
        let context = RenderContext {
            stats: &self.context.stats,
            budget: &self.context.budget,
            pace: &self.context.pace,
            events: &self.context.events,
            tap: tap.clone(),
        };
        let rendered = render(self.worker, &create, &context);
        let fresh = matches!(create.start, Start::Fresh);
        let feed = if fresh { FeedState::Private } else { FeedState::Attached };
        let mut hosted =
            Hosted { relation: id, rendered, tap, feed, snapshots: BTreeMap::new(), reported: start, stopped: false };
        for port in 0..hosted.rendered.inputs.len() {
            self.start_port(&mut hosted, port, fresh, start);
        }
        self.dataflows.insert(id, hosted);
    }

    /// Brings a new port to where its feed begins: a snapshot for a kept relation, the start epoch otherwise.
    fn start_port(&mut self, hosted: &mut Hosted, port: usize, fresh: bool, start: Epoch) {
        let input = &mut hosted.rendered.inputs[port];
        if !fresh {
            input.port.advance_to(start + 1);
        }
        // A table's own dataflow reads its writes, not itself; it is not among the dataflows yet.
        let Some(upstream) = self.dataflows.get(&input.relation) else { return };
        input.tapped = true;
        let mut tap = upstream.tap.borrow_mut();
        tap.idle = false;
        if fresh {
            // The relation may hold an epoch of which a part has not left its last operator yet: the snapshot has all of
            // it, so nothing of it may follow.
            input.contains = tap.shard.frontier();
            match guarded(|| Ok(Snapshot::of(&tap.shard, &input.columns))) {
                Ok(snapshot) => drop(hosted.snapshots.insert(port, snapshot)),
                Err(error) => {
                    let (dataflow, operator) = (hosted.relation, input.node);
                    hosted.stopped = true;
                    (self.context.events)(Event::Failed { dataflow, operator, error });
                }
            }
        }
    }

    fn advance(&mut self, record: Arc<EpochRecord>, dataflows: &[ObjectId]) {
        let mut ready = vec![];
        for id in dataflows {
            match self.dataflows.get_mut(id).map(|hosted| &mut hosted.feed) {
                Some(FeedState::Held(queue)) => {
                    let dataflows = Arc::new(vec![*id]);
                    queue.push(Command::Advance { record: record.clone(), dataflows });
                    // Its readers must not run ahead of it.
                    self.dataflows[id].tap.borrow_mut().outstanding.insert(record.epoch);
                }
                Some(_) => {
                    self.dataflows[id].tap.borrow_mut().outstanding.insert(record.epoch);
                    self.open(*id, &record);
                    ready.push(*id);
                }
                None => {}
            }
        }
        ready.into_iter().for_each(|id| self.advance_ports(id, record.epoch));
    }

    /// Carries out what was held for a dataflow, in order.
    fn attach(&mut self, id: ObjectId) {
        let Some(hosted) = self.dataflows.get_mut(&id) else { return };
        let held = std::mem::replace(&mut hosted.feed, FeedState::Attached);
        let FeedState::Held(queue) = held else { return };
        for command in queue {
            match command {
                Command::Feed { epoch, batch } => {
                    let hosted = self.dataflows.get_mut(&id).expect("just attached");
                    self.context.feed(hosted, epoch, &batch);
                }
                Command::Advance { record, .. } => {
                    self.open(id, &record);
                    self.advance_ports(id, record.epoch);
                }
                _ => unreachable!("only feeds and epochs are held"),
            }
        }
    }

    /// Announces an epoch to the hosts of one dataflow.
    fn open(&mut self, id: ObjectId, record: &Arc<EpochRecord>) {
        let hosted = self.dataflows.get_mut(&id).expect("checked by the caller");
        hosted.rendered.records.borrow_mut().push(record.clone());
    }

    /// Moves the ports of a dataflow past `epoch`: fed ports at once, tapped ports as far as their relation is sealed.
    fn advance_ports(&mut self, id: ObjectId, epoch: Epoch) {
        let opened = self.opened.max(epoch);
        let uppers: Vec<Option<Epoch>> = self.dataflows[&id]
            .rendered
            .inputs
            .iter()
            .map(|input| match self.upstream(id, input) {
                // It has failed: so has this reader, which is about to be dropped.
                None if input.tapped => Some(0),
                upstream => upstream.map(|up| up.upper(opened)),
            })
            .collect();
        let hosted = self.dataflows.get_mut(&id).expect("checked by the caller");
        if hosted.stopped {
            return;
        }
        for (port, upper) in uppers.into_iter().enumerate() {
            if !hosted.snapshots.contains_key(&port) {
                advance_port(&mut hosted.rendered.inputs[port], upper.unwrap_or(epoch + 1));
            }
        }
    }

    /// The dataflow that feeds an input through a tap.
    fn upstream(&self, reader: ObjectId, input: &RenderedInput) -> Option<&Hosted> {
        assert!(!input.tapped || input.relation != reader, "a table reads its writes, not itself");
        input.tapped.then(|| self.dataflows.get(&input.relation)).flatten()
    }

    /// Forwards what dataflows have sealed to their readers on this worker.
    fn move_taps(&mut self) {
        let ids: Vec<ObjectId> = self.dataflows.keys().copied().collect();
        for id in ids {
            let tap = self.dataflows[&id].tap.clone();
            if tap.borrow().idle {
                continue;
            }
            let sealed: Vec<_> = tap.borrow_mut().outbox.drain(..).collect();
            let upper = self.dataflows[&id].upper(self.opened);
            for reader in self.dataflows.values_mut() {
                forward(reader, id, &sealed, upper);
            }
        }
    }

    /// Moves a few batches of each starting snapshot; true while any is left.
    fn move_snapshots(&mut self) -> bool {
        let mut finished: Vec<ObjectId> = vec![];
        let mut busy = false;
        for (id, hosted) in &mut self.dataflows {
            if hosted.snapshots.is_empty() || hosted.stopped {
                continue;
            }
            busy = true;
            let ports: Vec<usize> = hosted.snapshots.keys().copied().collect();
            for port in ports {
                match guarded(|| Ok(move_snapshot(hosted, port))) {
                    Ok(true) => finished.push(*id),
                    Ok(false) => {}
                    Err(error) => {
                        hosted.stopped = true;
                        let operator = hosted.rendered.inputs[port].node;
                        (self.context.events)(Event::Failed { dataflow: *id, operator, error });
                    }
                }
            }
        }
        for id in finished {
            self.advance_ports(id, 0);
        }
        busy
    }

    /// Reports newly sealed epochs. One worker suffices: its probe sees the frontier of all.
    fn report(&mut self) {
        if self.worker.index() != 0 {
            return;
        }
        for (id, hosted) in &mut self.dataflows {
            let frontier = hosted.rendered.probe.with_frontier(|f| f.first().copied());
            let Some(sealed) = frontier.and_then(|f| f.checked_sub(1)) else { continue };
            if sealed > hosted.reported {
                hosted.reported = sealed;
                (self.context.events)(Event::Sealed { dataflow: *id, epoch: sealed });
            }
        }
    }

    fn drop_dataflow(&mut self, id: ObjectId) {
        let Some(hosted) = self.dataflows.remove(&id) else { return };
        let index = hosted.rendered.index;
        drop(hosted);
        self.worker.drop_dataflow(index);
        self.context.stats.forget(id);
        let read: Vec<ObjectId> =
            self.dataflows.values().flat_map(|h| h.rendered.inputs.iter().map(|i| i.relation)).collect();
        for (id, hosted) in &self.dataflows {
            hosted.tap.borrow_mut().set_idle(!read.contains(id));
        }
    }
}

impl Hosted {
    /// The least epoch at which the relation may still change on this worker, given the newest epoch opened for anyone.
    fn upper(&self, opened: Epoch) -> Epoch {
        let tap = self.tap.borrow();
        match self.feed {
            FeedState::Attached => tap.upper(opened),
            // What it catches up with comes in epochs of its own, nobody knows how many.
            FeedState::Private | FeedState::Held(_) => tap.upper(tap.sealed),
        }
    }
}
