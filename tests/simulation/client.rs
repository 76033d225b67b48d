//! A simulated writer: a transaction of a few statements, each of which locks its rows, reads them at a pinned epoch and
//! resolves to changes; then one journal entry. From the entry on the commit is a task of its own, which holds the
//! locks until the write is in an epoch, whether or not its client is still there.

use std::collections::{BTreeSet, VecDeque};

use coordinator::TableWrite;
use coordinator::locks::{Mode, Request, Resource};
use coordinator::oracle::Pin;
use dataflow::FeedBatch;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use types::{Epoch, ObjectId};

use crate::disk::{Changes, Entry, Meaning};
use crate::ports::{Batch, Clock, lock};
use crate::rows::{batch, contents, delta, net, rows_of};
use crate::schema::{ACCOUNTS, LOOSE, Row};
use crate::world::World;

/// Keys that transactions fight for.
const KEYS: i64 = 6;

#[derive(Debug, Clone)]
enum Statement {
    Insert { id: i64, v: i64 },
    Add { id: i64, amount: i64 },
    Delete { id: i64 },
    Loose { row: Row, count: i64 },
    LooseDelete { v: i64 },
}

#[derive(Default)]
pub struct Client {
    transaction: u64,
    open: VecDeque<Statement>,
    phase: Phase,
    changes: Changes,
    meaning: Vec<Meaning>,
    /// Rows without a key that it has locked.
    locked: BTreeSet<Resource>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    /// The next statement begins.
    Ready,
    /// Takes locks one after the other, perhaps waiting for the first of them.
    Locking { keys: VecDeque<Resource>, ticket: Option<u64> },
    /// Holds its rows, waits for the table to be sealed at the pinned epoch.
    Reading(Pin),
    /// Everything is resolved.
    Committing,
    /// The commit's task has it.
    Told,
}

/// A journaled transaction on its way into an epoch.
pub struct Commit {
    transaction: u64,
    position: u64,
    answer: oneshot::Receiver<Epoch>,
    /// Who waits.
    client: Option<usize>,
}

pub fn random_transaction(rng: &mut StdRng) -> VecDeque<Value> {
    (0..rng.random_range(1..4)).map(|_| Value(random_statement(rng))).collect()
}

/// A statement, opaque to the world.
pub struct Value(Statement);

fn random_statement(rng: &mut StdRng) -> Statement {
    let id = rng.random_range(0..KEYS);
    match rng.random_range(0..10) {
        0..3 => Statement::Insert { id, v: rng.random_range(0..12) },
        3..6 => Statement::Add { id, amount: rng.random_range(1..5) },
        6 => Statement::Delete { id },
        7..9 => {
            let row = vec![rng.random_range(0..8), rng.random_range(0..3)];
            Statement::Loose { row, count: rng.random_range(1..4) }
        }
        _ => Statement::LooseDelete { v: rng.random_range(0..8) },
    }
}

impl Client {
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    pub fn begin(&mut self, transaction: u64, statements: VecDeque<Value>) {
        *self = Client { transaction, ..Client::default() };
        self.open = statements.into_iter().map(|value| value.0).collect();
        self.phase = Phase::Ready;
    }

    /// The statement is dropped wherever it is. What was appended goes on without its client.
    pub fn cancel(&mut self, world: &mut World<'_, '_>, me: usize) {
        match std::mem::take(&mut self.phase) {
            Phase::Idle => {}
            Phase::Locking { keys, ticket: Some(ticket) } => {
                world.granted.remove(&ticket);
                let granted = world.locks.cancel(ticket, keys[0]);
                world.granted.extend(granted);
                world.release(self.transaction);
            }
            Phase::Ready | Phase::Locking { ticket: None, .. } | Phase::Reading(_) | Phase::Committing => {
                world.release(self.transaction);
            }
            Phase::Told => {
                let commits = world.commits.iter_mut().filter(|commit| commit.client == Some(me));
                commits.for_each(|commit| commit.client = None);
                if world.faults.cancel_lets_go {
                    world.release(self.transaction);
                }
            }
        }
    }

    fn abort(&mut self, world: &mut World<'_, '_>) {
        world.release(self.transaction);
        self.phase = Phase::Idle;
    }

    /// Does one thing.
    pub fn step(&mut self, world: &mut World<'_, '_>, me: usize) {
        match std::mem::take(&mut self.phase) {
            Phase::Idle => {}
            Phase::Ready => self.start_statement(world),
            Phase::Locking { keys, ticket } => self.lock_next(world, keys, ticket),
            Phase::Reading(pin) => self.read(world, pin),
            Phase::Committing => self.append(world, me),
            Phase::Told => self.phase = Phase::Told,
        }
    }

    fn start_statement(&mut self, world: &mut World<'_, '_>) {
        let Some(statement) = self.open.front() else {
            self.phase = if self.changes.is_empty() { Phase::Idle } else { Phase::Committing };
            if self.changes.is_empty() {
                self.abort(world);
            }
            return;
        };
        match statement {
            Statement::Insert { id, .. } | Statement::Add { id, .. } | Statement::Delete { id } => {
                let keys = VecDeque::from([row_lock(ACCOUNTS, &[*id])]);
                self.phase = Phase::Locking { keys, ticket: None };
            }
            Statement::Loose { row, count } => {
                let (row, count) = (row.clone(), *count);
                self.open.pop_front();
                self.changes.push((LOOSE, vec![(row.clone(), count)]));
                self.meaning.push(Meaning::Loose { row, count });
                self.phase = Phase::Ready;
            }
            Statement::LooseDelete { .. } => self.phase = Phase::Reading(world.oracle.pin(&[LOOSE])),
        }
    }

    fn lock_next(&mut self, world: &mut World<'_, '_>, mut keys: VecDeque<Resource>, ticket: Option<u64>) {
        let Some(key) = keys.front().copied() else {
            // What others did while it waited is seen by a new look.
            self.phase = Phase::Reading(world.oracle.pin(&[self.table()]));
            return;
        };
        if let Some(ticket) = ticket {
            if world.granted.remove(&ticket) {
                keys.pop_front();
                self.phase = Phase::Locking { keys, ticket: None };
            } else {
                self.phase = Phase::Locking { keys, ticket: Some(ticket) };
            }
            return;
        }
        match world.locks.request(self.transaction, key, Mode::Exclusive) {
            Request::Granted => {
                keys.pop_front();
                self.phase = Phase::Locking { keys, ticket: None };
            }
            Request::Waiting(ticket) => self.phase = Phase::Locking { keys, ticket: Some(ticket) },
            Request::Deadlock(_) | Request::TooMany => self.abort(world),
        }
    }

    fn table(&self) -> ObjectId {
        if self.is_keyed() { ACCOUNTS } else { LOOSE }
    }

    fn is_keyed(&self) -> bool {
        !matches!(self.open.front(), Some(Statement::LooseDelete { .. } | Statement::Loose { .. }))
    }

    fn read(&mut self, world: &mut World<'_, '_>, pin: Pin) {
        let table = self.table();
        if world.oracle.failure(table).is_some() {
            return self.abort(world);
        }
        if world.oracle.frontier(table).is_none_or(|frontier| frontier < pin.epoch()) {
            self.phase = Phase::Reading(pin);
            return;
        }
        let statement = self.open.pop_front().expect("a statement reads");
        if world.faults.lock_ends_at_resolve {
            world.release(self.transaction);
        }
        match statement {
            Statement::LooseDelete { v } => self.delete_loose(world, v, pin.epoch()),
            keyed => self.resolve(world, keyed, pin.epoch()),
        }
    }

    fn resolve(&mut self, world: &mut World<'_, '_>, statement: Statement, epoch: Epoch) {
        let id = match &statement {
            Statement::Insert { id, .. } | Statement::Add { id, .. } | Statement::Delete { id } => *id,
            Statement::Loose { .. } | Statement::LooseDelete { .. } => unreachable!("they have no key"),
        };
        let found = self.account(world, id, epoch);
        self.phase = Phase::Ready;
        match (statement, found) {
            // A duplicate key fails the transaction.
            (Statement::Insert { .. }, Some(_)) => self.abort(world),
            (Statement::Insert { id, v }, None) => {
                self.changes.push((ACCOUNTS, vec![(vec![id, v], 1)]));
                self.meaning.push(Meaning::Insert { id, v });
            }
            (Statement::Add { id, amount }, Some(v)) => {
                self.changes.push((ACCOUNTS, vec![(vec![id, v], -1), (vec![id, v + amount], 1)]));
                self.meaning.push(Meaning::Add { id, amount });
            }
            (Statement::Delete { id }, Some(v)) => {
                self.changes.push((ACCOUNTS, vec![(vec![id, v], -1)]));
                self.meaning.push(Meaning::Delete { id });
            }
            (Statement::Add { .. } | Statement::Delete { .. }, None) => {}
            (Statement::Loose { .. } | Statement::LooseDelete { .. }, _) => unreachable!("they have no key"),
        }
    }

    /// The row of a key as this transaction sees it.
    fn account(&self, world: &World<'_, '_>, id: i64, epoch: Epoch) -> Option<i64> {
        let key = batch(&[vec![id]]);
        let shards = world.shards(ACCOUNTS);
        let found = shards.iter().filter_map(|shard| shard.lookup(&key, epoch)).flat_map(|found| rows_of(&found));
        let own = self.changes.iter().filter(|(table, _)| *table == ACCOUNTS).flat_map(|(_, changes)| changes.clone());
        let own = own.filter(|(row, _)| row[0] == id);
        let seen = net(found.map(|row| (row, 1)).chain(own).collect());
        assert!(seen.len() <= 1 && seen.iter().all(|(_, n)| *n == 1), "key {id} has the rows {seen:?} at {epoch}");
        seen.first().map(|(row, _)| row[1])
    }

    fn delete_loose(&mut self, world: &mut World<'_, '_>, v: i64, epoch: Epoch) {
        let mut rows: Vec<(Row, i64)> = contents(world.shards(LOOSE), epoch).into_iter().collect();
        let own = self.changes.iter().filter(|(table, _)| *table == LOOSE).flat_map(|(_, changes)| changes.clone());
        rows.extend(own);
        let rows: Vec<(Row, i64)> = net(rows).into_iter().filter(|(row, _)| row[0] == v).collect();
        let wanted = rows.iter().map(|(row, _)| row_lock(LOOSE, row));
        let unlocked: VecDeque<Resource> = wanted.filter(|key| !self.locked.contains(key)).collect();
        if !unlocked.is_empty() && !world.faults.lock_ends_at_resolve {
            self.open.push_front(Statement::LooseDelete { v });
            self.locked.extend(&unlocked);
            self.phase = Phase::Locking { keys: unlocked, ticket: None };
            return;
        }
        self.phase = Phase::Ready;
        if !rows.is_empty() {
            self.changes.push((LOOSE, rows.into_iter().map(|(row, n)| (row, -n)).collect()));
            self.meaning.push(Meaning::LooseDelete { v });
        }
    }

    fn append(&mut self, world: &mut World<'_, '_>, me: usize) {
        let mut by_table: Changes = vec![];
        for (table, changes) in std::mem::take(&mut self.changes) {
            match by_table.iter_mut().find(|(known, _)| *known == table) {
                Some((_, all)) => all.extend(changes),
                None => by_table.push((table, changes)),
            }
        }
        let changes: Changes = by_table.into_iter().map(|(table, changes)| (table, net(changes))).collect();
        let changes: Changes = changes.into_iter().filter(|(_, changes)| !changes.is_empty()).collect();
        let meaning = std::mem::take(&mut self.meaning);
        if changes.is_empty() {
            return self.abort(world);
        }
        let (reply, answer) = oneshot::channel();
        let entry = Entry::Rows { changes: changes.clone(), meaning: meaning.clone() };
        let message = |position| write_message(position, &changes, Some(reply));
        let appended = lock(&world.shared).append(&entry, message);
        let Some(position) = appended else { return self.abort(world) };
        world.model.write(position, changes.clone(), meaning);
        world.commits.push(Commit { transaction: self.transaction, position, answer, client: Some(me) });
        self.phase = Phase::Told;
    }

    pub fn finish(&mut self) {
        self.phase = Phase::Idle;
    }
}

impl Commit {
    /// True once it is over.
    pub fn step(&mut self, world: &mut World<'_, '_>) -> bool {
        match self.answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => return false,
            Err(oneshot::error::TryRecvError::Closed) => panic!("write {} has no answer", self.position),
            Ok(epoch) => {
                world.release(self.transaction);
                if let Some(client) = self.client {
                    world.model.acknowledge(self.position, epoch);
                    world.clients[client].finish();
                }
            }
        }
        true
    }
}

/// A journaled write for the clock.
pub fn write_message(position: u64, changes: &Changes, reply: Option<oneshot::Sender<Epoch>>) -> Clock {
    let rows = changes.iter().map(|(table, changes)| {
        let rows = delta(changes);
        let columns = std::sync::Arc::new((0..changes[0].0.len()).collect());
        let (count, bytes) = (rows.num_rows(), rows.memory_bytes());
        let batch = FeedBatch { relation: *table, columns, rows, errors: vec![] };
        let batch = Batch { position: Some(position), batch };
        coordinator::TableRows { table: *table, watermark: None, rows: count, bytes, batch }
    });
    Clock::Table(TableWrite { position, tables: rows.collect(), reply })
}

/// The lock of a row, by its key or all its columns.
fn row_lock(table: ObjectId, columns: &[i64]) -> Resource {
    Resource::Row(table, columns.iter().fold(17, |hash: u64, cell| hash.wrapping_mul(1_000_003) ^ *cell as u64))
}
