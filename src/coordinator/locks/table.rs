//! The lock table: who holds what, who waits for what, who may go on, and who would wait for himself.
//!
//! Requests of one resource are granted in the order in which they came, but who holds a resource already is not queued
//! behind others. A request that would close a circle of waiting owners is refused at once: there is no time here.
//! Invariants: holders of a resource never conflict; an owner waits for one resource at most; nobody waits whom no holder
//! and no earlier waiter conflicts with.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use types::ObjectId;
use types::limits::LOCKS_MAX;

/// What can be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// A table: shared by its writers, alone for who drops it.
    Table(ObjectId),
    /// The place of an append-only table's watermark, which decides what is late.
    Line(ObjectId),
    /// A row, by the hash of its key; without a key, of all its columns. Two keys with one hash share a lock: that makes
    /// somebody wait for nothing, and no more.
    Row(ObjectId, u64),
}

impl Resource {
    pub fn table(self) -> ObjectId {
        match self {
            Resource::Table(table) | Resource::Line(table) | Resource::Row(table, _) => table,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Share,
    Exclusive,
}

impl Mode {
    fn conflicts(self, other: Mode) -> bool {
        self == Mode::Exclusive || other == Mode::Exclusive
    }
}

/// A transaction that takes locks.
pub type OwnerId = u64;
/// A waiting request.
pub type Ticket = u64;

/// Answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    Granted,
    /// Granted later: `release` and `cancel` name the ticket then.
    Waiting(Ticket),
    /// The owners that wait for each other, each for the next, the asking one first, with what each waits for.
    Deadlock(Vec<(OwnerId, Resource)>),
    /// `LOCKS_MAX` locks are held.
    TooMany,
}

/// A lock or a wait, for those who look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockReading {
    pub owner: OwnerId,
    pub resource: Resource,
    pub mode: Mode,
    pub granted: bool,
}

#[derive(Debug, Default)]
pub struct LockTable {
    entries: HashMap<Resource, Entry>,
    owners: BTreeMap<OwnerId, OwnerState>,
    last_ticket: Ticket,
    held: usize,
}

#[derive(Debug, Default)]
struct OwnerState {
    /// In the order in which they were taken.
    held: Vec<Resource>,
    waits_for: Option<Resource>,
}

/// One holder is the rule; the rest costs nothing until it is needed.
#[derive(Debug)]
struct Entry {
    holder: OwnerId,
    mode: Mode,
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    holders: Vec<(OwnerId, Mode)>,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    owner: OwnerId,
    mode: Mode,
}

impl Entry {
    fn holders(&self) -> impl Iterator<Item = (OwnerId, Mode)> {
        let more = self.more.iter().flat_map(|more| more.holders.iter().copied());
        std::iter::once((self.holder, self.mode)).chain(more)
    }

    fn waiting(&self) -> impl Iterator<Item = &Waiter> {
        self.more.iter().flat_map(|more| more.waiting.iter())
    }

    fn held_by(&self, owner: OwnerId) -> Option<Mode> {
        self.holders().find(|(holder, _)| *holder == owner).map(|(_, mode)| mode)
    }

    /// Whether `owner` may hold it in `mode` beside the others that do.
    fn admits(&self, owner: OwnerId, mode: Mode) -> bool {
        self.holders().all(|(holder, held)| holder == owner || !mode.conflicts(held))
    }

    fn hold(&mut self, owner: OwnerId, mode: Mode) {
        if self.holder == owner {
            self.mode = self.mode.max(mode);
            return;
        }
        let holders = &mut self.more.get_or_insert_default().holders;
        match holders.iter_mut().find(|(holder, _)| *holder == owner) {
            Some((_, held)) => *held = mode.max(*held),
            None => holders.push((owner, mode)),
        }
    }

    /// False if nobody holds it any more.
    fn let_go(&mut self, owner: OwnerId) -> bool {
        if self.holder != owner {
            self.more.get_or_insert_default().holders.retain(|(holder, _)| *holder != owner);
            return true;
        }
        match self.more.as_mut().and_then(|more| more.holders.pop()) {
            Some((holder, mode)) => {
                (self.holder, self.mode) = (holder, mode);
                true
            }
            None => false,
        }
    }
}

impl LockTable {
    pub fn request(&mut self, owner: OwnerId, resource: Resource, mode: Mode) -> Request {
        if self.held >= LOCKS_MAX {
            return Request::TooMany;
        }
        let Some(entry) = self.entries.get_mut(&resource) else {
            self.entries.insert(resource, Entry { holder: owner, mode, more: None });
            self.note_held(owner, resource);
            return Request::Granted;
        };
        let before = entry.held_by(owner);
        if before.is_some_and(|held| held >= mode) {
            return Request::Granted;
        }
        let first = before.is_some() || entry.waiting().next().is_none();
        if first && entry.admits(owner, mode) {
            entry.hold(owner, mode);
            if before.is_none() {
                self.note_held(owner, resource);
            }
            return Request::Granted;
        }
        self.last_ticket += 1;
        let waiter = Waiter { ticket: self.last_ticket, owner, mode };
        let waiting = &mut entry.more.get_or_insert_default().waiting;
        match before {
            Some(_) => waiting.push_front(waiter),
            None => waiting.push_back(waiter),
        }
        self.owners.entry(owner).or_default().waits_for = Some(resource);
        let ticket = self.last_ticket;
        match self.circle(owner) {
            None => Request::Waiting(ticket),
            Some(circle) => {
                let granted = self.cancel(ticket, resource);
                debug_assert!(granted.is_empty(), "who came last holds nobody up");
                Request::Deadlock(circle)
            }
        }
    }

    fn note_held(&mut self, owner: OwnerId, resource: Resource) {
        self.owners.entry(owner).or_default().held.push(resource);
        self.held += 1;
    }

    /// How many resources `owner` holds: a mark to release down to.
    pub fn mark(&self, owner: OwnerId) -> usize {
        self.owners.get(&owner).map_or(0, |state| state.held.len())
    }

    /// Lets go what `owner` has taken since the mark. Returns the requests that are granted now.
    pub fn release_since(&mut self, owner: OwnerId, mark: usize) -> Vec<Ticket> {
        let Some(state) = self.owners.get_mut(&owner) else { return vec![] };
        let released = state.held.split_off(mark.min(state.held.len()));
        if state.held.is_empty() && state.waits_for.is_none() {
            self.owners.remove(&owner);
        }
        self.held -= released.len();
        let mut granted = vec![];
        for resource in released {
            let entry = self.entries.get_mut(&resource).expect("what is held has an entry");
            let held = entry.let_go(owner);
            self.grant(resource, held, &mut granted);
        }
        granted
    }

    /// Takes back a request that waits, or has just been granted: then its owner keeps the lock.
    pub fn cancel(&mut self, ticket: Ticket, resource: Resource) -> Vec<Ticket> {
        let Some(more) = self.entries.get_mut(&resource).and_then(|entry| entry.more.as_mut()) else { return vec![] };
        let Some(position) = more.waiting.iter().position(|waiter| waiter.ticket == ticket) else { return vec![] };
        let waiter = more.waiting.remove(position).expect("just found");
        self.stop_waiting(waiter.owner);
        let mut granted = vec![];
        self.grant(resource, true, &mut granted);
        granted
    }

    fn stop_waiting(&mut self, owner: OwnerId) {
        let Some(state) = self.owners.get_mut(&owner) else { return };
        state.waits_for = None;
        if state.held.is_empty() {
            self.owners.remove(&owner);
        }
    }

    /// Grants what may be granted, first come first served. `held`: whether anybody still holds the resource.
    fn grant(&mut self, resource: Resource, mut held: bool, granted: &mut Vec<Ticket>) {
        loop {
            let entry = self.entries.get_mut(&resource).expect("the caller has seen it");
            let next = entry.more.as_mut().and_then(|more| more.waiting.front().map(|w| (w.ticket, w.owner, w.mode)));
            let Some((ticket, owner, mode)) = next else { break };
            if held && !entry.admits(owner, mode) {
                break;
            }
            entry.more.as_mut().expect("somebody waits").waiting.pop_front();
            let fresh = !held || entry.held_by(owner).is_none();
            match held {
                true => entry.hold(owner, mode),
                false => (entry.holder, entry.mode) = (owner, mode),
            }
            held = true;
            if fresh {
                self.note_held(owner, resource);
            }
            self.owners.entry(owner).or_default().waits_for = None;
            granted.push(ticket);
        }
        if !held {
            self.entries.remove(&resource);
        }
    }

    /// Owners that `owner`'s request waits for.
    fn blockers(&self, owner: OwnerId) -> Vec<OwnerId> {
        let waits_for = self.owners.get(&owner).and_then(|state| state.waits_for);
        let Some(entry) = waits_for.and_then(|resource| self.entries.get(&resource)) else { return vec![] };
        let Some(own) = entry.waiting().find(|waiter| waiter.owner == owner) else { return vec![] };
        let holders = entry.holders().filter(|(holder, mode)| *holder != owner && own.mode.conflicts(*mode));
        let earlier = entry.waiting().take_while(|waiter| waiter.owner != owner);
        let earlier = earlier.filter(|waiter| own.mode.conflicts(waiter.mode)).map(|waiter| waiter.owner);
        holders.map(|(holder, _)| holder).chain(earlier).collect()
    }

    /// A circle of waiting owners through `start`, found depth first.
    fn circle(&self, start: OwnerId) -> Option<Vec<(OwnerId, Resource)>> {
        let mut seen = HashSet::from([start]);
        let mut path = vec![(start, self.blockers(start))];
        while let Some((_, blockers)) = path.last_mut() {
            let Some(next) = blockers.pop() else {
                path.pop();
                continue;
            };
            if next == start {
                let waits = |owner: &OwnerId| self.owners.get(owner).and_then(|state| state.waits_for);
                return Some(path.iter().filter_map(|(owner, _)| Some((*owner, waits(owner)?))).collect());
            }
            if seen.insert(next) {
                path.push((next, self.blockers(next)));
            }
        }
        None
    }

    /// Everything held and waited for.
    pub fn read(&self) -> Vec<LockReading> {
        let mut readings = vec![];
        for (resource, entry) in &self.entries {
            let reading = |owner, mode, granted| LockReading { owner, resource: *resource, mode, granted };
            readings.extend(entry.holders().map(|(owner, mode)| reading(owner, mode, true)));
            readings.extend(entry.waiting().map(|waiter| reading(waiter.owner, waiter.mode, false)));
        }
        readings.sort_by_key(|reading| (reading.owner, reading.granted, reading.resource));
        readings
    }

    /// Nobody holds or waits for anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.owners.is_empty() && self.held == 0
    }
}
