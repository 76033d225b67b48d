//! Row locks of the simulated writers.

use std::collections::{BTreeMap, VecDeque};

use types::ObjectId;

use crate::schema::Row;

pub type Key = (ObjectId, Row);

#[derive(Default)]
pub struct Locks {
    held: BTreeMap<Key, u64>,
    waiting: BTreeMap<Key, VecDeque<u64>>,
}

pub enum Asked {
    Granted,
    /// Behind another.
    Waits,
    Deadlock,
}

impl Locks {
    pub fn ask(&mut self, transaction: u64, key: &Key) -> Asked {
        match self.held.get(key) {
            None => {
                self.held.insert(key.clone(), transaction);
                Asked::Granted
            }
            Some(holder) if *holder == transaction => Asked::Granted,
            Some(_) if self.closes_cycle(transaction, key) => Asked::Deadlock,
            Some(_) => {
                self.waiting.entry(key.clone()).or_default().push_back(transaction);
                Asked::Waits
            }
        }
    }

    pub fn holds(&self, transaction: u64, key: &Key) -> bool {
        self.held.get(key) == Some(&transaction)
    }

    fn closes_cycle(&self, transaction: u64, key: &Key) -> bool {
        let mut open = vec![key.clone()];
        let mut seen = vec![];
        while let Some(key) = open.pop() {
            let Some(holder) = self.held.get(&key) else { continue };
            if *holder == transaction {
                return true;
            }
            if seen.contains(holder) {
                continue;
            }
            seen.push(*holder);
            open.extend(self.waiting.iter().filter(|(_, queue)| queue.contains(holder)).map(|(key, _)| key.clone()));
        }
        false
    }

    /// Lets go of everything of a transaction; the next in each queue gets what it waits for.
    pub fn release(&mut self, transaction: u64) {
        for queue in self.waiting.values_mut() {
            queue.retain(|waiter| *waiter != transaction);
        }
        let released: Vec<Key> =
            self.held.iter().filter(|(_, holder)| **holder == transaction).map(|(key, _)| key.clone()).collect();
        for key in released {
            self.held.remove(&key);
            if let Some(next) = self.waiting.get_mut(&key).and_then(VecDeque::pop_front) {
                self.held.insert(key, next);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.values().all(VecDeque::is_empty)
    }
}
