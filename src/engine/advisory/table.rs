//! The lock table: who holds what, who waits for what, who may go on, and who would wait for himself.
//!
//! Requests for one key are granted in the order in which they came, but who holds a key already is not queued behind
//! others. A request that would close a circle of waiting sessions is refused at once: there is no time here.
//! Invariants: holders of a key never conflict; nobody waits whom no holder and no earlier waiter conflicts with; a
//! session never conflicts with itself, so the keys of one session count how often they were taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use types::limits::ADVISORY_LOCKS_MAX;

/// What is locked. The two forms are different keys, whatever their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    One(i64),
    Two(i32, i32),
}

impl Key {
    /// (classid, objid, objsubid) of `pg_locks`.
    pub fn parts(self) -> (u32, u32, i32) {
        match self {
            Key::One(key) => ((key >> 32) as u32, key as u32, 1),
            Key::Two(class, object) => (class as u32, object as u32, 2),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Share,
    Exclusive,
}

impl Mode {
    /// As `pg_locks` and Postgres' messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Share => "ShareLock",
            Mode::Exclusive => "ExclusiveLock",
        }
    }

    fn conflicts(self, other: Mode) -> bool {
        self == Mode::Exclusive || other == Mode::Exclusive
    }
}

/// To what in its session a lock belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Session,
    /// The session's transaction of that number; a later one has nothing to do with it.
    Transaction(u64),
}

/// One lock that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub session: u32,
    pub key: Key,
    pub mode: Mode,
    pub scope: Scope,
}

/// A waiting request.
pub type Ticket = u64;

/// Answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Granted,
    /// Granted later: what lets go names the ticket then.
    Waiting(Ticket),
}

/// Why a lock is not given.
#[derive(Debug, PartialEq, Eq)]
pub enum AdvisoryError {
    /// The sessions that would wait for each other, each for the next, the asking one first, with what each waits for.
    Deadlock(Vec<(u32, Key, Mode)>),
    /// `ADVISORY_LOCKS_MAX` are held.
    TooMany,
    /// The session or the transaction that asks has ended.
    Ended,
}

/// A lock or a wait, for those who look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockReading {
    pub session: u32,
    pub key: Key,
    pub mode: Mode,
    pub granted: bool,
}

#[derive(Debug, Default)]
pub struct AdvisoryTable {
    keys: BTreeMap<Key, Entry>,
    sessions: BTreeMap<u32, SessionLocks>,
    last_ticket: Ticket,
    held: usize,
}

/// What the table knows of a session.
#[derive(Debug, Default)]
struct SessionLocks {
    /// Of the current transaction.
    transaction: u64,
    /// How often each lock was taken.
    held: BTreeMap<(Key, Mode, Owner), u32>,
    /// Those of the transaction, in the order in which they were taken.
    taken: Vec<(Key, Mode)>,
    waits_for: BTreeMap<Ticket, Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Session,
    Transaction,
}

impl Scope {
    fn owner(self) -> Owner {
        match self {
            Scope::Session => Owner::Session,
            Scope::Transaction(_) => Owner::Transaction,
        }
    }
}

/// Of a key that is held or waited for.
#[derive(Debug, Default)]
struct Entry {
    /// The strongest mode of each session that holds it.
    holders: BTreeMap<u32, Mode>,
    waiting: VecDeque<(Ticket, Wanted)>,
}

impl Entry {
    /// Sessions that keep `wanted` from being granted before the waiter at `position`.
    fn blockers(&self, wanted: &Wanted, position: usize) -> BTreeSet<u32> {
        let holders =
            self.holders.iter().filter(|(_, held)| wanted.mode.conflicts(**held)).map(|(session, _)| *session);
        let holds = self.holders.contains_key(&wanted.session);
        // Those who wait for a holder let him pass: they would wait for each other.
        let earlier = self.waiting.iter().take(if holds { 0 } else { position });
        let earlier = earlier.filter(|(_, earlier)| wanted.mode.conflicts(earlier.mode)).map(|(_, e)| e.session);
        holders.chain(earlier).filter(|session| *session != wanted.session).collect()
    }
}

impl AdvisoryTable {
    /// A session that may lock from here on.
    pub fn open(&mut self, session: u32) {
        self.sessions.insert(session, SessionLocks::default());
    }

    /// The number of the session's current transaction.
    pub fn transaction(&self, session: u32) -> u64 {
        self.sessions.get(&session).map_or(0, |locks| locks.transaction)
    }

    /// Takes a lock if that needs no waiting.
    pub fn take(&mut self, wanted: Wanted) -> Result<bool, AdvisoryError> {
        self.check(&wanted)?;
        let free =
            self.keys.get(&wanted.key).is_none_or(|entry| entry.blockers(&wanted, entry.waiting.len()).is_empty());
        if free {
            self.hold(&wanted);
        }
        Ok(free)
    }

    /// Takes a lock, or queues for it.
    pub fn request(&mut self, wanted: Wanted) -> Result<Answer, AdvisoryError> {
        if self.take(wanted)? {
            return Ok(Answer::Granted);
        }
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.keys.entry(wanted.key).or_default().waiting.push_back((ticket, wanted));
        let session = self.sessions.get_mut(&wanted.session).expect("checked above");
        session.waits_for.insert(ticket, wanted.key);
        match self.circle(wanted.session) {
            None => Ok(Answer::Waiting(ticket)),
            Some(circle) => {
                let granted = self.cancel(wanted.session, ticket);
                debug_assert!(granted.is_empty(), "who came last holds nobody up");
                Err(AdvisoryError::Deadlock(circle))
            }
        }
    }

    fn check(&self, wanted: &Wanted) -> Result<(), AdvisoryError> {
        let session = self.sessions.get(&wanted.session).ok_or(AdvisoryError::Ended)?;
        match wanted.scope {
            Scope::Transaction(number) if number != session.transaction => Err(AdvisoryError::Ended),
            _ if self.held >= ADVISORY_LOCKS_MAX => Err(AdvisoryError::TooMany),
            Scope::Session | Scope::Transaction(_) => Ok(()),
        }
    }

    fn hold(&mut self, wanted: &Wanted) {
        let session = self.sessions.get_mut(&wanted.session).expect("who asks is open");
        let count = session.held.entry((wanted.key, wanted.mode, wanted.scope.owner())).or_default();
        self.held += usize::from(*count == 0);
        *count = count.saturating_add(1);
        if wanted.scope.owner() == Owner::Transaction {
            session.taken.push((wanted.key, wanted.mode));
        }
        let held = self.keys.entry(wanted.key).or_default().holders.entry(wanted.session).or_insert(wanted.mode);
        *held = wanted.mode.max(*held);
    }

    /// Undoes one lock of the session itself. `None`: it does not hold that; else the requests that are granted now.
    pub fn unlock(&mut self, session: u32, key: Key, mode: Mode) -> Option<Vec<Ticket>> {
        let lock = (key, mode, Owner::Session);
        self.sessions.get(&session)?.held.get(&lock)?;
        Some(self.undo(session, &[lock]))
    }

    /// Undoes all locks of the session itself.
    pub fn unlock_all(&mut self, session: u32) -> Vec<Ticket> {
        let held = self.sessions.get(&session).map(|locks| locks.held.keys().copied()).into_iter().flatten();
        let released = held.filter(|(_, _, of)| *of == Owner::Session).collect();
        self.release(session, released)
    }

    /// How many locks the session's transaction has taken: where to roll back to.
    pub fn mark(&self, session: u32) -> usize {
        self.sessions.get(&session).map_or(0, |locks| locks.taken.len())
    }

    /// Undoes what the session's transaction has taken since `mark`.
    pub fn roll_back(&mut self, session: u32, mark: usize) -> Vec<Ticket> {
        let Some(locks) = self.sessions.get_mut(&session) else { return vec![] };
        let undone = locks.taken.split_off(mark.min(locks.taken.len()));
        let undone: Vec<_> = undone.into_iter().map(|(key, mode)| (key, mode, Owner::Transaction)).collect();
        self.undo(session, &undone)
    }

    /// A transaction has ended: its locks go, and who still asks on its behalf is refused.
    pub fn end_transaction(&mut self, session: u32) -> Vec<Ticket> {
        if let Some(locks) = self.sessions.get_mut(&session) {
            locks.transaction += 1;
        }
        self.roll_back(session, 0)
    }

    /// Each of these once; a lock that was taken more often stays.
    fn undo(&mut self, session: u32, undone: &[(Key, Mode, Owner)]) -> Vec<Ticket> {
        let Some(locks) = self.sessions.get_mut(&session) else { return vec![] };
        let mut released = vec![];
        for lock in undone {
            let count = locks.held.get_mut(lock).expect("what is undone is held");
            *count -= 1;
            if *count == 0 {
                released.push(*lock);
            }
        }
        self.release(session, released)
    }

    /// A session has ended: all its locks and requests go.
    pub fn close(&mut self, session: u32) -> Vec<Ticket> {
        let tickets = self.sessions.get(&session).map(|locks| locks.waits_for.keys().copied().collect::<Vec<_>>());
        let mut granted: Vec<Ticket> =
            tickets.into_iter().flatten().flat_map(|ticket| self.cancel(session, ticket)).collect();
        granted.extend(self.unlock_all(session));
        granted.extend(self.end_transaction(session));
        self.sessions.remove(&session);
        granted
    }

    fn release(&mut self, session: u32, released: Vec<(Key, Mode, Owner)>) -> Vec<Ticket> {
        let Some(locks) = self.sessions.get_mut(&session) else { return vec![] };
        let mut left = BTreeMap::new();
        for lock in &released {
            locks.held.remove(lock);
            let key = lock.0;
            let strongest = [Mode::Exclusive, Mode::Share].into_iter().find(|mode| {
                [Owner::Session, Owner::Transaction].iter().any(|of| locks.held.contains_key(&(key, *mode, *of)))
            });
            left.insert(key, strongest);
        }
        self.held -= released.len();
        let mut granted = vec![];
        for (key, strongest) in left {
            let entry = self.keys.get_mut(&key).expect("what is held has an entry");
            match strongest {
                Some(mode) => entry.holders.insert(session, mode),
                None => entry.holders.remove(&session),
            };
            self.grant(key, &mut granted);
        }
        granted
    }

    /// Takes back a request that waits. Returns the requests that are granted because it is gone.
    pub fn cancel(&mut self, session: u32, ticket: Ticket) -> Vec<Ticket> {
        let key = self.sessions.get_mut(&session).and_then(|locks| locks.waits_for.remove(&ticket));
        let Some(key) = key else { return vec![] };
        let entry = self.keys.get_mut(&key).expect("what is waited for has an entry");
        entry.waiting.retain(|(waiting, _)| *waiting != ticket);
        let mut granted = vec![];
        self.grant(key, &mut granted);
        granted
    }

    /// Grants what may be granted, first come first served.
    fn grant(&mut self, key: Key, granted: &mut Vec<Ticket>) {
        loop {
            let Some(entry) = self.keys.get_mut(&key) else { return };
            let next = (0..entry.waiting.len()).find(|at| entry.blockers(&entry.waiting[*at].1, *at).is_empty());
            let Some(next) = next else {
                if entry.holders.is_empty() {
                    assert!(entry.waiting.is_empty(), "nobody waits for what nobody holds");
                    self.keys.remove(&key);
                }
                return;
            };
            let (ticket, wanted) = entry.waiting.remove(next).expect("found there");
            let session = self.sessions.get_mut(&wanted.session).expect("who waits is open");
            session.waits_for.remove(&ticket);
            self.hold(&wanted);
            granted.push(ticket);
        }
    }

    /// Sessions that `session` waits for, each with what the wait is for.
    pub fn blockers(&self, session: u32) -> Vec<(u32, Key, Mode)> {
        let waits = self.sessions.get(&session).map(|locks| &locks.waits_for).into_iter().flatten();
        let blockers = waits.flat_map(|(ticket, key)| {
            let entry = &self.keys[key];
            let at = entry.waiting.iter().position(|(waiting, _)| waiting == ticket).expect("it waits there");
            let wanted = entry.waiting[at].1;
            entry.blockers(&wanted, at).into_iter().map(move |blocker| (blocker, *key, wanted.mode))
        });
        blockers.collect()
    }

    /// A circle of waiting sessions through `start`, found depth first.
    fn circle(&self, start: u32) -> Option<Vec<(u32, Key, Mode)>> {
        let mut seen = BTreeSet::from([start]);
        let mut path = vec![(start, self.blockers(start))];
        let mut taken: Vec<(u32, Key, Mode)> = vec![];
        while let Some((session, blockers)) = path.last_mut() {
            let session = *session;
            let Some((next, key, mode)) = blockers.pop() else {
                path.pop();
                taken.pop();
                continue;
            };
            if next == start {
                taken.push((session, key, mode));
                return Some(taken);
            }
            if seen.insert(next) {
                taken.push((session, key, mode));
                path.push((next, self.blockers(next)));
            }
        }
        None
    }

    /// Everything held and waited for.
    pub fn read(&self) -> Vec<LockReading> {
        let mut readings = vec![];
        for (key, entry) in &self.keys {
            for session in entry.holders.keys() {
                let modes = [Mode::Share, Mode::Exclusive].into_iter().filter(|mode| {
                    let held = &self.sessions[session].held;
                    [Owner::Session, Owner::Transaction].iter().any(|of| held.contains_key(&(*key, *mode, *of)))
                });
                readings.extend(modes.map(|mode| LockReading { session: *session, key: *key, mode, granted: true }));
            }
            let waiting = entry.waiting.iter().map(|(_, wanted)| LockReading {
                session: wanted.session,
                key: *key,
                mode: wanted.mode,
                granted: false,
            });
            readings.extend(waiting);
        }
        readings
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.held == 0
    }
}
