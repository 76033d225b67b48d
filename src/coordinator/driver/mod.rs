//! Feeds the machine and carries its effects out. It keeps what the machine knows by ticket only: rows on their way,
//! graphs to be built, who waits for an answer. No thread of its own: who runs it calls `handle` for each message and
//! `tick` when there is none left; on a real server that is the thread `hw-clock`, in the simulation the scheduler.

mod message;
mod ports;
mod replies;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::oneshot;
use types::{Epoch, ObjectId};

use crate::machine::{Chunk, Create, Effect, Input, JoinPoint, Machine, Start, Ticket, Write};

pub use message::{Message, SourceChunk, SourceEntry, TableRows, TableWrite};
pub use ports::{Entered, Ports, StopFeed};
use replies::Replies;
pub use replies::Reply;

type JoinPointOf<P> = JoinPoint<<P as Ports>::History>;

/// Makes a chunk's batches once its epoch is known, and lets its feed go on.
type EnterChunk<P> = Box<dyn FnOnce(Entered) -> Vec<<P as Ports>::Batch> + Send>;

pub struct Driver<P: Ports> {
    machine: Machine<P::History>,
    ports: P,
    tickets: u64,
    chunks: HashMap<Ticket, EnterChunk<P>>,
    writes: HashMap<Ticket, Vec<TableRows<P::Batch>>>,
    builds: HashMap<Ticket, P::Dataflow>,
    replies: Replies<P::History>,
    feeds: BTreeMap<ObjectId, Box<dyn StopFeed>>,
    /// Batches go to the workers in turn.
    next_worker: usize,
    shutdown: Option<oneshot::Sender<()>>,
}

impl<P: Ports> Driver<P> {
    pub fn new(start: Start, ports: P) -> Driver<P> {
        Driver {
            machine: Machine::new(start),
            ports,
            tickets: 0,
            chunks: HashMap::new(),
            writes: HashMap::new(),
            builds: HashMap::new(),
            replies: Replies::default(),
            feeds: BTreeMap::new(),
            next_worker: 0,
            shutdown: None,
        }
    }

    pub fn ports(&mut self) -> &mut P {
        &mut self.ports
    }

    pub fn machine(&self) -> &Machine<P::History> {
        &self.machine
    }

    /// Somebody asked for the end; no other message counts any more.
    pub fn stopping(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Stops feeds and workers. What feeds have delivered is in epochs or is read again. The answer is the caller's to
    /// send once everything is let go: who waits may open the same directory.
    pub fn finish(mut self) -> Option<oneshot::Sender<()>> {
        std::mem::take(&mut self.feeds).into_values().for_each(|feed| feed.stop());
        self.ports.shut_down();
        self.shutdown.take()
    }

    /// Until when nothing has to be done unless a message comes.
    pub fn sleep(&self) -> Option<Duration> {
        self.machine.sleep(self.ports.now())
    }

    /// All messages at hand have been handled.
    pub fn tick(&mut self) {
        let durable = self.ports.durable();
        self.step(Input::Tick { durable });
    }

    pub fn handle(&mut self, message: Message<P>) {
        match message {
            Message::Chunk(chunk) => self.take_chunk(chunk),
            Message::Table(write) => self.take_write(write),
            Message::SourceFailed { source, error } => self.ports.source_failed(source, error),
            Message::Marker(marker) => self.ask(Reply::Marker(marker), Input::Marker),
            // The tick that follows looks at how much is durable.
            Message::Durable => {}
            Message::Logged { epoch, position } => self.step(Input::Logged { epoch, position }),
            Message::AddSource { entry, kept } => {
                let SourceEntry { source, state, options } = *entry;
                self.ports.add_source(source, kept);
                self.step(Input::AddSource { source, state, options });
            }
            Message::SetFeed { source, feed } => {
                self.stop_feed(source);
                self.feeds.insert(source, feed);
            }
            Message::StopFeed { source } => self.stop_feed(source),
            Message::RemoveSource { source } => {
                self.stop_feed(source);
                self.ports.remove_source(source);
                self.step(Input::RemoveSource { source });
            }
            Message::Create { dataflow, readable, temporary } => {
                let ticket = self.ticket();
                let (relation, inputs, operators) = P::describe(&dataflow);
                self.builds.insert(ticket, dataflow);
                self.step(Input::Create(Create { ticket, relation, inputs, operators, readable, temporary }));
            }
            Message::Recovered => self.step(Input::Recovered),
            Message::Failed { dataflow } => self.step(Input::Failed { dataflow }),
            Message::Histories { dataflow, reply } => {
                self.ask(Reply::Histories(reply), |ticket| Input::Histories { dataflow, ticket });
            }
            Message::Join { dataflow, reply } => {
                self.ask(Reply::Join(reply), |ticket| Input::Join { dataflow, ticket });
            }
            Message::Attached { dataflow } => self.step(Input::Attached { dataflow }),
            Message::Drop { dataflow, reply } => {
                self.ask(Reply::Done(reply), |ticket| Input::Drop { dataflow, ticket });
            }
            Message::CatalogChanged { catalog, position } => {
                self.ports.catalog_changed(catalog, position);
                self.step(Input::CatalogChanged { position });
            }
            Message::Sealed { dataflow, epoch } => self.step(Input::Sealed { dataflow, epoch }),
            Message::Deadline { dataflow, operator, worker, at_us } => {
                self.step(Input::Deadline { dataflow, operator, worker, at_us });
            }
            Message::CheckpointNow { reply } => self.ask(Reply::Done(reply), Input::CheckpointNow),
            Message::CheckpointDone => self.step(Input::CheckpointDone),
            Message::Barrier { reply } => self.ask(Reply::Epoch(reply), Input::Barrier),
            Message::Shutdown { reply } => self.shutdown = Some(reply),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Tells the machine something that it answers later.
    fn ask(&mut self, reply: Reply<P::History>, input: impl FnOnce(Ticket) -> Input<P::History>) {
        let ticket = self.ticket();
        self.replies.wait(ticket, reply);
        self.step(input(ticket));
    }

    fn stop_feed(&mut self, source: ObjectId) {
        if let Some(feed) = self.feeds.remove(&source) {
            feed.stop();
        }
    }

    fn take_chunk(&mut self, chunk: SourceChunk<P>) {
        let SourceChunk { source, relations, rows, bytes, events, repeats, admission, watermark, ended, enter } = chunk;
        let ticket = self.ticket();
        self.chunks.insert(ticket, enter);
        let chunk = Chunk { ticket, source, relations, rows, bytes, events, repeats, admission, watermark, ended };
        self.step(Input::Chunk(chunk));
    }

    fn take_write(&mut self, write: TableWrite<P::Batch>) {
        let ticket = self.ticket();
        let awaited = write.reply.is_some();
        if let Some(reply) = write.reply {
            self.replies.wait(ticket, Reply::Epoch(reply));
        }
        let tables = write.tables.iter().map(|rows| (rows.table, rows.watermark)).collect();
        let rows = write.tables.iter().map(|rows| rows.rows).sum();
        let bytes = write.tables.iter().map(|rows| rows.bytes).sum();
        self.writes.insert(ticket, write.tables);
        let position = write.position;
        self.step(Input::Wrote(Write { ticket, position, tables, rows, bytes, awaited }));
    }

    fn step(&mut self, input: Input<P::History>) {
        let now = self.ports.now();
        for effect in self.machine.step(now, input) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect<P::History>) {
        match effect {
            Effect::Log { entries, urgent } => {
                if let Err((written, error)) = self.ports.log(entries, urgent) {
                    self.ports.log_failed(&error);
                    self.step(Input::LogFailed { written });
                }
            }
            Effect::Opened { epoch, concerned, rows } => self.ports.opened(epoch, &concerned, rows),
            Effect::Checkpoint(mut plan) => {
                let waiting = std::mem::take(&mut plan.waiting);
                let waiting = waiting.into_iter().filter_map(|ticket| self.replies.take_done(ticket)).collect();
                self.ports.checkpoint(plan, waiting);
            }
            Effect::FeedChunk { ticket, source: _, epoch, wall_time_us, watermark } => {
                let enter = self.chunks.remove(&ticket).expect("a chunk enters once");
                self.feed(epoch, enter(Entered { epoch, wall_time_us, watermark }));
            }
            Effect::ForgetChunk(ticket) => {
                self.chunks.remove(&ticket);
            }
            Effect::FeedWrite { ticket, epoch, tables } => {
                let written = self.writes.remove(&ticket).expect("a write enters once");
                let written = written.into_iter().filter(|rows| tables.contains(&rows.table));
                self.feed(epoch, written.map(|rows| rows.batch).collect());
            }
            Effect::Advance { record, concerned } => self.ports.advance(record, concerned),
            Effect::Acknowledge(epoch) => self.ports.acknowledge(epoch),
            Effect::Epoch { ticket, epoch } => self.replies.epoch(ticket, epoch),
            Effect::Done(ticket) => self.replies.done(ticket),
            Effect::Histories { ticket, histories } => self.replies.histories(ticket, histories),
            Effect::Joined { ticket, point } => self.replies.joined(ticket, point),
            Effect::Unanswered(ticket) => self.replies.forget(ticket),
            Effect::Build { ticket, relation, sealed, readable_from, attached } => {
                let dataflow = self.builds.remove(&ticket).expect("a dataflow is built once");
                self.ports.build(dataflow, relation, sealed, readable_from, attached);
            }
            Effect::Hold { relation, at } => self.ports.hold(relation, at),
            Effect::SetAttached(relation) => self.ports.set_attached(relation),
            Effect::Remove(relation) => self.ports.remove(relation),
            Effect::GiveUp { relation, because } => self.ports.give_up(relation, because),
        }
    }

    fn feed(&mut self, epoch: Epoch, batches: Vec<P::Batch>) {
        for batch in batches {
            self.ports.feed(self.next_worker, epoch, batch);
            self.next_worker = (self.next_worker + 1) % self.ports.workers();
        }
    }
}
