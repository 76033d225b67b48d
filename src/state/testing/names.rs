//! What a simulated directory holds: as a process sees it, as it is on disk for sure, and the operations in between, of
//! which a power cut keeps the oldest.

use std::collections::BTreeMap;

use super::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// Index of its contents.
    File(usize),
    Directory,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// What a process finds.
    pub(super) seen: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Put(String, Node),
    Remove(String),
    Rename(String, String),
}

impl Names {
    pub(super) fn of(names: BTreeMap<String, Node>) -> Names {
        Names { seen: names.clone(), durable: names, pending: vec![] }
    }

    pub(super) fn put(&mut self, name: &str, node: Node) {
        self.change(Change::Put(name.into(), node));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove(name.into()));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.change(Change::Rename(from.into(), to.into()));
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }

    /// What is there after the power came back.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> BTreeMap<String, Node> {
        let kept = random.below(self.pending.len() as u64 + 1) as usize;
        let mut left = self.durable.clone();
        self.pending[..kept].iter().for_each(|change| apply(&mut left, change));
        left
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: &Change) {
    match change {
        Change::Put(name, node) => drop(names.insert(name.clone(), *node)),
        Change::Remove(name) => drop(names.remove(name)),
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}
